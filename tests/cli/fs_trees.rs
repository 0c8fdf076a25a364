//! `fs` on whole trees: find, du, tar-out, tar-in.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use cardpress::base::Sha256Digest;
use serde_json::Value;

use crate::support::shapes::{self, Shape};
use crate::support::tar::{Member, archive};
use crate::support::tools::{must, run, text, tool};
use crate::support::world::{Run, World};

/// A world with an image in it.
struct Bench {
    world: World,
}

impl Bench {
    fn ext4() -> Self {
        let world = World::in_memory();
        must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", text(&world.path("x.img")), "16M"]);
        Self { world }
    }

    fn fat() -> Self {
        let world = World::in_memory();
        let image = world.path("x.img");
        fs::File::create(&image).unwrap().set_len(20 << 20).unwrap();
        must("mkfs.fat", ["-F", "16", "-s", "2", "--invariant", text(&image)]);
        Self { world }
    }

    fn disk() -> Self {
        let world = World::in_memory();
        Shape::raspios(13, "trixie", "arm64", "2026-06-18", "resize").make(&world, "x.img");
        Self { world }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.world.command(&[&["fs", "x.img"], words].concat());
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }

    fn run(&self, words: &[&str]) -> Run {
        Run::of(self.command(words).stdin(Stdio::null()).output().unwrap())
    }

    fn ok(&self, words: &[&str]) -> String {
        self.run(words).succeeded().out
    }

    /// The same with something on standard input.
    fn fed(&self, words: &[&str], input: &[u8]) -> Run {
        let mut command = self.command(words);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever refuses an archive need not read it to its end.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run::of(child.wait_with_output().unwrap())
    }

    fn script(&self, script: &str) -> Run {
        self.fed(&["--script", "-"], script.as_bytes())
    }

    fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&fs::read(self.world.path("x.img")).unwrap())
    }

    /// An archive that is unpacked into `/in`: fails with these words, and leaves every byte as it was.
    #[track_caller]
    fn refuses(&self, archive: &[u8], wanted: &[&str]) {
        let before = self.digest();
        let run = self.fed(&["tar-in", "/in"], archive);
        assert!(
            run.status == 1 && wanted.iter().all(|word| run.err.contains(word)),
            "{} {}",
            run.status,
            run.err
        );
        assert!(self.digest() == before, "{}", run.err);
    }

    fn check_ext4(&self) {
        let said = run("e2fsck", ["-fn", text(&self.world.path("x.img"))]);
        assert_eq!(said.status, 0, "{}", said.text);
    }
}

/// Files, links and directories in two levels.
fn grove() -> Bench {
    let bench = Bench::ext4();
    bench.world.write("local", &"x".repeat(5000));
    let script = "rm -r /lost+found\nmkdir -p /a/b\nput local /a/b/two.txt\nput local /a/one.txt\nln /a/one.txt /a/same\n\
                  ln -s one.txt /a/link\nln -s /a /way\nmkdir /a-b\ntouch -d @1800000000.5 /a/new\n\
                  xattr set /a user.note 'of a\\nfolder'\nchmod 4750 /a/b/two.txt\nchown 1000:70000 /a/b/two.txt\n";
    bench.script(script).succeeded();
    bench
}

