//! The members of a tar archive, one after another, without trust: what is held in memory is one member's header and its
//! extensions, which are bounded.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::{BLOCK_LEN, XATTR};
use crate::base::Interrupted;
use crate::build::Error;
use crate::build::disk::{Timestamp, Xattr};

/// All extensions of one member. An inode and a block hold less of attributes, and a path has 4 KiB.
const EXTENSION_LEN_MAX: u64 = 1 << 20;
/// What may follow the end of an archive: the rest of a record, of whatever length that was.
const REST_LEN_MAX: u64 = 64 << 20;
/// The names of attributes that ext4 knows begin like this.
const KNOWN_XATTRS: [&str; 4] = ["user.", "trusted.", "security.", "system.posix_acl_"];

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// Its other name is a member's.
    HardLink(Vec<u8>),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// What is said of a member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timestamp,
    /// Of its content.
    pub(super) len_bytes: u64,
    pub(super) xattrs: Vec<Xattr>,
    /// Something that was said is kept back: attributes that ext4 does not know, or lists in the form of text.
    pub(super) is_partial: bool,
}

/// What extended headers say; the same for all members, or for the next.
#[derive(Clone, Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    len_bytes: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Timestamp>,
    xattrs: Vec<Xattr>,
    is_partial: bool,
}

/// An archive that is read.
pub(super) struct Reader<'r> {
    source: &'r mut dyn Read,
    /// Of the archive, so far.
    read_bytes: u64,
    /// Of the content of the last member, and what pads it.
    left: u64,
    padding: u64,
    globals: Extended,
}

impl<'r> Reader<'r> {
    pub(super) fn new(source: &'r mut dyn Read) -> Self {
        Self { source, read_bytes: 0, left: 0, padding: 0, globals: Extended::default() }
    }

    /// The next member; `None` behind the last. What was not read of the content of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Error> {
        self.skip(self.left)?;
        self.skip(self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut extended = self.globals.clone();
        let (mut extension_bytes, mut is_extended) = (0, false);
        loop {
            let at = self.read_bytes;
            let place = || format!("at byte {at}");
            let mut block = [0; BLOCK_LEN];
            match self.fill(&mut block)? {
                BLOCK_LEN => {}
                0 if at == 0 => return Err(bad(place(), "it is empty")),
                0 => return Err(bad(place(), "it ends without its end mark, a block of zeros")),
                len => return Err(bad(place(), format!("it ends after {len} of the 512 bytes of a header"))),
            }
            if block == [0; BLOCK_LEN] {
                if is_extended {
                    return Err(bad(
                        place(),
                        "found the end mark behind an extended header, wanted its member",
                    ));
                }
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header, &block).map_err(|reason| bad(place(), reason))?;
            let kind = header.entry_type();
            if !matches!(
                kind,
                EntryType::XHeader
                    | EntryType::XGlobalHeader
                    | EntryType::GNULongName
                    | EntryType::GNULongLink
            ) {
                if kind.as_byte() == b'V' {
                    // The label of an archive.
                    continue;
                }
                let name = extended.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
                let member = member(header, name, extended)?;
                self.left = member.len_bytes;
                self.padding = padding(member.len_bytes);
                return Ok(Some(member));
            }
            let len_bytes = header.entry_size().map_err(|error| bad(place(), error.to_string()))?;
            extension_bytes += len_bytes.min(EXTENSION_LEN_MAX + 1);
            if extension_bytes > EXTENSION_LEN_MAX {
                let reason =
                    format!("an extended header has {len_bytes} bytes, wanted at most {EXTENSION_LEN_MAX}");
                return Err(bad(place(), reason));
            }
            let mut value = vec![0; usize::try_from(len_bytes).unwrap_or(0)];
            if self.fill(&mut value)? < value.len() {
                return Err(bad(place(), "it ends in an extended header"));
            }
            self.skip(padding(len_bytes))?;
            match kind {
                EntryType::GNULongName => extended.path = Some(until_nul(&value).to_vec()),
                EntryType::GNULongLink => extended.link = Some(until_nul(&value).to_vec()),
                EntryType::XGlobalHeader => {
                    parse(&value, &mut self.globals).map_err(|reason| bad(place(), reason))?;
                    self.globals.check_global().map_err(|reason| bad(place(), reason))?;
                    extended = self.globals.clone();
                }
                _ => parse(&value, &mut extended).map_err(|reason| bad(place(), reason))?,
            }
            is_extended = kind != EntryType::XGlobalHeader;
        }
    }

