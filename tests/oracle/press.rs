//! Pressed images before the judges we did not write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ext4_view::Ext4;
use serde_json::Value;

use crate::support::tools::{text, tool};
use crate::support::world::{World, profile, small_base};

/// A built node with its partitions cut out.
struct Node {
    world: World,
    image: PathBuf,
    boot: PathBuf,
    root: PathBuf,
    edits: Vec<Value>,
}

/// Everything a profile can say that touches many places at once.
const MORE: &str = r##"
[[defaults.file]]
path = "/etc/motd"
content = "pressed\n"
mode = "0640"
owner = "root:sudo"
[[defaults.file]]
path = "/boot/firmware/note.txt"
content = "on the FAT\n"
[[defaults.directory]]
path = "/srv/data/deep"
mode = "2775"
[[defaults.symlink]]
path = "/etc/alternatives/editor"
target = "/usr/bin/vi"
[[defaults.fstab]]
device = "nas:/shared"
mount = "/shared"
type = "nfs"
[[defaults.first-boot]]
name = "hello"
script = "#!/bin/sh\nlogger hello\n"
[defaults.config-txt]
all = { gpu_mem = 16 }
pi5 = { dtparam = "nvme" }
[defaults.sysctl]
"vm.swappiness" = 1
"##;

fn press() -> Node {
    let world = World::new();
    world.write("seed", &"5e".repeat(32));
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11"), ("n2", "192.168.7.12")], MORE));
    let run = world.run(&["build", "cluster.toml", "--seed-file", "seed", "--json"]).succeeded();
    let manifest: Value = serde_json::from_str(&run.out).unwrap();
    let edits = manifest["nodes"][0]["edits"].as_array().unwrap().clone();
    let image = world.path("out/test/n1.img");
    let (boot, root) = cut(&image, &world);
    Node { world, image, boot, root, edits }
}

/// Cuts both partitions out, where sfdisk says they are.
fn cut(image: &Path, world: &World) -> (PathBuf, PathBuf) {
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(image)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap().clone();
    assert_eq!(partitions.len(), 2, "{table}");
    let part = |index: usize, name: &str| {
        let path = world.path(name);
        let number = |key: &str| partitions[index][key].as_u64().unwrap() * 512;
        let mut source = File::open(image).unwrap();
        source.seek(SeekFrom::Start(number("start"))).unwrap();
        let mut target = File::create(&path).unwrap();
        std::io::copy(&mut source.take(number("size")), &mut target).unwrap();
        path
    };
    (part(0, "boot.fat"), part(1, "root.ext4"))
}

#[test]
fn both_filesystems_are_sound_to_e2fsck_and_fsck_fat() {
    let node = press();
    let said = tool("e2fsck", &["-fn", text(&node.root)]);
    assert!(!said.contains("Fix?") && !said.contains("FIXED"), "{said}");
    tool("fsck.fat", &["-n", text(&node.boot)]);
}

#[test]
fn debugfs_and_mtools_find_every_file_as_planned() {
    let node = press();
    let mut seen = 0;
    for edit in node.edits.iter().filter(|edit| edit["action"] == "write") {
        let path = edit["path"].as_str().unwrap();
        let local = node.world.path("found");
        let _ = fs::remove_file(&local);
        if let Some(below) = path.strip_prefix("/boot/firmware/") {
            tool("mcopy", &["-n", "-i", text(&node.boot), &format!("::{below}"), text(&local)]);
        } else {
            tool("debugfs", &["-R", &format!("dump {path} {}", text(&local)), text(&node.root)]);
            let stat = tool("debugfs", &["-R", &format!("stat {path}"), text(&node.root)]);
            if let Some(mode) = edit["mode"].as_str() {
                assert!(stat.contains(&format!("Mode:  {mode}")), "{path} wants {mode}: {stat}");
            }
            if let Some((uid, gid)) = edit["owner"].as_str().and_then(|owner| owner.split_once(':')) {
                let fields: Vec<&str> = stat.split_whitespace().collect();
                let after = |word| fields[fields.iter().position(|field| *field == word).unwrap() + 1];
                assert_eq!((after("User:"), after("Group:")), (uid, gid), "{path}: {stat}");
            }
        }
        let found = fs::read(&local).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.len() as u64, edit["len_bytes"].as_u64().unwrap(), "{path}");
        if let Some(wanted) = edit["sha256"].as_str() {
            assert_eq!(cardpress::base::Sha256Digest::of(&found).to_string(), wanted, "{path}");
        }
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} files were written: {:?}", node.edits);
}

