//! `fs` on trees against GNU tar, find and du, on what the kernel shows of the same image.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::support::tools::{Mount, may_attach, must, run, text, tool};
use crate::support::world::{Run, World};

/// All that a tree can have. 130 characters are more than a header of tar holds, 3000 more than its prefix does.
const PLANT: &str = r#"set -e
rmdir lost+found
mkdir -p etc usr/bin 'name with space' empty
echo root > etc/passwd; chmod 0644 etc/passwd
head -c 100000 /dev/urandom > usr/bin/su; chmod 4755 usr/bin/su
ln usr/bin/su usr/bin/same; ln usr/bin/su etc/again
ln -s ../etc/passwd usr/link; ln -s "$(printf 'x%.0s' $(seq 150))" usr/long-link; ln -s /gone dangling
ln usr/link usr/link-again
chown -h 5:6 usr/link dangling; touch -h -d @1600000000.000000007 usr/link
long=$(printf 'n%.0s' $(seq 130)); echo long > "$long"
deep=$(printf 'directory/%.0s' $(seq 40)); mkdir -p "$deep"; echo deep > "${deep}$long"; ln "${deep}$long" usr/far
mknod null c 1 3; mknod disk b 259 70000; mkfifo pipe; chown 0:5 null
truncate -s 3000000 sparse; printf end >> sparse
: > nothing
echo big > ids; chown 3000000000:70000 ids
touch -d @1234567890.123456789 ids; touch -d @-1000.25 nothing
setfattr -n user.note -v 0x0a3d00ff etc/passwd
setfattr -n 'user.a=b%c' -v text usr
setfattr -n trusted.t -v x usr/link -h
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/su
setfacl -m u:1000:rw,g:7:r etc/passwd; setfacl -d -m u:1000:rwx 'name with space'
echo plain > 'name with space/no list'; setfacl -b 'name with space/no list'
printf 'caf\303\251' > "$(printf 'caf\303\251')"
chmod 1777 empty; chmod 2750 etc
touch -d @1500000000.5 usr/bin 'name with space' empty .
"#;

/// Everything of a tree that outlives a copy.
const LOOK: &str = r#"export LC_ALL=C
find . -printf '%P|%y|%m|%U|%G|%T@|%l\n' | sort
find . ! -type d -printf '%n|%P\n' | sort
find . -type f -printf '%s|%P\n' | sort
find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | sort
find . -type f -print0 | sort -z | xargs -0 sha256sum
find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex
find . -links +1 ! -type d -printf '%i %P\n' | sort |
  awk '$1 != last { print line; line = ""; last = $1 } { $1 = ""; line = line ";" $0 } END { print line }' | sort
"#;

fn sh(folder: &Path, script: &str) -> String {
    let said = run("sh", ["-c", &format!("cd '{}' && {script}", text(folder))]);
    assert_eq!(said.status, 0, "{}", said.text);
    said.out
}

