//! `cardpress diff`: which files of two images differ, and the exit status.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::shapes::Shape;
use crate::support::tools::{must, text, tool};
use crate::support::world::{Run, World, profile, small_base};

const NODES: [(&str, &str); 2] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12")];

/// What two images have apart from another, told twice: with every short cut, and reading all.
#[track_caller]
fn diff(world: &World, words: &[&str]) -> Run {
    let run = world.run(&[&["diff"], words].concat());
    let plain = world.run(&[&["diff", "--plain"], words].concat());
    assert_eq!((run.status, &run.out), (plain.status, &plain.out), "{}{}", run.err, plain.err);
    run
}

/// The lines that begin a path.
fn heads(out: &str) -> Vec<&str> {
    out.lines().filter(|line| !line.starts_with(' ')).collect()
}

/// `a.img`, made by mke2fs with a few files in it, and `b.img`, its copy.
fn pair(world: &World) {
    let tree = world.path("tree");
    for (path, content) in [
        ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 pi\n"),
        ("etc/shadow", "root:*:\n"),
        ("usr/bin/tool", "\u{7f}ELF\0\0"),
        ("var/log/long", "a line\n"),
    ] {
        world.write(&format!("tree/{path}"), content);
    }
    let block: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(tree.join("var/blob"), block).unwrap();
    let image = world.path("a.img");
    let words =
        ["-q", "-t", "ext4", "-b", "1024", "-E", "root_owner=0:0", "-d", text(&tree), text(&image), "16M"];
    must("mke2fs", words);
    // Whoever runs this, and with whatever umask.
    let files = ["/etc/hosts", "/etc/shadow", "/usr/bin/tool", "/var/log/long"];
    let commands: String = files.map(|path| format!("chown 0:0 {path}\nchmod 0644 {path}\n")).concat();
    edit(world, "a.img", &commands);
    fs::copy(&image, world.path("b.img")).unwrap();
}

fn edit(world: &World, image: &str, commands: &str) {
    world.write("edits", commands);
    world.run(&["fs", image, "--script", "edits"]).succeeded();
}

#[test]
fn an_image_is_as_itself_and_nothing_is_said() {
    let world = World::new();
    let base = small_base();
    // Unpacks it, and says so.
    world.run(&["check", text(&base)]).succeeded();
    let run = diff(&world, &[text(&base), text(&base)]);
    assert_eq!((run.status, run.out.as_str(), run.err.as_str()), (0, "", ""));
    // The same, unpacked by somebody else.
    let raw = world.path("raw.img");
    tool("sh", &["-c", &format!("xz -dc {} > {}", text(&base), text(&raw))]);
    let run = diff(&world, &[text(&base), "raw.img"]);
    assert_eq!((run.status, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let run = diff(&world, &["raw.img", text(&base), "--json"]);
    let told: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.status, &told["same"], &told["files"]), (0, &true.into(), &Value::Array(vec![])));
}

#[test]
fn a_node_differs_from_its_base_in_what_was_pressed() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let base = small_base();
    let run = diff(&world, &[text(&base), "out/test/n1.img"]);
    assert_eq!(run.status, 1, "{}", run.err);
    let heads = heads(&run.out);
    for head in [
        "~ partition table",
        "~ filesystem /",
        "~ filesystem /boot/firmware",
        "~ /boot/firmware/cmdline.txt",
        "~ /etc/hostname",
        "+ directory /home/ops 0700 1000:1000",
        "+ directory /home/ops/.ssh 0700 1000:1000",
        "- directory /home/pi 0700 1000:1000",
        "~ /etc/shadow",
    ] {
        assert!(heads.contains(&head), "{head}: {}", run.out);
    }
    assert!(run.out.contains("    -raspberrypi\n    +n1\n"), "{}", run.out);
    assert!(run.out.contains("~ /etc/shadow\n    content differs (it looks secret: --secrets shows it)\n"));
    assert!(!run.out.contains("$6$") && !run.out.contains("PRIVATE"), "{}", run.out);
    assert!(run.err.contains(" added, ") && run.err.contains(" removed, "), "{}", run.err);

    let run = diff(&world, &["out/test/n1.img", "out/test/n2.img", "--brief"]);
    assert_eq!(run.status, 1);
    let files: Vec<&str> = run.out.lines().filter(|line| line.starts_with("~ /")).collect();
    assert!(files.contains(&"~ /etc/hostname") && files.contains(&"~ /etc/machine-id"), "{}", run.out);
    assert!(!run.out.contains('+') && !run.out.contains("\n-"), "{}", run.out);

    let run = diff(&world, &["out/test/n1.img", "out/test/n2.img", "--path", "/etc/hostname"]);
    assert_eq!((run.status, run.out.as_str()), (1, "~ /etc/hostname\n    -n1\n    +n2\n"));
    let run = diff(&world, &["out/test/n1.img", "out/test/n2.img", "--path", "/usr"]);
    assert_eq!((run.status, run.out.as_str()), (0, ""));
    let run = diff(&world, &["out/test/n1.img", "out/test/n2.img", "--partition", "boot"]);
    assert_eq!(heads_of_files(&run.out), ["~ /cmdline.txt"]);
}

