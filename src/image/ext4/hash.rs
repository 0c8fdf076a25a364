//! Hashes of names, by which an indexed directory is ordered (kernel `fs/ext4/hash.c`).

use super::dir::DirError;

/// Added to a version when the names' bytes count as unsigned (superblock flag 2). The root of a directory never
/// says so: there the version stays below this.
pub(super) const UNSIGNED: u8 = 3;

/// What an all-zero hash seed stands for: the start of MD4 (RFC 1320 §3.3).
const MD4_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Means "past the last name" to the kernel's readdir, so no name may have it (`EXT4_HTREE_EOF_32BIT << 1`).
const END_OF_DIRECTORY: u32 = 0x7fff_ffff << 1;

/// The (major, minor) hash of `name`. The index holds majors, bit 0 of which is always clear; minors only order
/// names of equal major.
///
/// `version` is 0 legacy, 1 half MD4, 2 TEA, and 3 to 5 the same with bytes taken as unsigned.
///
/// # Errors
/// [`DirError::HashVersion`] for any other version.
pub(super) fn name_hash(version: u8, seed: [u32; 4], name: &[u8]) -> Result<(u32, u32), DirError> {
    let unsigned = version >= UNSIGNED;
    let start = if seed == [0; 4] { MD4_START } else { seed };
    let (major, minor) = match version % UNSIGNED {
        _ if version >= 2 * UNSIGNED => return Err(DirError::HashVersion { found: version }),
        0 => (legacy(name, unsigned), 0),
        1 => {
            let [_, major, minor, _] = (0..name.len().div_ceil(32)).fold(start, |state, piece| {
                half_md4(state, words::<8>(name.get(piece * 32..).unwrap_or_default(), unsigned))
            });
            (major, minor)
        }
        _ => {
            let [major, minor, ..] = (0..name.len().div_ceil(16)).fold(start, |state, piece| {
                tea(state, words::<4>(name.get(piece * 16..).unwrap_or_default(), unsigned))
            });
            (major, minor)
        }
    };
    let major = major & !1;
    Ok((if major == END_OF_DIRECTORY { END_OF_DIRECTORY - 2 } else { major }, minor))
}

/// A byte as C's `char` widens it, signed or not.
fn widened(byte: u8, unsigned: bool) -> u32 {
    if unsigned { u32::from(byte) } else { i32::from(byte.cast_signed()).cast_unsigned() }
}

fn legacy(name: &[u8], unsigned: bool) -> u32 {
    let (mut latest, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for byte in name {
        let mixed = before.wrapping_add(latest ^ widened(*byte, unsigned).wrapping_mul(7_152_373));
        before = latest;
        latest = if mixed & 0x8000_0000 == 0 { mixed } else { mixed.wrapping_sub(0x7fff_ffff) };
    }
    latest << 1
}

/// The next `N` words of a name, of which `rest` is still to be hashed. What is missing is filled with the length
/// of `rest` in every byte.
fn words<const N: usize>(rest: &[u8], unsigned: bool) -> [u32; N] {
    // A name has at most 255 bytes, so that nothing is lost; longer ones are cut, and refused elsewhere.
    let length = u32::from(u8::try_from(rest.len()).unwrap_or(u8::MAX));
    let filler = length * 0x0101_0101;
    let mut words = [filler; N];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(filler, |word, byte| (word << 8).wrapping_add(widened(*byte, unsigned)));
    }
    words
}

/// Three rounds of eight steps, where MD4 has sixteen each.
fn half_md4(start: [u32; 4], input: [u32; 8]) -> [u32; 4] {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [u32; 4], [usize; 8]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [3, 7, 11, 19], [0, 1, 2, 3, 4, 5, 6, 7]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [3, 5, 9, 13], [1, 3, 5, 7, 0, 2, 4, 6]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 9, 11, 15], [3, 7, 2, 6, 1, 5, 0, 4]),
    ];
    let [mut a, mut b, mut c, mut d] = start;
    for (mix, constant, turns, order) in ROUNDS {
        for (word, turn) in order.iter().zip(turns.iter().cycle()) {
            let word = input.get(*word).copied().unwrap_or_default();
            let mixed =
                a.wrapping_add(mix(b, c, d)).wrapping_add(word).wrapping_add(constant).rotate_left(*turn);
            (a, b, c, d) = (d, mixed, b, c);
        }
    }
    let [start_a, start_b, start_c, start_d] = start;
    [a.wrapping_add(start_a), b.wrapping_add(start_b), c.wrapping_add(start_c), d.wrapping_add(start_d)]
}

