//! Which block devices are refused, and that a card that was taken is ours alone: on loop devices, as root.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cardpress::sink::card::{Error, Options};
use cardpress::sink::disks::{self, Disk, Obstacle};
use cardpress::sink::{BUFFER_ALIGN, Card, Medium};

use crate::support::loops::Loop;
use crate::support::tools::{Mount, Workspace, may_attach, run, text, tool};

const MIB: u64 = 1 << 20;
/// Loop devices say that they cannot be taken out.
const ANY: Options = Options { allow_fixed_disk: true, needed_bytes: 0 };

fn find(device: &Loop) -> Disk {
    disks::find(device.path()).expect("a device of ours")
}

/// Why it was refused.
#[track_caller]
fn refused(taken: Result<Card, Error>) -> Vec<Obstacle> {
    match taken {
        Err(Error::Refused { obstacles, .. }) => obstacles,
        other => panic!("found {other:?}, wanted a refusal"),
    }
}

/// Takes a card that must be free; a program that another test starts at this moment may hold ours for a blink.
#[track_caller]
fn take(disk: &Disk) -> Card {
    for _ in 0..200 {
        match Card::take(disk, ANY) {
            Err(Error::Busy { .. }) => std::thread::sleep(std::time::Duration::from_millis(50)),
            other => return other.expect("a free card"),
        }
    }
    panic!("{disk} stays busy")
}

/// Bytes at an address fit for direct I/O.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize, fill: u8) -> Self {
        let bytes = vec![fill; len + BUFFER_ALIGN];
        let start = bytes.as_ptr().align_offset(BUFFER_ALIGN);
        Self { bytes, start, len }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[test]
fn a_loop_device_is_listed_with_its_length_and_taken_only_when_a_fixed_disk_is_meant() {
    if !may_attach() {
        return;
    }
    let device = Loop::new(24 * MIB);
    let listed = disks::list().unwrap();
    let listed = listed.iter().find(|disk| disk.path == device.path()).expect("it is listed");
    assert_eq!((listed.len_bytes, listed.name.as_str()), (24 * MIB, device.name()));
    assert!(listed.model.starts_with("file /"), "{}", listed.model);
    assert!(listed.to_string().ends_with("24 MiB, loop; holds: nothing known"), "{listed}");
    assert!(listed.is_same(&find(&device)));

    assert_eq!(refused(Card::take(listed, Options::default())), [Obstacle::Fixed(listed.transport)]);
    let card = take(listed);
    assert_eq!((card.len_bytes(), card.block_len()), (24 * MIB, 512));
}

#[test]
fn a_card_is_refused_while_a_partition_of_it_is_mounted_also_when_that_came_after_it_was_looked_at() {
    if !may_attach() {
        return;
    }
    let folder = Workspace::new();
    let file = folder.path("card.img");
    std::fs::File::create(&file).unwrap().set_len(24 * MIB).unwrap();
    let script = folder.path("table");
    std::fs::write(&script, "label: dos\n2048,,83\n").unwrap();
    let (table, image) = (text(&script), text(&file));
    tool("sh", &["-c", &format!("sfdisk --quiet {image} < {table}")]);
    let device = Loop::over(&file, &["--partscan"]);
    // Not every kernel is built to read tables itself.
    tool("partx", &["--update", text(device.path())]);
    let partition = device.partition(1);
    tool("mke2fs", &["-q", "-t", "ext4", "-L", "rootfs", text(&partition)]);

    let before = find(&device);
    assert_eq!(before.contents.to_string(), "MBR, rootfs (ext4)");
    assert_eq!(before.obstacles(true), []);
    let part = disks::find(&partition).unwrap().obstacles(true);
    assert!(matches!(&part[..], [Obstacle::NotWhole { disks, .. }] if disks == &[device.path()]), "{part:?}");

    let mount = Mount::new(&partition, "rw");
    let mounted = Obstacle::Mounted { device: partition, on: text(mount.path()).to_owned(), advice: None };
    assert_eq!(find(&device).obstacles(true), std::slice::from_ref(&mounted));
    assert_eq!(refused(Card::take(&before, ANY)), [mounted]);
    mount.unmount();
    // And the other way round: what was taken cannot be mounted.
    let card = take(&before);
    let place = folder.path("place");
    std::fs::create_dir(&place).unwrap();
    assert_ne!(run("mount", ["-t", "ext4", text(&device.partition(1)), text(&place)]).status, 0);
    drop(card);
}