/// The same lines, or those that are not.
#[track_caller]
fn assert_same(found: &str, wanted: &str) {
    let others = |one: &str, other: &str| {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let (more, less) = (others(found, wanted), others(wanted, found));
    assert!(found == wanted, "found only:\n{more}wanted:\n{less}");
}

struct Bench {
    world: World,
}

impl Bench {
    fn image(&self, name: &str) -> PathBuf {
        let image = self.world.path(name);
        must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", "-N", "2048", text(&image), "32M"]);
        image
    }

    /// An image whose tree the kernel made.
    fn planted() -> (Self, PathBuf) {
        let bench = Self { world: World::in_memory() };
        let image = bench.image("planted.img");
        let mount = Mount::new(&image, "loop");
        sh(mount.path(), PLANT);
        mount.unmount();
        (bench, image)
    }

    fn fs(&self, image: &Path, words: &[&str]) -> Run {
        self.world.run(&[&["fs", text(image)], words].concat()).succeeded()
    }

    fn check(image: &Path) {
        let said = run("e2fsck", ["-fn", text(image)]);
        assert_eq!(said.status, 0, "{}", said.text);
    }
}

fn look(image: &Path, below: &str) -> String {
    let mount = Mount::new(image, "ro,loop");
    let seen = sh(&mount.path().join(below), LOOK);
    mount.unmount();
    seen
}

#[test]
fn what_gnu_tar_packed_is_unpacked_as_the_kernel_had_it() {
    if !may_attach() {
        return;
    }
    let (bench, planted) = Bench::planted();
    let wanted = look(&planted, "");
    let tar = bench.world.path("x.tar");
    let mount = Mount::new(&planted, "ro,loop");
    let words =
        ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--sort=name", "-C", text(mount.path())];
    tool("tar", &[&["--format=pax"], &words[..], &["-cf", text(&tar), "."]].concat());
    let old = bench.world.path("old.tar");
    tool("tar", &["--format=gnu", "--numeric-owner", "-C", text(mount.path()), "-cf", text(&old), "."]);
    mount.unmount();
    let image = bench.image("in.img");
    bench.fs(&image, &["mkdir", "/in"]);
    let run = bench.fs(&image, &["tar-in", "x.tar", "/in"]);
    assert!(!run.err.contains("left out"), "{}", run.err);
    Bench::check(&image);
    assert_same(&look(&image, "in"), &wanted);
    // Once more over itself, and then over all of it in the form of old, which has whole seconds and no attributes.
    bench.fs(&image, &["tar-in", "x.tar", "/in"]);
    Bench::check(&image);
    assert_same(&look(&image, "in"), &wanted);
    bench.fs(&image, &["mkdir", "/old"]);
    bench.fs(&image, &["tar-in", "old.tar", "/old"]);
    Bench::check(&image);
    // GNU tar in the place of ours.
    let mount = Mount::new(&image, "loop");
    sh(mount.path(), &format!("mkdir gnu && tar --numeric-owner -C gnu -xpf '{}'", text(&old)));
    mount.unmount();
    assert_same(&look(&image, "old"), &look(&image, "gnu"));
}

#[test]
fn what_is_packed_here_is_unpacked_by_gnu_tar_as_the_kernel_had_it() {
    if !may_attach() {
        return;
    }
    let (bench, planted) = Bench::planted();
    let wanted = look(&planted, "");
    let mount = Mount::new(&planted, "loop");
    let socket = UnixListener::bind(mount.path().join("socket")).unwrap();
    sh(mount.path(), "touch -d @1500000000.5 .");
    drop(socket);
    mount.unmount();
    let run = bench.fs(&planted, &["tar-out", "/", "x.tar"]);
    assert!(run.err.contains("socket is a socket and was left out\n"), "{}", run.err);
    let tar = bench.world.path("x.tar");

    // Listed like the archive that GNU tar makes: which of several names comes first is ours to choose.
    let gnu = bench.world.path("gnu.tar");
    let mount = Mount::new(&planted, "ro,loop");
    let words = ["--format=pax", "--numeric-owner", "--sort=name", "--exclude=./socket", "-C"];
    tool("tar", &[&words[..], &[text(mount.path()), "-cf", text(&gnu), "."]].concat());
    mount.unmount();
    let listing = |archive: &Path| {
        let listing = tool("tar", &["--numeric-owner", "--full-time", "-tvf", text(archive)]);
        let mut lines: Vec<String> =
            listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_same(&listing(&tar), &listing(&gnu));

    let image = bench.image("out.img");
    let mount = Mount::new(&image, "loop");
    let script = "rmdir lost+found && tar --numeric-owner --xattrs --xattrs-include='*' -xpf";
    sh(mount.path(), &format!("{script} '{}'", text(&tar)));
    mount.unmount();
    assert_same(&look(&image, ""), &wanted);
    // A part of it, into a pipe.
    let program = env!("CARGO_BIN_EXE_cardpress");
    let names = format!("'{program}' fs '{}' tar-out /usr | tar -tf -", text(&planted));
    let names = sh(&bench.world.path("."), &names);
    assert!(names.starts_with("./\n./bin/\n./bin/same\n./bin/su\n"), "{names}");
}

#[test]
fn find_and_du_say_what_they_say_of_the_mounted_image() {
    if !may_attach() {
        return;
    }
    let (bench, planted) = Bench::planted();
    let mount = Mount::new(&planted, "ro,loop");
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    for tests in [
        "",
        "-type f",
        "-type d,l",
        "-name '*s*'",
        "-name '[!a-m]*' -type f",
        "-maxdepth 2 -name '?*'",
        "-type c,b,p",
        "-newer usr/link",
        "-name 'caf?'",
    ] {
        let script = format!("LC_ALL=C.UTF-8 find usr etc empty sparse null pipe disk dangling caf* {tests}");
        let wanted = sh(mount.path(), &script);
        let program = env!("CARGO_BIN_EXE_cardpress");
        let ours = tests.replace("-newer usr", "-newer /usr");
        let script = format!(
            "for path in usr etc empty sparse null pipe disk dangling \"$(printf 'caf\\303\\251')\"; do \
             '{program}' fs '{}' find \"/$path\" {ours} | sed 's/^.//'; done",
            text(&planted)
        );
        assert_same(&sorted(&sh(&bench.world.path("."), &script)), &sorted(&wanted));
    }
    for path in ["usr", "directory", "sparse", "name with space"] {
        for flags in ["", "-s", "-h"] {
            let wanted = sh(mount.path(), &format!("du -k {flags} '{path}'"));
            let place = format!("/{path}");
            let words: Vec<&str> =
                ["du", flags, &place].into_iter().filter(|word| !word.is_empty()).collect();
            let ours = bench.fs(&planted, &words).out.replace("\t/", "\t");
            assert_same(&sorted(&ours), &sorted(&wanted));
        }
    }
    mount.unmount();
}