#[test]
fn the_node_knows_itself_and_its_neighbours() {
    let node = press();
    let cat = |path: &str| tool("debugfs", &["-R", &format!("cat {path}"), text(&node.root)]);
    assert_eq!(cat("/etc/hostname"), "n1\n");
    let hosts = cat("/etc/hosts");
    for wanted in ["127.0.1.1", "192.168.7.12", "n2.lan", "n2.local"] {
        assert!(hosts.contains(wanted), "{wanted} is missing: {hosts}");
    }
    assert!(cat("/etc/passwd").contains("\nops:x:1000:1000:"), "{}", cat("/etc/passwd"));
    let cmdline = tool("mtype", &["-i", text(&node.boot), "::cmdline.txt"]);
    assert_eq!(cmdline.lines().count(), 1, "{cmdline}");
    assert!(cmdline.contains(" cgroup_enable=memory"), "{cmdline}");
}

#[test]
fn disk_id_fstab_and_cmdline_stay_in_step() {
    let node = press();
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(&node.image)])).unwrap();
    let id = table["partitiontable"]["id"].as_str().unwrap().trim_start_matches("0x").to_owned();
    let edit = node.edits.iter().find(|edit| edit["action"] == "disk-id").unwrap();
    assert_eq!(edit["to"], id.as_str());
    let fstab = tool("debugfs", &["-R", "cat /etc/fstab", text(&node.root)]);
    let cmdline = tool("mtype", &["-i", text(&node.boot), "::cmdline.txt"]);
    assert!(fstab.contains(&format!("PARTUUID={id}-01")), "{fstab}");
    assert!(fstab.contains(&format!("PARTUUID={id}-02")), "{fstab}");
    assert!(cmdline.contains(&format!("root=PARTUUID={id}-02 ")), "{cmdline}");
}

#[test]
fn ssh_keygen_reads_the_host_key_and_both_halves_agree() {
    let node = press();
    let private = node.world.path("ssh_host_ed25519_key");
    tool(
        "debugfs",
        &["-R", &format!("dump /etc/ssh/ssh_host_ed25519_key {}", text(&private)), text(&node.root)],
    );
    tool("chmod", &["600", text(&private)]);
    let public = tool("debugfs", &["-R", "cat /etc/ssh/ssh_host_ed25519_key.pub", text(&node.root)]);
    let derived = tool("ssh-keygen", &["-y", "-f", text(&private)]);
    let key = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(key(&derived), key(&public));
    let known = tool("debugfs", &["-R", "cat /etc/ssh/ssh_known_hosts", text(&node.root)]);
    assert!(known.lines().any(|line| line.contains("n1") && line.contains(&key(&public))), "{known}");
}

/// One line for each path: kind, mode, owner, and content or target.
type Tree = BTreeMap<String, String>;

/// Paths that the plan names, and their parents, whose times and links may change.
fn planned(edits: &[Value], path: &str) -> bool {
    edits.iter().any(|edit| {
        [&edit["path"], &edit["to"]].into_iter().filter_map(Value::as_str).any(|named| {
            // Merged /usr: /lib and /bin are links into it.
            let named = named.strip_prefix("/usr").unwrap_or(named);
            let path = path.strip_prefix("/usr").unwrap_or(path);
            path == named || path.starts_with(&format!("{named}/")) || named.starts_with(&format!("{path}/"))
        })
    })
}