#[test]
fn a_card_is_refused_while_it_is_swapped_to() {
    if !may_attach() {
        return;
    }
    /// Ends the swapping before the device goes.
    struct Swap<'l>(&'l Loop);
    impl Drop for Swap<'_> {
        fn drop(&mut self) {
            let _ = run("swapoff", [text(self.0.path())]);
        }
    }
    let device = Loop::new(16 * MIB);
    tool("mkswap", &["--label", "pages", text(device.path())]);
    assert_eq!(find(&device).contents.to_string(), "pages (swap)");
    let said = run("swapon", [text(device.path())]);
    let _swap = Swap(&device);
    if said.status != 0 {
        eprintln!("no swapping here: {}", said.text);
        return;
    }
    let swap = Obstacle::Swap { device: device.path().to_owned() };
    assert_eq!(refused(Card::take(&find(&device), ANY)), [swap]);
}

#[test]
fn a_write_protected_card_is_refused() {
    if !may_attach() {
        return;
    }
    let device = Loop::with(16 * MIB, &["--read-only"]);
    assert_eq!(refused(Card::take(&find(&device), ANY)), [Obstacle::ReadOnly]);
}

#[test]
fn a_card_that_is_too_small_is_refused_and_one_that_just_fits_is_not() {
    if !may_attach() {
        return;
    }
    let device = Loop::new(16 * MIB);
    let disk = find(&device);
    let needs = |needed_bytes| Options { needed_bytes, ..ANY };
    assert_eq!(
        refused(Card::take(&disk, needs(16 * MIB + 1))),
        [Obstacle::TooSmall { len_bytes: 16 * MIB, needed_bytes: 16 * MIB + 1 }]
    );
    assert!(Card::take(&disk, needs(16 * MIB)).is_ok());
}

#[test]
fn a_card_that_was_taken_cannot_be_taken_again_until_it_is_let_go() {
    if !may_attach() {
        return;
    }
    let device = Loop::new(16 * MIB);
    let disk = find(&device);
    let first = take(&disk);
    let error = Card::take(&disk, ANY).expect_err("taken twice");
    let Error::Busy { by, .. } = &error else { panic!("{error:?}") };
    assert!(error.is_refusal());
    // We are the ones who hold it.
    let me = format!("open in process {} ", std::process::id());
    assert!(by.iter().any(|user| user.starts_with(&me)), "{by:?}");
    drop(first);
    drop(take(&disk));
}

#[test]
fn a_card_that_only_others_see_mounted_is_refused_and_they_are_named() {
    if !may_attach() {
        return;
    }
    /// A shell with mounts of its own, until its input ends.
    struct Shell(Child);
    impl Drop for Shell {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }
    let folder = Workspace::new();
    let device = Loop::new(16 * MIB);
    tool("mke2fs", &["-q", "-t", "ext4", text(device.path())]);
    let disk = find(&device);
    let script = "mount -t ext4 \"$0\" \"$1\" && echo mounted && read line";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(device.path()).arg(folder.path(""));
    let shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut shell = Shell(shell.expect("unshare, of Debian package `util-linux`"));
    let mut said = [0; 8];
    shell.0.stdout.take().unwrap().read_exact(&mut said).expect("it mounts");

    assert_eq!(find(&device).obstacles(true), [], "we do not see it");
    let error = Card::take(&disk, ANY).expect_err("taken while mounted");
    let Error::Busy { by, .. } = &error else { panic!("{error:?}") };
    let place = text(&folder.path("")).trim_end_matches('/').to_owned();
    assert!(by.iter().any(|user| user.starts_with(&format!("mounted on {place} as process "))), "{by:?}");
    drop(shell);
    drop(take(&disk));
}

#[test]
fn a_card_behind_another_device_is_refused() {
    if !may_attach() {
        return;
    }
    let lower = Loop::new(16 * MIB);
    let upper = Loop::over(lower.path(), &[]);
    let held = refused(Card::take(&find(&lower), ANY));
    assert_eq!(
        held,
        [Obstacle::Held {
            device: lower.path().to_owned(),
            by: upper.path().to_owned(),
            what: "loop device".to_owned()
        }]
    );
}

