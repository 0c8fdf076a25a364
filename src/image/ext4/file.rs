//! The content of files: read, replaced whole, overwritten in part, cut or stretched.
//!
//! Blocks that a file has are used again before others are taken. Everything is allocated and mapped first and the
//! bytes are written last, so that a full filesystem is found out before anything has changed. Content that is streamed
//! goes to free blocks, because its source may fail half-way.

use std::io::{self, Read};

use super::alloc::Blocks;
use super::error::{Error, corrupt};
use super::features::ro_compat;
use super::inode::{FileKind, Inode};
use super::mapping::{Mapping, Run, max_len_bytes};
use super::store::Store;

/// `i_size` from which on the filesystem must say that it has large files.
const LARGE_FILE_LEN: u64 = 1 << 31;
/// How much is streamed at a time; a multiple of every block length.
const BUFFER_LEN: u64 = 1 << 20;
/// A symlink up to here lies in the inode itself; byte 60 would be its NUL.
const SHORT_LINK_LEN: usize = 59;

impl Store<'_> {
    /// Reads all of a regular file; the caller has bounded its size.
    pub(super) fn read_content(&self, inode: &Inode) -> Result<Vec<u8>, Error> {
        let mapping = Mapping::read(self, inode)?;
        let blocks = inode.size().div_ceil(self.block_len() as u64);
        let mut content = self.read_blocks(&mapping, inode.size(), 0, blocks)?;
        content.truncate(length(inode.size())?);
        Ok(content)
    }

    /// Fills `buf` from byte `offset` on, as far as the file reaches; gives how much that is.
    pub(super) fn read_part(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        self.read_mapped(inode, &Mapping::read(self, inode)?, offset, buf)
    }

    /// The same for a file whose blocks are known.
    pub(super) fn read_mapped(
        &self,
        inode: &Inode,
        mapping: &Mapping,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let end = inode.size().min(offset.saturating_add(buf.len() as u64));
        let buf = &mut buf[..length(end.saturating_sub(offset))?];
        buf.fill(0);
        let block_len = self.block_len() as u64;
        let blocks = (offset / block_len, end.div_ceil(block_len));
        for run in mapping.runs.iter().filter_map(|run| run.cut(blocks.0, blocks.1)) {
            let start = offset.max(run.logical * block_len);
            let stop = end.min(run.end() * block_len);
            let place = buf.get_mut(length(start - offset)?..length(stop - offset)?);
            if let Some(place) = place.filter(|_| !run.unwritten) {
                self.read_data(run.physical, start - run.logical * block_len, place)?;
            }
        }
        Ok(buf.len())
    }

    /// File blocks `first..end`, zero in holes and past `size`.
    fn read_blocks(&self, mapping: &Mapping, size: u64, first: u64, end: u64) -> Result<Vec<u8>, Error> {
        let block_len = self.block_len() as u64;
        let mut bytes = vec![0; length((end - first) * block_len)?];
        for run in mapping.runs.iter().filter(|run| !run.unwritten).filter_map(|run| run.cut(first, end)) {
            let at = length((run.logical - first) * block_len)?;
            let len = length(run.len * block_len)?;
            if let Some(place) = bytes.get_mut(at..at + len) {
                self.read_data(run.physical, 0, place)?;
            }
        }
        let held = length(size.saturating_sub(first * block_len).min(bytes.len() as u64))?;
        bytes[held..].fill(0);
        Ok(bytes)
    }

    /// The target of a symlink.
    pub(super) fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, Error> {
        let len = length(inode.size())?;
        let target = if is_short_link(inode, self.block_len()) {
            inode.check_readable()?;
            inode.i_block().get(..len).unwrap_or_default().to_vec()
        } else if len < self.block_len() {
            self.read_content(inode)?
        } else {
            return Err(corrupt(format!("symlink inode {} has {len} bytes", inode.number)));
        };
        if target.is_empty() || target.contains(&0) {
            return Err(corrupt(format!(
                "symlink inode {} has an empty target or a NUL in it",
                inode.number
            )));
        }
        Ok(target)
    }

    /// Makes `target` the text of a new symlink.
    pub(super) fn write_link(&mut self, inode: &mut Inode, target: &[u8]) -> Result<(), Error> {
        let limit_bytes = self.block_len() - 1;
        if target.is_empty() || target.len() > limit_bytes || target.contains(&0) {
            return Err(Error::BadLength { what: "symlink target", len_bytes: target.len(), limit_bytes });
        }
        if target.len() > SHORT_LINK_LEN {
            return self.replace_content(inode, Mapping::default(), target);
        }
        let mut i_block = [0; 60];
        i_block[..target.len()].copy_from_slice(target);
        inode.set_i_block(&i_block);
        inode.set_size(target.len() as u64);
        Ok(())
    }

    /// Lets the file hold exactly `content`. `old` is what it holds now; nothing for a new one.
    pub(super) fn replace_content(
        &mut self,
        inode: &mut Inode,
        old: Mapping,
        content: &[u8],
    ) -> Result<(), Error> {
        let size = content.len() as u64;
        self.check_len(size)?;
        let count = size.div_ceil(self.block_len() as u64);
        let mapping = self.resize_runs(inode, old, count)?;
        mapping.clone().write(self, inode)?;
        self.set_size(inode, size)?;
        self.put_inode(inode.clone());
        self.write_runs(&mapping, 0, content)
    }

    /// Lets the file hold what `content` gives, `size` bytes, in blocks that are free now: what the file holds at
    /// present stays whole until all has been read. `old` is its mapping.
    pub(super) fn stream_content(
        &mut self,
        inode: &mut Inode,
        old: Mapping,
        content: &mut dyn Read,
        size: u64,
    ) -> Result<(), Error> {
        self.check_len(size)?;
        let block_len = self.block_len() as u64;
        let goal = Mapping::default().goal(self, inode);
        let fresh = self.allocate_blocks(size.div_ceil(block_len), goal)?;
        for run in &old.runs {
            self.free_blocks(run.blocks())?;
        }
        let mut mapping = Mapping { runs: Vec::new(), tree: old.tree };
        let mut logical = 0;
        for blocks in fresh {
            mapping.push(Run { logical, physical: blocks.start, len: blocks.len, unwritten: false });
            logical += blocks.len;
        }
        mapping.clone().write(self, inode)?;
        self.set_size(inode, size)?;
        self.put_inode(inode.clone());

        let mut buffer = vec![0; length(BUFFER_LEN.min(logical * block_len))?];
        for run in mapping.runs {
            let run_len = run.len * block_len;
            let mut at = 0;
            while at < run_len {
                let file_at = run.logical * block_len + at;
                let piece = length((run_len - at).min(BUFFER_LEN))?;
                let piece = buffer.get_mut(..piece).ok_or_else(|| corrupt("a run outgrew its file"))?;
                let held = length(size.saturating_sub(file_at).min(piece.len() as u64))?;
                let (held, past) = piece.split_at_mut(held);
                fill(content, held, file_at, size)?;
                past.fill(0);
                self.write_content(run.physical, at, piece)?;
                at += piece.len() as u64;
            }
        }
        Ok(())
    }

    /// Exactly `count` blocks without holes, the present ones first; what is over is given back. The mapping is not
    /// written yet.
    pub(super) fn resize_runs(&mut self, inode: &Inode, old: Mapping, count: u64) -> Result<Mapping, Error> {
        let goal = old.goal(self, inode);
        let missing = count.saturating_sub(old.data_blocks());
        let fresh = self.allocate_blocks(missing, goal)?;
        let mut mapping = Mapping { runs: Vec::new(), tree: old.tree };
        let mut logical = 0;
        for blocks in old.runs.iter().map(Run::blocks).chain(fresh) {
            let len = blocks.len.min(count - logical);
            if len > 0 {
                mapping.push(Run { logical, physical: blocks.start, len, unwritten: false });
                logical += len;
            }
            if len < blocks.len {
                self.free_blocks(Blocks { start: blocks.start + len, len: blocks.len - len })?;
            }
        }
        Ok(mapping)
    }

    /// Puts `bytes` at `offset`; the file grows where they reach past its end.
    pub(super) fn overwrite(&mut self, inode: &mut Inode, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.check_len(end)?;
        let block_len = self.block_len() as u64;
        let (first, last) = (offset / block_len, end.div_ceil(block_len));
        let old = Mapping::read(self, inode)?;
        let size = inode.size();
        let mut content = self.read_edges(&old, size, first, last)?;
        let at = length(offset - first * block_len)?;
        content[at..at + bytes.len()].copy_from_slice(bytes);

        let mapping = self.fill_range(inode, &old, first, last)?;
        mapping.clone().write(self, inode)?;
        self.set_size(inode, size.max(end))?;
        self.put_inode(inode.clone());
        if offset > size {
            self.zero_past(&old, size)?;
        }
        self.write_runs(&mapping, first, &content)
    }

    /// Room for file blocks `first..last`, of which the first and the last hold what they hold now.
    fn read_edges(&self, mapping: &Mapping, size: u64, first: u64, last: u64) -> Result<Vec<u8>, Error> {
        let block_len = self.block_len();
        let mut content = vec![0; length((last - first) * block_len as u64)?];
        let head = self.read_blocks(mapping, size, first, first + 1)?;
        let tail = self.read_blocks(mapping, size, last - 1, last)?;
        let tail_at = content.len() - block_len;
        content[..block_len].copy_from_slice(&head);
        content[tail_at..].copy_from_slice(&tail);
        Ok(content)
    }

    /// `old` with every file block of `first..last` allocated and written.
    fn fill_range(&mut self, inode: &Inode, old: &Mapping, first: u64, last: u64) -> Result<Mapping, Error> {
        let mut mapping = Mapping { runs: Vec::new(), tree: old.tree.clone() };
        old.runs.iter().filter_map(|run| run.cut(0, first)).for_each(|run| mapping.push(run));
        let mut at = first;
        while at < last {
            if let Some(run) = old.find(at).and_then(|run| run.cut(at, last)) {
                mapping.push(Run { unwritten: false, ..run });
                at = run.end();
                continue;
            }
            let next = old.runs.get(old.runs.partition_point(|run| run.end() <= at));
            let gap = next.map_or(last, |run| run.logical.min(last)) - at;
            let goal = mapping.goal(self, inode);
            for blocks in self.allocate_blocks(gap, goal)? {
                mapping.push(Run { logical: at, physical: blocks.start, len: blocks.len, unwritten: false });
                at += blocks.len;
            }
        }
        old.runs.iter().filter_map(|run| run.cut(last, u64::MAX)).for_each(|run| mapping.push(run));
        Ok(mapping)
    }

    /// Cuts the file, or stretches it with a hole.
    pub(super) fn truncate(&mut self, inode: &mut Inode, size: u64) -> Result<(), Error> {
        self.check_len(size)?;
        let old = Mapping::read(self, inode)?;
        let end = size.div_ceil(self.block_len() as u64);
        let before = inode.size();
        let mut mapping = Mapping { runs: Vec::new(), tree: old.tree.clone() };
        old.runs.iter().filter_map(|run| run.cut(0, end)).for_each(|run| mapping.push(run));
        for run in old.runs.iter().filter_map(|run| run.cut(end, u64::MAX)) {
            self.free_blocks(run.blocks())?;
        }
        mapping.clone().write(self, inode)?;
        self.set_size(inode, size)?;
        self.put_inode(inode.clone());
        self.zero_past(&mapping, before.min(size))
    }

    /// Gives all blocks of a file or directory back.
    pub(super) fn free_content(&mut self, inode: &Inode) -> Result<(), Error> {
        let mapping = Mapping::read(self, inode)?;
        for run in &mapping.runs {
            self.free_blocks(run.blocks())?;
        }
        for block in mapping.tree {
            self.free_blocks(Blocks { start: block, len: 1 })?;
        }
        Ok(())
    }

    /// Clears what the block that holds byte `size` has from there on, so that it reads as zeros when the file grows.
    fn zero_past(&mut self, mapping: &Mapping, size: u64) -> Result<(), Error> {
        let block_len = self.block_len() as u64;
        let at = size % block_len;
        match mapping.find(size / block_len) {
            Some(run) if at > 0 && !run.unwritten => {
                let block = run.physical + (size / block_len - run.logical);
                self.write_content(block, at, &vec![0; length(block_len - at)?])
            }
            _ => Ok(()),
        }
    }

    /// Writes `content`, which begins at file block `first`, and zeros up to the end of its last block.
    fn write_runs(&mut self, mapping: &Mapping, first: u64, content: &[u8]) -> Result<(), Error> {
        let block_len = self.block_len() as u64;
        let end = first + (content.len() as u64).div_ceil(block_len);
        for run in mapping.runs.iter().filter_map(|run| run.cut(first, end)) {
            let at = length((run.logical - first) * block_len)?;
            let len = length(run.len * block_len)?;
            let piece = &content[at..content.len().min(at + len)];
            self.write_content(run.physical, 0, piece)?;
            if piece.len() < len {
                self.write_content(run.physical, piece.len() as u64, &vec![0; len - piece.len()])?;
            }
        }
        Ok(())
    }

    fn check_len(&self, len_bytes: u64) -> Result<(), Error> {
        let limit_bytes = max_len_bytes(self);
        if len_bytes > limit_bytes { Err(Error::FileTooLarge { len_bytes, limit_bytes }) } else { Ok(()) }
    }

    fn set_size(&mut self, inode: &mut Inode, size: u64) -> Result<(), Error> {
        inode.set_size(size);
        let is_large = size >= LARGE_FILE_LEN && inode.kind()? == FileKind::Regular;
        if is_large && !self.superblock.features().has_ro_compat(ro_compat::LARGE_FILE) {
            self.superblock_mut().set_large_file();
        }
        Ok(())
    }
}

/// Does the text of this symlink lie in the inode itself?
pub(super) fn is_short_link(inode: &Inode, block_len: usize) -> bool {
    let xattr_sectors = if inode.xattr_block() == 0 { 0 } else { block_len as u64 / 512 };
    inode.size() <= SHORT_LINK_LEN as u64 && inode.sectors() == xattr_sectors
}

/// Fills `buf`, which is byte `at` and on of a content of `len_bytes`.
fn fill(content: &mut dyn Read, buf: &mut [u8], at: u64, len_bytes: u64) -> Result<(), Error> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let fault = |source| Error::Content { read_bytes: at + filled as u64, len_bytes, source };
        match content.read(rest) {
            Ok(0) => return Err(fault(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(error)),
        }
    }
    Ok(())
}

/// A length that must fit memory.
fn length(len_bytes: u64) -> Result<usize, Error> {
    usize::try_from(len_bytes).map_err(|_| corrupt(format!("{len_bytes} bytes do not fit the memory")))
}
