/// Compared at once. A page, because most of what is not zero shows it in the first one.
static ZEROS: [u8; 4096] = [0; 4096];

/// Is it zero all through? By whole blocks of memory instead of byte for byte, which builds without optimisation would
/// do one at a time.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|piece| *piece == ZEROS[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        assert!(is_zero(&[]));
        for len in [1, 511, 4095, 4096, 4097, 12_288] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes), "{len}");
            for at in [0, len / 2, len - 1] {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
