//! The map of an image for bmaptool: which of its blocks must be copied, and what they hash to.
//!
//! Version 2.0 of the format: XML, with the SHA-256 of each range and of the map itself. Blocks that are not in the map
//! need not be written; what they would read afterwards is not said.
//!
//! Format: bmap-tools, the comments in `BmapCreate.py`. Oracle: `bmaptool copy`.

use std::fmt::Write as _;

use crate::base::Sha256Digest;
use crate::block::Extent;

/// The unit of the map, in bytes.
pub const BMAP_BLOCK_LEN: u64 = 4096;

/// A map cannot be made of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BmapError {
    /// A range begins or ends inside a block, and not with the image.
    #[error(
        "the {len_bytes} bytes at {offset} are not whole blocks of {BMAP_BLOCK_LEN} of an image of {image_len}"
    )]
    Unaligned {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        len_bytes: u64,
        /// How long the image is.
        image_len: u64,
    },
    /// A range begins before the end of the one before it.
    #[error("a range begins at {offset}, wanted {wanted} or more")]
    Overlap {
        /// Where it begins.
        offset: u64,
        /// Where the one before ends.
        wanted: u64,
    },
}

/// The map of an image of `image_len` bytes in which `ranges` must be copied: ascending, apart from each other, in
/// whole blocks of [`BMAP_BLOCK_LEN`]; the last may end with the image. The same input gives the same text.
///
/// # Errors
/// [`BmapError`] when the ranges are not so.
pub fn bmap(image_len: u64, ranges: &[(Extent, Sha256Digest)]) -> Result<String, BmapError> {
    let mut mapped_count = 0;
    let mut lines = String::new();
    let mut before = 0;
    for (Extent { offset, len_bytes }, digest) in ranges {
        let (offset, len_bytes) = (*offset, *len_bytes);
        let unaligned = BmapError::Unaligned { offset, len_bytes, image_len };
        let end = offset.checked_add(len_bytes).filter(|end| *end <= image_len).ok_or(unaligned)?;
        let is_end = end.is_multiple_of(BMAP_BLOCK_LEN) || end == image_len;
        if len_bytes == 0 || !offset.is_multiple_of(BMAP_BLOCK_LEN) || !is_end {
            return Err(unaligned);
        }
        if offset < before {
            return Err(BmapError::Overlap { offset, wanted: before });
        }
        before = end;
        let (first, last) = (offset / BMAP_BLOCK_LEN, (end - 1) / BMAP_BLOCK_LEN);
        mapped_count += last - first + 1;
        let blocks = if first == last { first.to_string() } else { format!("{first}-{last}") };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "        <Range chksum=\"{digest}\"> {blocks} </Range>");
    }
    let blocks_count = image_len.div_ceil(BMAP_BLOCK_LEN);
    // Its own digest is that of the text with zeros in its place.
    let text = |digest: &str| {
        format!(
            "<?xml version=\"1.0\" ?>\n\
             <bmap version=\"2.0\">\n    \
                 <ImageSize> {image_len} </ImageSize>\n    \
                 <BlockSize> {BMAP_BLOCK_LEN} </BlockSize>\n    \
                 <BlocksCount> {blocks_count} </BlocksCount>\n    \
                 <MappedBlocksCount> {mapped_count} </MappedBlocksCount>\n    \
                 <ChecksumType> sha256 </ChecksumType>\n    \
                 <BmapFileChecksum> {digest} </BmapFileChecksum>\n    \
                 <BlockMap>\n\
             {lines}    \
                 </BlockMap>\n\
             </bmap>\n"
        )
    };
    let digest = Sha256Digest::of(text(&"0".repeat(64)).as_bytes());
    Ok(text(&digest.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(offset: u64, len_bytes: u64) -> (Extent, Sha256Digest) {
        (Extent { offset, len_bytes }, Sha256Digest::of(&offset.to_le_bytes()))
    }

    #[test]
    fn a_map_counts_blocks_and_hashes_itself_with_zeros_in_its_place() {
        let text = bmap(20_000, &[range(0, 8192), range(16_384, 3616)]).unwrap();
        for wanted in [
            "<ImageSize> 20000 <",
            "<BlocksCount> 5 <",
            "<MappedBlocksCount> 3 <",
            &format!("\"{}\"> 0-1 <", Sha256Digest::of(&[0; 8])),
            &format!("\"{}\"> 4 <", Sha256Digest::of(&16_384_u64.to_le_bytes())),
        ] {
            assert!(text.contains(wanted), "no {wanted} in {text}");
        }
        let (_, after) = text.split_once("<BmapFileChecksum> ").unwrap();
        let own = &after[..64];
        let zeroed = text.replace(own, &"0".repeat(64));
        assert_eq!(own, Sha256Digest::of(zeroed.as_bytes()).to_string());
    }

    #[test]
    fn an_image_without_data_has_an_empty_map() {
        assert!(bmap(8192, &[]).unwrap().contains("<MappedBlocksCount> 0 <"));
    }

    #[test]
    fn ranges_that_are_not_blocks_in_order_are_refused() {
        for bad in
            [range(1, 4096), range(0, 100), range(0, 0), range(16_384, 4096), range(u64::MAX - 4095, 4096)]
        {
            assert!(matches!(bmap(20_000, &[bad]), Err(BmapError::Unaligned { .. })), "{bad:?}");
        }
        let wanted = BmapError::Overlap { offset: 4096, wanted: 8192 };
        assert_eq!(bmap(20_000, &[range(0, 8192), range(4096, 4096)]), Err(wanted));
    }
}
