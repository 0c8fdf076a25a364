//! Indices of our own making, then those of programs we did not write.

use std::path::Path;
use std::process::Command;

use super::*;

const DIR_TYPE_FILE: u8 = 1;

fn format(block_len: usize, checksum_seed: Option<u32>) -> DirFormat {
    DirFormat {
        block_len,
        has_filetype: true,
        checksum_seed,
        indexable: true,
        hash_version: 1,
        hash_unsigned: false,
        hash_seed: [1, 2, 3, 4],
    }
}

fn formats() -> impl Iterator<Item = DirFormat> {
    let shapes = [(1024, None), (1024, Some(0x1234_5678)), (4096, None), (4096, Some(0x9abc_def0))];
    shapes.into_iter().map(|(block_len, seed)| format(block_len, seed))
}

/// `count` names of many lengths, some not ASCII.
fn entries(count: u32) -> Vec<Entry> {
    (0..count)
        .map(|number| {
            let length = usize::try_from(number % 40).unwrap();
            let text = format!(
                "{number}-{}é{}",
                "n".repeat(length),
                if number % 97 == 0 { "ü".repeat(90) } else { String::new() }
            );
            Entry { name: text.into_bytes(), inode: 100 + number, file_type: DIR_TYPE_FILE }
        })
        .collect()
}

fn reader(blocks: &[Vec<u8>]) -> impl FnMut(u32) -> Result<Vec<u8>, DirError> {
    |number| Ok(blocks[usize::try_from(number).unwrap()].clone())
}

fn count(blocks: &[Vec<u8>]) -> u32 {
    u32::try_from(blocks.len()).unwrap()
}

