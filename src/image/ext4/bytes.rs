//! Little-endian fields in byte slices. Lengths are checked where a structure is read; past its end a field reads 0.

/// The `u16` at byte `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    field(bytes, at).map_or(0, u16::from_le_bytes)
}

/// The `u32` at byte `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_le_bytes)
}

/// The bytes `[at, at + N)`.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Puts `field` at byte `at`.
pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// The low 16 bits.
pub(super) fn low16(value: u32) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}

/// The high 16 bits.
pub(super) fn high16(value: u32) -> u16 {
    u16::try_from(value >> 16).unwrap_or(0)
}

/// The low 32 bits.
pub(super) fn low32(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

/// The high 32 bits.
pub(super) fn high32(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(0)
}