    /// How much of the content of the last member is left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Reads what is behind the end: a packed archive is checked at its end only, and who writes to a pipe wants to get rid
    /// of what is left.
    fn end(&mut self) -> Result<(), Error> {
        let rest = io::copy(&mut self.source.take(REST_LEN_MAX + 1), &mut io::sink()).map_err(input)?;
        if rest > REST_LEN_MAX {
            return Err(bad(format!("at byte {}", self.read_bytes), "more than 64 MiB follow its end"));
        }
        Ok(())
    }

    fn skip(&mut self, len_bytes: u64) -> Result<(), Error> {
        let at = self.read_bytes;
        let skipped = io::copy(&mut self.source.take(len_bytes), &mut io::sink()).map_err(input)?;
        self.read_bytes += skipped;
        if skipped < len_bytes {
            let reason = format!("it ends after {skipped} of {len_bytes} bytes of a member's content");
            return Err(bad(format!("at byte {at}"), reason));
        }
        Ok(())
    }

    /// Fills `buf` as far as the archive goes.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(input(error)),
            }
        }
        self.read_bytes += filled as u64;
        Ok(filled)
    }
}

/// The content of the last member.
impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        let len = self.source.read(buf)?;
        self.left = self.left.saturating_sub(len as u64);
        self.read_bytes += len as u64;
        Ok(len)
    }
}

impl Extended {
    /// What everything in an archive can have in common.
    fn check_global(&mut self) -> Result<(), String> {
        self.xattrs.clear();
        match (&self.path, &self.link, self.len_bytes) {
            (None, None, None) => Ok(()),
            _ => Err("a global header gives all members one name or length".to_owned()),
        }
    }
}

fn input(error: io::Error) -> Error {
    match error.downcast::<Interrupted>() {
        Ok(interrupted) => Error::Interrupted(interrupted),
        Err(error) => Error::Input(error),
    }
}

fn bad(place: String, reason: impl Into<String>) -> Error {
    Error::BadArchive { place, reason: reason.into() }
}

