//! The commands, and what their words mean. Nothing of the image or the host is looked at.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::base::{ByteLen, ImagePath};
use crate::build::disk::{FileKind, Kind, Timestamp};

use super::find::{Glob, Tests};
use super::trees::SumForm;

/// One command. Of an archive without a file of the host `local` is `None`: a standard stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Ls { long: bool, recursive: bool, json: bool, path: ImagePath },
    Cat { path: ImagePath },
    Get { path: ImagePath, local: PathBuf },
    Put { local: PathBuf, path: ImagePath },
    Append { local: PathBuf, path: ImagePath },
    WriteAt { offset: ByteLen, local: PathBuf, path: ImagePath },
    Truncate { len: ByteLen, path: ImagePath },
    Mkdir { parents: bool, path: ImagePath },
    Rm { recursive: bool, path: ImagePath },
    Mv { from: ImagePath, to: ImagePath },
    HardLink { existing: ImagePath, path: ImagePath },
    Symlink { target: String, path: ImagePath },
    Chmod { recursive: bool, mode: u16, path: ImagePath },
    Chown { recursive: bool, uid: u32, gid: u32, path: ImagePath },
    Touch { time: Option<Timestamp>, path: ImagePath },
    Stat { json: bool, path: ImagePath },
    Find { path: ImagePath, tests: Tests },
    Du { form: SumForm, path: ImagePath },
    TarOut { path: ImagePath, local: Option<PathBuf> },
    TarIn { local: Option<PathBuf>, path: ImagePath },
    XattrGet { path: ImagePath, name: String },
    XattrSet { path: ImagePath, name: String, value: Vec<u8> },
    XattrRm { path: ImagePath, name: String },
    Df { json: bool },
    Grow { len: ByteLen },
    SetUuid { uuid: String },
    SetLabel { label: String },
    Mkfs { kind: Kind },
}

/// Every command with its words, as `--help` shows them.
const USAGES: [(&str, &str); 27] = [
    ("ls", "ls [-l] [-R] PATH"),
    ("cat", "cat PATH"),
    ("get", "get PATH LOCAL"),
    ("put", "put LOCAL PATH"),
    ("append", "append LOCAL PATH"),
    ("write-at", "write-at OFFSET LOCAL PATH"),
    ("truncate", "truncate SIZE PATH"),
    ("mkdir", "mkdir [-p] PATH"),
    ("rm", "rm [-r] PATH"),
    ("mv", "mv OLD NEW"),
    ("ln", "ln [-s] TARGET PATH"),
    ("chmod", "chmod [-R] OCTAL PATH"),
    ("chown", "chown [-R] UID:GID PATH"),
    ("touch", "touch [-d @SECONDS] PATH"),
    ("stat", "stat [--json] PATH"),
    ("find", "find PATH [-name GLOB] [-type f|d|l|b|c|p|s] [-newer PATH] [-maxdepth N] [-print0] [--json]"),
    ("du", "du [-s] [-h] [--json] PATH"),
    ("tar-out", "tar-out PATH [LOCAL]"),
    ("tar-in", "tar-in [LOCAL] PATH"),
    ("xattr", "xattr get|set|rm PATH NAME [VALUE]"),
    ("df", "df [-h] [--json]"),
    ("grow", "grow SIZE"),
    ("set-uuid", "set-uuid UUID"),
    ("set-label", "set-label TEXT"),
    ("mkfs", "mkfs ext4|fat32"),
    ("xattr set", "xattr set PATH NAME VALUE"),
    ("xattr get", "xattr get|rm PATH NAME"),
];

fn usage(name: &str) -> &'static str {
    USAGES.iter().find(|(known, _)| *known == name).map_or("", |(_, usage)| *usage)
}

impl Command {
    /// Does it change the image?
    pub(super) fn is_edit(&self) -> bool {
        !matches!(
            self,
            Self::Ls { .. }
                | Self::Cat { .. }
                | Self::Get { .. }
                | Self::Stat { .. }
                | Self::Find { .. }
                | Self::Du { .. }
                | Self::TarOut { .. }
                | Self::XattrGet { .. }
                | Self::Df { .. }
        )
    }

    /// Does it read standard input?
    pub(super) fn reads_input(&self) -> bool {
        matches!(self, Self::TarIn { local: None, .. })
    }

