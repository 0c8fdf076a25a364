use super::super::write::Member as Written;
use super::*;

/// A header as GNU tar writes it, with the sum set.
fn header(kind: u8, name: &str, content: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::new(kind));
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.set_size(content.len() as u64);
    change(&mut header);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    header(b'0', name, content, |_| {})
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..6).map(|digits| rest + digits).find(|len| len.to_string().len() + rest == *len).unwrap();
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    header(b'x', "PaxHeaders/x", &records, |_| {})
}

fn with_end(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn read(mut bytes: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, Error> {
    let mut reader = Reader::new(&mut bytes);
    let mut members = Vec::new();
    while let Some(member) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        members.push((member, content));
    }
    Ok(members)
}

#[track_caller]
fn refused(bytes: &[u8], wanted: &str) {
    match read(bytes) {
        Err(error) => assert!(error.to_string().contains(wanted), "{error}"),
        Ok(members) => panic!("read {members:?}"),
    }
}

fn only(bytes: &[u8]) -> Member {
    let mut members = read(bytes).unwrap();
    assert_eq!(members.len(), 1, "{members:?}");
    members.remove(0).0
}

#[test]
fn members_follow_each_other_with_their_content() {
    let archive = with_end(&[file("a", b"one"), header(b'5', "d/", b"", |_| {}), file("d/b", &[7; 1025])]);
    let members = read(&archive).unwrap();
    let names: Vec<_> = members.iter().map(|(member, content)| (&member.name[..], content.len())).collect();
    assert_eq!(names, [(&b"a"[..], 3), (b"d/", 0), (b"d/b", 1025)]);
    let (first, _) = &members[0];
    assert_eq!((first.mode, first.uid, first.gid, first.modified.seconds), (0o644, 1, 2, 3));
    assert_eq!(members[1].0.kind, Kind::Directory);
    // Content that nobody wanted is passed over.
    let mut source = &archive[..];
    let mut reader = Reader::new(&mut source);
    assert_eq!((0..3).filter(|_| reader.next().unwrap().is_some()).count(), 3);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn an_extended_header_is_about_the_next_member_only() {
    let long = "n".repeat(300);
    let extended = pax(&[
        ("path", long.as_bytes()),
        ("mtime", b"-1.25"),
        ("uid", b"4000000000"),
        ("size", b"4"),
        ("comment", b"x"),
        ("SCHILY.xattr.user.a%3Db%25", b"line\nbreak\0"),
        ("SCHILY.xattr.com.apple.x", b"?"),
    ]);
    // The header says another length.
    let member = header(b'0', "short", b"12345", |_| {});
    let members = read(&with_end(&[extended, member, file("next", b"")])).unwrap();
    let (first, content) = &members[0];
    assert_eq!((&first.name[..], &content[..], first.uid), (long.as_bytes(), &b"1234"[..], 4_000_000_000));
    assert_eq!(first.modified, Timestamp { seconds: -2, nanoseconds: 750_000_000 });
    assert_eq!(first.xattrs, [Xattr { name: b"user.a=b%".to_vec(), value: b"line\nbreak\0".to_vec() }]);
    assert!(first.is_partial);
    let (next, _) = &members[1];
    assert!(next.name == b"next" && next.uid == 1 && next.xattrs.is_empty() && !next.is_partial);
}

#[test]
fn a_global_header_is_about_all_that_follow_and_names_none() {
    let global = |records: &[(&str, &[u8])]| {
        let mut bytes = pax(records);
        bytes[156] = b'g';
        let sum: u32 =
            bytes[..148].iter().chain(&bytes[156..512]).map(|byte| u32::from(*byte)).sum::<u32>() + 256;
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    let archive =
        with_end(&[global(&[("gid", b"70"), ("comment", b"of git")]), file("a", b""), file("b", b"")]);
    assert!(read(&archive).unwrap().iter().all(|(member, _)| member.gid == 70 && member.uid == 1));
    for key in ["path", "linkpath", "size"] {
        refused(&with_end(&[global(&[(key, b"1")]), file("a", b"")]), "global header");
    }
}

#[test]
fn names_longer_than_a_header_are_read_as_gnu_tar_writes_them() {
    let long = [&b"l"[..], &[b'n'; 200], b"\0"].concat();
    let archive = with_end(&[
        header(b'K', "././@LongLink", &[&long[..], b"k"].concat(), |_| {}),
        header(b'L', "././@LongLink", &long, |_| {}),
        header(b'2', "short", b"", |_| {}),
    ]);
    let member = only(&archive);
    assert_eq!((&member.name[..], member.kind), (&long[..201], Kind::Symlink(long[..201].to_vec())));
}

#[test]
fn what_is_written_is_read_again() {
    let name = "d/".repeat(200);
    let xattrs = [Xattr { name: b"security.capability".to_vec(), value: vec![0, 10, 61, 255] }];
    for (seconds, nanoseconds, uid, len_bytes) in
        [(0, 0, 0, 0), (1 << 34, 1, 3_000_000, 9 << 30), (-5, 999_999_999, u32::MAX - 1, 1)]
    {
        let modified = Timestamp { seconds, nanoseconds };
        let written = Written {
            name: name.as_bytes(),
            kind: EntryType::Regular,
            mode: 0o4755,
            uid,
            gid: uid,
            modified,
            len_bytes,
            link: b"",
            device: None,
            xattrs: &xattrs,
        };
        let bytes = written.to_bytes();
        let mut source = &bytes[..];
        let member = Reader::new(&mut source).next().unwrap().unwrap();
        assert_eq!((&member.name[..], member.mode, member.len_bytes), (name.as_bytes(), 0o4755, len_bytes));
        assert_eq!((member.uid, member.gid, member.modified), (uid, uid, modified));
        assert_eq!(member.xattrs, xattrs);
    }
    let device = Written {
        name: b"./tty",
        kind: EntryType::Char,
        mode: 0o600,
        uid: 0,
        gid: 5,
        modified: Timestamp::default(),
        len_bytes: 0,
        link: b"",
        device: Some((4095, 1_048_575)),
        xattrs: &[],
    };
    let member = only(&with_end(&[device.to_bytes()]));
    assert_eq!(member.kind, Kind::CharacterDevice { major: 4095, minor: 1_048_575 });
}

#[test]
fn what_is_no_archive_or_was_cut_off_is_refused() {
    refused(b"", "it is empty");
    refused(&b"text ".repeat(1000), "no header of a tar archive");
    let whole = with_end(&[file("a", &[1; 600])]);
    assert!(read(&whole).is_ok());
    refused(&whole[..300], "300 of the 512 bytes of a header");
    refused(&whole[..512 + 1024], "without its end mark");
    for cut in [513, 1100, 1535] {
        let mut source = &whole[..cut];
        let mut reader = Reader::new(&mut source);
        assert!(reader.next().unwrap().is_some());
        assert!(reader.next().is_err(), "{cut}");
    }
    let mut spoilt = whole;
    spoilt[0] = b'b';
    refused(&spoilt, "damaged");
}

#[test]
fn an_extended_header_of_a_gigabyte_is_refused_before_it_is_read() {
    let giant = header(b'x', "PaxHeaders/x", b"", |header| header.set_size(1 << 30));
    refused(&with_end(&[giant]), "has 1073741824 bytes, wanted at most 1048576");
    // Nor do many small ones add up to one.
    let one = header(b'L', "././@LongLink", &[b'n'; 300 << 10], |_| {});
    refused(&with_end(&[one.clone(), one.clone(), one.clone(), one, file("a", b"")]), "wanted at most");
}

#[test]
fn records_that_are_none_are_refused() {
    for records in [
        &b"7 a=b"[..],
        b"999999 a=b\n",
        b"99999999999999999999999 a=b\n",
        b"0 a=b\n",
        b"2 a=b\n",
        b"-6 a=b\n",
        b"6 a=b\nx",
        b"7 abcd\n",
        b"a=b\n",
        b" \n",
        b"\0",
        &[b'9'; 600],
    ] {
        let extended = header(b'x', "PaxHeaders/x", records, |_| {});
        refused(&with_end(&[extended, file("a", b"")]), "wanted LENGTH KEY=VALUE");
    }
    for (key, value) in
        [("size", &b"-1"[..]), ("uid", b"x"), ("mtime", b"now"), ("mtime", b"1.-5"), ("gid", b"")]
    {
        refused(&with_end(&[pax(&[(key, value)]), file("a", b"")]), &format!("found `{key}="));
    }
    refused(&with_end(&[pax(&[("uid", b"4294967295")]), file("a", b"")]), "the owner 4294967295");
    refused(&with_end(&[pax(&[("path", b"x")])]), "wanted its member");
}

#[test]
fn kinds_of_members_that_are_not_read_are_named() {
    refused(&with_end(&[header(b'M', "a", b"", |_| {})]), "type `M`");
    refused(&with_end(&[header(b'S', "a", b"", |_| {})]), "without --sparse");
    refused(&with_end(&[pax(&[("GNU.sparse.major", b"1")]), file("a", b"")]), "without --sparse");
    // The label of an archive, and a directory from before POSIX.
    let member = only(&with_end(&[header(b'V', "label", b"", |_| {}), file("d/", b"")]));
    assert_eq!(member.kind, Kind::Directory);
}

#[test]
fn a_length_beyond_all_archives_is_refused_and_overflows_nothing() {
    for size in [u64::MAX.to_string(), (u64::MAX - 511).to_string(), i64::MAX.to_string()] {
        let bytes = with_end(&[pax(&[("size", size.as_bytes())]), file("a", b"abc")]);
        refused(&bytes, "of a member's content");
    }
}
