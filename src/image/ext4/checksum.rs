//! The checksums of ext4. CRC-32C without the final inversion covers nearly everything under `metadata_csum`;
//! `uninit_bg` alone knows CRC-16 over group descriptors. Linux `Documentation/filesystems/ext4/checksums.rst`.

use super::bytes::low16;

/// Which structures carry checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// None does.
    Absent,
    /// Group descriptors only, CRC-16 (`uninit_bg`).
    Descriptors,
    /// All metadata, CRC-32C from this seed (`metadata_csum`).
    Metadata {
        /// `s_checksum_seed`, or what the UUID gives.
        seed: u32,
    },
}

impl Checksums {
    /// The seed under `metadata_csum`.
    pub(super) fn seed(self) -> Option<u32> {
        match self {
            Self::Metadata { seed } => Some(seed),
            _ => None,
        }
    }

    /// Whether the flags and `itable_unused` of group descriptors mean anything.
    pub(super) fn cover_descriptors(self) -> bool {
        self != Self::Absent
    }

    /// The seed of what belongs to an inode: directory blocks, extent blocks, the inode itself.
    pub(super) fn inode_seed(self, inode: u32, generation: u32) -> Option<u32> {
        let seed = crc32c(self.seed()?, &inode.to_le_bytes());
        Some(crc32c(seed, &generation.to_le_bytes()))
    }
}

/// CRC-32C going on from `seed`, without the inversions that the usual CRC-32C does at both ends.
pub(super) fn crc32c(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

/// CRC-16 (reflected polynomial 0xA001) going on from `seed`.
pub(super) fn crc16(seed: u16, data: &[u8]) -> u16 {
    data.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

/// The checksum of group descriptor `group`, whose own checksum field is at byte 0x1e.
pub(super) fn of_descriptor(checksums: Checksums, uuid: &[u8; 16], group: u32, descriptor: &[u8]) -> u16 {
    let (before, rest) = descriptor.split_at(descriptor.len().min(0x1e));
    let after = rest.get(2..).unwrap_or_default();
    let number = group.to_le_bytes();
    match checksums {
        Checksums::Absent => 0,
        // The field is left out here …
        Checksums::Descriptors => {
            [&uuid[..], &number, before, after].iter().fold(0xffff, |crc, part| crc16(crc, part))
        }
        // … and taken as zero here.
        Checksums::Metadata { seed } => {
            low16([&number[..], before, &[0, 0], after].iter().fold(seed, |crc, part| crc32c(crc, part)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_castagnoli_without_the_last_inversion() {
        // RFC 3720 B.4: 32 bytes of zero give 0x8a9136aa.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(crc32c(7, b"ab"), b"c"), crc32c(7, b"abc"));
    }

    #[test]
    fn crc16_is_the_reflected_one_of_the_check_string() {
        // CRC-16/MODBUS of "123456789".
        assert_eq!(crc16(0xffff, b"123456789"), 0x4b37);
    }
}