fn compare(base: &Tree, pressed: &Tree, edits: &[Value]) {
    let mut compared = 0;
    for path in base.keys().chain(pressed.keys()) {
        // What /etc/timezone and the like are links to is planned under the link's name.
        if planned(edits, path) || path == "/etc/locale.conf" {
            continue;
        }
        assert_eq!(base.get(path), pressed.get(path), "{path}");
        compared += 1;
    }
    assert!(compared > 1000, "only {compared} paths were compared");
}

fn base_root(world: &World) -> PathBuf {
    let raw = world.path("base.img");
    let unpacked = std::process::Command::new("xz").args(["-dc", text(&small_base())]).output().unwrap();
    assert!(unpacked.status.success());
    fs::write(&raw, unpacked.stdout).unwrap();
    let (_, root) = cut(&raw, world);
    let kept = world.path("base-root.ext4");
    fs::rename(root, &kept).unwrap();
    kept
}

#[test]
fn everything_that_was_not_planned_is_byte_for_byte_as_in_the_base_to_ext4_view() {
    let node = press();
    let (wanted, found) = (walk_view(&base_root(&node.world)), walk_view(&cut(&node.image, &node.world).1));
    compare(&wanted, &found, &node.edits);
}

fn walk_view(root: &Path) -> Tree {
    let filesystem = Ext4::load_from_path(root).unwrap();
    let mut tree = Tree::new();
    let mut left = vec![String::from("/")];
    while let Some(dir) = left.pop() {
        for entry in filesystem.read_dir(dir.as_str()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().as_str().unwrap().to_owned();
            if matches!(name.as_str(), "." | "..") {
                continue;
            }
            let path = format!("{}/{name}", dir.trim_end_matches('/'));
            let meta = filesystem.symlink_metadata(path.as_str()).unwrap();
            let body = if meta.is_dir() {
                left.push(path.clone());
                String::from("dir")
            } else if meta.is_symlink() {
                format!("-> {}", filesystem.read_link(path.as_str()).unwrap().display())
            } else if meta.file_type().is_regular_file() {
                cardpress::base::Sha256Digest::of(&filesystem.read(path.as_str()).unwrap()).to_string()
            } else {
                String::from("special")
            };
            tree.insert(path, format!("{:04o} {}:{} {body}", meta.mode(), meta.uid(), meta.gid()));
        }
    }
    tree
}

/// The kernel is the last judge: a loop mount, read only, as root.
#[cfg(target_os = "linux")]
#[test]
fn everything_that_was_not_planned_is_as_in_the_base_to_the_kernel() {
    use crate::support::tools::{may_attach, mounted};
    if !may_attach() {
        return;
    }
    let node = press();
    let wanted = mounted(&base_root(&node.world), walk_kernel);
    let found = mounted(&cut(&node.image, &node.world).1, walk_kernel);
    compare(&wanted, &found, &node.edits);
}

#[cfg(target_os = "linux")]
fn walk_kernel(mount: &Path) -> Tree {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let mut tree = Tree::new();
    let mut left = vec![mount.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let kind = meta.file_type();
            let body = if kind.is_dir() {
                left.push(path.clone());
                String::from("dir")
            } else if kind.is_symlink() {
                format!("-> {} mtime {}", fs::read_link(&path).unwrap().display(), meta.mtime())
            } else if kind.is_file() {
                let digest = cardpress::base::Sha256Digest::of(&fs::read(&path).unwrap());
                format!("{digest} mtime {} links {} blocks {}", meta.mtime(), meta.nlink(), meta.blocks())
            } else {
                format!("special {} {}", kind.is_char_device(), meta.rdev())
            };
            let name = format!("/{}", path.strip_prefix(mount).unwrap().display());
            tree.insert(name, format!("{:o} {}:{} {body}", meta.mode(), meta.uid(), meta.gid()));
        }
    }
    tree
}