fn heads_of_files(out: &str) -> Vec<&str> {
    heads(out).into_iter().filter(|head| head.contains(" /") && !head.contains("filesystem")).collect()
}

#[test]
fn every_kind_of_change_is_told() {
    let world = World::in_memory();
    pair(&world);
    world.write("hosts", "127.0.0.1 localhost\n127.0.1.1 node\n");
    edit(
        &world,
        "b.img",
        "put hosts /etc/hosts\nput hosts /etc/new\nchmod 0600 /etc/shadow\nchown 7:8 /usr/bin/tool\n\
         rm /var/log/long\nmkdir /var/log/long\nput hosts /var/log/long/in\nln -s hosts /etc/link\n\
         xattr set /usr/bin/tool user.note hello\nrm -r /lost+found\n",
    );
    let run = diff(&world, &["a.img", "b.img"]);
    let wanted = "\
~ /etc/hosts
     127.0.0.1 localhost
    -127.0.1.1 pi
    +127.0.1.1 node
+ symlink /etc/link -> hosts 0777 0:0
+ file /etc/new 0644 0:0 35 bytes
~ /etc/shadow
    mode 0644 -> 0600
- directory /lost+found 0700 0:0
~ /usr/bin/tool
    owner 0:0 -> 7:8
    xattr user.note added
~ /var/log/long
    kind file -> directory
    mode 0644 -> 0755
+ file /var/log/long/in 0644 0:0 35 bytes
";
    assert_eq!((run.status, run.out.as_str()), (1, wanted));
    assert_eq!(run.err, "3 added, 1 removed, 4 changed\n");
    // The other way round.
    let run = diff(&world, &["b.img", "a.img", "--brief"]);
    let wanted = "~ /etc/hosts\n- /etc/link\n- /etc/new\n~ /etc/shadow\n+ /lost+found\n~ /usr/bin/tool\n\
                  ~ /var/log/long\n- /var/log/long/in\n";
    assert_eq!(run.out, wanted);
}

#[test]
fn json_has_every_fact() {
    let world = World::in_memory();
    pair(&world);
    world.write("hosts", "127.0.0.1 localhost\n");
    world.write("bytes", "\0\0");
    let script =
        "put hosts /etc/hosts\nput bytes /usr/bin/tool\nput hosts /etc/new\nrm /etc/shadow\nset-label b\n";
    edit(&world, "b.img", script);
    let run = diff(&world, &["a.img", "b.img", "--json"]);
    let told: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.status, &told["schema"], &told["same"]), (1, &1.into(), &false.into()));
    assert_eq!(told["counts"], serde_json::json!({ "added": 1, "removed": 1, "changed": 2, "unread": 0 }));
    assert_eq!(
        told["filesystems"],
        serde_json::json!([{
            "mounted_on": "/",
            "changes": [{ "what": "label", "before": "``", "after": "`b`" }],
        }])
    );
    let files = told["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/etc/hosts", "/etc/new", "/etc/shadow", "/usr/bin/tool"]);
    assert_eq!(files[0]["differs"], serde_json::json!(["content"]));
    assert_eq!(files[0]["diff"], serde_json::json!([" 127.0.0.1 localhost", "-127.0.1.1 pi"]));
    assert_eq!((&files[1]["change"], &files[1]["after"]["mode"]), (&"added".into(), &"0644".into()));
    assert_eq!((&files[2]["change"], &files[2]["before"]["len_bytes"]), (&"removed".into(), &8.into()));
    assert_eq!(files[3]["sha256"]["after"], cardpress::base::Sha256Digest::of(b"\0\0").to_string());
}

#[test]
fn one_bit_in_a_block_of_the_same_inode_is_found() {
    let world = World::in_memory();
    pair(&world);
    // 4 bytes that only /var/blob has, in the middle of it.
    let image = fs::read(world.path("b.img")).unwrap();
    let needle: Vec<u8> = (99_000..99_008_u32).flat_map(u32::to_le_bytes).collect();
    let at = image.windows(needle.len()).position(|window| window == needle).unwrap();
    File::options()
        .write(true)
        .open(world.path("b.img"))
        .unwrap()
        .write_all_at(&[image[at] ^ 1], at as u64)
        .unwrap();
    let run = diff(&world, &["a.img", "b.img"]);
    assert_eq!((run.status, heads(&run.out)), (1, vec!["~ /var/blob"]), "{}", run.err);
    assert_eq!(run.out.matches("SHA-256").count(), 2, "{}", run.out);
}