fn find(format: &DirFormat, blocks: &[Vec<u8>], name: &[u8]) -> Result<Option<Entry>, DirError> {
    for leaf in leaves(format, count(blocks), &mut reader(blocks), name)? {
        let entries = dir::parse_block(format, &blocks[usize::try_from(leaf).unwrap()])?;
        if let Some(entry) = entries.into_iter().find(|entry| entry.name == name) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Every entry but the dots, read block by block.
fn listing(format: &DirFormat, blocks: &[Vec<u8>]) -> Vec<Entry> {
    let all = blocks.iter().flat_map(|block| dir::parse_block(format, block).unwrap());
    let mut entries: Vec<Entry> = all.filter(|e| e.name != b"." && e.name != b"..").collect();
    entries.sort_by_key(|entry| entry.inode);
    entries
}

#[test]
fn what_is_packed_is_found_again() {
    for format in formats() {
        for number in [0, 1, 5, 100, 3_000] {
            let blocks = pack(&format, 12, 2, entries(number)).unwrap();
            assert_eq!(listing(&format, &blocks), entries(number));
            let dots = dir::parse_block(&format, &blocks[0]).unwrap();
            assert_eq!((dots[0].inode, dots[1].inode), (12, 2));
            if blocks.len() == 1 {
                continue; // not indexed
            }
            for entry in entries(number) {
                assert_eq!(find(&format, &blocks, &entry.name).unwrap(), Some(entry), "of {number}");
            }
            assert_eq!(find(&format, &blocks, b"stranger").unwrap(), None);
            assert!(index_blocks(&format, count(&blocks), &mut reader(&blocks)).unwrap().contains(&0));
        }
    }
}

#[test]
fn sixty_thousand_names_take_two_levels_at_1_kib_and_one_at_4_kib_each_leaf_with_room() {
    for format in formats() {
        let blocks = pack(&format, 12, 2, entries(60_000)).unwrap();
        assert_eq!(listing(&format, &blocks), entries(60_000));
        let index = index_blocks(&format, count(&blocks), &mut reader(&blocks)).unwrap();
        let levels = blocks[0][30];
        assert_eq!(index.len() > 1, levels == 1);
        if format.block_len == 1024 {
            assert_eq!(levels, 1);
        }
        for entry in entries(60_000).iter().step_by(7) {
            assert_eq!(find(&format, &blocks, &entry.name).unwrap().as_ref(), Some(entry));
        }
        for (number, block) in blocks.iter().enumerate() {
            if !index.contains(&u32::try_from(number).unwrap()) {
                let late = Entry { name: b"a late-comer".to_vec(), inode: 9, file_type: 1 };
                assert_eq!(dir::insert(&format, &mut block.clone(), &late), Ok(true), "block {number}");
            }
        }
    }
}

#[test]
fn a_directory_that_may_have_no_index_is_filled_in_the_given_blocks() {
    for format in formats().map(|format| DirFormat { indexable: false, hash_version: 77, ..format }) {
        let blocks = pack(&format, 12, 2, entries(3_000)).unwrap();
        assert_eq!(listing(&format, &blocks), entries(3_000));
    }
}

#[test]
fn names_of_one_hash_are_split_only_with_a_mark_and_all_are_looked_through() {
    let format = format(1024, Some(7));
    let hashed = |hash: u32, name: String| {
        ((hash, 0), Entry { name: name.into_bytes(), inode: 20, file_type: DIR_TYPE_FILE })
    };
    // 1012 bytes: three names of 250 bytes fit. Ten share the hash of "wanted".
    let (of_wanted, _) = format.hash(1, b"wanted").unwrap();
    let mut entries = vec![hashed(of_wanted - 4, "before".into())];
    entries.extend((0..10).map(|n| hashed(of_wanted, format!("{n}{}", "x".repeat(249)))));
    entries.push(hashed(of_wanted + 4, "after".into()));
    let leaves_made = cut(&format, &entries, 700);
    let hashes: Vec<u32> = leaves_made.iter().map(|leaf| leaf.hash).collect();
    let marked = of_wanted | CONTINUES;
    assert_eq!(hashes, [of_wanted - 4, marked, marked, marked]);

    let blocks = pack_indexed(&format, 12, 2, leaves_made);
    let found = leaves::<DirError>(&format, count(&blocks), &mut reader(&blocks), b"wanted").unwrap();
    assert_eq!(found, [1, 2, 3, 4]);
}

#[test]
fn a_run_of_one_hash_is_followed_from_node_to_node() {
    let format = format(1024, Some(7));
    let (of_wanted, _) = format.hash(1, b"wanted").unwrap();
    let leaf = |hash| Leaf { hash, entries: Vec::new() };
    // 123 pointers fit the root, so 300 leaves take nodes of 93.
    let mut made: Vec<Leaf> = (0..90).map(|n| leaf(n * 2)).collect();
    made.push(leaf(of_wanted));
    made.extend((0..200).map(|_| leaf(of_wanted | CONTINUES)));
    made.extend((1..10).map(|n| leaf(of_wanted + n * 2)));
    let blocks = pack_indexed(&format, 12, 2, made);
    assert_eq!(blocks[0][30], 1);
    let found = leaves::<DirError>(&format, count(&blocks), &mut reader(&blocks), b"wanted").unwrap();
    assert_eq!(found, (91..292).collect::<Vec<u32>>());
}

#[test]
fn more_names_than_two_levels_reach_are_refused_and_just_fewer_fill_the_leaves() {
    // 123 × 126 leaves of 1 KiB, of which each has room for three names of 250 bytes.
    let format = format(1024, Some(7));
    let long = |count: u32| -> Vec<Entry> {
        let name = |n: u32| format!("{n:0250}").into_bytes();
        (0..count).map(|n| Entry { name: name(n), inode: 20 + n, file_type: DIR_TYPE_FILE }).collect()
    };
    let most = 123 * 126;
    let blocks = pack(&format, 12, 2, long(most * 3 - 10)).unwrap();
    assert_eq!(blocks.len(), usize::try_from(1 + most + 123).unwrap() - 3);
    let verdict = pack(&format, 12, 2, long(most * 3 + 1));
    assert!(matches!(verdict, Err(DirError::TooLarge { leaves: 15_499, most: 15_498 })), "{verdict:?}");
}

#[test]
fn what_cannot_enter_a_directory_is_not_packed() {
    let format = format(1024, None);
    let twice = [entries(3_000), entries(1)].concat();
    assert_eq!(pack(&format, 12, 2, twice), Err(DirError::Duplicate { name: entries(1)[0].name.clone() }));
    for (name, inode) in
        [(".", 5), ("..", 5), ("", 5), ("a/b", 5), ("a\0b", 5), ("a", 0), (&"n".repeat(256), 5)]
    {
        let entry = Entry { name: name.as_bytes().to_vec(), inode, file_type: DIR_TYPE_FILE };
        assert!(matches!(pack(&format, 12, 2, vec![entry]), Err(DirError::NewEntry { .. })), "{name}");
    }
    let unknown = DirFormat { hash_version: 3, ..format };
    assert_eq!(pack(&unknown, 12, 2, entries(1)), Err(DirError::HashVersion { found: 3 }));
}

/// Two levels, sound.
fn sound(format: &DirFormat) -> Vec<Vec<u8>> {
    pack(format, 12, 2, entries(6_000)).unwrap()
}

/// What reading every index block of `blocks` says after `spoil` (and a fresh checksum).
fn verdict(format: &DirFormat, spoil: impl FnOnce(&mut Vec<Vec<u8>>)) -> Result<BTreeSet<u32>, DirError> {
    let mut blocks = sound(format);
    spoil(&mut blocks);
    for block in &mut blocks {
        if let Some(kind) = index_kind(format, block) {
            stamp(format, block, kind);
        }
    }
    index_blocks(format, count(&blocks), &mut reader(&blocks))
}

#[test]
fn each_fault_of_an_index_has_its_name() {
    for seed in [None, Some(7)] {
        let format = format(1024, seed);
        let limit = 124 - usize::from(seed.is_some());
        let last = count(&sound(&format)) - 1;
        let node = *verdict(&format, |_| ()).unwrap().last().unwrap();
        let node_at = usize::try_from(node).unwrap();

        let found =
            |found: u32| move |e: &DirError| matches!(e, DirError::Root { found: f, .. } if *f == found);
        type Wanted = Box<dyn Fn(&DirError) -> bool>;
        let root_faults: [(usize, &[u8], Wanted); 10] = [
            (24, &[1], Box::new(found(1))),
            (28, &[3], Box::new(|e| *e == DirError::HashVersion { found: 3 })),
            (29, &[9], Box::new(found(9))),
            (30, &[2], Box::new(found(2))),
            (31, &[1], Box::new(found(1))),
            (32, &[5], Box::new(move |e| *e == DirError::Limit { block: 0, found: 5, wanted: limit })),
            (34, &[0], Box::new(move |e| *e == DirError::Count { block: 0, found: 0, limit })),
            (34, &[125], Box::new(move |e| *e == DirError::Count { block: 0, found: 125, limit })),
            (36, &[0, 0], Box::new(move |e| *e == DirError::Child { block: 0, found: 0, last })),
            (36, &[0xff, 0xff], Box::new(move |e| *e == DirError::Child { block: 0, found: 0xffff, last })),
        ];
        for (at, bytes, wanted) in root_faults {
            let verdict = verdict(&format, |blocks| blocks[0][at..at + bytes.len()].copy_from_slice(bytes));
            assert!(verdict.as_ref().is_err_and(wanted), "byte {at} = {bytes:?}: {verdict:?}");
        }
        assert!(matches!(
            verdict(&format, |blocks| blocks[0][40..44].copy_from_slice(&[0xff; 4])),
            Err(DirError::HashOrder { block: 0, .. })
        ));
        assert!(matches!(
            verdict(&format, |blocks| blocks[node_at][16..20].copy_from_slice(&[0; 4])),
            Err(DirError::HashOrder { block, .. }) if block == node
        ));
        assert!(matches!(
            verdict(&format, |blocks| { let again = blocks[node_at][12..16].to_vec(); blocks[node_at][20..24].copy_from_slice(&again) }),
            Err(DirError::Repeated { block, .. }) if block == node
        ));
        assert!(matches!(
            verdict(&format, |blocks| blocks[node_at] = dir::empty_block(&format)),
            Err(DirError::Node { block, .. } | DirError::Limit { block, .. }) if block == node
        ));
        assert!(matches!(
            verdict(&format, |blocks| blocks[0] = dir::first_block(&format, 12, 2)),
            Err(DirError::Root { .. })
        ));
    }
}

#[test]
fn with_checksums_no_byte_in_use_can_be_spoilt_unseen() {
    let format = format(1024, Some(7));
    let blocks = sound(&format);
    let node = usize::try_from(*verdict(&format, |_| ()).unwrap().last().unwrap()).unwrap();
    for number in [0, node] {
        let kind = index_kind(&format, &blocks[number]).unwrap();
        let used = kind.entries_at() + dir::u16_at(&blocks[number], kind.entries_at() + 2) * ENTRY_LEN;
        for at in (0..used).chain(1020..1024) {
            let mut blocks = blocks.clone();
            blocks[number][at] ^= 1;
            let verdict = index_blocks(&format, count(&blocks), &mut reader(&blocks));
            assert!(verdict.is_err(), "block {number}, byte {at}");
        }
    }
}

#[test]
fn any_byte_of_an_index_may_be_anything() {
    let format = format(1024, None);
    let blocks = sound(&format);
    for number in [0, blocks.len() - 1] {
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut blocks = blocks.clone();
                blocks[number][at] = value;
                // Neither panics nor hangs; what it says does not matter.
                let _verdict = index_blocks(&format, count(&blocks), &mut reader(&blocks));
                let _verdict = find(&format, &blocks, b"stranger");
            }
        }
    }
}

