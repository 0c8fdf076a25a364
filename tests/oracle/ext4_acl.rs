//! Access control lists as the model has them: what is one, what it makes of a mode, what is inherited. Shares no code
//! with the editor's.

/// As extended attributes they have these names.
pub(super) const ACCESS: &str = "system.posix_acl_access";
pub(super) const DEFAULT: &str = "system.posix_acl_default";

/// `ACL_USER_OBJ` and so on, in the order in which they must stand.
pub(super) const OWNER: u16 = 0x01;
pub(super) const USER: u16 = 0x02;
pub(super) const GROUP: u16 = 0x04;
pub(super) const NAMED_GROUP: u16 = 0x08;
pub(super) const MASK: u16 = 0x10;
pub(super) const OTHER: u16 = 0x20;
/// The id of what needs none.
pub(super) const NO_ID: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tag: u16,
    pub(super) permissions: u16,
    pub(super) id: u32,
}

impl Entry {
    fn is_named(self) -> bool {
        self.tag == USER || self.tag == NAMED_GROUP
    }
}

/// A list, sound or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl(pub(super) Vec<Entry>);

impl Acl {
    /// What setxattr(2) takes and getxattr(2) gives.
    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = vec![2, 0, 0, 0];
        for Entry { tag, permissions, id } in &self.0 {
            value.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        value
    }

    /// Of what [`Self::value`] made.
    pub(super) fn from_value(value: &[u8]) -> Self {
        let (entries, rest) = value[4..].as_chunks::<8>();
        assert!(rest.is_empty(), "whole entries");
        let entry = |[a, b, c, d, id @ ..]: &[u8; 8]| Entry {
            tag: u16::from_le_bytes([*a, *b]),
            permissions: u16::from_le_bytes([*c, *d]),
            id: u32::from_le_bytes(*id),
        };
        Self(entries.iter().map(entry).collect())
    }

    /// What ext4 stores: entries without a name have no id.
    pub(super) fn disk_len(&self) -> usize {
        4 + self.0.iter().map(|entry| if entry.is_named() { 8 } else { 4 }).sum::<usize>()
    }

    /// As acl(5) has it: owner, users, group, groups, mask, other, where names want a mask.
    pub(super) fn is_sound(&self) -> bool {
        let mut tags = self.0.iter().map(|entry| entry.tag).peekable();
        let counts = [OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHER].map(|tag| {
            let mut count = 0;
            while tags.next_if_eq(&tag).is_some() {
                count += 1;
            }
            count
        });
        let [owners, users, group, groups, masks, others] = counts;
        let is_whole = tags.next().is_none() && [owners, group, others] == [1; 3];
        let is_masked = masks == 1 || (masks == 0 && users + groups == 0);
        let is_named = self.0.iter().all(|entry| !entry.is_named() || entry.id != NO_ID);
        is_whole && is_masked && is_named && self.0.iter().all(|entry| entry.permissions <= 7)
    }

    /// A mode says it all.
    pub(super) fn is_mode(&self) -> bool {
        self.0.len() == 3
    }

    /// `rwxrwxrwx` as the mode shows them.
    pub(super) fn permissions(&self) -> u16 {
        self.shown().iter().fold(0, |mode, at| mode << 3 | self.0[*at].permissions)
    }

    /// What chmod(2) makes of it.
    pub(super) fn set_permissions(&mut self, mode: u16) {
        for (at, shift) in self.shown().into_iter().zip([6, 3, 0]) {
            self.0[at].permissions = mode >> shift & 7;
        }
    }

    /// The list of a new file that is made with `mode` below this default one.
    pub(super) fn inherited(&self, mode: u16) -> Self {
        let mut own = self.clone();
        own.set_permissions(mode & self.permissions());
        own
    }

    /// Which entries the mode shows: in place of the group the mask, if there is one.
    fn shown(&self) -> [usize; 3] {
        let find = |tag: u16| self.0.iter().position(|entry| entry.tag == tag);
        let group = find(MASK).or(find(GROUP));
        [find(OWNER), group, find(OTHER)].map(|at| at.expect("a sound list"))
    }
}