#[test]
fn blocks_that_moved_to_another_place_of_the_file_are_found() {
    let world = World::in_memory();
    pair(&world);
    // The same blocks of the disk, in another order: a hole at the beginning instead of at the end.
    for (image, blocks) in [("a.img", [9000, 0]), ("b.img", [0, 9000])] {
        let script = format!(
            "write /dev/null f\nsif f size 2048\nsif f flags 0\nsif f block[0] {}\nsif f block[1] {}\nsetb 9000\n",
            blocks[0], blocks[1]
        );
        world.write("script", &script);
        tool("debugfs", &["-w", "-f", text(&world.path("script")), text(&world.path(image))]);
        let file = File::options().write(true).open(world.path(image)).unwrap();
        file.write_all_at(&[b'x'; 1024], 9000 * 1024).unwrap();
    }
    let run = diff(&world, &["a.img", "b.img", "--brief", "--path", "/f"]);
    assert_eq!((run.status, run.out.as_str()), (1, "~ /f\n"), "{}", run.err);
}

#[test]
fn secrets_are_shown_only_when_asked_for() {
    let world = World::in_memory();
    pair(&world);
    world.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
    world.write("plain", "hush\n");
    edit(&world, "a.img", "put plain /key\nput plain /root-only\nchmod 0640 /root-only\n");
    world.write("plain", "other\n");
    edit(&world, "b.img", "put key /key\nput plain /root-only\nchmod 0640 /root-only\n");
    let hidden = "    content differs (it looks secret: --secrets shows it)\n";
    let run = diff(&world, &["a.img", "b.img"]);
    assert_eq!(run.out, format!("~ /key\n{hidden}~ /root-only\n{hidden}"));
    let run = diff(&world, &["a.img", "b.img", "--json"]);
    assert!(!run.out.contains("AAAA") && !run.out.contains("hush") && run.out.contains("\"secret\":true"));
    let run = diff(&world, &["a.img", "b.img", "--secrets"]);
    assert!(run.out.contains("    +AAAA\n") && run.out.contains("    -hush\n    +other\n"), "{}", run.out);
}

#[test]
fn times_count_only_when_asked_for() {
    let world = World::in_memory();
    pair(&world);
    edit(&world, "b.img", "touch -d @86400.5 /etc/hosts\n");
    assert_eq!(diff(&world, &["a.img", "b.img"]).status, 0);
    let run = diff(&world, &["a.img", "b.img", "--times"]);
    assert_eq!((run.status, heads(&run.out)), (1, vec!["~ /etc/hosts"]));
    assert!(run.out.contains(" -> 1970-01-02 00:00:00.500000000 UTC\n"), "{}", run.out);
}

#[test]
fn fat_filesystems_are_compared_by_their_files() {
    let world = World::in_memory();
    for image in ["a.img", "b.img"] {
        File::create(world.path(image)).unwrap().set_len(20 << 20).unwrap();
        tool("mkfs.fat", &["-F", "16", "--invariant", text(&world.path(image))]);
        world.write("config", "dtparam=audio=on\n");
        world.write("blob", &"0123456789".repeat(3000));
        edit(
            &world,
            image,
            "put config /config.txt\nmkdir /overlays\nput blob /overlays/x.dtbo\nput config /userconf.txt\n",
        );
    }
    assert_eq!(diff(&world, &["a.img", "b.img"]).out, "");
    world.write("config", "dtparam=audio=off\n");
    edit(&world, "b.img", "put config /config.txt\nput config /userconf.txt\nput config /ssh\n");
    let run = diff(&world, &["a.img", "b.img"]);
    let wanted = "~ /config.txt\n    -dtparam=audio=on\n    +dtparam=audio=off\n+ file /ssh 0755 0:0 18 bytes\n\
                  ~ /userconf.txt\n    content differs (it looks secret: --secrets shows it)\n";
    assert_eq!((run.status, run.out.as_str()), (1, wanted));
    // A byte in a cluster in the middle of a file.
    let image = fs::read(world.path("b.img")).unwrap();
    let at = image.windows(10).position(|window| window == b"0123456789").unwrap() + 20_000;
    File::options().write(true).open(world.path("b.img")).unwrap().write_all_at(b"!", at as u64).unwrap();
    let run = diff(&world, &["a.img", "b.img", "--brief", "--path", "/overlays"]);
    assert_eq!((run.status, run.out.as_str()), (1, "~ /overlays/x.dtbo\n"));
}

