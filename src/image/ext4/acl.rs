//! POSIX access control lists: the short form on disk, the long form of system calls, and what they mean for a mode.
//!
//! ```text
//! on disk       version 1 (u32), then for each entry: tag, permissions (u16 each), and for a named user or group its id (u32)
//! system call   version 2 (u32), then for each entry: tag, permissions (u16 each), id (u32, all ones where there is none)
//! ```
//!
//! The rules are those of Linux `fs/posix_acl.c`; the forms `fs/ext4/acl.h` and `include/uapi/linux/posix_acl_xattr.h`.

use super::bytes::{u16_at, u32_at};

const DISK_VERSION: u32 = 1;
const CALL_VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// Whose permissions an entry tells, by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Owner,
    User(u32),
    Group,
    NamedGroup(u32),
    Mask,
    Other,
}

impl Whose {
    fn tag(self) -> u16 {
        match self {
            Self::Owner => 0x01,
            Self::User(_) => 0x02,
            Self::Group => 0x04,
            Self::NamedGroup(_) => 0x08,
            Self::Mask => 0x10,
            Self::Other => 0x20,
        }
    }

    fn id(self) -> Option<u32> {
        match self {
            Self::User(id) | Self::NamedGroup(id) => Some(id),
            _ => None,
        }
    }

    fn from_tag(tag: u16, id: u32) -> Option<Self> {
        Some(match tag {
            0x01 => Self::Owner,
            0x02 => Self::User(id),
            0x04 => Self::Group,
            0x08 => Self::NamedGroup(id),
            0x10 => Self::Mask,
            0x20 => Self::Other,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    whose: Whose,
    /// Read 4, write 2, execute 1.
    permissions: u16,
}

/// A list that is as it must be: entries in the order of their tags, owner, group and other once each, at most one
/// mask, which there is where users or groups are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

impl Acl {
    /// The list from its form on disk; `Err` says what is wrong.
    pub(super) fn from_disk(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < 4 || u32_at(bytes, 0) != DISK_VERSION {
            return Err("it is not of version 1");
        }
        let mut entries = Vec::new();
        let mut at = 4;
        while at < bytes.len() {
            let tag = u16_at(bytes, at);
            let whose = Whose::from_tag(tag, u32_at(bytes, at + 4)).ok_or("an entry has an unknown tag")?;
            let len = if whose.id().is_some() { 8 } else { 4 };
            if at + len > bytes.len() {
                return Err("its last entry is cut off");
            }
            entries.push(Entry { whose, permissions: u16_at(bytes, at + 2) });
            at += len;
        }
        Self::checked(entries)
    }

    /// The list from its form in system calls; `None` when it has no entries, which means none at all.
    pub(super) fn from_call(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        if bytes.len() < 4 || u32_at(bytes, 0) != CALL_VERSION {
            return Err("it is not of version 2");
        }
        let (entries, rest) = bytes[4..].as_chunks::<8>();
        if !rest.is_empty() {
            return Err("its last entry is cut off");
        }
        let entries: Option<Vec<Entry>> = entries
            .iter()
            .map(|entry| {
                let whose = Whose::from_tag(u16_at(entry, 0), u32_at(entry, 4))?;
                Some(Entry { whose, permissions: u16_at(entry, 2) })
            })
            .collect();
        let entries = entries.ok_or("an entry has an unknown tag")?;
        if entries.is_empty() { Ok(None) } else { Self::checked(entries).map(Some) }
    }

    fn checked(entries: Vec<Entry>) -> Result<Self, &'static str> {
        let tags: Vec<u16> = entries.iter().map(|entry| entry.whose.tag()).collect();
        let count = |tag: u16| tags.iter().filter(|found| **found == tag).count();
        let is_named = entries.iter().any(|entry| entry.whose.id().is_some());
        if entries.iter().any(|entry| entry.permissions > 7) {
            Err("an entry has unknown permissions")
        } else if entries.iter().any(|entry| entry.whose.id() == Some(NO_ID)) {
            Err("an entry names nobody")
        } else if !tags.is_sorted() {
            Err("its entries are out of order")
        } else if [0x01, 0x04, 0x20].iter().any(|tag| count(*tag) != 1) {
            Err("owner, group and other are not there once each")
        } else if count(0x10) > 1 || (is_named && count(0x10) == 0) {
            Err("it has no mask, or several")
        } else {
            Ok(Self(entries))
        }
    }

    pub(super) fn to_disk(&self) -> Vec<u8> {
        let mut bytes = DISK_VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.whose.tag().to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.whose.id().iter().flat_map(|id| id.to_le_bytes()));
        }
        bytes
    }

