//! Where the kernel's own ext4 is the judge: it mounts what we edited, and we read what it wrote. Needs root.

use std::path::Path;

use cardpress::block::Memory;
use cardpress::image::ext4::{Filesystem, NewAttributes};

use crate::support::tools::{Mount, Workspace, may_attach, mounted, must, run, text};

const FILE: NewAttributes = NewAttributes { mode: 0o666, uid: 0, gid: 0 };
const DIR: NewAttributes = NewAttributes { mode: 0o777, uid: 0, gid: 0 };

/// A name, and what mke2fs is told.
const SHAPES: &[(&str, &[&str])] = &[
    ("4k, as of today", &["-b4096"]),
    ("1k, inodes of 128 bytes", &["-b1024", "-I128"]),
    ("4k, as before 2022", &["-b4096", "-O^metadata_csum,^64bit,uninit_bg"]),
    ("2k, inodes of 512 bytes", &["-b2048", "-I512", "-O^64bit"]),
];

fn path(text: &str) -> cardpress::base::ImagePath {
    text.parse().expect("a path")
}

/// An empty filesystem.
fn make(image: &Path, options: &[&str]) {
    let args = ["-q", "-F", "-text4", "-Ehash_seed=fedcba98-7654-3210-fedc-ba9876543210"];
    let _ = std::fs::remove_file(image);
    must("mke2fs", args.iter().chain(options).copied().chain([text(image), "24M"]));
}

