//! The programs we did not write. A missing one is a failure that names its package, never a silent pass.

use std::path::Path;
use std::process::Command;

/// Runs `program`, wants exit status 0, and gives what it printed.
#[track_caller]
pub(crate) fn tool(program: &str, words: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(words)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        // mtools is picky about geometry that nothing has used for thirty years.
        .env("MTOOLS_SKIP_CHECK", "1")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; `make oracles` installs it"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?} gave {}:\n{out}{err}", output.status);
    out
}

/// Are we root, and so able to mount?
pub(crate) fn is_root() -> bool {
    tool("id", &["-u"]).trim() == "0"
}

/// What `look` sees of the ext4 filesystem in `image` when the kernel has mounted it, read only.
pub(crate) fn mounted<T>(image: &Path, look: impl FnOnce(&Path) -> T) -> T {
    struct Mount(tempfile::TempDir);
    impl Drop for Mount {
        fn drop(&mut self) {
            // Not `tool`: a panic here would hide the first one.
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }
    let mount = Mount(tempfile::tempdir().expect("no folder to mount on"));
    let target = mount.0.path().to_str().expect("temporary folders have plain names");
    tool("mount", &["-t", "ext4", "-o", "ro,loop", image.to_str().expect("plain name"), target]);
    look(mount.0.path())
}
