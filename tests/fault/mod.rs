//! What is left when the power goes, or the process.

mod build;
#[cfg(target_os = "linux")]
mod devices;
mod download;
#[cfg(target_os = "linux")]
mod flash;
mod kill;
mod power;

use std::ops::Range;
use std::path::Path;

use crate::support::tools::{text, tool};

/// Where the bytes of the free blocks of a bare ext4 filesystem are, as dumpe2fs tells it.
fn free_bytes(image: &Path) -> Vec<Range<usize>> {
    let said = tool("dumpe2fs", &[text(image)]);
    let block_len = said.lines().find_map(|line| line.strip_prefix("Block size:")).unwrap();
    let block_len: usize = block_len.trim().parse().unwrap();
    let lists = said.lines().filter_map(|line| line.strip_prefix("  Free blocks: "));
    let ranges = lists.flat_map(|list| list.split(", ")).filter(|range| !range.is_empty());
    let blocks = ranges.map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap())
    });
    blocks.map(|(first, last)| first * block_len..(last + 1) * block_len).collect()
}

/// Are these the same bytes, wherever `free` is not? It is ascending.
fn are_same_but_for(free: &[Range<usize>], one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    let is_same = |range: &Range<usize>| {
        let is_same = one.get(at..range.start) == other.get(at..range.start);
        at = range.end;
        is_same
    };
    one.len() == other.len() && free.iter().all(is_same) && one.get(at..) == other.get(at..)
}
