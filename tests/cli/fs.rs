use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cardpress::base::Sha256Digest;

use crate::support::shapes::{self, Shape};
use crate::support::tools::{must, run, text, tool};
use crate::support::world::{Run, World};

const EPOCH: &str = "1700000000";

/// A world with an image in it.
struct Bench {
    world: World,
    image: PathBuf,
}

impl Bench {
    /// A bare ext4 filesystem.
    fn ext4() -> Self {
        let world = World::in_memory();
        let image = world.path("x.img");
        must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", "-L", "old", text(&image), "16M"]);
        Self { world, image }
    }

    /// A bare FAT filesystem, 16 or 32.
    fn fat(bits: &str) -> Self {
        let world = World::in_memory();
        let image = world.path("x.img");
        let (len, cluster) = if bits == "32" { (40 << 20, "1") } else { (20 << 20, "2") };
        fs::File::create(&image).unwrap().set_len(len).unwrap();
        must("mkfs.fat", ["-F", bits, "-s", cluster, "--invariant", "-n", "OLD", text(&image)]);
        Self { world, image }
    }

    /// A disk with a boot and a root partition.
    fn disk(label: &'static str) -> Self {
        let world = World::in_memory();
        let mut shape = Shape::raspios(13, "trixie", "arm64", "2026-06-18", "resize");
        if label == "gpt" {
            shape.gpt("resize");
        }
        let image = shape.make(&world, "x.img");
        Self { world, image }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.world.command(&[&["fs", "x.img"], words].concat());
        command.env("SOURCE_DATE_EPOCH", EPOCH);
        command
    }

    fn run(&self, words: &[&str]) -> Run {
        Run::of(self.command(words).output().unwrap())
    }

    fn ok(&self, words: &[&str]) -> String {
        let run = self.run(words);
        assert_eq!(run.status, 0, "{words:?}: {}{}", run.out, run.err);
        run.out
    }

    /// Fails with this status and these words, and leaves every byte as it was.
    #[track_caller]
    fn refused(&self, words: &[&str], status: i32, wanted: &str) {
        let before = self.digest();
        let run = self.run(words);
        assert!(run.status == status && run.err.contains(wanted), "{words:?}: {} {}", run.status, run.err);
        assert_eq!(self.digest(), before, "{words:?}");
    }

    fn script(&self, script: &str) -> Run {
        let mut child = self
            .command(&["--script", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        Run::of(child.wait_with_output().unwrap())
    }

    fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&fs::read(&self.image).unwrap())
    }

    /// debugfs looks.
    fn debugfs(&self, request: &str) -> String {
        tool("debugfs", &["-R", request, text(&self.image)])
    }

    fn check_ext4(&self) {
        let said = run("e2fsck", ["-fn", text(&self.image)]);
        assert_eq!(said.status, 0, "{}", said.text);
    }

    fn check_fat(&self) {
        let said = run("fsck.fat", ["-n", text(&self.image)]);
        assert!(said.status == 0 && !said.text.contains("irty"), "{}", said.text);
    }

    /// Both filesystems of a disk.
    fn check_disk(&self) -> (PathBuf, PathBuf) {
        let (fat, ext4) = shapes::cut(&self.image, &self.world);
        let said = run("e2fsck", ["-fn", text(&ext4)]);
        assert_eq!(said.status, 0, "{}", said.text);
        let said = run("fsck.fat", ["-n", text(&fat)]);
        assert!(said.status == 0 && !said.text.contains("irty"), "{}", said.text);
        (fat, ext4)
    }
}

fn mtype(image: &Path, name: &str) -> String {
    tool("mtype", &["-i", text(image), &format!("::{name}")])
}

