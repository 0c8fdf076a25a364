//! What is kept, what is in use, and zeros in the rest.

use std::process::Command;

use super::support::{FILE, Image, SHAPES, output, path, pattern};
use crate::block::{Extent, Memory};
use crate::image::ext4::{Error, Filesystem};

#[test]
fn blocks_kept_for_root_reach_every_copy() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            fs.set_reserved_blocks(77).unwrap();
            assert_eq!(fs.reserved_blocks(), 77);
            let most = fs.len_blocks() / 2;
            let error = fs.set_reserved_blocks(most + 1).unwrap_err();
            assert!(matches!(error, Error::TooManyReserved { limit_blocks, .. } if limit_blocks == most));
        });
        image.check(shape.0);
        let shown = image.debugfs("show_super_stats -h");
        assert!(shown.contains("Reserved block count:     77\n"), "{}: {shown}", shape.0);
    }
}

/// The free blocks, as dumpe2fs lists them.
fn free_by_dumpe2fs(image: &Image) -> Vec<u64> {
    let said = output(Command::new("dumpe2fs").arg(image.path()));
    let said = String::from_utf8(said.stdout).unwrap();
    let mut free = Vec::new();
    for ranges in said.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")) {
        for range in ranges.split(", ").filter(|range| !range.is_empty()) {
            let (start, end) = range.split_once('-').unwrap_or((range, range));
            free.extend(start.parse::<u64>().unwrap()..=end.parse().unwrap());
        }
    }
    free
}

#[test]
fn what_is_free_is_zeroed_and_what_is_in_use_is_told() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let block_len = image.bytes_per_block();
        image.edit(|fs| {
            fs.write_file(&path("/secret"), &pattern(2_000_000), FILE).unwrap();
            for number in 0..40 {
                fs.write_file(&path(&format!("/kept-{number}")), &pattern(5_000), FILE).unwrap();
                fs.write_file(&path(&format!("/gone-{number}")), &pattern(3_000), FILE).unwrap();
            }
        });
        let device = Memory::new(image.bytes());
        let mut fs = Filesystem::open(&device).unwrap();
        fs.remove(&path("/secret")).unwrap();
        for number in 0..40 {
            fs.remove(&path(&format!("/gone-{number}"))).unwrap();
        }
        assert!(fs.zero_free().unwrap() >= (2_000_000_u64 + 40 * 3_000).div_ceil(block_len), "{}", shape.0);
        assert_eq!(fs.zero_free().unwrap(), 0, "{}: what is zero is not written", shape.0);
        let (used, spare) = (fs.used_ranges().unwrap(), fs.free_ranges().unwrap());
        drop(fs);
        let bytes = device.into_bytes();
        std::fs::write(image.path(), &bytes).unwrap();
        image.check(shape.0);

        assert!(used.windows(2).all(|pair| pair[0].offset + pair[0].len_bytes < pair[1].offset));
        assert_eq!(used[0].offset, 0);
        let is_used = |block: u64| {
            let next = used.partition_point(|range| range.offset + range.len_bytes <= block * block_len);
            used.get(next).is_some_and(|range| range.offset <= block * block_len)
        };
        let free = free_by_dumpe2fs(&image);
        let blocks = bytes.len() as u64 / block_len;
        let unused: Vec<u64> = (0..blocks).filter(|block| !is_used(*block)).collect();
        assert!(unused == free, "{}: {} unused, {} free", shape.0, unused.len(), free.len());
        let blocks_of =
            |range: &Extent| range.offset / block_len..(range.offset + range.len_bytes) / block_len;
        assert!(spare.iter().flat_map(blocks_of).eq(free.iter().copied()), "{}", shape.0);
        for block in free {
            let at = usize::try_from(block * block_len).unwrap();
            let len = usize::try_from(block_len).unwrap();
            assert!(bytes[at..at + len].iter().all(|byte| *byte == 0), "{}: block {block}", shape.0);
        }
        image.edit(|fs| {
            for number in 0..40 {
                let kept = fs.read_file(&path(&format!("/kept-{number}")), 5_000).unwrap();
                assert!(kept == pattern(5_000), "{}", shape.0);
            }
        });
    }
}

#[test]
fn edits_that_are_not_laid_down_yet_count_as_done() {
    let image = Image::make(&SHAPES[1]);
    let device = Memory::new(image.bytes());
    let mut fs = Filesystem::open(&device).unwrap();
    let len =
        |fs: &Filesystem<'_>| -> u64 { fs.used_ranges().unwrap().iter().map(|range| range.len_bytes).sum() };
    let before = len(&fs);
    fs.write_file(&path("/new"), &pattern(10 * 4096), FILE).unwrap();
    assert_eq!(len(&fs), before + 10 * 4096);
    assert_eq!(len(&fs), (fs.len_blocks() - fs.free_blocks()) * 4096);
}

#[test]
fn a_block_is_told_to_be_the_file_s_that_debugfs_finds_it_in() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let block_len = image.bytes_per_block();
        let names: Vec<String> = (0..6).map(|number| format!("/dir-{}/file-{number}", number % 2)).collect();
        image.edit(|fs| {
            for directory in ["/dir-0", "/dir-1"] {
                fs.mkdir(&path(directory), FILE).unwrap();
            }
            for name in &names {
                fs.write_file(&path(name), &pattern(9_000), FILE).unwrap();
            }
        });
        let device = Memory::new(image.bytes());
        let fs = Filesystem::open(&device).unwrap();
        let extent = |block: u64| Extent { offset: block * block_len + 7, len_bytes: 1 };
        let mut all = Vec::new();
        for name in &names {
            let blocks = image.debugfs(&format!("blocks {name}"));
            let blocks: Vec<u64> = blocks.split_whitespace().map(|word| word.parse().unwrap()).collect();
            assert!(!blocks.is_empty(), "{name}");
            for block in blocks {
                assert_eq!(
                    fs.names_on(&[extent(block)], 9).unwrap(),
                    [name.as_str()],
                    "{}: {block}",
                    shape.0
                );
                all.push(extent(block));
            }
        }
        let mut found = fs.names_on(&all, 9).unwrap();
        found.sort();
        assert!(
            found.iter().eq(["/dir-0/file-0", "/dir-0/file-2", "/dir-0/file-4"].iter().chain(&[
                "/dir-1/file-1",
                "/dir-1/file-3",
                "/dir-1/file-5"
            ])),
            "{}: {found:?}",
            shape.0
        );
        assert_eq!(fs.names_on(&all, 2).unwrap().len(), 2);
        // The superblock is nobody's.
        assert_eq!(
            fs.names_on(&[Extent { offset: 1024, len_bytes: 1024 }], 9).unwrap(),
            Vec::<String>::new()
        );
    }
}
