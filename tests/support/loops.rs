//! Loop devices: files that the kernel shows as disks, real block devices all the same. They need root.

use std::path::{Path, PathBuf};

use super::tools::{Workspace, run, text, tool};

/// A loop device of ours; detached when dropped, whatever became of the test.
#[derive(Debug)]
pub(crate) struct Loop {
    path: PathBuf,
    file: PathBuf,
    /// Gone only after the device.
    #[allow(dead_code, reason = "kept for its end")]
    folder: Option<Workspace>,
}

impl Loop {
    /// A device of zeros.
    pub(crate) fn new(len_bytes: u64) -> Self {
        Self::with(len_bytes, &[])
    }

    /// A device of zeros, attached with more of losetup(8)'s words: `--partscan`, `--read-only`.
    pub(crate) fn with(len_bytes: u64, words: &[&str]) -> Self {
        let folder = Workspace::new();
        let file = folder.path("card.img");
        std::fs::File::create(&file).expect("a file").set_len(len_bytes).expect("its length");
        let mut device = Self::over(&file, words);
        device.folder = Some(folder);
        device
    }

    /// A device over this file, or over another device.
    pub(crate) fn over(file: &Path, words: &[&str]) -> Self {
        let path = tool("losetup", &[&["--find", "--show"], words, &[text(file)]].concat());
        Self { path: path.trim().into(), file: file.to_owned(), folder: None }
    }

    /// `/dev/loop3`
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called in sysfs.
    pub(crate) fn name(&self) -> &str {
        text(&self.path).trim_start_matches("/dev/")
    }

    /// The node of a partition.
    pub(crate) fn partition(&self, number: u32) -> PathBuf {
        format!("{}p{number}", self.path.display()).into()
    }

    /// The file behind, or the device.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Is it still ours? Others on this machine take numbers that are free.
    fn is_ours(&self) -> bool {
        let backing = format!("/sys/class/block/{}/loop/backing_file", self.name());
        let backing = std::fs::read_to_string(backing).unwrap_or_default();
        backing.trim().trim_end_matches(" (deleted)") == text(&self.file)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A panic here would hide the first one.
        if self.is_ours() {
            let _ = run("losetup", ["--detach", text(&self.path)]);
            // Who looks at all devices just now keeps it for a blink, and what it stands on is in use as long.
            for _ in 0..100 {
                if !self.is_ours() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}