#[test]
fn files_go_into_ext4_and_come_out_again() {
    let bench = Bench::ext4();
    bench.world.write("local", "hello\n");
    bench.ok(&["put", "local", "/a file"]);
    assert_eq!(bench.debugfs("cat \"/a file\""), "hello\n");
    let stat = bench.debugfs("stat \"/a file\"");
    assert!(stat.contains("Mode:  0644") && stat.contains("User:     0   Group:     0"), "{stat}");
    assert!(stat.contains("Tue Nov 14 22:13:20 2023"), "{stat}");
    bench.ok(&["append", "local", "/a file"]);
    bench.world.write("other", "HE");
    bench.ok(&["write-at", "6", "other", "/a file"]);
    assert_eq!(bench.ok(&["cat", "/a file"]), "hello\nHEllo\n");
    bench.ok(&["truncate", "8", "/a file"]);
    assert_eq!(bench.debugfs("cat \"/a file\""), "hello\nHE");
    bench.ok(&["truncate", "1KiB", "/a file"]);
    bench.ok(&["chmod", "0750", "/a file"]);
    bench.ok(&["get", "/a file", "out"]);
    let mut wanted = b"hello\nHE".to_vec();
    wanted.resize(1024, 0);
    assert_eq!(fs::read(bench.world.path("out")).unwrap(), wanted);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(bench.world.path("out")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
    }
    bench.check_ext4();
}

#[test]
fn what_put_replaces_keeps_its_owner_and_mode() {
    let bench = Bench::ext4();
    bench.world.write("local", "one");
    bench.ok(&["put", "local", "/f"]);
    bench.ok(&["chown", "70000:1000", "/f"]);
    bench.ok(&["chmod", "4711", "/f"]);
    bench.world.write("local", "another, longer content");
    bench.ok(&["ln", "-s", "f", "/link"]);
    bench.ok(&["put", "local", "/link"]);
    let stat = bench.debugfs("stat /f");
    assert!(stat.contains("Mode:  04711") && stat.contains("User: 70000   Group:  1000"), "{stat}");
    assert_eq!(bench.debugfs("cat /f"), "another, longer content");
    assert!(bench.debugfs("stat /link").contains("Fast link dest: \"f\""));
    bench.check_ext4();
}

#[test]
fn names_are_made_moved_linked_and_removed() {
    let bench = Bench::ext4();
    let run = bench.script(
        "mkdir /a\nmkdir -p /a/b/c\nmkdir -p /a/b\ntouch /a/b/c/f\nln /a/b/c/f /a/hard\nln -s ../x '/a/soft link'\n\
         mv /a/b/c /c\nmv /c/f /c/g\ntouch -d @1000000000.5 /c/g\nmkdir /old\ntouch /old/x\nrm -r /old\nrm /a/hard\n",
    );
    assert_eq!(run.status, 0, "{}", run.err);
    assert_eq!(bench.ok(&["ls", "/"]), "a\nc\nlost+found\n");
    assert_eq!(bench.ok(&["ls", "-R", "/a"]), "/a:\nb\nsoft link\n\n/a/b:\n");
    let stat = bench.debugfs("stat /c/g");
    assert!(stat.contains("Links: 1") && stat.contains("mtime: 0x3b9aca00:77359400"), "{stat}");
    assert!(bench.debugfs("stat /a/b").contains("Mode:  0755"));
    assert!(bench.debugfs("stat \"/a/soft link\"").contains("\"../x\""));
    bench.check_ext4();
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    let bench = Bench::ext4();
    bench.world.write("local", "x");
    bench.script("mkdir /d\ntouch /d/f\ntouch /f\nln -s loop /loop\n").succeeded();
    for (words, wanted) in [
        (&["cat", "/gone"][..], "/gone: it does not exist"),
        (&["cat", "/d"], "it is a directory"),
        (&["cat", "/loop"], "symlinks"),
        (&["get", "/gone", "out"], "does not exist"),
        (&["get", "/f", "."], "irectory"),
        (&["put", "missing", "/f"], "No such file"),
        (&["put", ".", "/f"], "irectory"),
        (&["put", "local", "/gone/f"], "its directory is missing"),
        (&["put", "local", "/d"], "`/d` is a directory"),
        (&["put", "local", "/f/g"], "not a directory"),
        (&["append", "local", "/gone"], "does not exist"),
        (&["write-at", "0", "local", "/d"], "is a directory"),
        (&["truncate", "0", "/gone"], "does not exist"),
        (&["truncate", "99TiB", "/f"], "does not fit"),
        (&["mkdir", "/d"], "already exists"),
        (&["mkdir", "/x/y"], "its directory is missing"),
        (&["mkdir", "-p", "/f"], "already exists"),
        (&["rm", "/gone"], "does not exist"),
        (&["rm", "/d"], "it is a directory"),
        (&["rm", "-r", "/"], "`/`"),
        (&["mv", "/gone", "/x"], "does not exist"),
        (&["mv", "/d", "/d/x"], "below it"),
        (&["ln", "/d", "/x"], "is a directory"),
        (&["ln", "/gone", "/x"], "does not exist"),
        (&["ln", "-s", "x", "/f"], "already exists"),
        (&["chmod", "644", "/gone"], "does not exist"),
        (&["chown", "1:1", "/gone"], "does not exist"),
        (&["touch", "/gone/x"], "its directory is missing"),
        (&["stat", "/gone"], "does not exist"),
        (&["ls", "/gone"], "does not exist"),
        (&["grow", "1MiB"], "cut off"),
        (&["set-label", "seventeen letters"], "label"),
    ] {
        bench.refused(words, 1, wanted);
    }
    for (words, wanted) in [
        (&["frobnicate"][..], "`frobnicate` is no command"),
        (&["rm"], "rm [-r] PATH"),
        (&["chmod", "rwx", "/f"], "octal"),
        (&["ls", "relative"], "begins with `/`"),
        (&["set-uuid", "1A2B-3C4D"], "this is ext4"),
        (&[], "--script"),
        (&["--script", "-", "ls", "/"], "cannot be used with"),
        (&["--partition", "nonsense", "ls", "/"], "boot, root or the number"),
    ] {
        bench.refused(words, 2, wanted);
    }
    bench.refused(&["--partition", "1", "ls", "/"], 1, "has no partitions");
    assert!(!bench.world.path("out").exists());
}

