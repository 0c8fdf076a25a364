//! Extended attributes by name, and access control lists: what each means for the mode, and for what is made in a
//! directory that has a default one.

use super::acl::Acl;
use super::error::{Error, corrupt};
use super::inode::{FileKind, Inode};
use super::store::Store;
use super::{Filesystem, edit};
use crate::base::ImagePath;

/// The number of a prefix, and its text. The kernel knows more; nothing here would understand their values.
const PREFIXES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
/// Access control lists have numbers of their own and nothing behind the name.
const ACCESS: u8 = 2;
pub(super) const DEFAULT: u8 = 3;
const ACLS: [(u8, &[u8]); 2] = [(ACCESS, b"system.posix_acl_access"), (DEFAULT, b"system.posix_acl_default")];
pub(super) const USER: u8 = 1;
/// `XATTR_NAME_MAX`, prefix included.
const NAME_LIMIT: usize = 255;

/// An extended attribute, as getfattr and setfattr have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// With its prefix: `user.x`, `security.capability`, `system.posix_acl_access`.
    pub name: Vec<u8>,
    /// An access control list in the form of system calls (version 2); everything else as it is stored.
    pub value: Vec<u8>,
}

impl Filesystem<'_> {
    /// The extended attributes of what is at `path`, sorted by name; symlinks are followed. Those with a prefix other
    /// than `user.`, `trusted.`, `security.` are left out, access control lists are not.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a value lies in an inode of its own (`ea_inode`), or as for [`Self::stat`].
    pub fn xattrs(&self, path: &ImagePath) -> Result<Vec<Xattr>, Error> {
        listed(&self.store, &self.store.locate(path, true)?)
    }

    /// One extended attribute of what is at `path`; `None` when it does not have it. Symlinks are followed.
    ///
    /// # Errors
    /// [`Error::XattrName`], or as for [`Self::xattrs`].
    pub fn xattr(&self, path: &ImagePath, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let (index, rest) = split_name(name)?;
        let inode = self.store.locate(path, true)?;
        let value = self.store.attribute(&inode, index, rest)?;
        value.map(|value| to_call(index, value, &inode)).transpose()
    }

    /// Gives what is at `path` an extended attribute, in place of one of that name; symlinks are followed.
    ///
    /// As in the kernel, an access control list sets the mode, and one that says no more than a mode could is kept as
    /// the mode alone. One without entries is removed.
    ///
    /// # Errors
    /// [`Error::XattrName`]; [`Error::XattrRoom`] when the inode and one block have no room for it; [`Error::BadAcl`];
    /// [`Error::WrongKind`] for a `user.` attribute of what is neither file nor directory; [`Error::NotADirectory`]
    /// for a default access control list of a file; or as for [`Self::write_file`].
    pub fn set_xattr(&mut self, path: &ImagePath, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let (index, rest) = split_name(name)?;
        self.change_attributes(path, |fs, inode| {
            let kind = inode.kind()?;
            if index == USER && kind != FileKind::Directory {
                edit::check_regular(inode, path)?;
            }
            if index == DEFAULT && kind != FileKind::Directory {
                return Err(Error::NotADirectory { path: path.to_string() });
            }
            fs.store.put_value(inode, index, rest, value)
        })
    }

    /// Takes an extended attribute from what is at `path`; symlinks are followed. The mode stays.
    ///
    /// # Errors
    /// [`Error::XattrName`], [`Error::NoXattr`], or as for [`Self::write_file`].
    pub fn remove_xattr(&mut self, path: &ImagePath, name: &[u8]) -> Result<(), Error> {
        let (index, rest) = split_name(name)?;
        self.change_attributes(path, |fs, inode| match fs.store.set_attribute(inode, index, rest, None)? {
            Some(true) => Ok(()),
            _ => Err(Error::NoXattr { path: path.to_string(), name: printable(name) }),
        })
    }

    /// Sets the 12 permission bits of what is at `path`, and those of its access control list; symlinks are followed.
    /// A list that says no more than a mode could, as other writers leave it, goes.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as for [`Self::write_file`].
    pub fn set_mode(&mut self, path: &ImagePath, mode: u16) -> Result<(), Error> {
        self.change_attributes(path, |fs, inode| fs.store.change_mode(inode, mode))
    }

    /// Changes an inode with its attributes; one that is the same afterwards is not touched.
    fn change_attributes(
        &mut self,
        path: &ImagePath,
        change: impl FnOnce(&mut Self, &mut Inode) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.edit(|fs| {
            let before = fs.store.locate(path, true)?;
            fs.change_attributes_in(before, change)
        })
    }

    /// The same for an inode, as a part of an edit.
    pub(super) fn change_attributes_in(
        &mut self,
        before: Inode,
        change: impl FnOnce(&mut Self, &mut Inode) -> Result<(), Error>,
    ) -> Result<(), Error> {
        before.check_editable()?;
        let attributes = self.store.attributes(&before)?;
        let mut inode = before.clone();
        change(self, &mut inode)?;
        if inode != before || attributes != self.store.attributes(&inode)? {
            inode.set_changed(self.clock);
            self.store.put_inode(inode);
        }
        Ok(())
    }
}