#[test]
fn find_prints_the_names_that_pass_its_tests() {
    let bench = grove();
    assert_eq!(
        bench.ok(&["find", "/"]),
        "/\n/a\n/a/b\n/a/b/two.txt\n/a/link\n/a/new\n/a/one.txt\n/a/same\n/a-b\n/way\n"
    );
    for (words, wanted) in [
        (&["find", "/a", "-name", "*.txt"][..], "/a/b/two.txt\n/a/one.txt\n"),
        (&["find", "/a", "-name", "[ab]", "-type", "d"], "/a\n/a/b\n"),
        (&["find", "/", "-type", "l,d", "-maxdepth", "1"], "/\n/a\n/a-b\n/way\n"),
        (&["find", "/a", "-newer", "/a/one.txt"], "/a/new\n"),
        (&["find", "/a", "-maxdepth", "0"], "/a\n"),
        (&["find", "/a", "-type", "s"], ""),
        // A link is met and not followed.
        (&["find", "/way"], "/way\n"),
        (&["find", "/a/b", "-type", "f", "-print0"], "/a/b/two.txt\0"),
    ] {
        assert_eq!(bench.ok(words), wanted, "{words:?}");
    }
    let found: Value = serde_json::from_str(&bench.ok(&["find", "/a", "-name", "l*", "--json"])).unwrap();
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    assert_eq!((&found[0]["path"], &found[0]["target"]), (&"/a/link".into(), &"one.txt".into()));
    assert_eq!(found[0]["kind"], "symlink");
    assert_eq!(bench.ok(&["find", "/a", "-name", "none", "--json"]), "[]\n");
    let run = bench.run(&["find", "/gone"]);
    assert!(run.status == 1 && run.err.contains("does not exist"), "{}", run.err);
    assert_eq!(bench.run(&["find", "/a", "-type", "x"]).status, 2);
}

#[test]
fn du_adds_up_what_is_allocated_and_counts_hard_links_once() {
    let bench = grove();
    // 5 blocks of 1 KiB each file, one each directory.
    assert_eq!(bench.ok(&["du", "/a"]), "6\t/a/b\n12\t/a\n");
    assert_eq!(bench.ok(&["du", "/"]), "6\t/a/b\n12\t/a\n1\t/a-b\n14\t/\n");
    assert_eq!(bench.ok(&["du", "-s", "-h", "/"]), "14K\t/\n");
    assert_eq!(bench.ok(&["du", "/a/one.txt"]), "5\t/a/one.txt\n");
    let sums: Value = serde_json::from_str(&bench.ok(&["du", "--json", "/a"])).unwrap();
    assert_eq!(
        sums,
        serde_json::json!([
            { "path": "/a/b", "allocated_bytes": 6 << 10 },
            { "path": "/a", "allocated_bytes": 12 << 10 },
        ])
    );
    assert!(bench.ok(&["stat", "--json", "/a/one.txt"]).contains("\"allocated_bytes\":5120"));
    assert_eq!(bench.run(&["du", "/gone"]).status, 1);
}

#[test]
fn walks_go_into_the_boot_partition_where_it_is_mounted() {
    let bench = Bench::disk();
    let found = bench.ok(&["find", "/boot", "-type", "f", "-name", "c*.txt"]);
    assert_eq!(found, "/boot/firmware/cmdline.txt\n/boot/firmware/config.txt\n");
    let sums = bench.ok(&["du", "/boot"]);
    let sum = |path: &str| -> u64 {
        let line = sums.lines().find(|line| line.ends_with(&format!("\t{path}"))).unwrap();
        line.split('\t').next().unwrap().parse().unwrap()
    };
    assert!(sum("/boot/firmware") > 0 && sum("/boot") > sum("/boot/firmware"), "{sums}");
    let run = bench.run(&["chmod", "-R", "700", "/boot"]);
    assert!(run.status == 1 && run.err.contains("/boot/firmware is on a FAT"), "{}", run.err);
    // And an archive has both.
    bench.ok(&["tar-out", "/boot", "x.tar"]);
    let listing = tool("tar", &["-tf", text(&bench.world.path("x.tar"))]);
    assert!(listing.contains("./firmware/cmdline.txt\n"), "{listing}");
    let (fat, _) = shapes::cut(&bench.world.path("x.img"), &bench.world);
    let cmdline = tool("mtype", &["-i", text(&fat), "::cmdline.txt"]);
    let archive = text(&bench.world.path("x.tar")).to_owned();
    assert_eq!(tool("tar", &["-xOf", &archive, "./firmware/cmdline.txt"]), cmdline);
}