#[test]
fn a_listing_is_like_that_of_ls() {
    let bench = Bench::ext4();
    bench.world.write("local", "12345");
    bench
        .script(
            "put local /f\nchown 1000:33 /f\nchmod 4644 /f\nln -s f /link\nmkdir '/a b'\nchmod 1777 '/a b'\n\
             touch -d @0 /link\nrm -r /lost+found\ntouch -d @0 '/a b'\n",
        )
        .succeeded();
    assert_eq!(
        bench.ok(&["ls", "-l", "/"]),
        "drwxrwxrwt 2 0    0  1024 1970-01-01 00:00 a b\n\
         -rwSr--r-- 1 1000 33    5 1970-01-01 00:00 f\n\
         lrwxrwxrwx 1 0    0     1 2023-11-14 22:13 link -> f\n"
    );
    assert_eq!(bench.ok(&["ls", "/f"]), "/f\n");
    assert!(bench.ok(&["ls", "-l", "/link"]).ends_with("/link -> f\n"));
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["ls", "--json", "/"])).unwrap();
    assert_eq!(json["entries"][1]["name"], "f");
    assert_eq!(json["entries"][1]["len_bytes"], 5);
    assert_eq!(json["entries"][2]["target"], "f");
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["stat", "--json", "/f"])).unwrap();
    assert_eq!((&json["mode"], &json["uid"], &json["kind"]), (&"4644".into(), &1000.into(), &"file".into()));
    assert!(bench.ok(&["stat", "/f"]).contains("mode: 4644\nowner: 1000:33\n"));
    let run = Run::of(bench.world.command(&["--json", "fs", "x.img", "df"]).output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["filesystems"][0]["len_bytes"], 16 << 20);
    assert!(bench.ok(&["df"]).contains("16 MiB"));
}