#[test]
fn a_card_that_was_changed_since_it_was_looked_at_is_refused() {
    if !may_attach() {
        return;
    }
    let (device, other) = (Loop::new(16 * MIB), Loop::new(16 * MIB));
    let before = find(&device);
    // Another disk under this name.
    let mut confused = before.clone();
    confused.path = other.path().to_owned();
    assert!(matches!(Card::take(&confused, ANY), Err(Error::Changed { .. })));
    // Another medium in this reader.
    std::fs::OpenOptions::new().write(true).open(device.file()).unwrap().set_len(17 * MIB).unwrap();
    tool("losetup", &["--set-capacity", text(device.path())]);
    let error = Card::take(&before, ANY).expect_err("another length");
    assert!(error.is_refusal() && error.to_string().contains("17825792 bytes"), "{error}");
    let mut next = find(&device);
    next.sequence = before.sequence.map(|medium| medium + 1);
    assert_eq!(matches!(Card::take(&next, ANY), Err(Error::Changed { .. })), before.sequence.is_some());
}

#[test]
fn what_is_written_to_a_card_goes_past_the_page_cache_and_comes_back() {
    if !may_attach() {
        return;
    }
    let device = Loop::new(16 * MIB);
    let card = take(&find(&device));
    let block = Aligned::new(8192, 0x5a);
    assert_eq!(card.write_at(4 * MIB + 512, block.get()).unwrap(), 8192);
    card.sync().unwrap();
    // Below the kernel's cache of the device is the file.
    let behind = std::fs::read(device.file()).unwrap();
    let at = usize::try_from(4 * MIB).unwrap() + 512;
    assert!(behind[at..at + 8192].iter().all(|byte| *byte == 0x5a));
    assert!(behind[at - 512..at].iter().all(|byte| *byte == 0));

    let mut back = Aligned::new(8192, 0);
    assert_eq!(card.read_at(4 * MIB + 512, back.get_mut()).unwrap(), 8192);
    assert_eq!(back.get(), block.get());
    assert_eq!(card.read_at(16 * MIB, back.get_mut()).unwrap(), 0);
    assert_eq!(card.read_at(16 * MIB - 4096, back.get_mut()).unwrap(), 4096);
    assert!(card.write_at(16 * MIB, block.get()).is_err());
}

#[test]
fn writing_part_of_a_block_is_refused_with_what_was_found_and_wanted() {
    if !may_attach() {
        return;
    }
    let device = Loop::new(16 * MIB);
    let card = take(&find(&device));
    let mut block = Aligned::new(4096, 1);
    let whole = block.get();
    for error in [card.write_at(100, whole), card.write_at(0, &whole[..100])] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("wanted multiples of 512"), "{error}");
    }
    let error = card.read_at(511, block.get_mut()).unwrap_err().to_string();
    assert!(error.contains("found 4096 bytes at offset 511 "), "{error}");
}

#[test]
fn a_card_with_blocks_of_4096_bytes_says_so() {
    if !may_attach() {
        return;
    }
    let device = Loop::with(16 * MIB, &["--sector-size", "4096"]);
    let card = take(&find(&device));
    assert_eq!((card.block_len(), card.len_bytes()), (4096, 16 * MIB));
    assert!(card.write_at(512, Aligned::new(512, 1).get()).is_err());
}

#[test]
fn the_disk_this_machine_runs_from_is_never_a_candidate() {
    // Asked by another road: which disk df(1) says `/` is on.
    let source = tool("df", &["--output=source", "/"]);
    let source = source.lines().last().unwrap_or_default().trim().to_owned();
    let Ok(root) = disks::find(Path::new(&source)) else {
        eprintln!("the root is on `{source}`, which is no block device here");
        return;
    };
    let is_system =
        |obstacle: &Obstacle| matches!(obstacle, Obstacle::System { mounts } if mounts.contains(&"/".into()));
    let found = root.obstacles(true);
    let whole = match &found[..] {
        [Obstacle::NotWhole { disks, .. }, ..] => disks.clone(),
        _ => vec![root.path.clone()],
    };
    assert!(!whole.is_empty());
    for path in whole {
        let disk = disks::find(&path).unwrap();
        assert!(!disk.is_candidate() && disk.obstacles(true).iter().any(is_system), "{disk}");
        assert!(refused(Card::take(&disk, ANY)).iter().any(is_system));
    }
}

#[test]
fn a_file_is_no_card() {
    let folder = Workspace::new();
    std::fs::write(folder.path("card.img"), "").unwrap();
    let error = disks::find(&folder.path("card.img")).unwrap_err().to_string();
    assert!(error.ends_with("is a file, wanted a block device such as `/dev/sdb`"), "{error}");
}