#[test]
fn modes_and_owners_are_set_for_whole_trees() {
    let bench = grove();
    bench.script("chown -R 5:6 /a\nchmod -R 700 /a\n").succeeded();
    let found: Value = serde_json::from_str(&bench.ok(&["find", "/a", "--json"])).unwrap();
    for entry in found.as_array().unwrap() {
        let is_link = entry["kind"] == "symlink";
        assert_eq!(entry["mode"], if is_link { "0777" } else { "0700" }, "{entry}");
        assert_eq!((&entry["uid"], &entry["gid"]), (&5.into(), &6.into()), "{entry}");
    }
    // What links lead to is elsewhere.
    bench
        .script("mkdir /b\ntouch /other\nln -s /other /b/link\nchown -R 7:7 /b\nchmod -R 755 /b\n")
        .succeeded();
    let other: Value = serde_json::from_str(&bench.ok(&["stat", "--json", "/other"])).unwrap();
    assert_eq!((&other["uid"], &other["mode"]), (&0.into(), &"0644".into()));
    bench.check_ext4();
}

#[test]
fn what_goes_out_comes_in_again_the_same() {
    let bench = grove();
    bench.ok(&["tar-out", "/", "whole.tar"]);
    let first = fs::read(bench.world.path("whole.tar")).unwrap();
    // Over itself: nothing is other than it was.
    let before: Value = serde_json::from_str(&bench.ok(&["find", "/", "--json"])).unwrap();
    bench.ok(&["tar-in", "whole.tar", "/"]);
    bench.check_ext4();
    let known = |mut found: Value| {
        for entry in found.as_array_mut().unwrap() {
            for key in ["inode", "changed", "accessed"] {
                entry.as_object_mut().unwrap().remove(key);
            }
        }
        found
    };
    let after: Value = serde_json::from_str(&bench.ok(&["find", "/", "--json"])).unwrap();
    assert_eq!(known(after), known(before));
    assert_eq!(bench.ok(&["xattr", "get", "/a", "user.note"]), "of a\\nfolder\n");
    // Through pipes, into another image, and below another directory.
    let other = Bench::ext4();
    other.script("rm -r /lost+found\nmkdir /in\n").succeeded();
    other.fed(&["tar-in", "/in"], &first).succeeded();
    other.check_ext4();
    let mut out = other.command(&["tar-out", "/in"]);
    let second = out.output().unwrap();
    assert!(second.status.success() && second.stdout == first);
    // The same bytes from standard output.
    let piped = bench.command(&["tar-out", "/"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout == first);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(bench.world.path("whole.tar")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn packed_archives_are_unpacked_on_the_way() {
    let bench = Bench::ext4();
    bench.world.write("x.tar", "");
    fs::write(bench.world.path("x.tar"), archive(&[Member::file("f", b"content")])).unwrap();
    for (program, suffix) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        let tar = text(&bench.world.path("x.tar")).to_owned();
        tool("sh", &["-c", &format!("{program} -q -c '{tar}' > '{tar}.{suffix}'")]);
        bench.script(&format!("mkdir /{suffix}\ntar-in x.tar.{suffix} /{suffix}\n")).succeeded();
        assert_eq!(bench.ok(&["cat", &format!("/{suffix}/f")]), "content");
        // Cut off anywhere it is nothing at all.
        let packed = fs::read(bench.world.path(&format!("x.tar.{suffix}"))).unwrap();
        let before = bench.digest();
        let run = bench.fed(&["tar-in", "/"], &packed[..packed.len() - 5]);
        assert!(run.status == 1 && bench.digest() == before, "{suffix}: {}", run.err);
    }
    bench.world.write("x.bz2", "BZh91AY&SY");
    let run = bench.run(&["tar-in", "x.bz2", "/"]);
    assert!(run.status == 1 && run.err.contains("bzip2"), "{}", run.err);
    bench.check_ext4();
}

#[test]
fn trees_in_wrong_places_say_what_is_wanted() {
    let bench = grove();
    bench.world.write("local", "x");
    fs::write(bench.world.path("x.tar"), archive(&[Member::file("f", b"")])).unwrap();
    for (words, status, wanted) in [
        (&["tar-out", "/gone"][..], 1, "does not exist"),
        (&["tar-out", "/a/one.txt"], 1, "it is no directory"),
        (&["tar-out", "/a", "."], 1, "it is a directory"),
        (&["tar-in", "x.tar", "/gone"], 1, "does not exist"),
        (&["tar-in", "x.tar", "/a/one.txt"], 1, "it is no directory"),
        (&["tar-in", "missing.tar", "/"], 1, "No such file"),
        (&["tar-in", ".", "/"], 1, "hint: whole trees travel as archives"),
        (&["tar-in", "/"], 1, "it is empty"),
        (&["tar-in", "local", "/"], 1, "1 of the 512 bytes"),
        (&["put", ".", "/x"], 1, "tar-in PATH"),
        (&["get", "/a", "out"], 1, "tar-out PATH"),
        (&["tar-in"], 2, "tar-in [LOCAL] PATH"),
    ] {
        let before = bench.digest();
        let run = bench.run(words);
        assert!(run.status == status && run.err.contains(wanted), "{words:?}: {} {}", run.status, run.err);
        assert!(bench.digest() == before && !bench.world.path("out").exists());
    }
    // Standard input is one stream.
    for script in ["tar-in /a\n", "tar-in - /a\n"] {
        let run = bench.script(script);
        assert!(run.status == 2 && run.err.contains("is the script already"), "{}", run.err);
    }
    bench.world.write("script", "tar-in /a\ntar-in /a\n");
    let run = bench.run(&["--script", "script"]);
    assert!(run.status == 2 && run.err.contains("read once only"), "{}", run.err);
}

#[test]
fn nobody_reading_an_archive_is_no_error() {
    let bench = grove();
    let image = text(&bench.world.path("x.img")).to_owned();
    let program = env!("CARGO_BIN_EXE_cardpress");
    let script = format!("{{ '{program}' fs '{image}' tar-out / && echo done >&2; }} | head -c 600 | wc -c");
    let said = run("sh", ["-c", &script]);
    assert_eq!(said.text, "600\ndone\n");
}

/// `/in` is where archives go, `/out` where they must not.
fn fortress() -> Bench {
    let bench = Bench::ext4();
    bench.world.write("local", "old");
    bench.script("mkdir /in\nmkdir /out\nput local /out/f\nput local /in/f\nln -s /out /in/way\nln -s ../../../out /in/up\n").succeeded();
    bench
}

#[test]
fn a_member_named_with_dots_does_not_get_out() {
    let bench = fortress();
    for name in ["../x", "a/../../x", "..", "a/.."] {
        bench.refuses(&archive(&[Member::file(name, b"new")]), &[&format!("cannot unpack `{name}`"), "`..`"]);
    }
}

#[test]
fn a_member_with_an_absolute_name_does_not_get_out() {
    fortress()
        .refuses(&archive(&[Member::file("/out/f", b"new")]), &["cannot unpack `/out/f`", "begins with `/`"]);
}

#[test]
fn a_member_behind_a_link_of_the_archive_does_not_get_out() {
    let bench = fortress();
    for target in ["/out", "../out", "../../out"] {
        let members = [Member::symlink("l", target), Member::file("l/f", b"new")];
        bench.refuses(&archive(&members), &["cannot unpack `l/f`", "leads it to /out", "not below /in"]);
        // Nor does a directory of that name, or a link through it.
        let members = [Member::symlink("l", target), Member::directory("l/")];
        bench.refuses(&archive(&members), &["cannot unpack `l/`", "not below /in"]);
        let members = [Member::symlink("l", target), Member::file("l/new/deep", b"new")];
        bench.refuses(&archive(&members), &["cannot unpack `l/new/deep`", "not below /in"]);
    }
    // A link that is hard linked is the same link.
    let members = [Member::symlink("l", "/out"), Member::hard_link("m", "l"), Member::file("m/f", b"new")];
    bench.refuses(&archive(&members), &["cannot unpack `m/f`", "not below /in"]);
    // And one that takes the place of a directory that was good a moment ago.
    let members = [
        Member::file("d/f", b"new"),
        Member::symlink("e", "d"),
        Member::file("e/g", b"new"),
        Member::symlink("e", "/out"),
        Member::file("e/f", b"new"),
    ];
    bench.refuses(&archive(&members), &["cannot unpack `e/f`", "not below /in"]);
}

#[test]
fn a_member_behind_a_link_of_the_image_does_not_get_out() {
    let bench = fortress();
    for way in ["way", "up"] {
        let name = format!("{way}/f");
        let words = [&format!("cannot unpack `{name}`")[..], "not below /in"];
        bench.refuses(&archive(&[Member::file(&name, b"new")]), &words);
    }
}

#[test]
fn a_hard_link_to_a_file_outside_is_not_made() {
    let bench = fortress();
    for (target, wanted) in [("/out/f", "begins with `/`"), ("../out/f", "`..`"), ("way/f", "not below /in")]
    {
        let members = [Member::hard_link("h", target)];
        bench
            .refuses(&archive(&members), &["cannot unpack `h`", &format!("hard link to `{target}`"), wanted]);
    }
    bench.refuses(&archive(&[Member::hard_link("h", "gone")]), &["cannot unpack `h`", "does not exist"]);
    bench.refuses(&archive(&[Member::hard_link("h", ".")]), &["cannot unpack `h`", "directory"]);
}

#[test]
fn a_member_that_is_longer_than_the_archive_is_not_unpacked() {
    let bench = fortress();
    let mut whole = archive(&[Member::file("f", &[7; 5000])]);
    whole.truncate(512 + 4000);
    bench.refuses(&whole, &["cannot unpack `f`"]);
    // Nor one that is longer than the filesystem.
    for len_bytes in [64 << 20, 1 << 40, u64::MAX >> 1] {
        let mut member = Member::file("huge", b"");
        member.len_bytes = Some(len_bytes);
        bench.refuses(&archive(&[member]), &["cannot unpack `huge`"]);
    }
}

#[test]
fn an_extended_header_of_any_length_does_not_fill_the_memory() {
    let bench = fortress();
    let mut member = Member::pax(&[]);
    member.len_bytes = Some(8 << 30);
    bench.refuses(
        &archive(&[member, Member::file("f", b"")]),
        &["has 8589934592 bytes, wanted at most 1048576"],
    );
}

#[test]
fn names_that_no_path_can_have_are_refused_by_name() {
    let bench = fortress();
    let long = "n".repeat(256);
    let deep = "d/".repeat(2100);
    for (name, wanted) in [
        (&b"caf\xe9"[..], "not UTF-8"),
        (b"a\nb", "control character"),
        (long.as_bytes(), "255 bytes"),
        (deep.as_bytes(), "4095"),
    ] {
        let members = [Member::pax(&[("path", name)]), Member::file("short", b"")];
        bench.refuses(&archive(&members), &["cannot unpack `", wanted]);
    }
    bench.refuses(
        &archive(&[Member::file("f/g", b"")]),
        &["cannot unpack `f/g`", "/in/f: it is no directory"],
    );
    bench.refuses(
        &archive(&[Member::directory("d/"), Member::file("d", b"")]),
        &["cannot unpack `d`", "/in/d is a directory"],
    );
}

#[test]
fn links_that_stay_inside_are_followed_and_directories_stay() {
    let bench = Bench::ext4();
    bench.world.write("local", "old");
    // As on a system whose /lib is in /usr.
    bench
        .script("mkdir -p /usr/lib\nln -s usr/lib /lib\nput local /usr/lib/kept\nput local /f\nln /f /g\nln -s f /s\n")
        .succeeded();
    let mut folder = Member::directory("lib/");
    folder.mode = 0o2775;
    let members = [
        folder,
        Member::file("lib/new", b"new"),
        Member::file("f", b"new"),
        Member::file("s", b"new"),
        Member::hard_link("lib/hard", "lib/new"),
        Member::file("deep/er/x", b""),
    ];
    bench.fed(&["tar-in", "/"], &archive(&members)).succeeded();
    assert_eq!(bench.ok(&["find", "/usr"]), "/usr\n/usr/lib\n/usr/lib/hard\n/usr/lib/kept\n/usr/lib/new\n");
    assert!(bench.ok(&["stat", "/usr/lib"]).contains("mode: 2775"));
    // What had another name, or was a link, is left alone.
    assert_eq!(bench.ok(&["cat", "/g"]), "old");
    assert_eq!((bench.ok(&["cat", "/f"]), bench.ok(&["cat", "/s"])), ("new".into(), "new".into()));
    assert_eq!(bench.ok(&["find", "/s", "-type", "f"]), "/s\n");
    assert!(bench.ok(&["stat", "/deep"]).contains("mode: 0755\nowner: 0:0"));
    bench.check_ext4();
}

#[test]
fn what_the_archive_says_is_all_that_a_file_has() {
    let bench = Bench::ext4();
    // rwx for owner, 1000 and mask: as setfacl makes it.
    let acl = "0x0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff";
    bench
        .script(&format!(
            "mkdir /d\nxattr set /d system.posix_acl_default {acl}\ntouch /d/f\nxattr set /d/f user.old x\n"
        ))
        .succeeded();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
    let members = [
        Member::pax(&[("SCHILY.xattr.security.capability", &capability), ("SCHILY.xattr.com.apple.x", b"y")]),
        Member::file("d/f", b"new"),
        Member::file("d/new", b"new"),
    ];
    let run = bench.fed(&["tar-in", "/"], &archive(&members)).succeeded();
    assert!(run.err.contains("1 members have attributes that were left out"), "{}", run.err);
    let stat: Value = serde_json::from_str(&bench.ok(&["stat", "--json", "/d/f"])).unwrap();
    let xattrs = stat["xattrs"].as_array().unwrap();
    assert!(xattrs.len() == 1 && xattrs[0]["name"] == "security.capability", "{stat}");
    let new: Value = serde_json::from_str(&bench.ok(&["stat", "--json", "/d/new"])).unwrap();
    assert_eq!((new["xattrs"].as_array().map(Vec::len), &new["mode"]), (Some(0), &"0644".into()));
    bench.check_ext4();
}

#[test]
fn fat_takes_files_and_says_what_it_cannot_keep() {
    let bench = Bench::fat();
    let mut file = Member::file("overlays/a.dtbo", b"content");
    file.uid = 1000;
    let run = bench.fed(&["tar-in", "/"], &archive(&[Member::directory("./"), file])).succeeded();
    assert!(run.err.contains("went to FAT"), "{}", run.err);
    assert_eq!(bench.ok(&["cat", "/overlays/a.dtbo"]), "content");
    for (member, wanted) in [
        (Member::symlink("l", "x"), "has no symlinks"),
        (Member::hard_link("h", "overlays/a.dtbo"), "has no hard links"),
        (Member::fifo("p"), "has no devices"),
        (Member::file("a:b", b""), "no name for FAT"),
    ] {
        let before = bench.digest();
        let run = bench.fed(&["tar-in", "/"], &archive(&[member]));
        assert!(
            run.status == 1 && run.err.contains(wanted) && run.err.contains("cannot unpack"),
            "{}",
            run.err
        );
        assert!(bench.digest() == before);
    }
    let said = run_fsck(&bench);
    assert!(said.0 == 0, "{}", said.1);
    // Out and in again, without a word: nothing is lost.
    bench.ok(&["tar-out", "/", "x.tar"]);
    let run = bench.run(&["tar-in", "x.tar", "/"]);
    assert!(run.status == 0 && !run.err.contains("FAT"), "{}", run.err);
}

fn run_fsck(bench: &Bench) -> (i32, String) {
    let said = run("fsck.fat", ["-n", text(&bench.world.path("x.img"))]);
    (said.status, said.text)
}