#[test]
fn a_script_is_done_whole_or_not_at_all_and_the_failing_line_is_named() {
    let bench = Bench::ext4();
    let before = bench.digest();
    let modified = || fs::metadata(&bench.image).unwrap().modified().unwrap();
    let then = modified();
    let script = "# a comment\n\nmkdir /one\nmkdir '/two words' # another\n\n  rm /gone\nmkdir /three\n";
    bench.world.write("script.txt", script);
    let run = bench.run(&["--script", "script.txt"]);
    assert!(run.status == 1 && run.err.contains("script.txt:6: rm /gone"), "{}", run.err);
    assert!(run.err.contains("does not exist"), "{}", run.err);
    // A word that is none is found before anything is opened.
    for (script, line) in [("mkdir /one\nmkdri /two\n", 2), ("ls '/\n", 1), ("ls /\nchmod 9 /\n", 2)] {
        bench.world.write("script.txt", script);
        let run = bench.run(&["--script", "script.txt"]);
        assert!(run.status == 2 && run.err.contains(&format!("script.txt:{line}: ")), "{}", run.err);
    }
    assert_eq!((bench.digest(), modified()), (before, then));
    assert_eq!(fs::read_dir(bench.world.path(".")).unwrap().count(), 2);
    bench.world.write("script.txt", "mkdir /one\nput 'script.txt' \"/one/two \\\"words\\\"\"\nls /one\n");
    let run = bench.run(&["--script", "script.txt"]).succeeded();
    assert_eq!(run.out, "two \"words\"\n");
    bench.check_ext4();
}

#[test]
fn reading_changes_nothing_not_even_the_time() {
    let bench = Bench::disk("dos");
    let state = || (bench.digest(), fs::metadata(&bench.image).unwrap().modified().unwrap());
    let before = state();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&bench.image, fs::Permissions::from_mode(0o444)).unwrap();
    }
    bench.ok(&["ls", "-l", "-R", "/"]);
    bench.ok(&["cat", "/boot/firmware/cmdline.txt"]);
    bench.ok(&["get", "/etc/hosts", "hosts"]);
    bench.ok(&["stat", "/boot/firmware"]);
    bench.ok(&["df"]);
    // And a writing run that ends where it began.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&bench.image, fs::Permissions::from_mode(0o644)).unwrap();
    }
    bench.ok(&["mkdir", "-p", "/etc"]);
    bench.ok(&["chmod", "755", "/etc"]);
    assert_eq!(state(), before);
}

#[test]
fn paths_of_a_disk_are_those_of_the_running_system() {
    for label in ["dos", "gpt"] {
        let bench = Bench::disk(label);
        bench.world.write("local", "new\n");
        let script = "put local /boot/firmware/added.txt\nput local /etc/motd\nmkdir /boot/firmware/sub\n\
                      mv /boot/firmware/added.txt /boot/firmware/sub/moved.txt\nappend local /boot/firmware/sub/moved.txt\n\
                      ln -s /boot/firmware/config.txt /etc/config\ntouch -d @1000000000 /boot/firmware/config.txt\n";
        bench.script(script).succeeded();
        let (fat, ext4) = bench.check_disk();
        assert_eq!(mtype(&fat, "sub/moved.txt"), "new\nnew\n", "{label}");
        assert_eq!(tool("debugfs", &["-R", "cat /etc/motd", text(&ext4)]), "new\n");
        assert_eq!(bench.ok(&["cat", "/etc/config"]), mtype(&fat, "config.txt"));
        assert!(tool("mdir", &["-i", text(&fat), "::config.txt"]).contains("2001-09-09   1:46"));
        assert!(bench.ok(&["ls", "/boot/firmware"]).contains("cmdline.txt\n"));
        assert!(bench.ok(&["ls", "-l", "/boot/firmware/config.txt"]).starts_with("-rwxr-xr-x 1 0 0 "));
        let json: serde_json::Value = serde_json::from_str(&bench.ok(&["df", "--json"])).unwrap();
        assert_eq!(json["filesystems"][1]["mounted_on"], "/boot/firmware");
        assert_eq!(json["filesystems"][1]["partition"], 1);
        // One partition alone.
        assert_eq!(bench.ok(&["--partition", "boot", "cat", "/sub/moved.txt"]), "new\nnew\n");
        assert_eq!(bench.ok(&["--partition", "1", "cat", "/sub/moved.txt"]), "new\nnew\n");
        assert_eq!(bench.ok(&["--partition", "2", "cat", "/etc/motd"]), "new\n");
        assert_eq!(bench.ok(&["--partition", "root", "ls", "/boot/firmware"]), "");
        bench.refused(&["--partition", "3", "ls", "/"], 2, "no partition 3");
    }
}

