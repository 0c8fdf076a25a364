//! Blocks of our own making, each spoilt in one place.

use super::*;

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
    let shapes = [(1024, None), (1024, Some(7)), (4096, None), (4096, Some(8))];
    let with_type = shapes.map(|(block_len, seed)| format(block_len, seed));
    let without = with_type.clone().map(|format| DirFormat { has_filetype: false, ..format });
    with_type.into_iter().chain(without)
}

fn entry(name: &str, inode: u32) -> Entry {
    Entry { name: name.as_bytes().to_vec(), inode, file_type: 1 }
}

fn names(format: &DirFormat, block: &[u8]) -> Vec<String> {
    let entries = parse_block(format, block).unwrap();
    entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
}

#[test]
fn a_new_directory_has_its_dots_and_room() {
    for format in formats() {
        let mut block = first_block(&format, 12, 2);
        let file_type = if format.has_filetype { 2 } else { 0 };
        let dots = [(b".".to_vec(), 12), (b"..".to_vec(), 2)];
        let wanted = dots.map(|(name, inode)| Entry { name, inode, file_type });
        assert_eq!(parse_block(&format, &block).unwrap(), wanted);
        assert_eq!(insert(&format, &mut block, &entry("file", 13)), Ok(true));
        assert_eq!(names(&format, &block), [".", "..", "file"]);
        assert_eq!(parse_block(&format, &empty_block(&format)), Ok(vec![]));
    }
}

#[test]
fn what_stands_for_a_type_where_there_are_none_means_nothing() {
    let format = DirFormat { has_filetype: false, ..format(1024, None) };
    let mut block = first_block(&format, 12, 2);
    block[12 + 7] = 0x9d;
    let wanted = parse_block(&format, &first_block(&format, 12, 2)).unwrap();
    assert_eq!(parse_block(&format, &block).unwrap(), wanted);
    assert_eq!(insert(&format, &mut block, &entry("file", 13)), Ok(true));
    assert_eq!(names(&format, &block), [".", "..", "file"]);
}

#[test]
fn a_block_takes_names_to_its_last_byte_and_again_what_was_freed() {
    for format in formats() {
        let mut block = empty_block(&format);
        let room = format.entries_len();
        let wanted: Vec<String> = (0..room / 16).map(|number| format!("{number:08}")).collect();
        for name in &wanted {
            assert_eq!(insert(&format, &mut block, &entry(name, 9)), Ok(true), "{name}");
        }
        assert_eq!(names(&format, &block), wanted);
        let full = block.clone();
        assert_eq!(insert(&format, &mut block, &entry("one more!", 9)), Ok(false));
        assert_eq!(block, full);

        // First, middle, last: each leaves room for one just as long, and only that.
        for gone in [0, 1, wanted.len() - 1] {
            assert_eq!(remove(&format, &mut block, wanted[gone].as_bytes()), Ok(true));
            assert_eq!(names(&format, &block).len(), wanted.len() - 1);
            assert!(!String::from_utf8_lossy(&block).contains(&wanted[gone]), "its bytes are wiped");
            assert_eq!(insert(&format, &mut block, &entry(&wanted[gone], 9)), Ok(true));
            assert_eq!(block, full, "entry {gone}");
        }
        for name in &wanted {
            assert_eq!(remove(&format, &mut block, name.as_bytes()), Ok(true));
            assert_eq!(remove(&format, &mut block, name.as_bytes()), Ok(false));
        }
        assert_eq!(block, empty_block(&format));
    }
}

#[test]
fn an_entry_can_stand_for_another_inode() {
    for format in formats() {
        let mut block = first_block(&format, 12, 2);
        assert_eq!(set_inode(&format, &mut block, b"..", 99, 2), Ok(true));
        assert_eq!(block, first_block(&format, 12, 99));
        assert_eq!(set_inode(&format, &mut block, b"none", 99, 2), Ok(false));

        let entries = (0..500).map(|number| entry(&format!("{number:030}"), 20 + number)).collect::<Vec<_>>();
        let mut blocks = htree::pack(&format, 12, 2, entries.clone()).unwrap();
        assert_eq!(set_inode(&format, &mut blocks[0], b"..", 99, 2), Ok(true));
        assert_eq!(blocks, htree::pack(&format, 12, 99, entries).unwrap(), "an index's root");
    }
}

