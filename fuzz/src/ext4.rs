//! ext4: seeds, the windows of each target, checksums put right, and a life of edits.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::Range;
use std::sync::OnceLock;

use cardpress::base::ImagePath;
use cardpress::image::ext4::{Error, FileKind, Filesystem, NewAttributes, NodeKind, check, recover};

use crate::{Image, Seed, get, put, u32_at};

const BLOCK: usize = 1024;
/// As many of a seed as are in use.
const INODES: u32 = 128;
const FILE: NewAttributes = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
const DIR: NewAttributes = NewAttributes { mode: 0o755, uid: 0, gid: 0 };

/// What a target reads, and so what is worth spoiling.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Superblock,
    Descriptors,
    Extents,
    Directories,
    Htree,
    Xattrs,
    Journal,
}

const PLAIN: &[u8] = include_bytes!("../seeds/plain.img.gz");
const CHECKED: &[u8] = include_bytes!("../seeds/checked.img.gz");
const BLOCK_MAP: &[u8] = include_bytes!("../seeds/blockmap.img.gz");
const LOGGED: &[u8] = include_bytes!("../seeds/logged.img.gz");

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The plainest of the seeds.
pub(crate) fn plain() -> Vec<u8> {
    unpack(PLAIN)
}

/// The seeds of a target, windows found: by what blocks begin with.
fn seeds(part: Part) -> Vec<Seed> {
    let packed: &[&[u8]] = match part {
        Part::Journal => &[LOGGED],
        _ => &[PLAIN, CHECKED, BLOCK_MAP],
    };
    packed
        .iter()
        .map(|packed| {
            let bytes = unpack(packed);
            let windows = windows(&bytes, part);
            assert!(!windows.is_empty());
            Seed { bytes, windows }
        })
        .collect()
}

fn windows(bytes: &[u8], part: Part) -> Vec<Range<usize>> {
    let block = |number: u32| number as usize * BLOCK..(number as usize + 1) * BLOCK;
    let descriptor = 2 * BLOCK;
    let bitmaps = [u32_at(bytes, descriptor), u32_at(bytes, descriptor + 4)];
    let table = u32_at(bytes, descriptor + 8) as usize * BLOCK;
    // Slots that are in use, and some that are not.
    let inodes = table..table + 24 * 256;
    let superblock = 1024..2048;
    let beginning = |starts: &dyn Fn(&[u8]) -> bool| {
        let blocks = bytes.chunks_exact(BLOCK).enumerate().skip(1);
        blocks.filter(|(_, block)| starts(block)).map(|(number, _)| block(number as u32)).collect::<Vec<_>>()
    };
    let is_directory = |block: &[u8]| block[4..9] == [12, 0, 1, 2, b'.'] && block[9..12] == [0; 3];
    let is_leaf = |block: &[u8]| block[8..48].iter().all(|byte| *byte == b'0');
    let is_extent = |block: &[u8]| block[..2] == [0x0a, 0xf3];
    // An indirect block: ascending numbers of blocks.
    let is_map = |block: &[u8]| {
        let (one, other) = (u32_at(block, 0), u32_at(block, 4));
        (32..2048).contains(&one) && other > one && other < one + 64
    };
    match part {
        Part::Superblock => vec![superblock],
        Part::Descriptors => {
            let used = bitmaps.map(|number| number as usize * BLOCK..number as usize * BLOCK + 300);
            [vec![descriptor..descriptor + 64, superblock], used.to_vec()].concat()
        }
        Part::Extents => [vec![inodes], beginning(&is_extent), beginning(&is_map)].concat(),
        Part::Directories => [beginning(&is_directory), vec![inodes]].concat(),
        Part::Htree => beginning(&|block| (is_directory(block) && block[0x1d] == 8) || is_leaf(block)),
        Part::Xattrs => [beginning(&|block| block[..4] == [0, 0, 2, 0xea]), vec![inodes]].concat(),
        Part::Journal => {
            let magic = |block: &[u8]| block[..4] == [0xc0, 0x3b, 0x39, 0x98];
            let first = beginning(&magic).first().map_or(0, |block| block.start);
            // Superblock, three transactions, and what comes after them.
            vec![first..first + 80, first + 0xf8..first + 0x100, first + BLOCK..first + 18 * BLOCK]
        }
    }
}

