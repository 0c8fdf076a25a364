//! Which bytes two files of the host have in common because they lie on the same blocks of its disk: copies made by
//! reflink share all that neither of them changed, and nobody need read it twice to know that.
//!
//! Believed only where it is certain: on Linux, from filesystems that are known to number their blocks as one, for
//! extents that both files call shared and that are neither packed, encrypted, nor still to be written. Everywhere else
//! nothing is shared. The kernel writes what is pending first (`FIEMAP_FLAG_SYNC`): on XFS a changed page leaves its
//! extent only then.

use std::fs::File;

use super::Extent;

/// More extents than this are not asked for; a file in so many pieces is read.
#[cfg(target_os = "linux")]
const EXTENTS_MAX: usize = 1 << 20;

/// Runs of bytes that are surely the same in both files, at the same place in each: ascending, apart.
#[must_use]
pub fn shared_extents(one: &File, other: &File) -> Vec<Extent> {
    if is_same_file(one, other) {
        let len_bytes = one.metadata().map_or(0, |metadata| metadata.len());
        return if len_bytes == 0 { Vec::new() } else { vec![Extent { offset: 0, len_bytes }] };
    }
    on_same_blocks(one, other)
}

#[cfg(unix)]
fn is_same_file(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |file: &File| file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    id(one).is_some_and(|known| id(other) == Some(known))
}

#[cfg(not(unix))]
fn is_same_file(_one: &File, _other: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn on_same_blocks(_one: &File, _other: &File) -> Vec<Extent> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn on_same_blocks(one: &File, other: &File) -> Vec<Extent> {
    use std::os::unix::fs::MetadataExt as _;
    let device = |file: &File| file.metadata().ok().map(|metadata| metadata.dev());
    if !has_one_numbering(one) || device(one).is_none_or(|known| device(other) != Some(known)) {
        return Vec::new();
    }
    match (pieces(one), pieces(other)) {
        (Some(ones), Some(others)) => common(&ones, &others),
        _ => Vec::new(),
    }
}

/// XFS and Btrfs: what they call a block is one block, however many disks are below. `linux/magic.h`.
#[cfg(target_os = "linux")]
fn has_one_numbering(file: &File) -> bool {
    const XFS: i128 = 0x5846_5342;
    const BTRFS: i128 = 0x9123_683e;
    rustix::fs::fstatfs(file).is_ok_and(|stat| [XFS, BTRFS].contains(&i128::from(stat.f_type)))
}

/// Bytes of a file, and where on the disk they are.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
    physical: u64,
}

/// What the file says that it shares; `None` when it does not tell.
#[cfg(target_os = "linux")]
fn pieces(file: &File) -> Option<Vec<Piece>> {
    use fiemap::{Fiemap, FiemapExtentFlags as Flags, FiemapFlags};
    let mut pieces = Vec::new();
    for (count, extent) in Fiemap::with_flags(file, FiemapFlags::SYNC).enumerate() {
        let extent = extent.ok().filter(|_| count < EXTENTS_MAX)?;
        if extent.fe_flags.bits() & !(Flags::LAST | Flags::MERGED).bits() == Flags::SHARED.bits() {
            let end = extent.fe_logical.checked_add(extent.fe_length)?;
            pieces.push(Piece { start: extent.fe_logical, end, physical: extent.fe_physical });
        }
    }
    Some(pieces)
}

/// Where both lie on the same blocks. Both ascend.
#[cfg(target_os = "linux")]
fn common(ones: &[Piece], others: &[Piece]) -> Vec<Extent> {
    let mut extents = Vec::new();
    let (mut ones, mut others) = (ones.iter().peekable(), others.iter().peekable());
    while let (Some(one), Some(other)) = (ones.peek(), others.peek()) {
        let (start, end) = (one.start.max(other.start), one.end.min(other.end));
        let [here, there] =
            [one, other].map(|piece| piece.physical.checked_add(start.saturating_sub(piece.start)));
        if start < end && here.is_some() && here == there {
            extents.push(Extent { offset: start, len_bytes: end - start });
        }
        if one.end <= other.end {
            ones.next();
        } else {
            others.next();
        }
    }
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_shares_all_of_itself_and_files_apart_share_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "other"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, [7; 9000]).unwrap());
        let [one, again, other] = [&paths[0], &paths[0], &paths[1]].map(|path| File::open(path).unwrap());
        let whole = if cfg!(unix) { vec![Extent { offset: 0, len_bytes: 9000 }] } else { Vec::new() };
        assert_eq!(shared_extents(&one, &again), whole);
        assert_eq!(shared_extents(&one, &other), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_what_lies_on_the_same_block_at_the_same_place_is_common() {
        let piece = |start, end, physical| Piece { start, end, physical };
        let ones = [piece(0, 10, 100), piece(10, 20, 500), piece(30, 40, 700)];
        let others = [piece(0, 4, 100), piece(4, 6, 900), piece(6, 18, 106), piece(18, 40, 688)];
        let extent = |offset, len_bytes| Extent { offset, len_bytes };
        // 10 to 18 is at 500 here and at 110 there; 30 to 40 at 700 in both.
        assert_eq!(common(&ones, &others), [extent(0, 4), extent(6, 4), extent(30, 10)]);
    }
}