#[test]
fn what_fat_does_not_have_is_refused_by_name() {
    let bench = Bench::disk("dos");
    for (words, wanted) in [
        (&["chmod", "644", "/boot/firmware/config.txt"][..], "has no modes"),
        (&["chown", "1:1", "/boot/firmware/config.txt"], "has no owners"),
        (&["ln", "-s", "x", "/boot/firmware/x"], "has no symlinks"),
        (&["ln", "/boot/firmware/config.txt", "/boot/firmware/x"], "has no hard links"),
        (&["xattr", "set", "/boot/firmware/config.txt", "user.x", "y"], "has no extended attributes"),
        (&["ln", "/etc/hosts", "/boot/firmware/x"], "different partitions"),
        (&["mv", "/etc/hosts", "/boot/firmware/x"], "different partitions"),
        (&["rm", "-r", "/boot/firmware"], "mounted there"),
        (&["rm", "-r", "/boot"], "mounted there"),
        (&["mv", "/boot", "/b"], "mounted there"),
        (&["mkdir", "/boot/firmware/a:b"], "no name for FAT"),
        (&["--partition", "boot", "grow", "1GiB"], "behind partition 1"),
    ] {
        bench.refused(words, 1, wanted);
    }
}

#[test]
fn a_bare_fat_is_edited_as_fsck_and_mtools_like_it() {
    for bits in ["16", "32"] {
        let bench = Bench::fat(bits);
        bench.world.write("local", "hello\n");
        bench
            .script(
                "put local '/A long name.txt'\nmkdir -p /a/b\nput local /a/b/f\nappend local /a/b/f\nwrite-at 3 local /a/b/f\n\
                 truncate 10 /a/b/f\nmv /a/b /b\nmv '/A long name.txt' /short\nset-uuid 1A2B-3C4D\nset-label fresh\n\
                 put local /gone\nrm /gone\n",
            )
            .succeeded();
        bench.check_fat();
        assert_eq!(mtype(&bench.image, "b/f"), "helhello\nl");
        assert_eq!(mtype(&bench.image, "short"), "hello\n");
        let listing = tool("mdir", &["-i", text(&bench.image), "::"]);
        assert!(listing.contains("is FRESH") && listing.contains("1A2B-3C4D"), "{listing}");
        assert_eq!(bench.ok(&["ls", "/"]), "a\nb\nshort\n");
        bench.refused(&["grow", "80MiB"], 1, "cannot be grown");
        bench.refused(&["set-uuid", "6a1c9d3e-0f42-4a57-9c0e-2b7d8f5e1a90"], 2, "this is FAT");
    }
}

#[test]
fn packed_images_are_read_and_never_written() {
    let bench = Bench::ext4();
    bench.world.write("local", "hello\n");
    bench.ok(&["put", "local", "/f"]);
    for (tool_name, suffix) in [("xz", "xz"), ("gzip", "gz"), ("zstd", "zst")] {
        let script = format!("{tool_name} -q -c '{0}' > '{0}.{suffix}'", text(&bench.image));
        tool("sh", &["-c", &script]);
        let packed = format!("x.img.{suffix}");
        let run = bench.world.run(&["fs", &packed, "cat", "/f"]).succeeded();
        assert_eq!(run.out, "hello\n");
        let run = bench.world.run(&["fs", &packed, "rm", "/f"]);
        assert!(
            run.status == 1 && run.err.contains("packed") && run.err.contains("hint: unpack"),
            "{}",
            run.err
        );
    }
    let small = crate::support::world::small_base();
    let run = bench.world.run(&["fs", text(&small), "cat", "/boot/firmware/cmdline.txt"]).succeeded();
    assert!(run.out.contains("root="), "{}", run.out);
    bench.world.write("noise", &"noise ".repeat(1000));
    let run = bench.world.run(&["fs", "noise", "ls", "/"]);
    assert!(run.status == 1 && run.err.contains("neither a partition table nor"), "{}", run.err);
}

