//! One member of an archive as the bytes before its content: a `ustar` header, and before it a pax header with what does
//! not fit that.

use tar::{EntryType, Header};

use super::{BLOCK_LEN, XATTR};
use crate::build::disk::{Timestamp, Xattr};

/// What seven octal digits hold, and eleven.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// What is said of a member.
#[derive(Clone, Debug)]
pub(super) struct Member<'m> {
    pub(super) name: &'m [u8],
    pub(super) kind: EntryType,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timestamp,
    pub(super) len_bytes: u64,
    /// Where a link leads; empty for anything else.
    pub(super) link: &'m [u8],
    pub(super) device: Option<(u32, u32)>,
    pub(super) xattrs: &'m [Xattr],
}

impl Member<'_> {
    /// The blocks before its content.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let records = self.records();
        if !records.is_empty() {
            let base = self.name.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or(b".");
            let name = [b"PaxHeaders/", base].concat();
            let mut header = Header::new_ustar();
            put_name(&mut header, &name);
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(records.len() as u64);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
        }
        bytes.extend_from_slice(self.header().as_bytes());
        bytes
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        put_name(&mut header, self.name);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode.into());
        header.set_uid(u64::from(self.uid).min(OCTAL_7));
        header.set_gid(u64::from(self.gid).min(OCTAL_7));
        header.set_mtime(u64::try_from(self.modified.seconds).unwrap_or(0).min(OCTAL_11));
        header.set_size(self.len_bytes.min(OCTAL_11));
        if let Some(ustar) = header.as_ustar_mut() {
            fill(&mut ustar.linkname, self.link);
            let (major, minor) = self.device.unwrap_or_default();
            ustar.set_device_major(major);
            ustar.set_device_minor(minor);
        }
        header.set_cksum();
        header
    }

    /// The records of what the header cannot hold.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.name.len() > 100 {
            push(&mut records, b"path", self.name);
        }
        if self.link.len() > 100 {
            push(&mut records, b"linkpath", self.link);
        }
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if u64::from(id) > OCTAL_7 {
                push(&mut records, key.as_bytes(), id.to_string().as_bytes());
            }
        }
        if self.len_bytes > OCTAL_11 {
            push(&mut records, b"size", self.len_bytes.to_string().as_bytes());
        }
        let fits = u64::try_from(self.modified.seconds).is_ok_and(|seconds| seconds <= OCTAL_11);
        if !fits || self.modified.nanoseconds != 0 {
            push(&mut records, b"mtime", seconds(self.modified).as_bytes());
        }
        for Xattr { name, value } in self.xattrs {
            push(&mut records, &[XATTR.as_bytes(), &escaped(name)].concat(), value);
        }
        records
    }
}

/// `-1.500000000`, without zeros at the end.
fn seconds(time: Timestamp) -> String {
    let Timestamp { mut seconds, mut nanoseconds } = time;
    let sign = if seconds < 0 && nanoseconds > 0 {
        // A timestamp counts on from the second before.
        (seconds, nanoseconds) = (seconds + 1, 1_000_000_000 - nanoseconds);
        if seconds == 0 { "-" } else { "" }
    } else {
        ""
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A name with its `=`, which would end it, and its `%` escaped as GNU tar does.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in name {
        match byte {
            b'=' => text.extend_from_slice(b"%3D"),
            b'%' => text.extend_from_slice(b"%25"),
            byte => text.push(*byte),
        }
    }
    text
}

/// `LENGTH KEY=VALUE` and a line break, where the length counts itself.
fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(format!("{len} ").as_bytes());
    records.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}

/// A longer name is cut: a record has it whole.
fn put_name(header: &mut Header, name: &[u8]) {
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, name);
    }
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    for (place, byte) in field.iter_mut().zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for (value_len, digits) in [(0, 1), (2, 1), (3, 2), (90, 2), (91, 2), (92, 3), (990, 3), (991, 4)] {
            let mut records = Vec::new();
            push(&mut records, b"key", &vec![b'v'; value_len]);
            let text = String::from_utf8(records).unwrap();
            let (len, _) = text.split_once(' ').unwrap();
            assert_eq!((len.parse(), len.len()), (Ok(text.len()), digits), "{value_len}");
        }
    }

    #[test]
    fn times_before_1970_have_their_sign() {
        for (time, text) in [
            ((0, 0), "0"),
            ((1_700_000_000, 120_000_000), "1700000000.12"),
            ((100, 0), "100"),
            ((-1, 500_000_000), "-0.5"),
            ((-2, 750_000_000), "-1.25"),
            ((-2, 0), "-2"),
            ((20_000_000_000, 1), "20000000000.000000001"),
        ] {
            assert_eq!(seconds(Timestamp { seconds: time.0, nanoseconds: time.1 }), text);
        }
    }
}
