//! Checksums of a filesystem made right again after a field was spoilt, so that the field is what is wrong.
//!
//! Where the structures are is read from the sound filesystem; what they hold now is what is sealed.

use std::collections::BTreeSet;

use cardpress::base::is_zero;

/// A structure with a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sealed {
    /// Bitmaps first: the descriptor holds their checksums.
    Bitmaps(usize),
    /// By the byte where it begins, for its inode.
    Inode(usize, u32),
    ExtentBlock(usize, u32),
    Leaf(usize, u32),
    IndexNode(usize, u32, usize),
    XattrBlock(usize),
    OrphanBlock(usize, u32),
    Journal(usize),
    Descriptor(usize),
    SuperblockCopy(usize),
    Superblock,
}

impl Sealed {
    /// Where it begins, for those that know.
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::Inode(at, _)
            | Self::ExtentBlock(at, _)
            | Self::Leaf(at, _)
            | Self::IndexNode(at, ..)
            | Self::XattrBlock(at)
            | Self::OrphanBlock(at, _)
            | Self::Journal(at)
            | Self::SuperblockCopy(at) => Some(at),
            Self::Superblock | Self::Bitmaps(_) | Self::Descriptor(_) => None,
        }
    }
}

/// What is where in a sound filesystem.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) block_len: usize,
    pub(super) inode_len: usize,
    pub(super) inodes_per_group: u32,
    pub(super) groups: usize,
    pub(super) descriptor_len: usize,
    pub(super) descriptors_at: usize,
    pub(super) has_checksums: bool,
    pub(super) has_descriptor_checksums: bool,
    pub(super) sealed: BTreeSet<Sealed>,
    /// Inodes in use and what they are, from the high bits of their mode.
    pub(super) files: Vec<(u32, u16)>,
    /// Blocks of directories: inode, logical block, byte.
    pub(super) directory_blocks: Vec<(u32, usize, usize)>,
}

pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

