//! External programs and folders that go away.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit status; -1 when a signal ended it.
    pub(crate) status: i32,
    /// Standard output, then standard error.
    pub(crate) text: String,
    /// Standard output alone.
    pub(crate) out: String,
}

/// Where Debian keeps the programs that tests ask.
const PACKAGES: &[(&str, &str)] = &[
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("fsck.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mtype", "mtools"),
    ("sfdisk", "fdisk"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("getfattr", "attr"),
    ("getfacl", "acl"),
    ("bmaptool", "bmap-tools"),
];

/// Runs a program in the C locale and UTC, without input.
///
/// # Panics
/// When it is not installed: a check that was skipped has not passed.
pub(crate) fn run<I: IntoIterator<Item: AsRef<OsStr>>>(program: &str, args: I) -> Said {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    // Root's programs are not on everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    // mtools would refuse geometries that nothing has looked at for thirty years.
    command.env("MTOOLS_SKIP_CHECK", "1");
    let output = command.output().unwrap_or_else(|error| {
        let package =
            PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
        panic!("cannot run `{program}` (Debian package `{package}`): {error}")
    });
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = out.clone() + &String::from_utf8_lossy(&output.stderr);
    Said { status: output.status.code().unwrap_or(-1), text, out }
}

/// Runs a program that must succeed.
pub(crate) fn must<I: IntoIterator<Item: AsRef<OsStr>>>(program: &str, args: I) -> String {
    let said = run(program, args);
    assert!(said.status == 0, "`{program}` failed ({}): {}", said.status, said.text);
    said.text
}

/// Programs out of packages that `install-oracles.sh` unpacks and does not install, because they would start services.
pub(crate) fn unpacked(program: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/oracles");
    let found = ["usr/bin", "usr/sbin", "usr/libexec/netplan"].map(|dir| root.join(dir).join(program));
    let path = found.iter().find(|path| path.exists()).map_or_else(|| PathBuf::from(program), Clone::clone);
    let mut command = Command::new(path);
    let lib = format!(
        "{0}/usr/lib/{1}-linux-gnu:{0}/lib/{1}-linux-gnu:{0}/usr/libexec/sudo",
        root.display(),
        std::env::consts::ARCH
    );
    command.env("LD_LIBRARY_PATH", lib).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// What a program that must succeed printed on standard output.
#[track_caller]
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let said = run(program, args);
    assert!(said.status == 0, "`{program} {args:?}` failed ({}): {}", said.status, said.text);
    said.out
}

/// Are we root, and so able to mount and to attach loop devices? Where the judges are required, nothing less will do;
/// elsewhere what cannot be judged is not passed in silence.
pub(crate) fn may_attach() -> bool {
    let may = tool("id", &["-u"]).trim() == "0";
    let is_required = std::env::var("CARDPRESS_ORACLES").as_deref() == Ok("require");
    assert!(may || !is_required, "not root: no loop devices, no mounts");
    if !may {
        // Past what the test harness keeps for itself.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "SKIPPED: not root: no loop devices, no mounts: {test}");
    }
    may
}

/// What `look` sees of the ext4 filesystem in `image` when the kernel has mounted it, read only.
pub(crate) fn mounted<T>(image: &Path, look: impl FnOnce(&Path) -> T) -> T {
    let mount = Mount::new(image, "ro,loop");
    let seen = look(mount.path());
    mount.unmount();
    seen
}

/// An ext4 filesystem that the kernel has mounted; needs root.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Emptied by `unmount`.
    folder: Option<tempfile::TempDir>,
}

impl Mount {
    /// Mounts an image with mount(8)'s `options`.
    pub(crate) fn new(image: &Path, options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder to mount on");
        tool("mount", &["-t", "ext4", "-o", options, text(image), text(folder.path())]);
        Self { folder: Some(folder) }
    }

    /// Where the filesystem's root is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("mounted until `unmount`").path()
    }

    /// Lets the kernel write everything and go.
    ///
    /// # Panics
    /// When it stays mounted: nothing that looks at the image afterwards would be true.
    pub(crate) fn unmount(mut self) {
        let folder = self.folder.take().expect("mounted until `unmount`");
        if let Err(said) = unmount(folder.path()) {
            // Removing the folder would empty the filesystem under it.
            panic!("{} stays mounted: {said}", folder.keep().display());
        }
    }
}

impl Drop for Mount {
    /// After a failed test; a panic here would hide the first one.
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take()
            && unmount(folder.path()).is_err()
        {
            let _ = folder.keep();
        }
    }
}

/// Asks umount(8) for up to ten seconds. A test that starts a program at this moment holds the files that we had open
/// until its exec closes them: the mount is busy for a blink, or for longer on a machine with a lot to do.
pub(crate) fn unmount(folder: &Path) -> Result<(), String> {
    let mut said = String::new();
    for _ in 0..200 {
        let output = Command::new("umount").arg(folder).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(said)
}

/// A folder for one test, removed with everything in it.
#[derive(Debug)]
pub(crate) struct Workspace(tempfile::TempDir);

impl Workspace {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        // In memory where that is possible: filesystem tools sync what they write, and tests make a lot of it.
        let memory = tempfile::tempdir_in("/dev/shm");
        Self(memory.or_else(|_| tempfile::tempdir()).expect("a temporary folder"))
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A path as text, which every path here is.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