/// One run of a target.
pub fn run(part: Part, input: &[u8]) {
    static SEEDS: OnceLock<(Vec<Seed>, Part)> = OnceLock::new();
    let (seeds, kept) = SEEDS.get_or_init(|| (seeds(part), part));
    assert!(*kept == part, "one target, one part");
    let [flags, patches @ ..] = input else { return };
    let seed = &seeds[usize::from(flags & 3) % seeds.len()];
    let image = seed.spoil(patches);
    if flags & 4 != 0 {
        fix_checksums(&image);
    }
    if part == Part::Journal || flags & 8 != 0 {
        let _ = recover(&image);
    }
    let was_sound = check(&image).is_ok_and(|report| report.is_sound());
    if live(&image, flags & 16 != 0, flags & 32 != 0) && was_sound {
        let report = check(&image).expect("what was judged before");
        assert!(report.is_sound(), "a sound filesystem was edited, and is unsound: {:#?}", report.findings);
    }
}

/// CRC-32C without the last inversion.
fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// A block that carries a checksum of itself.
#[derive(Clone, Copy)]
struct Summed {
    number: u64,
    kind: Sum,
    /// Whose block it is, where that goes into the sum.
    inode: u32,
}

#[derive(Clone, Copy)]
enum Sum {
    Attributes,
    Extents,
    Entries,
    Index,
}

