//! Partition tables: an MBR, and a GPT with its backup.

use std::sync::OnceLock;

use cardpress::block::ReadAt as _;
use cardpress::image::table::{Error, Table, check, set_partition_len, usable_end, write_disk_id};

use crate::{Image, Seed, get, put, u32_at};

const SECTOR: usize = 512;
const SECTORS: usize = 4096;

/// Sector 0 with these entries: type, start, sectors.
fn sector_zero(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[440..444].copy_from_slice(&0x0bad_cafe_u32.to_le_bytes());
    for (slot, (kind, start, len)) in entries.iter().enumerate() {
        let at = 446 + slot * 16;
        sector[at + 4] = *kind;
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&len.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// One run over an MBR.
pub fn run_mbr(input: &[u8]) {
    static SEED: OnceLock<Seed> = OnceLock::new();
    let seed = SEED.get_or_init(|| {
        let mut bytes = sector_zero(&[(0x0c, 64, 1000), (0x83, 1088, 2000)]);
        bytes.resize(SECTORS * SECTOR, 0);
        Seed { bytes, windows: vec![440..SECTOR] }
    });
    live(&seed.spoil(input));
}

/// One run over a GPT; with the first bit of the first byte its checksums are put right.
pub fn run_gpt(input: &[u8]) {
    static SEED: OnceLock<Seed> = OnceLock::new();
    let seed = SEED.get_or_init(|| {
        let bytes = gpt();
        let backup = (SECTORS - 33) * SECTOR;
        let end = SECTORS * SECTOR;
        Seed {
            bytes,
            windows: vec![446..604, 1024..1024 + 384, end - SECTOR..end - SECTOR + 92, backup..backup + 384],
        }
    });
    let [flags, patches @ ..] = input else { return };
    let image = seed.spoil(patches);
    if flags & 1 != 0 {
        fix_header(&image, 1);
        fix_header(&image, SECTORS as u64 - 1);
    }
    if flags & 2 != 0 {
        image.grow((SECTORS as u64 + 500) * SECTOR as u64);
    }
    live(&image);
}

fn gpt() -> Vec<u8> {
    let mut bytes = sector_zero(&[(0xee, 1, SECTORS as u32 - 1)]);
    bytes.resize(SECTORS * SECTOR, 0);
    // Basic data, and Linux, as they stand on disk.
    let kinds = [
        [0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7],
        [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4],
    ];
    let last = SECTORS as u64 - 1;
    for (own, other, entries) in [(1, last, 2), (last, 1, last - 32)] {
        let table = entries as usize * SECTOR;
        for (slot, (kind, from, to)) in
            [(kinds[0], 64_u64, 1063_u64), (kinds[1], 1088, 3000)].into_iter().enumerate()
        {
            let at = table + slot * 128;
            bytes[at..at + 16].copy_from_slice(&kind);
            bytes[at + 16..at + 32].fill(slot as u8 + 1);
            bytes[at + 32..at + 40].copy_from_slice(&from.to_le_bytes());
            bytes[at + 40..at + 48].copy_from_slice(&to.to_le_bytes());
        }
        let at = own as usize * SECTOR;
        bytes[at..at + 8].copy_from_slice(b"EFI PART");
        bytes[at + 8..at + 16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        for (field, value) in [(24, own), (32, other), (40, 34), (48, last - 33), (72, entries)] {
            bytes[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes[at + 56..at + 72].fill(9);
        bytes[at + 80..at + 88].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0]);
        let sum = crc(&bytes[table..table + 128 * 128]);
        bytes[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
        let sum = crc(&bytes[at..at + 92]);
        bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn fix_header(image: &Image, sector: u64) {
    let at = sector * SECTOR as u64;
    let mut header = get(image, at, SECTOR);
    let entries = u64::from(u32_at(&header, 72));
    let len = u64::from(u32_at(&header, 80)).saturating_mul(u64::from(u32_at(&header, 84)));
    if len <= 1 << 20 {
        let sum = crc(&get(image, entries * SECTOR as u64, len as usize));
        header[88..92].copy_from_slice(&sum.to_le_bytes());
    }
    header[16..20].fill(0);
    let len = (u32_at(&header, 12) as usize).min(SECTOR);
    let sum = crc(&header[..len]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    put(image, at, &header);
}

fn live(image: &Image) {
    let was_sound = match check(image) {
        Ok(report) if report.findings.is_empty() => match Table::open(image) {
            Ok(opened) => {
                assert_eq!(opened.partitions(), report.partitions);
                true
            }
            Err(Error::Unsupported(_)) => false,
            Err(error) => panic!("a sound table does not open: {error}"),
        },
        _ => false,
    };
    let Ok(table) = Table::open(image) else { return };
    let end = usable_end(image);
    for partition in table.partitions() {
        let inside = partition
            .start_bytes
            .checked_add(partition.len_bytes)
            .is_some_and(|end| end <= image.len_bytes());
        assert!(inside, "partition {} leaves the device", partition.number);
        let _ = set_partition_len(image, partition.number, partition.len_bytes + 512);
        if let Ok(end) = end {
            let _ = set_partition_len(image, partition.number, end.saturating_sub(partition.start_bytes));
        }
    }
    let _ = write_disk_id(image, 7);
    if was_sound {
        let report = check(image).expect("what was judged before");
        assert!(report.findings.is_empty(), "a sound table was edited, and is unsound: {:#?}", report.findings);
    }
}