    /// The command that `words` are.
    pub(super) fn parse(words: &[OsString]) -> Result<Self, String> {
        let (name, rest) = words.split_first().ok_or("no command")?;
        let name = name.to_str().unwrap_or_default();
        let mut words = Words::new(name, rest);
        let command = match name {
            "ls" => {
                let [long, recursive, json] = words.flags(["-l", "-R", "--json"])?;
                let [path] = words.operands()?;
                Self::Ls { long, recursive, json, path: image(path)? }
            }
            "cat" => {
                let [path] = words.plain()?;
                Self::Cat { path: image(path)? }
            }
            "get" => {
                let [path, local] = words.plain()?;
                Self::Get { path: image(path)?, local: local.into() }
            }
            "put" => {
                let [local, path] = words.plain()?;
                Self::Put { local: local.into(), path: image(path)? }
            }
            "append" => {
                let [local, path] = words.plain()?;
                Self::Append { local: local.into(), path: image(path)? }
            }
            "write-at" => {
                let [offset, local, path] = words.plain()?;
                Self::WriteAt { offset: size(offset)?, local: local.into(), path: image(path)? }
            }
            "truncate" => {
                let [len, path] = words.plain()?;
                Self::Truncate { len: size(len)?, path: image(path)? }
            }
            "mkdir" => {
                let [parents] = words.flags(["-p"])?;
                let [path] = words.operands()?;
                Self::Mkdir { parents, path: image(path)? }
            }
            "rm" => {
                let [recursive] = words.flags(["-r"])?;
                let [path] = words.operands()?;
                Self::Rm { recursive, path: image(path)? }
            }
            "mv" => {
                let [from, to] = words.plain()?;
                Self::Mv { from: image(from)?, to: image(to)? }
            }
            "ln" => {
                let [symbolic] = words.flags(["-s"])?;
                let [target, path] = words.operands()?;
                let path = image(path)?;
                if symbolic {
                    Self::Symlink { target: text(target)?.to_owned(), path }
                } else {
                    Self::HardLink { existing: image(target)?, path }
                }
            }
            "chmod" => {
                let [recursive] = words.flags(["-R"])?;
                let [mode, path] = words.operands()?;
                Self::Chmod { recursive, mode: octal(text(mode)?)?, path: image(path)? }
            }
            "chown" => {
                let [recursive] = words.flags(["-R"])?;
                let [owner, path] = words.operands()?;
                let (uid, gid) = owners(text(owner)?)?;
                Self::Chown { recursive, uid, gid, path: image(path)? }
            }
            "touch" => {
                let time = words.value("-d")?.map(moment).transpose()?;
                let [path] = words.operands()?;
                Self::Touch { time, path: image(path)? }
            }
            "stat" => {
                let [json] = words.flags(["--json"])?;
                let [path] = words.operands()?;
                Self::Stat { json, path: image(path)? }
            }
            "find" => words.find()?,
            "du" => {
                let [only_sum, human, json] = words.flags(["-s", "-h", "--json"])?;
                let [path] = words.operands()?;
                Self::Du { form: SumForm { only_sum, human, json }, path: image(path)? }
            }
            "tar-out" => {
                let [] = words.flags([])?;
                let (path, local) = match words.operands() {
                    Ok([path]) => (path, None),
                    Err(_) => words.operands().map(|[path, local]| (path, local_file(local)))?,
                };
                Self::TarOut { path: image(path)?, local }
            }
            "tar-in" => {
                let [] = words.flags([])?;
                let (local, path) = match words.operands() {
                    Ok([path]) => (None, path),
                    Err(_) => words.operands().map(|[local, path]| (local_file(local), path))?,
                };
                Self::TarIn { local, path: image(path)? }
            }
            "xattr" => words.xattr()?,
            "df" => {
                // Sizes are for people anyway.
                let [json, _] = words.flags(["--json", "-h"])?;
                let [] = words.operands()?;
                Self::Df { json }
            }
            "grow" => {
                let [len] = words.plain()?;
                Self::Grow { len: size(len)? }
            }
            "set-uuid" => {
                let [uuid] = words.plain()?;
                Self::SetUuid { uuid: text(uuid)?.to_owned() }
            }
            "set-label" => {
                let [label] = words.plain()?;
                Self::SetLabel { label: text(label)?.to_owned() }
            }
            "mkfs" => {
                let [kind] = words.plain()?;
                Self::Mkfs { kind: kind_of(text(kind)?)? }
            }
            _ => return Err(unknown(&words.name())),
        };
        Ok(command)
    }
}