#[test]
fn a_disk_and_a_bare_filesystem_grow() {
    for label in ["dos", "gpt"] {
        let bench = Bench::disk(label);
        bench.script("grow 200MiB\nmkdir /after\n").succeeded();
        assert_eq!(fs::metadata(&bench.image).unwrap().len(), 200 << 20);
        let (_, ext4) = bench.check_disk();
        let len = fs::metadata(&ext4).unwrap().len();
        assert!(len > (150 << 20), "{label}: {len}");
        let usage: serde_json::Value = serde_json::from_str(&bench.ok(&["df", "--json"])).unwrap();
        assert!(usage["filesystems"][0]["len_bytes"].as_u64().unwrap() > len - (8 << 20));
        assert_eq!(bench.ok(&["ls", "/after"]), "");
    }
    let bench = Bench::ext4();
    bench.script("grow 64MiB\nset-label bigger\nset-uuid 6a1c9d3e-0f42-4a57-9c0e-2b7d8f5e1a90\n").succeeded();
    bench.check_ext4();
    let said = tool("dumpe2fs", &["-h", text(&bench.image)]);
    for wanted in ["Block count:              65536", "bigger", "6a1c9d3e-0f42-4a57-9c0e-2b7d8f5e1a90"] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_second_editor_is_kept_out() {
    let bench = Bench::ext4();
    let held = fs::File::open(&bench.image).unwrap();
    held.lock().unwrap();
    for words in [&["ls", "/"][..], &["mkdir", "/x"]] {
        bench.refused(words, 3, "in use by another process");
    }
    held.unlock().unwrap();
    held.lock_shared().unwrap();
    bench.refused(&["mkdir", "/x"], 3, "in use by another process");
    bench.ok(&["ls", "/"]);
}

#[test]
fn the_beginning_of_a_log_is_ignored_by_readers_and_thrown_away_by_writers() {
    let bench = Bench::ext4();
    let log = bench.world.path(".x.img.cardpress-redo");
    fs::write(&log, b"cardpress redo 1 and nothing else").unwrap();
    bench.ok(&["ls", "/"]);
    assert!(log.exists());
    let run = bench.run(&["mkdir", "/x"]);
    assert!(run.status == 0 && run.err.contains("threw away"), "{}", run.err);
    assert!(!log.exists());
    bench.check_ext4();
}

/// Leaves a whole log beside `image` that would put `byte` at `offset`.
fn leave_log(image: &Path, offset: u64, byte: u8) {
    use cardpress::base::Interrupt;
    use cardpress::block::redo::{Host, commit};
    use cardpress::block::{Device as _, FileDevice, Overlay};
    // What is open for reading only cannot be written, so the change stops there.
    let file = fs::File::open(image).unwrap();
    let overlay = Overlay::new(FileDevice::new(file.try_clone().unwrap()).unwrap());
    overlay.write_at(offset, &[byte]).unwrap();
    let stopped = commit(&Host::new(file, image.to_owned()), &overlay, &[], &Interrupt::default());
    assert!(stopped.is_err(), "the log was done");
}

#[test]
fn a_whole_log_is_read_through_and_finished_by_the_next_writer() {
    let bench = Bench::ext4();
    bench.world.write("local", "old");
    bench.ok(&["put", "local", "/f"]);
    let block: u64 = bench.debugfs("blocks /f").trim().parse().unwrap();
    let log = bench.world.path(".x.img.cardpress-redo");
    leave_log(&bench.image, block * 1024, b'O');
    let before = bench.digest();
    let run = bench.run(&["cat", "/f"]);
    assert!(run.out == "Old" && run.err.contains("unfinished changes"), "{}{}", run.out, run.err);
    assert!(bench.digest() == before && log.exists());
    let run = bench.run(&["mkdir", "-p", "/"]);
    assert!(run.status == 0 && run.err.contains("finished changes"), "{}", run.err);
    assert!(!log.exists());
    assert_eq!(bench.debugfs("cat /f"), "Old");

    // Another image in its place.
    leave_log(&bench.image, block * 1024, b'o');
    let mut bytes = fs::read(&bench.image).unwrap();
    bytes[usize::try_from(block).unwrap() * 1024] = b'x';
    fs::write(&bench.image, bytes).unwrap();
    for words in [&["cat", "/f"][..], &["mkdir", "/x"]] {
        bench.refused(words, 3, "not of this");
    }
    assert!(log.exists());
}

#[test]
fn build_finishes_what_was_left_of_a_change_of_its_base() {
    let bench = Bench::disk("dos");
    let profile = crate::support::world::profile(&[("n1", "192.168.7.11")], "");
    bench.world.write("cluster.toml", &profile);
    // In the gap before the first partition.
    leave_log(&bench.image, 1 << 20, 0xaa);
    let held = fs::File::open(&bench.image).unwrap();
    held.lock().unwrap();
    let words = ["build", "cluster.toml", "--image", "x.img", "--format", "none"];
    let run = bench.world.run(&words);
    assert!(run.status == 3 && run.err.contains("in use"), "{}", run.err);
    held.unlock().unwrap();
    bench.world.run(&words).succeeded();
    assert_eq!(fs::read(&bench.image).unwrap()[1 << 20], 0xaa);
    assert!(!bench.world.path(".x.img.cardpress-redo").exists());
}

/// More than fits the memory that edits may take.
#[test]
fn a_large_file_goes_through_a_temporary_file_that_is_gone_afterwards() {
    let bench = Bench::ext4();
    bench.ok(&["grow", "128MiB"]);
    let content: Vec<u8> = (0..80_000_000_u32).map(|at| u8::try_from(at / 4096 % 251).unwrap()).collect();
    fs::write(bench.world.path("big"), &content).unwrap();
    bench.ok(&["put", "big", "/big"]);
    bench.ok(&["get", "/big", "back"]);
    assert!(fs::read(bench.world.path("back")).unwrap() == content);
    bench.check_ext4();
    assert_eq!(fs::read_dir(bench.world.path(".")).unwrap().count(), 3);
}

#[test]
fn extended_attributes_are_set_read_and_removed() {
    let bench = Bench::ext4();
    let run = bench.script(
        "touch /f\nxattr set /f user.text 'two words'\nxattr set /f user.bytes 0x00ff10\n\
         xattr set /f security.capability 0x0100000200200000000000000000000000000000\nxattr get /f user.text\n\
         xattr get /f user.bytes\nxattr set /f user.gone x\nxattr rm /f user.gone\n",
    );
    assert_eq!((run.status, run.out.as_str()), (0, "two words\n0x00ff10\n"), "{}", run.err);
    let said = bench.debugfs("ea_list /f");
    assert!(said.contains("user.text (9) = \"two words\"") && !said.contains("gone"), "{said}");
    assert!(bench.ok(&["stat", "/f"]).contains("xattr: user.text=two words\n"));
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["stat", "--json", "/f"])).unwrap();
    assert_eq!(json["xattrs"].as_array().unwrap().len(), 3);
    assert_eq!(json["xattrs"][1]["name"], "user.bytes");
    assert_eq!(json["xattrs"][1]["value_hex"], "0x00ff10");
    // New content: the capability was for the old one.
    bench.world.write("local", "new");
    bench.ok(&["put", "local", "/f"]);
    assert_eq!(bench.ok(&["xattr", "get", "/f", "user.text"]), "two words\n");
    bench.refused(&["xattr", "get", "/f", "security.capability"], 1, "no extended attribute");
    bench.refused(&["xattr", "rm", "/f", "user.gone"], 1, "no extended attribute");
    bench.refused(&["xattr", "set", "/f", "nonsense", "x"], 1, "nonsense");
    bench.check_ext4();
}