/// The extended attributes of an inode, sorted by name.
pub(super) fn listed(store: &Store<'_>, inode: &Inode) -> Result<Vec<Xattr>, Error> {
    let mut xattrs = Vec::new();
    for attribute in store.attributes(inode)? {
        if let Some(name) = whole_name(attribute.index, &attribute.name) {
            let value = to_call(attribute.index, attribute.value, inode)?;
            xattrs.push(Xattr { name, value });
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

impl Store<'_> {
    /// What a new inode gets from the directory that it is made in: from a default access control list, as in the
    /// kernel, its own list and the mode that both allow; a directory the default list too.
    pub(super) fn inherit_acl(&mut self, inode: &mut Inode, directory: &Inode) -> Result<(), Error> {
        let kind = inode.kind()?;
        let Some(default) = self.acl(directory, DEFAULT)?.filter(|_| kind != FileKind::Symlink) else {
            return Ok(());
        };
        let mut own = default.clone();
        own.restrict(inode.mode());
        if kind == FileKind::Directory {
            self.put_attribute(inode, DEFAULT, b"", &default.to_disk())?;
        }
        self.set_acl(inode, ACCESS, Some(own))
    }

    /// Sets the 12 permission bits, and those of the access control list.
    pub(super) fn change_mode(&mut self, inode: &mut Inode, mode: u16) -> Result<(), Error> {
        inode.set_mode(mode);
        match self.acl(inode, ACCESS)? {
            Some(mut acl) => {
                acl.set_permissions(mode);
                self.set_acl(inode, ACCESS, Some(acl))
            }
            None => Ok(()),
        }
    }

    /// Gives an attribute a value in the form of system calls.
    pub(super) fn put_value(
        &mut self,
        inode: &mut Inode,
        index: u8,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        match index {
            ACCESS | DEFAULT => {
                let acl = Acl::from_call(value).map_err(|reason| Error::BadAcl { reason })?;
                self.set_acl(inode, index, acl)
            }
            _ => self.put_attribute(inode, index, name, value),
        }
    }

    /// A list of an inode, when it has one.
    fn acl(&self, inode: &Inode, index: u8) -> Result<Option<Acl>, Error> {
        let value = self.attribute(inode, index, b"")?;
        value.map(|value| Acl::from_disk(&value).map_err(|reason| bad_acl(inode, reason))).transpose()
    }

    fn set_acl(&mut self, inode: &mut Inode, index: u8, acl: Option<Acl>) -> Result<(), Error> {
        if let (ACCESS, Some(acl)) = (index, &acl) {
            inode.set_mode(inode.mode() & !0o777 | acl.permissions());
        }
        match acl.filter(|acl| index == DEFAULT || !acl.is_mode()) {
            Some(acl) => self.put_attribute(inode, index, b"", &acl.to_disk()),
            None => self.set_attribute(inode, index, b"", None).map(drop),
        }
    }

    /// Gives an attribute a value.
    fn put_attribute(
        &mut self,
        inode: &mut Inode,
        index: u8,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        if self.attribute(inode, index, name)?.is_some_and(|old| old == value) {
            return Ok(());
        }
        match self.set_attribute(inode, index, name, Some(value))? {
            Some(_) => Ok(()),
            None => {
                let name = printable(&whole_name(index, name).unwrap_or_default());
                Err(Error::XattrRoom { name, len_bytes: value.len(), block_len: self.block_len() })
            }
        }
    }
}

/// The name with its prefix; `None` when nobody knows that.
fn whole_name(index: u8, name: &[u8]) -> Option<Vec<u8>> {
    let acl = ACLS.iter().find(|(known, _)| *known == index && name.is_empty());
    let prefixed = PREFIXES.iter().find(|(known, _)| *known == index && !name.is_empty());
    let text = acl.or(prefixed)?.1;
    Some([text, name].concat())
}

/// The number of the prefix of `name`, and the rest.
pub(super) fn split_name(name: &[u8]) -> Result<(u8, &[u8]), Error> {
    if let Some((index, _)) = ACLS.iter().find(|(_, text)| *text == name) {
        return Ok((*index, b""));
    }
    let mut known = PREFIXES.iter().filter_map(|(index, text)| Some((*index, name.strip_prefix(*text)?)));
    let found = known.next().filter(|(_, rest)| !rest.is_empty() && !rest.contains(&0));
    found.filter(|_| name.len() <= NAME_LIMIT).ok_or_else(|| Error::XattrName { name: printable(name) })
}

fn to_call(index: u8, value: Vec<u8>, inode: &Inode) -> Result<Vec<u8>, Error> {
    match index {
        ACCESS | DEFAULT => match Acl::from_disk(&value) {
            Ok(acl) => Ok(acl.to_call()),
            Err(reason) => Err(bad_acl(inode, reason)),
        },
        _ => Ok(value),
    }
}

fn bad_acl(inode: &Inode, reason: &str) -> Error {
    corrupt(format!("access control list of inode {}: {reason}", inode.number))
}

fn printable(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_prefixes_that_are_known() {
        assert!(matches!(split_name(b"user.x"), Ok((1, b"x"))));
        assert!(matches!(split_name(b"security.capability"), Ok((6, b"capability"))));
        assert!(matches!(split_name(b"system.posix_acl_default"), Ok((3, b""))));
        let long = [b"user.", &[b'n'; 250][..]].concat();
        assert!(split_name(&long).is_ok());
        let longer = [&long[..], b"n"].concat();
        for name in
            [&b"user."[..], b"user", b"system.data", b"system.posix_acl_access.x", b"", b"user.a\0", &longer]
        {
            assert!(matches!(split_name(name), Err(Error::XattrName { .. })), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_number_that_stands_for_no_prefix_gives_no_name() {
        assert_eq!(whole_name(4, b"x").as_deref(), Some(&b"trusted.x"[..]));
        assert_eq!(whole_name(2, b"").as_deref(), Some(&b"system.posix_acl_access"[..]));
        for (index, name) in [(2, &b"x"[..]), (1, b""), (7, b"data"), (0, b"x")] {
            assert_eq!(whole_name(index, name), None);
        }
    }
}
