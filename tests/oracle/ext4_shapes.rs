//! Filesystems of many shapes, small, made by mke2fs.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::OnceLock;

use crate::support::tools::{Workspace, must, run, text};

/// How a filesystem is made, and what is in it at first.
#[derive(Debug)]
pub(super) struct Shape {
    /// What it stands for.
    pub(super) name: &'static str,
    /// MiB.
    pub(super) size_mib: u64,
    /// For mke2fs.
    pub(super) options: &'static [&'static str],
    /// Extended ones.
    pub(super) extended: &'static str,
    /// For debugfs, afterwards.
    pub(super) tune: &'static [&'static str],
    /// The tree in it.
    pub(super) content: Content,
    /// What the medium held before: mke2fs leaves most of it where nothing is used yet.
    pub(super) is_dirty_medium: bool,
    /// ext4-view 1.0 can read it. It hashes names as signed bytes only, wants entries to tell types, knows neither
    /// inodes of 128 bytes with checksums nor block maps that lack a whole indirect block, and misreads files with
    /// unwritten blocks among written ones.
    pub(super) is_viewable: bool,
    /// Space or inodes are expected to run out.
    pub(super) is_tight: bool,
}

/// What is in a filesystem at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A few files of every kind.
    Small,
    /// Besides, a directory of many names, and one of hundreds; indexed where that is possible.
    Big,
    /// Besides, a directory of hundreds.
    Middle,
    /// Besides, one file of so many KiB, which leaves some hundred KiB free.
    Full(usize),
}

const BASE: Shape = Shape {
    name: "",
    size_mib: 32,
    options: &[],
    extended: "lazy_itable_init=0",
    tune: &[],
    content: Content::Small,
    is_dirty_medium: false,
    is_viewable: true,
    is_tight: false,
};

/// Blocks that are allocated and not written: in holes, and past the end of files.
const UNWRITTEN: &[&str] = &["fallocate /var/log/sparse 0 200", "fallocate /etc/empty 3 90"];

/// Each differs from its neighbours in what other writers got wrong.
pub(super) const SHAPES: &[Shape] = &[
    Shape { name: "4k, as of today", options: &["-b4096", "-Ometadata_csum_seed,orphan_file"], ..BASE },
    Shape { name: "1k, as of today", size_mib: 24, options: &["-b1024", "-O^64bit,orphan_file"], ..BASE },
    Shape {
        name: "4k, big directories, as Raspberry Pi OS",
        options: &["-b4096", "-O^64bit,^huge_file", "-N6000"],
        content: Content::Big,
        ..BASE
    },
    Shape {
        name: "1k, big directories, unsigned hash, unwritten blocks",
        options: &["-b1024", "-N6000"],
        tune: &["ssv flags 2", UNWRITTEN[0], UNWRITTEN[1]],
        content: Content::Big,
        is_viewable: false,
        ..BASE
    },
    Shape {
        name: "1k, big directories, no checksums, tea",
        options: &["-b1024", "-O^metadata_csum,^64bit,^uninit_bg", "-N6000"],
        tune: &["ssv def_hash_version tea"],
        content: Content::Big,
        ..BASE
    },
    Shape {
        name: "4k, as before 2022",
        options: &["-b4096", "-O^metadata_csum,^64bit,uninit_bg,^huge_file"],
        content: Content::Big,
        ..BASE
    },
    Shape {
        name: "1k, many uninitialised groups on a used medium",
        size_mib: 48,
        options: &["-b1024", "-g1024", "-N4096", "-O64bit"],
        extended: "lazy_itable_init=1,nodiscard",
        is_dirty_medium: true,
        ..BASE
    },
    Shape {
        name: "4k, groups without flex_bg, on a used medium, uninit_bg",
        size_mib: 64,
        options: &["-b4096", "-g4096", "-O^flex_bg,^metadata_csum,uninit_bg"],
        extended: "lazy_itable_init=1,nodiscard",
        is_dirty_medium: true,
        ..BASE
    },
    Shape { name: "1k, block maps", options: &["-b1024", "-O^extent,^64bit"], is_viewable: false, ..BASE },
    Shape {
        name: "4k, block maps, small inodes, nothing modern",
        options: &[
            "-b4096",
            "-I128",
            "-O^extent,^64bit,^metadata_csum,^uninit_bg,^flex_bg,^huge_file,^dir_nlink,^extra_isize",
        ],
        is_viewable: false,
        ..BASE
    },
    Shape {
        name: "1k, block maps below extents",
        options: &["-b1024", "-O^extent,^64bit,^metadata_csum"],
        tune: &["feature extents"],
        ..BASE
    },
    Shape {
        name: "4k, inodes of 128 bytes with checksums, unwritten blocks",
        options: &["-b4096", "-I128"],
        tune: UNWRITTEN,
        is_viewable: false,
        ..BASE
    },
    Shape {
        name: "1k, neither index nor types",
        options: &["-b1024", "-O^dir_index,^filetype", "-N2000"],
        content: Content::Middle,
        is_viewable: false,
        ..BASE
    },
    Shape {
        name: "2k, inodes of 512 bytes, no journal, no resize inode",
        options: &["-b2048", "-I512", "-O^has_journal,^resize_inode,metadata_csum_seed"],
        ..BASE
    },
    Shape {
        name: "1k, nearly full",
        size_mib: 9,
        options: &["-b1024", "-N96", "-m0"],
        content: Content::Full(7_150),
        is_tight: true,
        ..BASE
    },
    Shape {
        name: "4k, nearly full",
        size_mib: 16,
        options: &["-b4096", "-N96", "-O^metadata_csum,^64bit,^has_journal"],
        content: Content::Full(15_200),
        is_tight: true,
        ..BASE
    },
    Shape {
        name: "2k, two copies of the superblock, long descriptors",
        options: &["-b2048", "-g2048", "-Osparse_super2,^resize_inode,64bit"],
        ..BASE
    },
    Shape {
        name: "4k, long descriptors with crc16, inodes of 512 bytes, unsigned hash",
        size_mib: 64,
        options: &["-b4096", "-g2048", "-I512", "-O^metadata_csum,64bit,uninit_bg"],
        extended: "lazy_itable_init=1,nodiscard",
        tune: &["ssv flags 2"],
        is_dirty_medium: true,
        is_viewable: false,
        ..BASE
    },
];

