//! Random operations, written down in full: a failing run is a list that can be read, cut and run again.

use cardpress::image::ext4::FileKind;

use super::ext4_acl::{ACCESS, Acl, DEFAULT, Entry, GROUP, MASK, NAMED_GROUP, NO_ID, OTHER, OWNER, USER};
use super::ext4_model::{Id, Kind, Model, ROOT, join};
use super::ext4_shapes::{BIG_NAMES, big_name};

/// Content that is told by two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) len: usize,
    pub(super) seed: u8,
}

impl Bytes {
    pub(super) fn make(self) -> Vec<u8> {
        // No period that is a multiple of a block; never a zero byte, which a hole would also give.
        (0..self.len)
            .map(|at| u8::try_from((at % 251 + usize::from(self.seed)) % 255 + 1).expect("a byte"))
            .collect()
    }
}

/// One operation; paths are absolute, symlinks on the way followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Write {
        path: String,
        bytes: Bytes,
        mode: u16,
        owner: (u32, u32),
    },
    /// From a source that may end a byte early.
    WriteFrom {
        path: String,
        bytes: Bytes,
        mode: u16,
        owner: (u32, u32),
        ends_early: bool,
    },
    Append {
        path: String,
        bytes: Bytes,
    },
    WriteAt {
        path: String,
        offset: u64,
        bytes: Bytes,
    },
    Truncate {
        path: String,
        len: u64,
    },
    Mkdir {
        path: String,
        mode: u16,
        owner: (u32, u32),
    },
    MkdirAll {
        path: String,
    },
    Symlink {
        path: String,
        target: String,
    },
    MakeNode {
        path: String,
        kind: FileKind,
        device: Option<(u32, u32)>,
        mode: u16,
    },
    SetXattr {
        path: String,
        name: String,
        bytes: Bytes,
    },
    RemoveXattr {
        path: String,
        name: String,
    },
    /// An access control list, or none.
    SetAcl {
        path: String,
        name: &'static str,
        acl: Option<Acl>,
    },
    HardLink {
        from: String,
        to: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    RemoveAll {
        path: String,
    },
    SetMode {
        path: String,
        mode: u16,
    },
    SetOwner {
        path: String,
        uid: u32,
        gid: u32,
    },
    SetTimes {
        path: String,
        seconds: i64,
        nanoseconds: u32,
    },
    SetUuid {
        byte: u8,
    },
    /// That many empty files, one after the other.
    Fill {
        directory: String,
        prefix: String,
        count: u32,
    },
    /// Takes `count` names out of a big directory, beginning with its `start`th.
    Drain {
        directory: String,
        start: u32,
        count: u32,
    },
    /// Lays everything down, then opens the filesystem again.
    Commit,
}

/// SplitMix64 (Steele, Lea, Flood 2014): one seed, one sequence, on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 up to, not including, `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("small")
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.index(from.len())]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Makes operations that mean something to the model as it is.
pub(super) struct Generator {
    pub(super) random: Random,
    pub(super) block_len: usize,
    pub(super) is_viewable: bool,
}

/// What never goes: e2fsck wants it where it is.
const LOST_AND_FOUND: &str = "/lost+found";