pub(super) fn size(value: u64) -> usize {
    usize::try_from(value).expect("small")
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

impl Map {
    pub(super) fn of(image: &[u8]) -> Self {
        let sb = |at: usize| get::<4>(image, 1024 + at);
        let (incompat, ro_compat) = (sb(0x60), sb(0x64));
        let block_len = 1024 << sb(0x18);
        let first = size(sb(0x14));
        let groups = (size(sb(0x04)) - first).div_ceil(size(sb(0x20)));
        let descriptor_len = if incompat & 0x80 == 0 { 32 } else { size(get::<2>(image, 1024 + 0xfe)) };
        let mut map = Self {
            block_len,
            inode_len: size(get::<2>(image, 1024 + 0x58)),
            inodes_per_group: u32::try_from(sb(0x28)).expect("small"),
            groups,
            descriptor_len,
            descriptors_at: (first + 1) * block_len,
            has_checksums: ro_compat & 0x400 != 0,
            has_descriptor_checksums: ro_compat & 0x410 != 0,
            sealed: BTreeSet::new(),
            files: Vec::new(),
            directory_blocks: Vec::new(),
        };
        map.look(image);
        map
    }

    pub(super) fn descriptor_at(&self, group: usize) -> usize {
        self.descriptors_at + group * self.descriptor_len
    }

    /// A block number in a descriptor, from its low half.
    fn pointer(&self, image: &[u8], group: usize, at: usize) -> usize {
        size(get::<4>(image, self.descriptor_at(group) + at)) * self.block_len
    }

    pub(super) fn inode_at(&self, image: &[u8], inode: u32) -> usize {
        let (group, index) = ((inode - 1) / self.inodes_per_group, (inode - 1) % self.inodes_per_group);
        self.pointer(image, size(u64::from(group)), 8) + size(u64::from(index)) * self.inode_len
    }

    fn look(&mut self, image: &[u8]) {
        self.sealed.insert(Sealed::Superblock);
        let per_group = size(get::<4>(image, 1024 + 0x20)) * self.block_len;
        let start = size(get::<4>(image, 1024 + 0x14)) * self.block_len;
        for group in 0..self.groups {
            self.sealed.extend([Sealed::Descriptor(group), Sealed::Bitmaps(group)]);
            let copy = start + group * per_group;
            if group > 0 && get::<2>(image, copy + 0x38) == 0xef53 && get::<4>(image, copy + 0x18) < 3 {
                self.sealed.insert(Sealed::SuperblockCopy(copy));
            }
        }
        for inode in 1..=self.inodes_per_group * u32::try_from(self.groups).expect("few") {
            let group = size(u64::from((inode - 1) / self.inodes_per_group));
            let index = u64::from((inode - 1) % self.inodes_per_group);
            let descriptor = self.descriptor_at(group);
            let (flags, unused) = (get::<2>(image, descriptor + 0x12), get::<2>(image, descriptor + 0x1c));
            let is_skipped = self.has_descriptor_checksums
                && (flags & 1 != 0 || index + unused >= u64::from(self.inodes_per_group));
            let at = self.inode_at(image, inode);
            if is_skipped || is_zero(&image[at..at + self.inode_len]) {
                continue;
            }
            self.sealed.insert(Sealed::Inode(at, inode));
            if get::<2>(image, at + 0x1a) > 0 {
                self.files.push((inode, u16::try_from(get::<2>(image, at) & 0xf000).expect("16 bits")));
                self.look_at_blocks(image, inode, at);
            }
        }
    }

    fn look_at_blocks(&mut self, image: &[u8], inode: u32, at: usize) {
        let mode = get::<2>(image, at) & 0xf000;
        let flags = get::<4>(image, at + 0x20);
        let xattrs = size(get::<4>(image, at + 0x68)) * self.block_len;
        if xattrs > 0 {
            self.sealed.insert(Sealed::XattrBlock(xattrs));
        }
        let mut blocks = Vec::new();
        if flags & 0x8_0000 != 0 {
            self.look_at_extents(image, inode, at + 0x28, &mut blocks);
        } else if mode == 0x4000 {
            blocks = (0..12)
                .map(|nth| (nth, size(get::<4>(image, at + 0x28 + 4 * nth)) * self.block_len))
                .filter(|(_, at)| *at > 0)
                .collect();
        }
        for (logical, block) in blocks {
            if inode == 8 && logical == 0 {
                self.sealed.insert(Sealed::Journal(block));
            } else if u64::from(inode) == get::<4>(image, 1024 + 0x280) {
                self.sealed.insert(Sealed::OrphanBlock(block, inode));
            } else if mode == 0x4000 {
                self.directory_blocks.push((inode, logical, block));
                let is_tail = get::<4>(image, block + self.block_len - 8) == 0xde00_000c;
                let is_node = get::<2>(image, block + 4) == self.block_len as u64;
                let sealed = match (flags & 0x1000 != 0, logical, is_tail) {
                    (true, 0, _) => Sealed::IndexNode(block, inode, 32),
                    (true, _, false) if is_node => Sealed::IndexNode(block, inode, 8),
                    _ => Sealed::Leaf(block, inode),
                };
                self.sealed.insert(sealed);
            }
        }
    }

    fn look_at_extents(&mut self, image: &[u8], inode: u32, node: usize, blocks: &mut Vec<(usize, usize)>) {
        let (entries, depth) = (get::<2>(image, node + 2), get::<2>(image, node + 6));
        for nth in 0..size(entries) {
            let entry = node + 12 + 12 * nth;
            if depth > 0 {
                let child = size(get::<4>(image, entry + 4)) * self.block_len;
                self.sealed.insert(Sealed::ExtentBlock(child, inode));
                self.look_at_extents(image, inode, child, blocks);
                continue;
            }
            let (logical, len) = (size(get::<4>(image, entry)), size(get::<2>(image, entry + 4)));
            let start = size(get::<4>(image, entry + 8));
            blocks.extend((0..len % 32768).map(|nth| (logical + nth, (start + nth) * self.block_len)));
        }
    }

    /// Makes all checksums right for what the structures hold now.
    pub(super) fn seal(&self, image: &mut [u8]) {
        for sealed in &self.sealed {
            self.seal_one(image, *sealed);
        }
    }

    fn seal_one(&self, image: &mut [u8], sealed: Sealed) {
        if !self.has_checksums {
            if let Sealed::Descriptor(group) = sealed
                && self.has_descriptor_checksums
            {
                self.seal_descriptor_16(image, group);
            }
            return;
        }
        let seed = if get::<4>(image, 1024 + 0x60) & 0x2000 != 0 {
            low(get::<4>(image, 1024 + 0x270))
        } else {
            crc(!0, &image[1024 + 0x68..1024 + 0x78])
        };
        let of_inode = |image: &[u8], inode: u32| {
            let at = self.inode_at(image, inode) + 0x64;
            let generation = image.get(at..at + 4).unwrap_or(&[0; 4]);
            crc(crc(seed, &inode.to_le_bytes()), generation)
        };
        let block_len = self.block_len;
        match sealed {
            Sealed::Superblock => {
                let sum = crc(!0, &image[1024..1024 + 0x3fc]);
                put(image, 1024 + 0x3fc, &sum.to_le_bytes());
            }
            Sealed::SuperblockCopy(at) => {
                let sum = crc(!0, &image[at..at + 0x3fc]);
                put(image, at + 0x3fc, &sum.to_le_bytes());
            }
            Sealed::Descriptor(group) => {
                let at = self.descriptor_at(group);
                let end = at + self.descriptor_len;
                put(image, at + 0x1e, &[0; 2]);
                let number = u32::try_from(group).expect("few").to_le_bytes();
                let sum = crc(crc(seed, &number), &image[at..end]);
                put(image, at + 0x1e, &sum.to_le_bytes()[..2]);
            }
            Sealed::Bitmaps(group) => self.seal_bitmaps(image, group, seed),
            Sealed::Inode(at, inode) => {
                let has_high = self.inode_len > 128 && get::<2>(image, at + 0x80) >= 4;
                put(image, at + 0x7c, &[0; 2]);
                if has_high {
                    put(image, at + 0x82, &[0; 2]);
                }
                let sum = crc(of_inode(image, inode), &image[at..at + self.inode_len]).to_le_bytes();
                put(image, at + 0x7c, &sum[..2]);
                if has_high {
                    put(image, at + 0x82, &sum[2..]);
                }
            }
            Sealed::ExtentBlock(at, inode) => {
                let tail = 12 + 12 * size(get::<2>(image, at + 4));
                if tail + 4 <= block_len {
                    let sum = crc(of_inode(image, inode), &image[at..at + tail]);
                    put(image, at + tail, &sum.to_le_bytes());
                }
            }
            Sealed::Leaf(at, inode) => {
                let sum = crc(of_inode(image, inode), &image[at..at + block_len - 12]);
                put(image, at + block_len - 4, &sum.to_le_bytes());
            }
            Sealed::IndexNode(at, inode, counts) => {
                let (limit, count) =
                    (size(get::<2>(image, at + counts)), size(get::<2>(image, at + counts + 2)));
                let (end, tail) = (counts + count * 8, counts + limit * 8);
                if end <= block_len && tail + 8 <= block_len {
                    let sum = crc(of_inode(image, inode), &image[at..at + end]);
                    let sum = crc(crc(sum, &image[at + tail..at + tail + 4]), &[0; 4]);
                    put(image, at + tail + 4, &sum.to_le_bytes());
                }
            }
            Sealed::XattrBlock(at) => {
                put(image, at + 16, &[0; 4]);
                let sum = crc(seed, &((at / block_len) as u64).to_le_bytes());
                let sum = crc(sum, &image[at..at + block_len]);
                put(image, at + 16, &sum.to_le_bytes());
            }
            Sealed::OrphanBlock(at, inode) => {
                let sum = crc(of_inode(image, inode), &((at / block_len) as u64).to_le_bytes());
                let sum = crc(sum, &image[at..at + block_len - 8]);
                put(image, at + block_len - 4, &sum.to_le_bytes());
            }
            Sealed::Journal(at) => {
                if image[at + 0x2b] & 0x18 != 0 {
                    put(image, at + 0xfc, &[0; 4]);
                    let sum = crc(!0, &image[at..at + 1024]);
                    put(image, at + 0xfc, &sum.to_be_bytes());
                }
            }
        }
    }

    fn seal_bitmaps(&self, image: &mut [u8], group: usize, seed: u32) {
        let at = self.descriptor_at(group);
        let flags = get::<2>(image, at + 0x12);
        let blocks = size(get::<4>(image, 1024 + 0x20)) / 8;
        let inodes = size(u64::from(self.inodes_per_group)) / 8;
        // Bitmaps that were never written have none.
        for (pointer, len, uninitialised, low, high) in
            [(0, blocks, 2, 0x18, 0x38), (4, inodes, 1, 0x1a, 0x3a)]
        {
            let bitmap = self.pointer(image, group, pointer);
            if flags & uninitialised == 0 && bitmap + len <= image.len() {
                let sum = crc(seed, &image[bitmap..bitmap + len]).to_le_bytes();
                put(image, at + low, &sum[..2]);
                if self.descriptor_len >= 64 {
                    put(image, at + high, &sum[2..]);
                }
            }
        }
    }

    fn seal_descriptor_16(&self, image: &mut [u8], group: usize) {
        let at = self.descriptor_at(group);
        let number = u32::try_from(group).expect("few").to_le_bytes();
        let mut covered = image[1024 + 0x68..1024 + 0x78].to_vec();
        covered.extend(number);
        covered.extend(&image[at..at + 0x1e]);
        covered.extend(&image[at + 0x20..at + self.descriptor_len]);
        put(image, at + 0x1e, &crc16(&covered).to_le_bytes());
    }
}

pub(super) fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).expect("32 bits")
}