/// The Tiny Encryption Algorithm, sixteen rounds; the name is the key.
fn tea([start_a, start_b, third, fourth]: [u32; 4], [k0, k1, k2, k3]: [u32; 4]) -> [u32; 4] {
    let (mut a, mut b, mut sum) = (start_a, start_b, 0_u32);
    let half = |half: u32, sum: u32, left: u32, right: u32| {
        (half << 4).wrapping_add(left) ^ half.wrapping_add(sum) ^ (half >> 5).wrapping_add(right)
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        a = a.wrapping_add(half(b, sum, k0, k1));
        b = b.wrapping_add(half(a, sum, k2, k3));
    }
    [a.wrapping_add(start_a), b.wrapping_add(start_b), third, fourth]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f0214a8c-be93-d011-a577-c200d97b01fe` as debugfs takes it.
    const SEED: [u32; 4] = [0x8c4a_21f0, 0x11d0_93be, 0x00c2_77a5, 0xfe01_7bd9];

    type Vector = (u8, [u32; 4], &'static str, (u32, u32));

    /// What `debugfs -R "dx_hash -h VERSION -s SEED NAME"` (1.47.0) says.
    #[rustfmt::skip]
    const VECTORS: &[Vector] = &[
        (0, SEED, "a", (0xe74b_53e2, 0)),
        (1, SEED, "a", (0xf8e5_1852, 0x4456_40f7)),
        (2, SEED, "a", (0x705e_9bc0, 0xda71_e161)),
        (3, SEED, "a", (0xe74b_53e2, 0)),
        (4, SEED, "a", (0xf8e5_1852, 0x4456_40f7)),
        (5, SEED, "a", (0x705e_9bc0, 0xda71_e161)),
        (0, SEED, "hello", (0x3225_2546, 0)),
        (1, SEED, "hello", (0x807e_2aa0, 0x3129_304b)),
        (2, SEED, "hello", (0x6944_028e, 0x0d67_d853)),
        (3, SEED, "hello", (0x3225_2546, 0)),
        (4, SEED, "hello", (0x807e_2aa0, 0x3129_304b)),
        (5, SEED, "hello", (0x6944_028e, 0x0d67_d853)),
        (0, SEED, "exactly-sixteen!", (0xccdc_5236, 0)),
        (1, SEED, "exactly-sixteen!", (0xe948_dcca, 0x3bfc_c6a3)),
        (2, SEED, "exactly-sixteen!", (0x33f9_f972, 0x3b01_bb56)),
        (3, SEED, "exactly-sixteen!", (0xccdc_5236, 0)),
        (4, SEED, "exactly-sixteen!", (0xe948_dcca, 0x3bfc_c6a3)),
        (5, SEED, "exactly-sixteen!", (0x33f9_f972, 0x3b01_bb56)),
        (0, SEED, "this-name-has-thirty-three-bytes!", (0x6142_fbfe, 0)),
        (1, SEED, "this-name-has-thirty-three-bytes!", (0x2345_86c6, 0x73a7_37bf)),
        (2, SEED, "this-name-has-thirty-three-bytes!", (0x1ee9_e2d8, 0x753d_0fa8)),
        (3, SEED, "this-name-has-thirty-three-bytes!", (0x6142_fbfe, 0)),
        (4, SEED, "this-name-has-thirty-three-bytes!", (0x2345_86c6, 0x73a7_37bf)),
        (5, SEED, "this-name-has-thirty-three-bytes!", (0x1ee9_e2d8, 0x753d_0fa8)),
        (0, SEED, "über", (0x0650_1132, 0)),
        (1, SEED, "über", (0x75b2_bd72, 0xe27c_382e)),
        (2, SEED, "über", (0xd24a_4704, 0x447b_4b60)),
        (3, SEED, "über", (0xf0d0_d12e, 0)),
        (4, SEED, "über", (0xf973_1174, 0x64b9_41c0)),
        (5, SEED, "über", (0x0509_affe, 0x931e_7a54)),
        (0, SEED, "日本語のとても長いファイル名です.txt", (0x57f8_2ae0, 0)),
        (1, SEED, "日本語のとても長いファイル名です.txt", (0x1049_d34e, 0x2a4d_7d73)),
        (2, SEED, "日本語のとても長いファイル名です.txt", (0x5877_9948, 0x32ef_612b)),
        (3, SEED, "日本語のとても長いファイル名です.txt", (0xb5c4_c8dc, 0)),
        (4, SEED, "日本語のとても長いファイル名です.txt", (0xd375_fac6, 0xf555_affa)),
        (5, SEED, "日本語のとても長いファイル名です.txt", (0x7140_e236, 0xe299_8218)),
        (1, [0; 4], "a", (0xd5fa_7d7a, 0xacb4_8187)),
        (2, [0; 4], "a", (0x6d0e_a4c0, 0xc189_22df)),
        (4, [0; 4], "a", (0xd5fa_7d7a, 0xacb4_8187)),
        (5, [0; 4], "a", (0x6d0e_a4c0, 0xc189_22df)),
        (1, [0; 4], "hello", (0x1746_da32, 0x4200_13b5)),
        (2, [0; 4], "hello", (0x6f5b_b1a8, 0x2319_17c2)),
        (4, [0; 4], "hello", (0x1746_da32, 0x4200_13b5)),
        (5, [0; 4], "hello", (0x6f5b_b1a8, 0x2319_17c2)),
        (1, [0; 4], "über", (0xef0d_47e0, 0x7229_a8f1)),
        (2, [0; 4], "über", (0x0952_5f06, 0xf587_7e93)),
        (4, [0; 4], "über", (0x210d_bbf6, 0xbc09_050d)),
        (5, [0; 4], "über", (0xd56f_f3b0, 0xc569_3489)),
    ];

    #[test]
    fn names_hash_as_debugfs_hashes_them() {
        for (version, seed, name, wanted) in VECTORS {
            let found = name_hash(*version, *seed, name.as_bytes()).unwrap();
            assert_eq!(found, *wanted, "version {version}, seed {seed:x?}, name {name}");
        }
    }

    #[test]
    fn only_bytes_above_ascii_tell_signed_from_unsigned() {
        for version in 0..UNSIGNED {
            let hash = |version, name: &str| name_hash(version, SEED, name.as_bytes()).unwrap();
            assert_eq!(hash(version, "plain"), hash(version + UNSIGNED, "plain"));
            assert_ne!(hash(version, "über"), hash(version + UNSIGNED, "über"));
        }
    }

    #[test]
    fn a_version_that_needs_a_key_or_is_unknown_is_refused() {
        for found in [6, 7, 255] {
            let verdict = name_hash(found, SEED, b"a");
            assert!(matches!(verdict, Err(DirError::HashVersion { found: f }) if f == found), "{verdict:?}");
        }
    }
}