impl Generator {
    pub(super) fn op(&mut self, model: &Model) -> Op {
        match self.random.below(132) {
            0..18 => {
                let path = if self.random.one_in(3) { self.file(model) } else { self.fresh(model) };
                Op::Write { path, bytes: self.bytes(), mode: self.mode(), owner: self.owner() }
            }
            18..26 => Op::Append { path: self.file(model), bytes: self.bytes() },
            26..34 => {
                let (path, offset) = (self.file(model), self.offset());
                Op::WriteAt { path, offset, bytes: self.bytes() }
            }
            34..40 => Op::Truncate { path: self.file(model), len: self.offset() },
            40..46 => Op::Mkdir { path: self.fresh(model), mode: self.mode(), owner: self.owner() },
            46..49 => {
                let depth = self.random.below(3);
                let path = (0..depth).fold(self.fresh(model), |path, _| join(&path, &self.name()));
                Op::MkdirAll { path }
            }
            49..55 => Op::Symlink { path: self.fresh(model), target: self.target(model) },
            55..60 => Op::HardLink { from: self.any(model), to: self.fresh(model) },
            60..68 => {
                let to = if self.random.one_in(2) { self.any(model) } else { self.fresh(model) };
                Op::Rename { from: self.any(model), to }
            }
            68..78 => Op::Remove { path: self.any(model) },
            78..81 => Op::RemoveAll { path: self.any(model) },
            81..84 => Op::SetMode { path: self.any(model), mode: self.mode() },
            84..86 => {
                let (uid, gid) = self.owner();
                Op::SetOwner { path: self.any(model), uid, gid }
            }
            86..89 => {
                // The start, now, past 2106; what ext4-view cannot read: before 1970, past 2038. ext4 ends in 2446.
                let seconds = [0, 1_700_000_000, 5_000_000_000, -1_000_000_000, 2_200_000_000];
                let seconds = seconds[self.random.index(if self.is_viewable { 3 } else { 5 })];
                let nanoseconds = u32::try_from(self.random.below(1_000_000_000)).expect("below 2^30");
                Op::SetTimes { path: self.any(model), seconds, nanoseconds }
            }
            89 => Op::SetUuid { byte: self.seed() },
            90..94 => {
                let prefix = format!("{}-{}", self.random.below(1_000), "f".repeat(self.random.index(60)));
                let count = u32::try_from(1 + self.random.below(120)).expect("small");
                Op::Fill { directory: self.directory(model), prefix, count }
            }
            94..97 if model.find("/many", true).is_ok() => {
                let start = u32::try_from(self.random.below(BIG_NAMES.into())).expect("small");
                let count = u32::try_from(1 + self.random.below(200)).expect("small");
                Op::Drain { directory: String::from("/many"), start, count }
            }
            97..100 => Op::Commit,
            100..106 => {
                let path = if self.random.one_in(2) { self.file(model) } else { self.fresh(model) };
                let bytes = self.bytes();
                let ends_early = bytes.len > 0 && self.random.one_in(3);
                Op::WriteFrom { path, bytes, mode: self.mode(), owner: self.owner(), ends_early }
            }
            106..115 => {
                let limit = [8, 70, 300, 1_000, 4_000];
                let limit = limit[self.random.index(limit.len())];
                let bytes = Bytes { len: self.random.index(limit), seed: self.seed() };
                Op::SetXattr { path: self.any(model), name: self.xattr_name(), bytes }
            }
            115..119 => self.remove_xattr(model),
            119..122 => self.make_node(model),
            124..128 => Op::SetAcl { path: self.directory(model), name: DEFAULT, acl: self.acl() },
            128..132 => {
                let name = if self.random.one_in(6) { DEFAULT } else { ACCESS };
                Op::SetAcl { path: self.any(model), name, acl: self.acl() }
            }
            _ => {
                let to = if self.random.one_in(2) { self.file(model) } else { self.directory(model) };
                Op::Rename { from: self.any(model), to }
            }
        }
    }

    fn xattr_name(&mut self) -> String {
        let names = [
            "user.a",
            "user.b",
            "user.a-longer-name",
            "trusted.t",
            "security.selinux",
            "security.capability",
        ];
        names[self.random.index(names.len())].to_owned()
    }

    /// Mostly of an attribute that is there.
    fn remove_xattr(&mut self, model: &Model) -> Op {
        let path = self.any(model);
        let found = model.find(&path, true).ok().and_then(|id| model.node(id).xattrs.as_ref());
        let names: Vec<&String> = found.into_iter().flat_map(|xattrs| xattrs.keys()).collect();
        let name =
            if names.is_empty() { self.xattr_name() } else { names[self.random.index(names.len())].clone() };
        Op::RemoveXattr { path, name }
    }

    /// Mostly short and sound, now and then as long as a block of attributes.
    fn acl(&mut self) -> Option<Acl> {
        if self.random.one_in(8) {
            return None;
        }
        let most = [1, 1, 4, 4, 4, 4, 100, 520][self.random.index(8)];
        let (users, groups) = (self.random.index(most), self.random.index(most) / 2);
        let is_masked = users + groups > 0 || self.random.one_in(3);
        let tags =
            [(OWNER, 1), (USER, users), (GROUP, 1), (NAMED_GROUP, groups), (MASK, usize::from(is_masked))];
        let mut entries = Vec::new();
        for (tag, count) in tags.into_iter().chain([(OTHER, 1)]) {
            for _ in 0..count {
                let permissions = u16::from(self.seed() % 8);
                let id = if tag == USER || tag == NAMED_GROUP { self.owner().0 } else { NO_ID };
                entries.push(Entry { tag, permissions, id });
            }
        }
        if self.random.one_in(8) {
            self.spoil(&mut entries);
        }
        Some(Acl(entries))
    }

    fn spoil(&mut self, entries: &mut Vec<Entry>) {
        let (at, other) = (self.random.index(entries.len()), self.random.index(entries.len()));
        match self.random.below(6) {
            0 => drop(entries.remove(at)),
            1 => entries.swap(at, other),
            2 => entries.insert(other, entries[at]),
            3 => entries[at].permissions = 8,
            4 => entries[at].id = NO_ID,
            _ => entries[at].tag = 0x40,
        }
    }

    fn make_node(&mut self, model: &Model) -> Op {
        let numbers = [(1, 3), (0, 0), (255, 255), (256, 7), (8, 4_000), (4_095, 1_048_575)];
        let number = Some(numbers[self.random.index(numbers.len())]);
        let (kind, device) = match self.random.below(4) {
            0 => (FileKind::Fifo, None),
            1 => (FileKind::Socket, None),
            2 => (FileKind::CharacterDevice, number),
            _ => (FileKind::BlockDevice, number),
        };
        Op::MakeNode { path: self.fresh(model), kind, device, mode: self.mode() }
    }

