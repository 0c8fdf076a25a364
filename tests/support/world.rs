//! A sealed world for the real program: its own folder, home, cache and variables; nothing of the host leaks in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder in which the program runs.
pub(crate) struct World {
    folder: TempDir,
}

/// What one run said.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) fn new() -> Self {
        // Beside the build, not in /tmp: images are large, and /tmp may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("no folder for a test");
        Self { folder }
    }

    /// For small images that are synced again and again: in memory where that is possible.
    pub(crate) fn in_memory() -> Self {
        match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => Self { folder },
            Err(_) => Self::new(),
        }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("cannot make a folder");
        std::fs::write(&path, text).expect("cannot write a test file");
        path
    }

    /// The program with these words, in this world.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardpress"));
        command.args(words).current_dir(self.folder.path()).env_clear();
        // One cache for all tests: unpacking the same base for each would only take time. It is safe to share.
        command.env("CARDPRESS_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command.env("HOME", self.folder.path()).env("LC_ALL", "C").env("TZ", "UTC");
        // Where `make coverage` collects what ran; without it the counters would end up in this world.
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Run {
        Run::of(self.command(words).output().expect("cannot run cardpress"))
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self
    }
}

/// The small base image that ships with the program.
pub(crate) fn small_base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small-base.img.xz")
}

/// A profile of `nodes` over the small base; `more` is appended.
pub(crate) fn profile(nodes: &[(&str, &str)], more: &str) -> String {
    let mut text = format!(
        "schema = 1\n[image]\npath = {:?}\n[cluster]\nname = \"test\"\ndomain = \"lan\"\n\
         subnet = \"192.168.7.0/24\"\ngateway = \"192.168.7.1\"\ndns = [\"192.168.7.1\"]\n\
         ssh-between-nodes = true\n[defaults]\nssh.enable = true\ntimezone = \"Europe/London\"\n\
         cmdline.add = [\"cgroup_enable=memory\"]\n[defaults.user.ops]\nssh-keys = [{PUBLIC_KEY:?}]\n\
         groups = [\"sudo\"]\nsudo = \"nopasswd\"\n",
        small_base()
    );
    for (name, address) in nodes {
        text += &format!("[[node]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    }
    text + more
}

pub(crate) const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPCSDsp79iAmC2h/h1kfGBGO1a1VUgwQ31u7L6RC+9T7 test@example";