#[test]
fn a_disk_is_compared_with_one_that_was_grown_and_renamed() {
    let world = World::in_memory();
    let image = Shape::raspios(13, "trixie", "arm64", "2026-06-18", "resize").make(&world, "a.img");
    fs::copy(&image, world.path("b.img")).unwrap();
    let uuid = "6a1c9d3e-0f42-4a57-9c0e-2b7d8f5e1a90";
    edit(&world, "b.img", &format!("grow 96MiB\nset-uuid {uuid}\nset-label other\n"));
    let run = diff(&world, &["a.img", "b.img"]);
    assert_eq!(
        (run.status, heads(&run.out)),
        (1, vec!["~ partition table", "~ filesystem /"]),
        "{}",
        run.out
    );
    for line in ["    length of the image ", "    partition 2 length ", "    UUID ", "    label "] {
        assert!(run.out.contains(line), "{line}: {}", run.out);
    }
    assert!(run.out.contains(uuid), "{}", run.out);
}

#[test]
fn a_directory_in_itself_ends_and_is_no_answer() {
    let world = World::in_memory();
    pair(&world);
    tool("debugfs", &["-w", "-R", "ln /var /var/log/again", text(&world.path("b.img"))]);
    let run = diff(&world, &["a.img", "b.img"]);
    assert_eq!(run.status, 2, "{}{}", run.out, run.err);
    let told = "! /var/log/again: the second image: the directory was met before under another name\n";
    assert!(run.out.contains(told), "{}", run.out);
    assert!(run.err.contains("error: 1 path could not be compared"), "{}", run.err);
    // In both at once it is no different.
    tool("debugfs", &["-w", "-R", "ln /var /var/log/again", text(&world.path("a.img"))]);
    let run = diff(&world, &["a.img", "b.img", "--path", "/var"]);
    assert!(matches!(run.status, 0..=2), "{}", run.err);
}

#[test]
fn what_cannot_be_read_is_no_answer_and_the_rest_is_told() {
    let world = World::in_memory();
    pair(&world);
    world.write("hosts", "other\n");
    edit(&world, "b.img", "put hosts /etc/hosts\n");
    // An encrypted file, which nobody can read without its key.
    tool("debugfs", &["-w", "-R", "sif /usr/bin/tool flags 0x80800", text(&world.path("b.img"))]);
    let run = diff(&world, &["a.img", "b.img"]);
    assert_eq!(run.status, 2, "{}{}", run.out, run.err);
    assert!(run.out.contains("~ /etc/hosts\n") && run.out.contains("! /usr/bin/tool: "), "{}", run.out);
}

#[test]
fn wrong_use_and_failures_are_status_2() {
    let world = World::in_memory();
    pair(&world);
    world.write("page.img", "<!doctype html><title>404</title>");
    for (words, told) in [
        (&["a.img"][..], "Usage"),
        (&["a.img", "b.img", "--partition", "rooot"], "wanted boot, root"),
        (&["a.img", "b.img", "--partition", "2"], "hint: leave out --partition"),
        (&["a.img", "gone.img"], "gone.img"),
        (&["page.img", "a.img"], "page.img"),
        (&["a.img", "b.img", "--path", "/nowhere"], "/nowhere"),
        (&["a.img", "b.img", "--path", "etc"], "etc"),
    ] {
        let run = world.run(&[&["diff"], words].concat());
        assert_eq!(run.status, 2, "{words:?}: {}{}", run.out, run.err);
        assert!(run.err.contains(told), "{words:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
    let help = world.run(&["diff", "--help"]).succeeded().out;
    assert!(help.contains("0 no difference; 1 there are differences; 2 no answer"), "{help}");
}

#[test]
fn names_that_would_steer_a_terminal_are_only_seen() {
    let world = World::in_memory();
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a\u{1b}[31mb"), "x").unwrap();
    fs::write(tree.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff")), "x")
        .unwrap();
    let make = |image: &str, words: &[&str]| {
        let path = world.path(image);
        must("mke2fs", [&["-q", "-t", "ext4"], words, &[text(&path), "4M"]].concat());
    };
    make("a.img", &[]);
    make("b.img", &["-d", text(&tree)]);
    let run = diff(&world, &["a.img", "b.img", "--brief"]);
    assert!(run.out.ends_with("+ /a\\u{1b}[31mb\n+ /\\xff\n"), "{:?}", run.out);
    let run = diff(&world, &["a.img", "b.img", "--json"]);
    let told: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(told["files"][1]["path_hex"], "0x2fff");
}

#[test]
fn images_are_left_as_they_are() {
    let world = World::in_memory();
    pair(&world);
    let read = |name: &str| fs::read(world.path(name)).unwrap();
    let before = (read("a.img"), read("b.img"));
    for image in ["a.img", "b.img"] {
        read_only(&world.path(image));
    }
    assert_eq!(diff(&world, &["a.img", "b.img"]).status, 0);
    assert!(before == (read("a.img"), read("b.img")));
}

fn read_only(path: &Path) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions).unwrap();
}