/// The output of an oracle, which must succeed with a status up to `most`.
fn tool(package: &str, program: &str, args: &[&str], most: i32) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C").env("TZ", "UTC").output();
    let output = output.unwrap_or_else(|error| panic!("{program} (Debian package {package}): {error}"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= most), "{program} {args:?}: {text}");
    text
}

/// The format and the blocks of the directory `/many` of a filesystem.
fn directory(image: &Path) -> (DirFormat, Vec<Vec<u8>>) {
    let path = image.to_str().unwrap();
    let bytes = std::fs::read(image).unwrap();
    let superblock = &bytes[1024..2048];
    let block_len = 1024 << dir::u32_at(superblock, 0x18);
    let dump = image.with_extension("many");
    tool("e2fsprogs", "debugfs", &["-R", &format!("dump /many {}", dump.to_str().unwrap()), path], 0);
    let stat = tool("e2fsprogs", "debugfs", &["-R", "stat /many", path], 0);
    let after = |label: &str| -> u32 {
        let rest = &stat[stat.find(label).unwrap() + label.len()..];
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let seed = if dir::u32_at(superblock, 0x60) & 0x2000 == 0 {
        dir::crc32c_on(!0, &superblock[0x68..0x78])
    } else {
        dir::u32_at(superblock, 0x270)
    };
    let seed = dir::crc32c_on(seed, &after("Inode:").to_le_bytes());
    let seed = dir::crc32c_on(seed, &after("Generation:").to_le_bytes());
    let format = DirFormat {
        block_len,
        has_filetype: dir::u32_at(superblock, 0x60) & 2 != 0,
        checksum_seed: (dir::u32_at(superblock, 0x64) & 0x400 != 0).then_some(seed),
        indexable: true,
        hash_version: superblock[0xfc],
        hash_unsigned: dir::u32_at(superblock, 0x160) & 2 != 0,
        hash_seed: [0xec, 0xf0, 0xf4, 0xf8].map(|at| dir::u32_at(superblock, at)),
    };
    (format, std::fs::read(dump).unwrap().chunks(block_len).map(<[u8]>::to_vec).collect())
}

fn check_directory(image: &Path, names: &[String], shape: &str) {
    let (format, blocks) = directory(image);
    let index = index_blocks(&format, count(&blocks), &mut reader(&blocks)).unwrap();
    assert!(blocks.len() > 2 && index.contains(&0), "{shape}");
    let listed = listing(&format, &blocks).len();
    assert_eq!(listed, names.len(), "{shape}");
    for name in names {
        let mut found = None;
        let mut leaf_blocks = Vec::new();
        for leaf in leaves(&format, count(&blocks), &mut reader(&blocks), name.as_bytes()).unwrap() {
            leaf_blocks.push(leaf);
            let entries = dir::parse_block(&format, &blocks[usize::try_from(leaf).unwrap()]).unwrap();
            found = found.or(entries.into_iter().find(|entry| entry.name == name.as_bytes()));
        }
        assert!(found.is_some(), "{shape}: {name} not in {leaf_blocks:?}");
    }
}

fn many_names() -> Vec<String> {
    let tail = |n: u32| if n.is_multiple_of(3) { "日本" } else { "-plain-name" };
    (0..4_000)
        .map(|n: u32| format!("{n:05}{}", tail(n).repeat(1 + usize::try_from(n % 5).unwrap())))
        .collect()
}

const SHAPES: [&[&str]; 5] = [
    &["-b", "1024"],
    &["-b", "4096", "-O", "metadata_csum_seed"],
    &["-b", "1024", "-O", "^metadata_csum,uninit_bg", "-E", "hash_seed=01234567-0123-4567-89ab-000102030405"],
    &["-b", "4096", "-O", "^metadata_csum,^uninit_bg,^filetype"],
    &["-b", "2048", "-O", "^64bit"],
];

/// An empty filesystem of one of the shapes.
fn make_filesystem(folder: &Path, shape: &[&str], number: usize) -> std::path::PathBuf {
    let image = folder.join(format!("{number}.img"));
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let path = image.to_str().unwrap();
    let base = ["-q", "-t", "ext4", "-N", "8000"];
    tool("e2fsprogs", "mke2fs", &[&base, shape, &[path]].concat(), 0);
    // Both kinds of hash, whichever machine runs this.
    let flag = if number.is_multiple_of(2) { "1" } else { "2" };
    tool("e2fsprogs", "debugfs", &["-w", "-R", &format!("ssv flags {flag}"), path], 0);
    image
}

#[test]
fn every_name_in_an_index_made_by_e2fsck_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let names = many_names();
    let many = folder.path().join("tree/many");
    std::fs::create_dir_all(&many).unwrap();
    names.iter().for_each(|name| std::fs::write(many.join(name), "").unwrap());
    for (number, shape) in SHAPES.iter().enumerate() {
        let tree = folder.path().join("tree");
        let image =
            make_filesystem(folder.path(), &[*shape, &["-d", tree.to_str().unwrap()]].concat(), number);
        tool("e2fsprogs", "e2fsck", &["-fyD", image.to_str().unwrap()], 1);
        check_directory(&image, &names, &format!("{shape:?}"));
    }
}