/// Dates files, the filesystem and what mke2fs would else ask the clock for.
const DATE: &str = "1700000000";

impl Shape {
    /// The bytes of a new filesystem of this shape; the same each time.
    pub(super) fn make(&self) -> Vec<u8> {
        let workspace = Workspace::new();
        let image = workspace.path("image");
        let len = usize::try_from(self.size_mib << 20).expect("small");
        let old = if self.is_dirty_medium { rubbish(len) } else { Vec::new() };
        std::fs::write(&image, old).expect("room for an image");
        let file = std::fs::OpenOptions::new().write(true).open(&image).expect("an image");
        file.set_len(self.size_mib << 20).expect("room for an image");

        let tree = workspace.path("tree");
        self.content.make(&tree);
        let mut args = vec!["-q", "-F", "-text4", "-U01234567-89ab-cdef-0123-456789abcdef"];
        let extended = format!("-Ehash_seed=fedcba98-7654-3210-fedc-ba9876543210,{}", self.extended);
        args.extend([extended.as_str(), "-d", text(&tree)]);
        args.extend(self.options);
        args.push(text(&image));
        let program =
            ["-i", &format!("E2FSPROGS_FAKE_TIME={DATE}"), &format!("SOURCE_DATE_EPOCH={DATE}"), "LC_ALL=C"];
        let path = format!("PATH={}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        must("env", program.into_iter().chain([path.as_str(), "mke2fs"]).chain(args));
        // Extended attributes in an inode and, where that is too small, in a block.
        let big = format!("ea_set /usr/bin/tool user.big {}", "v".repeat(700));
        let attributes =
            ["ea_set /etc/hostname user.small value", big.as_str(), "ea_set /etc user.of-directory value"];
        for request in self.tune.iter().chain(&attributes) {
            must("debugfs", ["-w", "-R", request, text(&image)]);
        }
        for (path, name) in [("/etc/hostname", "user.small"), ("/usr/bin/tool", "user.big")] {
            let list = must("debugfs", ["-R", &format!("ea_list {path}"), text(&image)]);
            assert!(list.contains(name), "{}: {path}: {list}", self.name);
        }
        // Indexes what may be indexed; the exit status 1 says that it did something.
        let said = run("e2fsck", ["-fyD", text(&image)]);
        assert!(said.status <= 1, "{}: {}", self.name, said.text);
        std::fs::read(&image).expect("an image")
    }
}

/// Bytes that are not zero and do not repeat soon.
fn rubbish(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

impl Content {
    fn make(self, tree: &Path) {
        let put = |name: &str, content: &[u8]| {
            let path = tree.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        };
        put("etc/hostname", b"raspberrypi\n");
        put("etc/empty", b"");
        put("usr/bin/tool", &rubbish(70_000));
        put("usr/share/doc/ümläut.txt", &rubbish(1_025));
        // Enough pieces for an extent tree of two levels below its root.
        if !matches!(self, Self::Full(_)) {
            put("var/log/holey", b"");
            let file =
                std::fs::OpenOptions::new().write(true).open(tree.join("var/log/holey")).expect("a file");
            for number in 0..400_u64 {
                file.write_all_at(b"piece", number * 8_192).expect("a file");
            }
        }
        // More than the twelve blocks of a block map, and at 1 KiB more than its first indirect block.
        put("var/log/long", &rubbish(500_000));
        put("var/log/sparse", b"");
        let sparse =
            std::fs::OpenOptions::new().write(true).open(tree.join("var/log/sparse")).expect("a file");
        for number in 0..20_u64 {
            sparse.write_all_at(b"here", number * 12_288).expect("a file");
        }
        std::os::unix::fs::symlink("usr/bin", tree.join("bin")).expect("a link");
        std::os::unix::fs::symlink("x".repeat(59), tree.join("short")).expect("a link");
        std::os::unix::fs::symlink("y".repeat(60), tree.join("long")).expect("a link");
        match self {
            Self::Small => {}
            Self::Middle => (0..400).for_each(|number| put(&format!("many/{}", big_name(number)), b"")),
            Self::Big => {
                for number in 0..BIG_NAMES {
                    put(&format!("many/{}", big_name(number)), b"");
                }
                for number in 0..300 {
                    put(&format!("some/{number:0100}"), b"");
                }
            }
            Self::Full(kib) => put("hog", &rubbish(kib << 10)),
        }
    }
}

/// In the big directory: with 1 KiB blocks enough for an index of two levels.
pub(super) const BIG_NAMES: u32 = 1_500;

/// Names as in the big directory, many not ASCII.
pub(super) fn big_name(number: u32) -> String {
    const TAILS: [&str; 4] = ["", "-with-a-tail", "-größe", "-日本語のファイル"];
    let index = usize::try_from(number).expect("small");
    format!("{number:050}{}", TAILS[index % 4].repeat(1 + index % 3))
}

/// A shape's filesystem, made once.
pub(super) fn made(index: usize) -> &'static [u8] {
    static MADE: [OnceLock<Vec<u8>>; 32] = [const { OnceLock::new() }; 32];
    MADE[index].get_or_init(|| SHAPES[index].make())
}