    pub(super) fn to_call(&self) -> Vec<u8> {
        let mut bytes = CALL_VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.whose.tag().to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.whose.id().unwrap_or(NO_ID).to_le_bytes());
        }
        bytes
    }

    /// Says no more than a mode could.
    pub(super) fn is_mode(&self) -> bool {
        self.0.iter().all(|entry| matches!(entry.whose, Whose::Owner | Whose::Group | Whose::Other))
    }

    /// The 9 permission bits that go with the list; those of the group are the mask where there is one.
    pub(super) fn permissions(&self) -> u16 {
        let masked = self.0.iter().any(|entry| entry.whose == Whose::Mask);
        self.0.iter().fold(0, |mode, entry| match shift(entry.whose, masked) {
            Some(shift) => mode | (entry.permissions & 7) << shift,
            None => mode,
        })
    }

    /// Gives the list the 9 permission bits of `mode`, as chmod does.
    pub(super) fn set_permissions(&mut self, mode: u16) {
        self.change(|_, shift| mode >> shift & 7);
    }

    /// Makes a directory's default list that of a new file which was asked for with `mode`: neither allows more than
    /// the other. The mode that goes with it is [`Self::permissions`].
    pub(super) fn restrict(&mut self, mode: u16) {
        self.change(|permissions, shift| permissions & mode >> shift & 7);
    }

    fn change(&mut self, new: impl Fn(u16, u16) -> u16) {
        let masked = self.0.iter().any(|entry| entry.whose == Whose::Mask);
        for entry in &mut self.0 {
            if let Some(shift) = shift(entry.whose, masked) {
                entry.permissions = new(entry.permissions, shift);
            }
        }
    }
}

/// Where in a mode the permissions of an entry stand; `None` when they do not.
fn shift(whose: Whose, masked: bool) -> Option<u16> {
    match whose {
        Whose::Owner => Some(6),
        Whose::Mask => Some(3),
        Whose::Group if !masked => Some(3),
        Whose::Other => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// user::rwx, user:1000:rw-, group::r-x, mask::rwx, other::r--
    fn named() -> Acl {
        let entries = [
            (Whose::Owner, 7),
            (Whose::User(1000), 6),
            (Whose::Group, 5),
            (Whose::Mask, 7),
            (Whose::Other, 4),
        ];
        Acl(entries.map(|(whose, permissions)| Entry { whose, permissions }).to_vec())
    }

    #[test]
    fn both_forms_say_the_same() {
        let acl = named();
        assert_eq!(acl.to_disk().len(), 4 + 4 * 4 + 8);
        assert_eq!(Acl::from_disk(&acl.to_disk()), Ok(acl.clone()));
        assert_eq!(acl.to_call().len(), 4 + 5 * 8);
        assert_eq!(Acl::from_call(&acl.to_call()), Ok(Some(acl)));
        assert_eq!(Acl::from_call(&2_u32.to_le_bytes()), Ok(None));
    }

    #[test]
    fn a_list_that_is_not_as_it_must_be_is_told() {
        let spoilt = |work: fn(&mut Vec<Entry>)| {
            let mut acl = named();
            work(&mut acl.0);
            Acl::from_call(&acl.to_call()).unwrap_err()
        };
        assert!(spoilt(|entries| entries.retain(|entry| entry.whose != Whose::Mask)).contains("mask"));
        assert!(spoilt(|entries| entries.retain(|entry| entry.whose != Whose::Owner)).contains("owner"));
        assert!(spoilt(|entries| entries.swap(0, 1)).contains("order"));
        assert!(spoilt(|entries| entries[2].permissions = 8).contains("permissions"));
        assert!(spoilt(|entries| entries[1].whose = Whose::User(NO_ID)).contains("nobody"));
        assert!(Acl::from_call(&named().to_disk()).unwrap_err().contains("version 2"));
        assert!(Acl::from_disk(&named().to_call()).unwrap_err().contains("version 1"));
        assert!(Acl::from_disk(&named().to_disk()[..10]).is_err());
        assert!(Acl::from_call(&named().to_call()[..10]).is_err());
    }

    #[test]
    fn the_mask_stands_for_the_group_in_a_mode() {
        let mut acl = named();
        assert_eq!((acl.permissions(), acl.is_mode()), (0o774, false));
        acl.set_permissions(0o640);
        assert_eq!(acl.permissions(), 0o640);
        assert_eq!(acl.0[2].permissions, 5, "the owning group keeps its own");

        let mut plain = named();
        plain.0.retain(|entry| entry.whose.id().is_none() && entry.whose != Whose::Mask);
        assert_eq!((plain.permissions(), plain.is_mode()), (0o754, true));
        plain.restrict(0o666);
        assert_eq!(plain.permissions(), 0o644);
    }
}