#[test]
fn mv_replaces_as_rename_2_does() {
    let bench = Bench::ext4();
    bench.world.write("one", "1");
    bench.world.write("two", "2");
    let script = "put one /a\nput two /b\nmv /a /b\nmkdir /d\nmkdir /e\ntouch /d/x\nmv /d /e\nput one /c\n\
                  ln /c /c2\nmv /c /c2\n";
    bench.script(script).succeeded();
    assert_eq!(bench.ok(&["cat", "/b"]), "1");
    assert_eq!(bench.ok(&["ls", "/e"]), "x\n");
    bench.ok(&["mkdir", "/f"]);
    bench.refused(&["mv", "/f", "/e"], 1, "not empty");
    bench.refused(&["mv", "/f", "/b"], 1, "`/b` is not a directory");
    bench.refused(&["mv", "/b", "/f"], 1, "`/f` is a directory");
    bench.check_ext4();
}

#[test]
fn filesystems_are_made_in_bare_files_and_nowhere_else() {
    let world = World::in_memory();
    let image = world.path("x.img");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let bench = Bench { world, image };
    let run = bench.run(&["ls", "/"]);
    assert!(run.status == 1 && run.err.contains("`cardpress fs FILE mkfs ext4`"), "{}", run.err);
    bench.world.write("local", "hello\n");
    bench.script("mkfs ext4\nset-label fresh\nput local /f\n").succeeded();
    bench.check_ext4();
    assert_eq!(bench.debugfs("cat /f"), "hello\n");
    let first = bench.digest();
    // The same commands give the same bytes.
    fs::File::create(&bench.image).unwrap().set_len(64 << 20).unwrap();
    bench.script("mkfs ext4\nset-label fresh\nput local /f\n").succeeded();
    assert_eq!(bench.digest(), first);
    bench.script("mkfs fat32\nput local /f\n").succeeded();
    bench.check_fat();
    assert_eq!(mtype(&bench.image, "f"), "hello\n");
    bench.script("mkfs ext4\nput local /g\n").succeeded();
    bench.check_ext4();
    assert_eq!(bench.ok(&["ls", "/"]), "g\nlost+found\n");
    assert!(fs::read(&bench.image).unwrap()[..512].iter().all(|byte| *byte == 0));
    bench.refused(&["--partition", "root", "mkfs", "ext4"], 3, "a file of its own");
    let disk = Bench::disk("dos");
    disk.refused(&["mkfs", "ext4"], 3, "has a partition table");
    disk.refused(&["--partition", "2", "mkfs", "ext4"], 3, "has a partition table");
}

