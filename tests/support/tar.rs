//! Tar archives that no honest program would write, byte by byte.

/// A member, as it will be written.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) link: String,
    pub(crate) content: Vec<u8>,
    /// What the header says, where that is a lie.
    pub(crate) len_bytes: Option<u64>,
}

impl Member {
    fn new(kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0o644,
            uid: 0,
            link: link.to_owned(),
            content: content.to_owned(),
            len_bytes: None,
        }
    }

    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        Self::new(b'0', name, "", content)
    }

    pub(crate) fn directory(name: &str) -> Self {
        Self { mode: 0o755, ..Self::new(b'5', name, "", b"") }
    }

    pub(crate) fn symlink(name: &str, target: &str) -> Self {
        Self::new(b'2', name, target, b"")
    }

    pub(crate) fn hard_link(name: &str, target: &str) -> Self {
        Self::new(b'1', name, target, b"")
    }

    pub(crate) fn fifo(name: &str) -> Self {
        Self::new(b'6', name, "", b"")
    }

    /// An extended header for the member behind it.
    pub(crate) fn pax(records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let len = (rest..).find(|len| rest + len.to_string().len() == *len).expect("a length");
            content.extend_from_slice(format!("{len} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        Self::new(b'x', "PaxHeaders/x", "", &content)
    }

    /// POSIX.1-2024, pax, "ustar Interchange Format".
    fn to_bytes(&self) -> Vec<u8> {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, b"0000000");
        let len_bytes = self.len_bytes.unwrap_or(self.content.len() as u64);
        if len_bytes < 1 << 33 {
            put(124, format!("{len_bytes:011o}").as_bytes());
        } else {
            // As GNU tar writes what is too long for digits.
            put(124, &[0x80]);
            put(128, &len_bytes.to_be_bytes());
        }
        put(136, b"14524760000");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// All of them, and the end mark.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::to_bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