#[test]
fn what_cannot_be_a_name_does_not_enter_or_leave() {
    let format = format(1024, Some(7));
    let mut block = first_block(&format, 12, 2);
    assert_eq!(insert(&format, &mut block, &entry("file", 13)), Ok(true));
    for (name, inode) in [(".", 9), ("..", 9), ("", 9), ("a/b", 9), ("a\0", 9), ("ok", 0)] {
        let verdict = insert(&format, &mut block, &entry(name, inode));
        assert!(matches!(verdict, Err(DirError::NewEntry { .. })), "{name} {inode}");
    }
    let verdict = insert(&format, &mut block, &entry("file", 14));
    assert_eq!(verdict, Err(DirError::Duplicate { name: b"file".to_vec() }));
    assert!(remove(&format, &mut block, b".").is_err());
    assert!(remove(&format, &mut block, b"..").is_err());
    assert!(set_inode(&format, &mut block, b"file", 0, 1).is_err());
    assert_eq!(names(&format, &block), [".", "..", "file"]);
}

#[test]
fn names_never_enter_a_block_of_the_index() {
    let format = format(1024, Some(7));
    let entries = (0..9_000).map(|number| entry(&format!("{number:030}"), 20 + number)).collect();
    let blocks = htree::pack(&format, 12, 2, entries).unwrap();
    for block in [blocks.first(), blocks.last()] {
        let mut block = block.unwrap().clone();
        assert_eq!(insert(&format, &mut block, &entry("x", 9)), Err(DirError::IndexBlock));
        assert_eq!(remove(&format, &mut block, b"x"), Err(DirError::IndexBlock));
    }
}

#[test]
fn each_fault_of_a_block_has_its_name() {
    let format = format(1024, None);
    let mut sound = first_block(&format, 12, 2);
    for name in ["one", "two"] {
        assert_eq!(insert(&format, &mut sound, &entry(name, 13)), Ok(true));
    }
    assert_eq!(names(&format, &sound), [".", "..", "one", "two"]); // at 0, 12, 24, 36
    let name = |offset, name: &[u8]| DirError::Name { offset, name: name.to_vec() };
    let len = |offset, found, least| DirError::RecLen { offset, found, least, most: 1024 - offset };
    for (at, bytes, wanted) in [
        (28, [0, 0], len(24, 0, 12)),
        (28, [8, 0], len(24, 8, 12)),
        (28, [13, 0], len(24, 13, 12)),
        (30, [5, 1], len(24, 12, 16)),
        (40, [0xe0, 3], len(36, 992, 12)),
        (40, [0xd4, 3], DirError::Remainder { offset: 36, found: 8 }),
        (30, [0, 1], name(24, b"")),
        (32, *b"a/", name(24, b"a/e")),
        (32, [b'a', 0], name(24, b"a\0e")),
        (18, [1, 2], name(12, b".")),
        (30, [1, 1], name(24, b"o")),
    ] {
        let mut block = sound.clone();
        block[at..at + 2].copy_from_slice(&bytes);
        if at == 30 && bytes[0] == 1 {
            assert!(parse_block(&format, &block).is_ok());
            block[32] = b'.';
            assert_eq!(parse_block(&format, &block), Err(name(24, b".")), "a second `.`");
            continue;
        }
        assert_eq!(parse_block(&format, &block), Err(wanted), "byte {at}");
    }
    let short = DirError::BlockLen { found: 1020, wanted: 1024 };
    assert_eq!(parse_block(&format, &sound[..1020]), Err(short));
}

#[test]
fn with_checksums_any_spoilt_bit_is_seen() {
    let format = format(1024, Some(7));
    let mut block = first_block(&format, 12, 2);
    assert_eq!(insert(&format, &mut block, &entry("one", 13)), Ok(true));
    for bit in 0..block.len() * 8 {
        let mut block = block.clone();
        block[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_block(&format, &block).is_err(), "bit {bit}");
    }
    let stale = DirFormat { checksum_seed: Some(8), ..format.clone() };
    assert!(matches!(parse_block(&stale, &block), Err(DirError::Checksum { .. })));
    block[1012 + 7] = 0xdd;
    assert!(matches!(parse_block(&format, &block), Err(DirError::Tail { .. })));
}

#[test]
fn without_checksums_any_byte_may_be_anything() {
    let format = format(1024, None);
    let mut sound = first_block(&format, 12, 2);
    assert_eq!(insert(&format, &mut sound, &entry("one", 13)), Ok(true));
    for at in 0..64 {
        for value in 0..=255 {
            let mut block = sound.clone();
            block[at] = value;
            // No verdict is wanted, only one at all; and an edit never makes a sound block unsound.
            if parse_block(&format, &block).is_ok() {
                let _fits = insert(&format, &mut block, &entry("two", 14));
                let _gone = remove(&format, &mut block, b"one");
                assert!(parse_block(&format, &block).is_ok(), "byte {at} = {value}");
            }
        }
    }
}