/// A journal that holds a changed block, written by debugfs.
#[test]
fn what_a_journal_holds_is_seen_by_readers_and_written_with_the_first_edit() {
    let bench = Bench::ext4();
    bench.world.write("local", "old content\n");
    bench.ok(&["put", "local", "/f"]);
    let block = bench.debugfs("blocks /f").trim().to_owned();
    let mut new = b"new content\n".to_vec();
    new.resize(1024, 0);
    fs::write(bench.world.path("block"), &new).unwrap();
    let script = format!("jo\njw -b {block} {}\njc\n", text(&bench.world.path("block")));
    let script = bench.world.write("journal.debugfs", &script);
    tool("debugfs", &["-w", "-f", text(&script), text(&bench.image)]);
    assert!(tool("dumpe2fs", &["-h", text(&bench.image)]).contains("needs_recovery"));
    let before = bench.digest();
    let run = bench.run(&["cat", "/f"]);
    assert_eq!((run.status, run.out.as_str()), (0, "new content\n"), "{}", run.err);
    assert!(run.err.contains("recovered its journal (1 transactions"), "{}", run.err);
    assert_eq!(bench.digest(), before);
    bench.refused(&["rm", "/gone"], 1, "does not exist");
    let run = bench.run(&["mkdir", "/d"]);
    assert!(run.status == 0 && run.err.contains("recovered"), "{}", run.err);
    bench.check_ext4();
    assert_eq!(bench.debugfs("cat /f"), "new content\n");
    assert!(bench.run(&["ls", "/"]).err.is_empty());
}

#[test]
fn a_filesystem_marked_as_having_errors_is_read_and_not_edited() {
    let bench = Bench::ext4();
    bench.ok(&["mkdir", "/d"]);
    tool("debugfs", &["-w", "-R", "set_super_value state 2", text(&bench.image)]);
    assert_eq!(bench.ok(&["ls", "/"]), "d\nlost+found\n");
    bench.refused(&["mkdir", "/e"], 1, "having errors");
}