    fn seed(&mut self) -> u8 {
        self.random.next().to_be_bytes()[0]
    }

    fn mode(&mut self) -> u16 {
        let modes = [0o644, 0o600, 0o755, 0o4755, 0o1777, 0o2750, 0, 0o7777];
        modes[self.random.index(modes.len())]
    }

    fn owner(&mut self) -> (u32, u32) {
        let ids = [0, 1, 1000, 65_535, 65_536, 4_000_000_000];
        (ids[self.random.index(ids.len())], ids[self.random.index(ids.len())])
    }

    /// Mostly about the borders of blocks.
    fn offset(&mut self) -> u64 {
        let block_len = self.block_len as u64;
        let blocks = match self.random.below(20) {
            0..6 => 0,
            6..14 => self.random.below(16),
            14..19 => self.random.below(300),
            _ => self.random.below(1_500),
        };
        match self.random.below(4) {
            0 => blocks * block_len,
            1 => (blocks * block_len).saturating_sub(1),
            2 => blocks * block_len + 1,
            _ => blocks * block_len + self.random.below(block_len),
        }
    }

    fn bytes(&mut self) -> Bytes {
        let len = match self.random.below(4) {
            0 => self.random.below(100),
            1 => self.random.below(3 * self.block_len as u64),
            _ => self.offset().min(400_000),
        };
        Bytes { len: usize::try_from(len).expect("small"), seed: self.seed() }
    }

    fn name(&mut self) -> String {
        let number = self.random.below(60);
        match self.random.below(12) {
            0 => format!("größe-{number}"),
            1 => format!("日本語-{number}"),
            2 => format!("{number:0>255}"),
            3 => format!("{number}-{}", "long".repeat(self.random.index(40))),
            4 => String::from("x"),
            _ => format!("n{number}"),
        }
    }

    /// A directory, by a path that may lead through a symlink.
    fn directory(&mut self, model: &Model) -> String {
        let directories = self.paths(model, |kind| matches!(kind, Kind::Directory(_)));
        let mut path = directories[self.random.index(directories.len())].clone();
        if self.random.one_in(4) {
            // Big directories are where the splendid faults are.
            path = String::from(self.random.pick(&["/many", "/some", "/", "/etc"]));
        }
        path
    }

    /// A name, likely free, in a directory.
    fn fresh(&mut self, model: &Model) -> String {
        let directory = self.directory(model);
        join(&directory, &self.name())
    }

    /// Something that is likely a regular file, or a symlink to one.
    fn file(&mut self, model: &Model) -> String {
        if self.random.one_in(8) {
            return self.any(model);
        }
        let files = self.paths(model, |kind| matches!(kind, Kind::File(_)));
        if files.is_empty() { self.fresh(model) } else { files[self.random.index(files.len())].clone() }
    }

    /// Anything, now and then nothing.
    fn any(&mut self, model: &Model) -> String {
        if self.random.one_in(12) {
            return self.fresh(model);
        }
        if self.random.one_in(10) {
            let number = u32::try_from(self.random.below(BIG_NAMES.into())).expect("small");
            return format!("/many/{}", big_name(number));
        }
        let all = self.paths(model, |_| true);
        all[self.random.index(all.len())].clone()
    }

    fn target(&mut self, model: &Model) -> String {
        match self.random.below(8) {
            // Around the 59 bytes that fit into an inode, and long ones; a name in it must not pass 255.
            0 => "t".repeat(50 + self.random.index(20)),
            1 => "t".repeat(60) + &format!("/{}", "u".repeat(99)).repeat(self.random.index(9)),
            2 => "../".repeat(self.random.index(4)) + "etc/hostname",
            3 => String::from("x"),
            4 | 5 => self.directory(model),
            _ => self.any(model),
        }
    }

    /// Some of the paths of a kind: directories of thousands count like small ones.
    fn paths(&mut self, model: &Model, wanted: impl Fn(&Kind) -> bool + Copy) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(model, ROOT, "/", wanted, &mut paths);
        if paths.is_empty() && wanted(&model.node(ROOT).kind) {
            paths.push(String::from("/"));
        }
        paths
    }

    fn collect(
        &mut self,
        model: &Model,
        id: Id,
        path: &str,
        wanted: impl Fn(&Kind) -> bool + Copy,
        paths: &mut Vec<String>,
    ) {
        let Kind::Directory(children) = &model.node(id).kind else { return };
        if wanted(&model.node(id).kind) && path != LOST_AND_FOUND {
            paths.push(path.to_owned());
        }
        let start = if children.len() > 50 { self.random.index(children.len() - 40) } else { 0 };
        for (name, child) in children.iter().skip(start).take(50) {
            let path = join(path, name);
            match &model.node(*child).kind {
                Kind::Directory(_) => self.collect(model, *child, &path, wanted, paths),
                kind if wanted(kind) => paths.push(path),
                _ => {}
            }
        }
    }
}
