//! Family 7, the blocks of an inode: how many it has, and whether its size and its count of them agree.

use super::super::error::Error;
use super::super::features::{compat, ro_compat};
use super::Checker;
use super::Run;
use super::geometry::HUGE_FILE;
use super::inodes::{EXTENTS, HUGE, INDEX, RawInode, Type, VERITY};

/// What the walk through a tree of blocks gives.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// Blocks claimed: of content, of the tree, of extended attributes.
    pub(super) count: u64,
    /// Those of content.
    pub(super) content: u64,
    /// One more than the last logical block that is mapped.
    pub(super) len_blocks: u64,
    /// The last logical block that is mapped and written.
    pub(super) last_written: Option<u64>,
    /// Where the runs of a directory begin in `Checker::runs`; they end at its end.
    pub(super) first_run: usize,
    /// The physical block of logical block 0.
    pub(super) first_block: Option<u64>,
}

impl Checker<'_> {
    /// Claims the blocks of `inode`, and compares them with what it says of them.
    pub(super) fn check_blocks(&mut self, inode: &RawInode<'_>) -> Result<Mapped, Error> {
        let mut mapped = Mapped { first_run: self.runs.len(), ..Mapped::default() };
        if self.check_xattr_block(inode)? {
            mapped.count += 1;
        }
        let has_blocks = self.has_blocks(inode);
        if has_blocks {
            if self.fs.has_extents() && inode.has(EXTENTS) {
                self.walk_extents(inode, &mut mapped)?;
            } else {
                self.walk_map(inode, &mut mapped)?;
            }
        } else if inode.kind() == Some(Type::Symlink) && inode.has(EXTENTS) {
            self.findings.add(inode.place(), "flag", "EXTENTS", "none on a symlink without blocks");
        }
        let is_directory = inode.kind() == Some(Type::Directory);
        if inode.has(INDEX) {
            self.check_index_flag(inode, &mapped)?;
        }
        if is_directory && mapped.first_block.is_none() {
            self.findings.add(inode.place(), "first block of a directory", "missing", "there");
        }
        self.check_size(inode, &mapped);
        self.check_count(inode, &mapped);
        Ok(mapped)
    }

    /// Whether `i_block` leads to blocks, as e2fsck and the kernel tell it: of a symlink by its size and counts.
    fn has_blocks(&self, inode: &RawInode<'_>) -> bool {
        match inode.kind() {
            Some(Type::Regular | Type::Directory) => true,
            Some(Type::Symlink) if inode.xattr_block(&self.fs) == 0 => inode.sectors() != 0,
            Some(Type::Symlink) => inode.size() >= 60 || (inode.size() > 4 && inode.pointer(1) == 0),
            _ => false,
        }
    }

    fn check_size(&mut self, inode: &RawInode<'_>, mapped: &Mapped) {
        let block_len = self.fs.block_len as u64;
        let size = inode.size();
        let place = inode.place();
        if inode.kind() == Some(Type::Directory) {
            let blocks = size / block_len;
            let spare = u64::from(self.fs.u8(0xcd));
            let is_right = size.is_multiple_of(block_len)
                && blocks <= mapped.len_blocks
                && mapped.len_blocks - blocks <= spare;
            if !is_right {
                self.findings.add(place, "size of a directory", size, mapped.len_blocks * block_len);
            }
            return;
        }
        if inode.kind() != Some(Type::Symlink) {
            let is_tree = self.fs.has_extents() && inode.has(EXTENTS);
            let shift = 32 + 10 + self.fs.log_block_len;
            let most = if is_tree { (1 << shift) - 1 } else { self.most_mapped() };
            let written = mapped.last_written.filter(|_| !inode.has(VERITY));
            if let Some(last) = written.filter(|last| size < last * block_len) {
                self.findings.add(place, "size", size, format_args!("more than {}", last * block_len));
            } else if size > most {
                self.findings.add(place, "size", size, format_args!("at most {most}"));
            }
        }
        if inode.kind() == Some(Type::Regular) && size >= 1 << 31 && !self.has_large_file {
            self.has_large_file = true;
            if !self.fs.features.has_ro_compat(ro_compat::LARGE_FILE) {
                self.findings.add(place, "size", size, "less than 2 GiB without the feature large_file");
            }
        }
    }

    /// The longest file that pointers to blocks can hold.
    fn most_mapped(&self) -> u64 {
        let block_len = self.fs.block_len as u64;
        let pointers = block_len / 4;
        (12 + pointers + pointers.pow(2) + pointers.pow(3)) * block_len
    }

    fn check_count(&mut self, inode: &RawInode<'_>, mapped: &Mapped) {
        let has_huge = self.fs.features.has_ro_compat(HUGE_FILE);
        let high = if has_huge { u64::from(inode.sectors_high()) << 32 } else { 0 };
        let found = high | u64::from(inode.sectors());
        let in_blocks = has_huge && inode.has(HUGE);
        let unit = if in_blocks { 1 } else { self.fs.block_len as u64 / 512 };
        let wanted = mapped.count * unit;
        if found != wanted || (in_blocks && high != 0) {
            self.findings.add(inode.place(), "i_blocks", found, wanted);
        }
    }

    /// Notes a run of content; blocks that are read later are remembered, if they are its own.
    pub(super) fn map_run(&mut self, inode: &RawInode<'_>, run: Run, mapped: &mut Mapped) {
        let Run { logical, start, len } = run;
        let is_own = self.claim(start, len, "file", inode.place());
        if logical == 0 {
            mapped.first_block = Some(start);
        }
        mapped.count += len;
        mapped.content += len;
        mapped.len_blocks = mapped.len_blocks.max(logical + len);
        let is_read_later = inode.kind() == Some(Type::Directory) || inode.number == self.fs.orphan_inode();
        if is_own && is_read_later {
            let grows = self.runs.len() > mapped.first_run;
            match self
                .runs
                .last_mut()
                .filter(|last| grows && last.logical + last.len == logical && last.start + last.len == start)
            {
                Some(last) => last.len += len,
                None => self.runs.push(Run { logical, start, len }),
            }
        }
    }

    /// The flag that says that a directory has an index, and the start of that.
    fn check_index_flag(&mut self, inode: &RawInode<'_>, mapped: &Mapped) -> Result<(), Error> {
        let place = inode.place();
        if inode.kind() != Some(Type::Directory) || !self.fs.features.has_compat(compat::DIR_INDEX) {
            self.findings.add(place, "flag", "INDEX", "none but on directories, with the feature dir_index");
            return Ok(());
        }
        let Some(block) = mapped.first_block else { return Ok(()) };
        let bytes = self.read_block(block)?;
        self.check_index_root(inode.number, block, &bytes);
        Ok(())
    }
}