/// What fills up the last block of so many bytes, which may be any number.
fn padding(len_bytes: u64) -> u64 {
    let block_len = BLOCK_LEN as u64;
    (block_len - len_bytes % block_len) % block_len
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The sum of all bytes, those of the sum itself taken for spaces; some old programs summed signed bytes.
fn check_sum(header: &Header, block: &[u8; BLOCK_LEN]) -> Result<(), String> {
    let stored = header.cksum().map_err(|_| "found no header of a tar archive".to_owned())?;
    let field = 148..156;
    let bytes = || block.iter().enumerate().map(|(at, byte)| if field.contains(&at) { b' ' } else { *byte });
    let unsigned: u32 = bytes().map(u32::from).sum();
    let signed: i32 = bytes().map(|byte| i32::from(byte.cast_signed())).sum();
    if stored == unsigned || i32::try_from(stored) == Ok(signed) {
        return Ok(());
    }
    Err(format!(
        "found a header with the sum {stored}, wanted {unsigned}: this is no tar archive, or a damaged one"
    ))
}

fn member(header: &Header, name: Vec<u8>, extended: Extended) -> Result<Member, Error> {
    let place = || format!("`{}`", name.escape_ascii());
    let number = |field: io::Result<u64>| field.map_err(|error| bad(place(), error.to_string()));
    let entry_type = header.entry_type();
    let link =
        extended.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
    let device = || {
        let field = |field: io::Result<Option<u32>>| {
            field.map_err(|error| bad(place(), error.to_string())).map(Option::unwrap_or_default)
        };
        Ok::<_, Error>((field(header.device_major())?, field(header.device_minor())?))
    };
    let kind = match entry_type {
        // Before POSIX a directory was a file with such a name.
        EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::HardLink(link),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => device().map(|(major, minor)| Kind::CharacterDevice { major, minor })?,
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
        EntryType::GNUSparse => {
            return Err(bad(place(), "it is stored as a sparse file: make the archive without --sparse"));
        }
        other => {
            let reason =
                format!("found a member of the type `{}`, which is not read", other.as_byte().escape_ascii());
            return Err(bad(place(), reason));
        }
    };
    let len_bytes = match (extended.len_bytes, &kind) {
        // The length of the file, which is not here.
        (_, Kind::HardLink(_) | Kind::Symlink(_)) => 0,
        (Some(len_bytes), _) => len_bytes,
        (None, _) => number(header.entry_size())?,
    };
    let id = |extended: Option<u64>, field: fn(&Header) -> io::Result<u64>| {
        let id = extended.map_or_else(|| number(field(header)), Ok)?;
        // u32::MAX means "none" to chown(2).
        let fits = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        fits.ok_or_else(|| bad(place(), format!("found the owner {id}, wanted less than {}", u32::MAX)))
    };
    let uid = id(extended.uid, Header::uid)?;
    let gid = id(extended.gid, Header::gid)?;
    let modified = match extended.modified {
        Some(modified) => modified,
        // Before 1970 in the two's complement.
        None => Timestamp { seconds: number(header.mtime())?.cast_signed(), nanoseconds: 0 },
    };
    let mode = header.mode().map_err(|error| bad(place(), error.to_string()))? & 0o7777;
    let mode = u16::try_from(mode).unwrap_or(0);
    let (xattrs, is_partial) = (extended.xattrs, extended.is_partial);
    Ok(Member { kind, mode, uid, gid, modified, len_bytes, xattrs, is_partial, name })
}

/// Reads the records of an extended header: `LENGTH KEY=VALUE` and a line break.
fn parse(mut bytes: &[u8], extended: &mut Extended) -> Result<(), String> {
    while !bytes.is_empty() {
        let malformed = || {
            let head = bytes.get(..bytes.len().min(32)).unwrap_or_default();
            format!("found the record `{}`, wanted LENGTH KEY=VALUE", head.escape_ascii())
        };
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let len: usize =
            text(bytes.get(..space).unwrap_or_default()).and_then(digits).ok_or_else(malformed)?;
        let record = bytes.get(space + 1..len).and_then(|record| record.strip_suffix(b"\n"));
        let record = record.ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        take(key, value, extended)?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

fn take(key: &[u8], value: &[u8], extended: &mut Extended) -> Result<(), String> {
    let wanted = |what: &str| {
        let value = value.get(..value.len().min(64)).unwrap_or_default();
        format!("found `{}={}`, wanted {what}", key.escape_ascii(), value.escape_ascii())
    };
    let number = || text(value).and_then(digits).map(|number: u64| number);
    if let Some(name) = key.strip_prefix(XATTR.as_bytes()) {
        let name = unescaped(name);
        if !KNOWN_XATTRS.iter().any(|known| name.starts_with(known.as_bytes())) {
            extended.is_partial = true;
            return Ok(());
        }
        extended.xattrs.retain(|xattr| xattr.name != name);
        extended.xattrs.push(Xattr { name, value: value.to_vec() });
        return Ok(());
    }
    match key {
        _ if key.starts_with(b"GNU.sparse.") => {
            return Err("a member is stored as a sparse file: make the archive without --sparse".to_owned());
        }
        _ if key.starts_with(b"SCHILY.acl.") => extended.is_partial = true,
        // Empty: what the header says holds again.
        b"path" => extended.path = Some(value.to_vec()).filter(|path| !path.is_empty()),
        b"linkpath" => extended.link = Some(value.to_vec()).filter(|link| !link.is_empty()),
        b"size" => extended.len_bytes = Some(number().ok_or_else(|| wanted("a number of bytes"))?),
        b"uid" => extended.uid = Some(number().ok_or_else(|| wanted("a number"))?),
        b"gid" => extended.gid = Some(number().ok_or_else(|| wanted("a number"))?),
        b"mtime" => {
            let time = text(value).and_then(moment);
            extended.modified = Some(time.ok_or_else(|| wanted("seconds since 1970"))?);
        }
        _ => {}
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A number without a sign.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `-1.25`; what is smaller than a nanosecond is cut.
fn moment(text: &str) -> Option<Timestamp> {
    let (sign, number) = text.strip_prefix('-').map_or((1, text), |number| (-1, number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = digits(whole)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = digits(&format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)))?;
    if sign < 0 && nanoseconds > 0 {
        // A timestamp counts on from the second before.
        return Some(Timestamp { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Timestamp { seconds: sign * whole, nanoseconds })
}

/// A name in which `%3D` and `%25` stand for what GNU tar escapes.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest.get(..3) {
            Some(b"%3D") => (b'=', &rest[3..]),
            Some(b"%25") => (b'%', &rest[3..]),
            _ => (*first, after),
        };
        text.push(byte);
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests;
