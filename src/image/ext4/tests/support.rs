//! Making filesystems and asking the programs of e2fsprogs about them. A missing program is a failure.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::base::ImagePath;
use crate::block::{FileDevice, Memory};
use crate::image::ext4::{Error, Filesystem, NewAttributes, check};

pub(super) const FILE: NewAttributes = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
pub(super) const DIR: NewAttributes = NewAttributes { mode: 0o755, uid: 0, gid: 0 };

/// A way to make a filesystem: a name, arguments for mke2fs, its length.
pub(super) struct Shape(pub(super) &'static str, pub(super) &'static [&'static str], pub(super) &'static str);

/// Small groups, so that even a small filesystem has many.
pub(super) const SHAPES: &[Shape] = &[
    Shape("1k", &["-b1024", "-Ometadata_csum"], "40M"),
    Shape("4k-pi", &["-b4096", "-g2048", "-O^64bit,^huge_file,metadata_csum"], "48M"),
    Shape(
        "4k-trixie",
        &["-b4096", "-g2048", "-O^64bit,^huge_file,metadata_csum,metadata_csum_seed,orphan_file"],
        "48M",
    ),
    Shape("4k-bullseye", &["-b4096", "-g2048", "-O^64bit,^huge_file,^metadata_csum"], "48M"),
    Shape("2k-64bit", &["-b2048", "-O64bit,metadata_csum"], "40M"),
    Shape("1k-gdt_csum", &["-b1024", "-O^metadata_csum,uninit_bg"], "40M"),
    Shape("4k-64bit-gdt_csum", &["-b4096", "-g2048", "-O64bit,^metadata_csum,uninit_bg"], "48M"),
    Shape("1k-no-checksums", &["-b1024", "-O^metadata_csum,^uninit_bg,^64bit"], "40M"),
    Shape("1k-block-maps", &["-b1024", "-O^extent,^64bit,^metadata_csum"], "40M"),
    Shape("4k-block-maps-csum", &["-b4096", "-g2048", "-O^extent,^64bit,metadata_csum"], "48M"),
    Shape("small-inodes", &["-b1024", "-I128", "-Ometadata_csum"], "40M"),
    Shape("large-inodes", &["-b4096", "-I512", "-g2048", "-Ometadata_csum"], "48M"),
    Shape("lazy", &["-b1024", "-Elazy_itable_init=1", "-Ometadata_csum"], "64M"),
    Shape("lazy-gdt_csum", &["-b1024", "-Elazy_itable_init=1", "-O^metadata_csum,uninit_bg"], "64M"),
    Shape("no-flex_bg", &["-b1024", "-O^flex_bg,metadata_csum"], "40M"),
    Shape("no-dir_index", &["-b1024", "-O^dir_index,metadata_csum"], "40M"),
    Shape("no-filetype", &["-b1024", "-O^filetype,metadata_csum"], "40M"),
    Shape("no-resize_inode", &["-b1024", "-O^resize_inode,metadata_csum"], "40M"),
    Shape("sparse_super2", &["-b1024", "-Osparse_super2,metadata_csum"], "40M"),
    Shape("all-backups", &["-b1024", "-O^sparse_super,^resize_inode,metadata_csum"], "40M"),
];

/// A filesystem in a file of its own.
pub(super) struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    /// What `mke2fs` makes of `shape`, with some files in it.
    pub(super) fn make(shape: &Shape) -> Self {
        let image = Self::with(shape.1, shape.2);
        image.check("as made by mke2fs");
        image
    }

    /// What `mke2fs` makes with these arguments, sound or not.
    pub(super) fn with(args: &[&str], len: &str) -> Self {
        // In memory where that is possible: filesystem tools sync what they write.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let image = Self { dir: dir.unwrap() };
        let tree = image.dir.path().join("tree");
        fs::create_dir_all(tree.join("etc/long")).unwrap();
        fs::write(tree.join("etc/hostname"), "raspberrypi\n").unwrap();
        fs::write(tree.join("etc/big"), pattern(700_000)).unwrap();
        for number in 0..20 {
            fs::write(tree.join(format!("etc/long/{number:0>100}")), format!("{number}\n")).unwrap();
        }
        #[cfg(unix)]
        for (name, target) in
            [("link", "etc"), ("absolute", "/etc/hostname"), ("loop", "loop"), ("out", "../../x")]
        {
            std::os::unix::fs::symlink(target, tree.join(name)).unwrap();
        }
        let path = image.path();
        let fixed = ["-q", "-t", "ext4", "-F", "-U", "11111111-2222-3333-4444-555555555555", "-d"];
        let mut command = Command::new("mke2fs");
        command.args(fixed).arg(&tree).args(args).arg(&path).arg(len);
        run(&mut command);
        image
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    pub(super) fn bytes_per_block(&self) -> u64 {
        1024 << self.bytes()[1024 + 0x18]
    }

    /// Opens, edits, commits and writes back.
    pub(super) fn edit(&self, work: impl FnOnce(&mut Filesystem<'_>)) {
        let device = Memory::new(self.bytes());
        let mut filesystem = Filesystem::open(&device).unwrap();
        work(&mut filesystem);
        filesystem.commit().unwrap();
        fs::write(self.path(), device.into_bytes()).unwrap();
    }

    /// Requires that neither e2fsck nor our own check finds anything to say.
    pub(super) fn check(&self, when: &str) {
        let output = output(Command::new("e2fsck").arg("-fn").arg(self.path()));
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let repairs = ["Fix?", "Clear?", "IGNORED", "FIXED", "? no", "WARNING", "Unconnected"];
        let sound = output.status.code() == Some(0) && !repairs.iter().any(|word| said.contains(word));
        if !sound {
            let _ = fs::copy(self.path(), std::env::temp_dir().join("cardpress-ext4-failed.img"));
        }
        assert!(sound, "e2fsck {when}: {}\n{said}", output.status);
        let device = FileDevice::new(fs::File::open(self.path()).unwrap()).unwrap();
        match check(&device) {
            // Of features that tests only ask to be refused.
            Err(Error::Unsupported(_)) => {}
            report => {
                let report = report.unwrap();
                assert!(report.is_sound(), "our check {when}: {:?}", report.findings.kept());
            }
        }
    }

    /// Lets e2fsck repair what a test did with debugfs.
    pub(super) fn repair(&self) {
        let output = output(Command::new("e2fsck").arg("-fy").arg(self.path()));
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// What debugfs answers.
    pub(super) fn debugfs(&self, request: &str) -> String {
        String::from_utf8(self.debugfs_bytes(request)).unwrap()
    }

    pub(super) fn debugfs_bytes(&self, request: &str) -> Vec<u8> {
        run(Command::new("debugfs").arg("-R").arg(request).arg(self.path())).stdout
    }

    /// Runs debugfs with write access.
    pub(super) fn spoil(&self, request: &str) {
        run(Command::new("debugfs").arg("-w").arg("-R").arg(request).arg(self.path()));
    }
}

pub(super) fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

/// Bytes that differ from block to block.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at / 1000) % 251).unwrap()).collect()
}

pub(super) fn run(command: &mut Command) -> Output {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub(super) fn output(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    command.env("LC_ALL", "C").output().unwrap_or_else(|error| {
        panic!("cannot run {}, which comes with e2fsprogs and is needed here: {error}", program.display())
    })
}