impl Sum {
    /// Where the checksum is, and how many bytes before it are summed; of an index also a tail of eight bytes.
    fn place(self, block: &[u8]) -> Option<(usize, usize)> {
        let word =
            |at: usize| block.get(at..at + 2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
        let (at, len) = match self {
            Self::Attributes => (16, BLOCK),
            Self::Extents => {
                let at = 12 + 12 * word(4)?;
                (at, at)
            }
            Self::Entries => (BLOCK - 4, BLOCK - 12),
            Self::Index => {
                // The counts stand behind the two entries of a root, or the empty one of a node.
                let counts = if word(4)? == 12 { 0x20 } else { 8 };
                (counts + 8 * word(counts)? + 4, counts + 8 * word(counts + 2)?)
            }
        };
        (at + 4 <= BLOCK && len <= BLOCK).then_some((at, len))
    }

    fn of(self, seed: u32, number: u64, inode: u32, generation: &[u8], block: &[u8]) -> Option<(usize, u32)> {
        let (at, len) = self.place(block)?;
        let own = crc(crc(seed, &inode.to_le_bytes()), generation);
        let sum = match self {
            Self::Attributes => {
                let mut block = block.to_vec();
                block[16..20].fill(0);
                crc(crc(seed, &number.to_le_bytes()), &block)
            }
            Self::Extents | Self::Entries => crc(own, &block[..len]),
            Self::Index => crc(crc(crc(own, &block[..len]), &block[at - 4..at]), &[0; 4]),
        };
        Some((at, sum))
    }
}

/// Which blocks of a sound image carry which checksums: those where it is right.
fn summed(bytes: &[u8], seed: u32, table: usize) -> Vec<Summed> {
    let mut found = Vec::new();
    for (number, block) in (0_u64..).zip(bytes.chunks_exact(BLOCK)) {
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        for inode in 1..=INODES {
            let generation = &bytes[table + (inode as usize - 1) * 256 + 0x64..][..4];
            for kind in [Sum::Attributes, Sum::Extents, Sum::Entries, Sum::Index] {
                let sum = kind.of(seed, number, inode, generation, block);
                if sum.is_some_and(|(at, sum)| u32_at(block, at) == sum) {
                    found.push(Summed { number, kind, inode });
                }
            }
        }
    }
    found.dedup_by_key(|block| block.number);
    found
}

/// The checksums of everything in a seed with `metadata_csum`: where its parts are, not where the spoilt image says.
fn fix_checksums(image: &Image) {
    static SUMMED: OnceLock<Vec<Summed>> = OnceLock::new();
    let superblock = get(image, 1024, 1024);
    let pristine = image.base().0;
    if u32_at(pristine, 1024 + 0x64) & 0x400 == 0 {
        return;
    }
    let seed = if u32_at(&superblock, 0x60) & 0x2000 == 0 {
        crc(!0, &superblock[0x68..0x78])
    } else {
        u32_at(&superblock, 0x270)
    };
    let table = u64::from(u32_at(pristine, 2 * BLOCK + 8)) * BLOCK as u64;
    let blocks = SUMMED.get_or_init(|| {
        let found = summed(pristine, crc(!0, &pristine[1024 + 0x68..1024 + 0x78]), table as usize);
        assert!(found.len() > 20, "only {} blocks with checksums", found.len());
        found
    });
    for Summed { number, kind, inode } in blocks {
        let at = number * BLOCK as u64;
        let generation = get(image, table + u64::from(inode - 1) * 256 + 0x64, 4);
        if let Some((place, sum)) = kind.of(seed, *number, *inode, &generation, &get(image, at, BLOCK)) {
            put(image, at + place as u64, &sum.to_le_bytes());
        }
    }
    for number in 1..=INODES {
        let at = table + u64::from(number - 1) * 256;
        let mut inode = get(image, at, 256);
        if inode.iter().all(|byte| *byte == 0) {
            continue;
        }
        inode[0x7c..0x7e].fill(0);
        let wide = inode[0x80] >= 4;
        if wide {
            inode[0x82..0x84].fill(0);
        }
        let own = crc(crc(seed, &number.to_le_bytes()), &inode[0x64..0x68]);
        let [a, b, c, d] = crc(own, &inode).to_le_bytes();
        put(image, at + 0x7c, &[a, b]);
        if wide {
            put(image, at + 0x82, &[c, d]);
        }
    }
    let mut descriptor = get(image, 2 * BLOCK as u64, 64);
    for (at, count, low, high) in [(0, 0x20, 0x18, 0x38), (4, 0x28, 0x1a, 0x3a)] {
        // Of each bitmap, as many bytes as there are blocks or inodes in eight.
        let len = (u32_at(&superblock, count) / 8).min(BLOCK as u32) as usize;
        let block = u64::from(u32_at(&descriptor, at)) * BLOCK as u64;
        let [a, b, c, d] = crc(seed, &get(image, block, len)).to_le_bytes();
        descriptor[low..low + 2].copy_from_slice(&[a, b]);
        descriptor[high..high + 2].copy_from_slice(&[c, d]);
    }
    descriptor[0x1e..0x20].fill(0);
    let [a, b, ..] = crc(crc(seed, &0_u32.to_le_bytes()), &descriptor).to_le_bytes();
    descriptor[0x1e..0x20].copy_from_slice(&[a, b]);
    put(image, 2 * BLOCK as u64, &descriptor);
    put(image, 1024 + 0x3fc, &crc(!0, &superblock[..0x3fc]).to_le_bytes());
}

pub(crate) fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

/// Reads everything that is there, each directory once.
fn walk(fs: &Filesystem<'_>) {
    let mut left = vec![ImagePath::root()];
    let mut met = BTreeSet::new();
    while let Some(directory) = left.pop() {
        let Ok(stat) = fs.stat(&directory, false) else { continue };
        if !met.insert(stat.inode) {
            continue;
        }
        let Ok(entries) = fs.read_dir(&directory) else { continue };
        for entry in entries.into_iter().take(25) {
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let Ok(path) = directory.join(&name) else { continue };
            let _ = fs.stat(&path, true);
            let _ = fs.xattrs(&path);
            match entry.kind {
                FileKind::Directory => left.push(path),
                FileKind::Symlink => drop(fs.read_link(&path)),
                _ => drop(fs.read_file(&path, 1 << 20)),
            }
        }
    }
}

type Edit = fn(&mut Filesystem<'_>) -> Result<(), Error>;

const EDITS: [Edit; 25] = [
    |fs| fs.set_xattr(&path("/etc/hostname"), b"user.other", b"changed"),
    |fs| fs.set_xattr(&path("/etc/hostname"), b"user.new", &[b'n'; 200]),
    |fs| fs.set_xattr(&path("/etc/big"), b"user.new", &[b'n'; 900]),
    |fs| fs.remove_xattr(&path("/etc/big"), b"user.long"),
    |fs| fs.make_node(&path("/many/fifo"), NodeKind::Fifo, FILE),
    |fs| fs.set_reserved_blocks(20),
    |fs| fs.write_from(&path("/etc/streamed"), &mut &[5; 20_000][..], 20_000, FILE),
    |fs| fs.rename(&path("/etc/streamed"), &path("/etc/hostname")),
    |fs| fs.zero_free().map(drop),
    |fs| fs.write_file(&path("/etc/hostname"), &[1; 3000], FILE),
    |fs| fs.write_file(&path("/etc/big"), &[1; 9000], FILE),
    |fs| fs.append(&path("/etc/big"), &[2; 9000]),
    |fs| fs.write_at(&path("/holes"), 5000, &[2; 9000]),
    |fs| fs.truncate(&path("/holes"), 30_000),
    |fs| fs.write_file(&path("/many/new"), &[3; 90_000], FILE),
    |fs| fs.mkdir_all(&path("/deep/er/a/b"), DIR),
    |fs| fs.symlink(&path("/many/link"), &[b'x'; 100], 0, 0),
    |fs| fs.hard_link(&path("/etc/hostname"), &path("/deep/name")),
    |fs| fs.rename(&path("/many"), &path("/deep/many")),
    |fs| fs.rename(&path("/deep/many"), &path("/many")),
    |fs| fs.set_mode(&path("/etc/link"), 0o600),
    |fs| fs.truncate(&path("/etc/big"), 1 << 40),
    |fs| fs.remove(&path("/etc/long-link")),
    |fs| fs.remove_all(&path("/deep")),
    |fs| fs.remove_all(&path("/many")),
];

/// Opens, reads, edits, commits, grows, reads again; whether everything edited was laid down.
fn live(image: &Image, grow: bool, edit: bool) -> bool {
    if let Ok(fs) = Filesystem::open_to_read(image) {
        walk(&fs);
        let _ = fs.read_at(&path("/etc/big"), 60_000, &mut [0; 20_000]);
        let _ = fs.used_ranges();
    }
    if !edit {
        return true;
    }
    let Ok(mut fs) = Filesystem::open(image) else { return true };
    for number in 0..6 {
        let name = format!("/many/{number:x<90}");
        if fs.write_file(&path(&name), b"", FILE).is_err() {
            break;
        }
    }
    for edit in EDITS {
        let _ = edit(&mut fs);
    }
    let _ = fs.set_uuid([7; 16]);
    let mut is_whole = fs.commit().is_ok();
    if grow {
        let old = cardpress::block::ReadAt::len_bytes(image);
        image.grow(old + (20 << 20));
        if let Ok(mut fs) = Filesystem::open(image) {
            let block_len = u64::from(fs.block_len());
            let _ = fs.grow((old + (20 << 20)) / block_len, old / block_len);
            let _ = fs.write_file(&path("/more"), &[4; 100_000], FILE);
            is_whole &= fs.commit().is_ok();
        }
    }
    if let Ok(fs) = Filesystem::open(image) {
        walk(&fs);
    }
    is_whole
}