/// The physical blocks of `/many`, in order.
fn physical_blocks(path: &str) -> Vec<usize> {
    let text = tool("e2fsprogs", "debugfs", &["-R", "blocks /many", path], 0);
    let line = text.lines().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn e2fsck_finds_no_fault_with_what_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    for (number, shape) in SHAPES.iter().enumerate() {
        for names in [1, 60, 1_500, 20_000] {
            let image = make_filesystem(folder.path(), shape, number);
            let path = image.to_str().unwrap();
            tool("e2fsprogs", "debugfs", &["-w", "-R", "mkdir many", path], 0);
            tool("e2fsprogs", "debugfs", &["-w", "-R", "write /dev/null file", path], 0);
            let inode_of = |name: &str| -> u32 {
                let stat = tool("e2fsprogs", "debugfs", &["-R", &format!("stat {name}"), path], 0);
                stat.split("Inode:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
            };
            let (many, file) = (inode_of("many"), inode_of("file"));

            let (format, _) = directory(&image);
            let entries = entries(names).into_iter().map(|entry| Entry { inode: file, ..entry }).collect();
            let blocks = pack(&format, many, 2, entries).unwrap();
            let mut script = "expand_dir many\n".repeat(blocks.len() - 1);
            if blocks.len() > 1 {
                // EXT4_EXTENTS_FL and EXT4_INDEX_FL.
                script += "sif many flags 0x81000\n";
            }
            script += &format!("sif file links_count {}\n", names + 1);
            std::fs::write(folder.path().join("script"), script).unwrap();
            tool(
                "e2fsprogs",
                "debugfs",
                &["-w", "-f", folder.path().join("script").to_str().unwrap(), path],
                0,
            );
            let mut bytes = std::fs::read(&image).unwrap();
            let physical = physical_blocks(path);
            assert_eq!(physical.len(), blocks.len());
            for (at, block) in physical.iter().zip(&blocks) {
                bytes[at * format.block_len..][..format.block_len].copy_from_slice(block);
            }
            std::fs::write(&image, bytes).unwrap();
            let verdict = tool("e2fsprogs", "e2fsck", &["-fn", path], 0);
            assert!(!verdict.contains('?'), "{shape:?} {names}: {verdict}");
        }
    }
}

#[test]
fn every_name_in_an_index_made_by_the_kernel_is_found() {
    if tool("coreutils", "id", &["-u"], 0).trim() != "0" {
        eprintln!("not run: a loop mount needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let names = many_names();
    for (number, shape) in SHAPES.iter().enumerate() {
        let image = make_filesystem(folder.path(), shape, number);
        let mount = folder.path().join(format!("mount{number}"));
        std::fs::create_dir(&mount).unwrap();
        tool("mount", "mount", &["-o", "loop", image.to_str().unwrap(), mount.to_str().unwrap()], 0);
        let made = std::fs::create_dir(mount.join("many")).and_then(|()| {
            names.iter().try_for_each(|name| std::fs::File::create(mount.join("many").join(name)).map(drop))
        });
        // A program that another test starts at this moment holds our open files until its exec: busy, for a blink.
        let unmounted = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::process::Command::new("umount").arg(&mount).output().is_ok_and(|said| said.status.success())
        });
        assert!(unmounted, "{} stays mounted", mount.display());
        made.unwrap();
        check_directory(&image, &names, &format!("{shape:?}"));
    }
}