fn edit(image: &Path, work: impl FnOnce(&mut Filesystem<'_>)) {
    let device = Memory::new(std::fs::read(image).expect("an image"));
    let mut fs = Filesystem::open(&device).expect("a sound filesystem");
    work(&mut fs);
    fs.commit().expect("memory does not fail");
    drop(fs);
    std::fs::write(image, device.into_bytes()).expect("room for an image");
    sound(image);
}

fn sound(image: &Path) {
    let said = run("e2fsck", ["-fn", text(image)]);
    assert!(said.status == 0 && !said.text.contains('?'), "{}", said.text);
}

/// All attributes and access control lists below a folder, as text.
fn attributes(root: &Path) -> String {
    let shell = format!(
        "cd {} && find . | sort | grep -v lost+found | while read -r name; do \
         getfattr -h -d -m - -e hex \"$name\"; stat -c %a \"$name\"; [ -h \"$name\" ] || getfacl -n -s \"$name\"; done",
        root.display()
    );
    must("sh", ["-ec", &shell])
}

#[test]
fn the_kernel_reads_the_attributes_that_we_set_and_we_those_that_it_sets() {
    if !may_attach() {
        return;
    }
    let workspace = Workspace::new();
    let (ours, its) = (workspace.path("ours"), workspace.path("its"));
    // In the inode, in a block, in both; two files alike, so that the kernel lets them share a block.
    let long = "l".repeat(300);
    let sets: &[(&str, &str, &str)] = &[
        ("file", "user.small", "value"),
        ("file", "security.selinux", "label"),
        ("file", "trusted.overlay.opaque", "y"),
        ("file", "user.long", &long),
        ("twin", "user.long", &long),
        ("again", "user.long", &long),
        ("dir", "user.of-directory", "d"),
        ("dir", "user.ümläut", &long),
    ];
    for (name, options) in SHAPES {
        make(&ours, options);
        edit(&ours, |fs| {
            fs.mkdir(&path("/dir"), DIR).unwrap();
            for file in ["/file", "/twin", "/again"] {
                fs.write_file(&path(file), b"content", FILE).unwrap();
            }
            for (file, name, value) in sets {
                fs.set_xattr(&path(&format!("/{file}")), name.as_bytes(), value.as_bytes()).unwrap();
            }
        });
        make(&its, options);
        let mount = Mount::new(&its, "loop");
        let shell =
            |script: &str| must("sh", ["-ec", &format!("cd {}; umask 0; {script}", mount.path().display())]);
        shell("mkdir dir; for name in file twin again; do echo >$name; done");
        for (file, name, value) in sets {
            shell(&format!("setfattr -n {name} -v {value} {file}"));
        }
        let wanted = attributes(mount.path());
        mount.unmount();
        assert_eq!(mounted(&ours, attributes), wanted, "{name}");

        edit(&its, |fs| {
            for (file, name, value) in sets {
                let found = fs.xattr(&path(&format!("/{file}")), name.as_bytes()).unwrap();
                assert_eq!(found.as_deref(), Some(value.as_bytes()), "{name}: {file}");
            }
            // A block that the kernel shares between files.
            fs.set_xattr(&path("/twin"), b"user.more", b"more").unwrap();
            fs.remove_xattr(&path("/again"), b"user.long").unwrap();
            assert_eq!(fs.xattr(&path("/file"), b"user.long").unwrap().as_deref(), Some(long.as_bytes()));
        });
        let seen = mounted(&its, attributes);
        assert_eq!(seen.matches("user.long=").count(), 2, "{name}: {seen}");
    }
}

#[test]
fn access_control_lists_are_set_inherited_and_changed_as_by_the_kernel() {
    if !may_attach() {
        return;
    }
    let workspace = Workspace::new();
    let (ours, its) = (workspace.path("ours"), workspace.path("its"));
    for (name, options) in SHAPES {
        make(&its, options);
        let mount = Mount::new(&its, "loop");
        let shell =
            |script: &str| must("sh", ["-ec", &format!("cd {}; umask 0; {script}", mount.path().display())]);
        shell("mkdir dir plain; : >file; : >other; setfacl -m u:1000:rwx,g:7:r file; chmod 640 other");
        shell("setfacl -d -m u:1000:rwx,g:70000:r-x,o::- dir; setfacl -d -m o::- plain");
        let value = |file: &str, name: &str| {
            must(
                "getfattr",
                ["--absolute-names", "-h", "-e", "hex", "-n", name, text(&mount.path().join(file))],
            )
        };
        let lists = [
            ("/file", "system.posix_acl_access", value("file", "system.posix_acl_access")),
            ("/dir", "system.posix_acl_default", value("dir", "system.posix_acl_default")),
            ("/plain", "system.posix_acl_default", value("plain", "system.posix_acl_default")),
        ];
        shell(": >dir/new; mkdir dir/sub dir/sub/sub; : >dir/sub/sub/deep; ln -s x dir/link");
        shell(": >plain/new; mkdir plain/sub; chmod 4711 dir/new; chmod 2700 dir/sub; chmod 604 file");
        let wanted = attributes(mount.path());
        mount.unmount();

        make(&ours, options);
        edit(&ours, |fs| {
            fs.mkdir(&path("/dir"), DIR).unwrap();
            fs.mkdir(&path("/plain"), DIR).unwrap();
            fs.write_file(&path("/file"), b"", FILE).unwrap();
            fs.write_file(&path("/other"), b"", NewAttributes { mode: 0o640, ..FILE }).unwrap();
            for (file, name, said) in &lists {
                fs.set_xattr(&path(file), name.as_bytes(), &hex(said)).unwrap();
            }
            fs.write_file(&path("/dir/new"), b"", FILE).unwrap();
            fs.mkdir_all(&path("/dir/sub/sub"), DIR).unwrap();
            fs.write_file(&path("/dir/sub/sub/deep"), b"", FILE).unwrap();
            fs.symlink(&path("/dir/link"), b"x", 0, 0).unwrap();
            fs.write_file(&path("/plain/new"), b"", FILE).unwrap();
            fs.mkdir(&path("/plain/sub"), DIR).unwrap();
            fs.set_mode(&path("/dir/new"), 0o4711).unwrap();
            fs.set_mode(&path("/dir/sub"), 0o2700).unwrap();
            fs.set_mode(&path("/file"), 0o604).unwrap();
        });
        assert_eq!(mounted(&ours, attributes), wanted, "{name}");
    }
}

/// The value in what `getfattr -e hex` printed.
fn hex(said: &str) -> Vec<u8> {
    let (_, digits) = said.trim().rsplit_once("=0x").unwrap_or_else(|| panic!("no value in {said}"));
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
    (0..digits.len()).step_by(2).map(digit).collect()
}