/// The words behind the name of a command.
struct Words<'w> {
    name: &'w str,
    left: &'w [OsString],
}

impl<'w> Words<'w> {
    fn new(name: &'w str, left: &'w [OsString]) -> Self {
        Self { name, left }
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }

    /// Which of the flags are there; single letters may be written together. The first word that is no flag, or the
    /// one behind `--`, is where operands begin.
    fn flags<const N: usize>(&mut self, known: [&str; N]) -> Result<[bool; N], String> {
        let mut found = [false; N];
        while let Some((word, rest)) = self.left.split_first() {
            let word = word.to_str().unwrap_or_default();
            if !word.starts_with('-') || word == "-" {
                break;
            }
            self.left = rest;
            if word == "--" {
                break;
            }
            let written: Vec<String> = match word.strip_prefix("--") {
                Some(_) => vec![word.to_owned()],
                None => word.chars().skip(1).map(|letter| format!("-{letter}")).collect(),
            };
            for flag in written {
                let Some(at) = known.iter().position(|known| *known == flag) else {
                    return Err(format!("`{}` has no option `{flag}`: {}", self.name, usage(self.name)));
                };
                found[at] = true;
            }
        }
        Ok(found)
    }

    /// The value of an option that has one.
    fn value(&mut self, flag: &str) -> Result<Option<&'w OsStr>, String> {
        let Some((word, rest)) = self.left.split_first() else { return Ok(None) };
        if word == flag {
            let (value, rest) =
                rest.split_first().ok_or_else(|| format!("`{flag}` needs a value: {}", usage(self.name)))?;
            self.left = rest;
            return self.flags([]).map(|[]| Some(value.as_os_str()));
        }
        self.flags([]).map(|[]| None)
    }

    /// Exactly as many words as there are names for them.
    fn operands<const N: usize>(&self) -> Result<[&'w OsStr; N], String> {
        let found: Vec<&OsStr> = self.left.iter().map(OsString::as_os_str).collect();
        let count = found.len();
        found.try_into().map_err(|_| format!("found {count} operands, wanted {N}: {}", usage(self.name)))
    }

    /// The operands of a command without options.
    fn plain<const N: usize>(&mut self) -> Result<[&'w OsStr; N], String> {
        // set-label and others may be given anything.
        if self.left.len() != N {
            let [] = self.flags([])?;
        }
        self.operands()
    }

    /// As find(1) has them: the path, and then the tests, all of which must hold.
    fn find(&mut self) -> Result<Command, String> {
        let mut paths = Vec::new();
        let mut tests = Tests::default();
        while let Some((word, rest)) = self.left.split_first() {
            self.left = rest;
            let mut value = |wanted: &str| {
                let (value, rest) = self
                    .left
                    .split_first()
                    .ok_or_else(|| format!("`{}` needs {wanted}: {}", word.display(), usage("find")))?;
                self.left = rest;
                Ok::<_, String>(value.as_os_str())
            };
            match word.to_str().unwrap_or_default() {
                "-name" => tests.names.push(Glob::new(text(value("a pattern")?)?)),
                "-type" => tests.kinds.push(kinds(text(value("a letter")?)?)?),
                "-newer" => tests.newer.push(image(value("a path of the image")?)?),
                "-maxdepth" => {
                    let number = text(value("a number")?)?;
                    let wanted = || format!("found `{number}`, wanted how many names deep to look");
                    tests.depth_max = Some(number.parse().map_err(|_| wanted())?);
                }
                "-print0" => tests.print0 = true,
                "--json" => tests.json = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("`find` has no option `{flag}`: {}", usage("find")));
                }
                _ => paths.push(word.as_os_str()),
            }
        }
        match paths[..] {
            [path] => Ok(Command::Find { path: image(path)?, tests }),
            _ => Err(format!("found {} operands, wanted 1: {}", paths.len(), usage("find"))),
        }
    }

    fn xattr(&mut self) -> Result<Command, String> {
        let (verb, rest) = self.left.split_first().ok_or_else(|| format!("wanted {}", usage("xattr")))?;
        self.left = rest;
        match verb.to_str() {
            Some("get") => {
                self.name = "xattr get";
                let [path, name] = self.operands()?;
                Ok(Command::XattrGet { path: image(path)?, name: text(name)?.to_owned() })
            }
            Some("set") => {
                self.name = "xattr set";
                let [path, name, value] = self.operands()?;
                let value = attribute_value(value)?;
                Ok(Command::XattrSet { path: image(path)?, name: text(name)?.to_owned(), value })
            }
            Some("rm") => {
                self.name = "xattr get";
                let [path, name] = self.operands()?;
                Ok(Command::XattrRm { path: image(path)?, name: text(name)?.to_owned() })
            }
            _ => Err(format!("found `{}`, wanted {}", verb.display(), usage("xattr"))),
        }
    }
}

