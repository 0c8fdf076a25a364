//! The digest of something long as digests of its chunks, so that a change costs what it touches.

use super::{Sha256Digest, Sha256Hasher};

/// SHA-256 of each 256 KiB of a run of bytes; the last chunk may be shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDigests {
    len_bytes: u64,
    chunks: Vec<Sha256Digest>,
}

impl ChunkDigests {
    /// Bytes in a chunk. Edits are a few blocks here and there, and each costs the hashing of its chunk: so chunks
    /// are small, as long as the digests of a whole image (12,000 for 3 GB) stay quick to read.
    pub const CHUNK_LEN: u64 = 256 << 10;

    /// Digests made elsewhere; `None` when their number does not go with the length.
    #[must_use]
    pub fn new(len_bytes: u64, chunks: Vec<Sha256Digest>) -> Option<Self> {
        (len_bytes.div_ceil(Self::CHUNK_LEN) == chunks.len() as u64).then_some(Self { len_bytes, chunks })
    }

    /// The length of what was hashed.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The digests, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Sha256Digest] {
        &self.chunks
    }

    /// Where chunk `index` is and how long; `None` past the end.
    #[must_use]
    pub fn range(&self, index: u64) -> Option<(u64, u64)> {
        let start = index.checked_mul(Self::CHUNK_LEN)?;
        let left = self.len_bytes.checked_sub(start).filter(|left| *left > 0)?;
        Some((start, left.min(Self::CHUNK_LEN)))
    }

    /// Puts the digest of changed chunk `index` in place; passes over an index past the end.
    pub fn set(&mut self, index: u64, digest: Sha256Digest) {
        if let Some(chunk) = usize::try_from(index).ok().and_then(|index| self.chunks.get_mut(index)) {
            *chunk = digest;
        }
    }

    /// Follows a change of length. New chunks, and the last one when its length changed, count as zero bytes:
    /// whoever wrote to them sets them afterwards. Returns the chunk that must be hashed anew: the one that was
    /// last and short.
    pub fn grow(&mut self, len_bytes: u64) -> Option<u64> {
        let old = self.len_bytes;
        self.len_bytes = len_bytes.max(old);
        let mut index = self.chunks.len() as u64;
        while let Some((_, len)) = self.range(index) {
            self.chunks.push(Self::of_zeros(len));
            index += 1;
        }
        (!old.is_multiple_of(Self::CHUNK_LEN) && self.len_bytes > old).then_some(old / Self::CHUNK_LEN)
    }

    /// The digest of a chunk of `len` zero bytes, hashed once.
    #[must_use]
    pub fn of_zeros(len: u64) -> Sha256Digest {
        static FULL: std::sync::OnceLock<Sha256Digest> = std::sync::OnceLock::new();
        if len == Self::CHUNK_LEN { *FULL.get_or_init(|| hash_zeros(len)) } else { hash_zeros(len) }
    }

    /// One digest for all: SHA-256 of `cardpress-chunks-1\n`, the length and the chunk length as 64-bit
    /// little-endian numbers, then the digests.
    #[must_use]
    pub fn root(&self) -> Sha256Digest {
        let mut hasher = Sha256Hasher::default();
        hasher.update(b"cardpress-chunks-1\n");
        hasher.update(&self.len_bytes.to_le_bytes());
        hasher.update(&Self::CHUNK_LEN.to_le_bytes());
        self.chunks.iter().for_each(|chunk| hasher.update(&chunk.0));
        hasher.finish()
    }
}

fn hash_zeros(len: u64) -> Sha256Digest {
    let mut hasher = Sha256Hasher::default();
    let mut left = len;
    while left > 0 {
        let piece = left.min(4096);
        hasher.update(&[0; 4096][..usize::try_from(piece).unwrap_or(4096)]);
        left -= piece;
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = ChunkDigests::CHUNK_LEN;

    #[test]
    fn the_root_changes_with_length_and_with_any_chunk() {
        let zeros = |len: u64| {
            let mut digests = ChunkDigests::new(0, Vec::new()).unwrap();
            digests.grow(len);
            digests
        };
        let digests = zeros(2 * CHUNK);
        assert_eq!(digests.chunks()[0], Sha256Digest::of(&vec![0; 256 << 10]));
        assert_ne!(digests.root(), zeros(3 * CHUNK).root());
        let mut changed = digests.clone();
        changed.set(1, Sha256Digest::of(b"x"));
        assert_ne!(digests.root(), changed.root());
    }

    #[test]
    fn growing_names_the_chunk_that_was_short() {
        let mut digests = ChunkDigests::new(CHUNK + 5, vec![Sha256Digest::of(b"a"); 2]).unwrap();
        assert_eq!(digests.range(1), Some((CHUNK, 5)));
        assert_eq!(digests.grow(3 * CHUNK + 1), Some(1));
        assert_eq!(digests.chunks().len(), 4);
        assert_eq!(digests.range(3), Some((3 * CHUNK, 1)));
        assert_eq!(digests.range(4), None);
        assert_eq!(digests.grow(3 * CHUNK + 1), None);
    }

    #[test]
    fn a_wrong_number_of_digests_is_refused() {
        assert!(ChunkDigests::new(CHUNK + 1, vec![Sha256Digest::of(b"a")]).is_none());
    }
}