fn unknown(name: &str) -> String {
    let known = USAGES.iter().map(|(known, _)| *known).filter(|known| !known.contains(' '));
    let nearest = known
        .map(|known| (strsim::osa_distance(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match nearest {
        Some((_, nearest)) => format!("`{name}` is no command; did you mean `{nearest}`?"),
        None => format!("`{name}` is no command; `cardpress fs --help` lists them"),
    }
}

fn text(word: &OsStr) -> Result<&str, String> {
    word.to_str().ok_or_else(|| format!("`{}` is not UTF-8", word.display()))
}

fn image(word: &OsStr) -> Result<ImagePath, String> {
    text(word)?.parse().map_err(|error: crate::base::ImagePathError| error.to_string())
}

/// A file of the host; `-` is none, but the standard stream.
fn local_file(word: &OsStr) -> Option<PathBuf> {
    (word != "-").then(|| word.into())
}

/// The letters of find(1), with commas between them.
fn kinds(text: &str) -> Result<Vec<FileKind>, String> {
    let kind = |letter: &str| match letter {
        "f" => Ok(FileKind::Regular),
        "d" => Ok(FileKind::Directory),
        "l" => Ok(FileKind::Symlink),
        "b" => Ok(FileKind::BlockDevice),
        "c" => Ok(FileKind::CharacterDevice),
        "p" => Ok(FileKind::Fifo),
        "s" => Ok(FileKind::Socket),
        _ => Err(format!("found `{text}`, wanted f, d, l, b, c, p or s, or several with commas")),
    };
    text.split(',').map(kind).collect()
}

fn size(word: &OsStr) -> Result<ByteLen, String> {
    text(word)?.parse().map_err(|error: crate::base::ByteLenError| error.to_string())
}

fn octal(text: &str) -> Result<u16, String> {
    let is_octal = (1..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u16::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o7777);
    mode.ok_or_else(|| format!("found `{text}`, wanted a mode in octal such as 0644"))
}

fn owners(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| -> Option<u32> {
        // u32::MAX means "none" to chown(2).
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())?
            .filter(|id| *id != u32::MAX)
    };
    text.split_once(':')
        .and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)))
        .ok_or_else(|| format!("found `{text}`, wanted two numbers such as 1000:1000"))
}

/// `@SECONDS`, with a fraction if need be.
fn moment(word: &OsStr) -> Result<Timestamp, String> {
    let written = text(word)?;
    let wanted = || format!("found `{written}`, wanted seconds since 1970 such as @1700000000");
    let number = written.strip_prefix('@').ok_or_else(wanted)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let nanoseconds: u32 =
        format!("{fraction:0<9}").parse().ok().filter(|_| is_fraction).ok_or_else(wanted)?;
    let seconds: i64 = whole.parse().map_err(|_| wanted())?;
    if whole.starts_with('-') && nanoseconds > 0 {
        // A timestamp counts on from the second before.
        return Ok(Timestamp { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Ok(Timestamp { seconds, nanoseconds })
}

fn kind_of(text: &str) -> Result<Kind, String> {
    match text {
        "ext4" => Ok(Kind::Ext4),
        "fat32" => Ok(Kind::Fat32),
        _ => Err(format!("found `{text}`, wanted ext4 or fat32")),
    }
}

/// The value of an attribute: text, or bytes in hexadecimal behind `0x`, as setfattr(1) takes them.
fn attribute_value(word: &OsStr) -> Result<Vec<u8>, String> {
    let text = text(word)?;
    let Some(digits) = text.strip_prefix("0x") else { return Ok(text.as_bytes().to_vec()) };
    let wanted = || format!("found `{text}`, wanted an even number of hexadecimal digits behind 0x");
    if !digits.is_ascii() || digits.len() % 2 != 0 {
        return Err(wanted());
    }
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(wanted)
}

#[cfg(test)]
mod tests;
