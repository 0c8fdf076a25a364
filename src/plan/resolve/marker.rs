//! `/etc/cardpress-release`: what the image is, so that a card tells it without the folder it came from.
//!
//! ```text
//! # Pressed by cardpress; `cardpress inspect` tells it.
//! CARDPRESS_NODE="worker1"
//! CARDPRESS_CLUSTER="swarm"
//! CARDPRESS_BASE="raspios-lite-arm64"
//! CARDPRESS_BASE_DIGEST="9f0c…"
//! ```
//!
//! Named and written as os-release(5) is, so that a shell can read it; the prefix keeps the words of those who read every
//! `/etc/*-release` apart. What is left out on purpose, because the bytes of an image are a function of what it is to be:
//!
//! - The version of cardpress: with it every release would change every image, and nobody could see that nothing else
//!   did. `manifest.json`, which lies beside the images, has it.
//! - SHA-256 of the base's archive: it is known or not by the way that the base was got. The digest of what is in the
//!   archive always is, and is the one in the manifest.
//! - A digest of the profile: a comment in it would change every node.

use serde::Serialize;

use super::Context;
use super::draft::Draft;
use crate::base::Sha256Digest;
use crate::plan::{Cluster, Content, ImageSource, Owner};

/// Where it is.
const PATH: &str = "/etc/cardpress-release";
/// What is longer was not written here.
const LIMIT_BYTES: usize = 4096;
/// Of one value; names of files have 255 bytes at most.
const VALUE_CHARS_MAX: usize = 255;

const NODE: &str = "CARDPRESS_NODE";
const CLUSTER: &str = "CARDPRESS_CLUSTER";
const BASE: &str = "CARDPRESS_BASE";
const BASE_DIGEST: &str = "CARDPRESS_BASE_DIGEST";

/// What an image says of itself. One that was read is believed nothing: values are of bounded length and without
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marker {
    /// The node.
    pub node: String,
    /// Its cluster; `None` for a machine of its own.
    pub cluster: Option<String>,
    /// What the profile calls the base image: a name of the catalogue or of a file, without folder or address.
    pub base: Option<String>,
    /// The digest of the raw base image: see [`crate::base::ChunkDigests::root`].
    pub base_digest: Option<String>,
}

impl Marker {
    /// Where it is.
    pub const PATH: &'static str = PATH;
    /// How much of the file is enough to tell whether it is one.
    pub const HEAD_LEN: usize = LIMIT_BYTES + 1;

    /// Reads what may be anything; `None` when it names no node.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LIMIT_BYTES {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let value = |key: &str| {
            let quoted = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(unquoted(quoted)).filter(|value| !value.is_empty())
        };
        Some(Self {
            node: value(NODE)?,
            cluster: value(CLUSTER),
            base: value(BASE),
            base_digest: value(BASE_DIGEST).filter(|digest| digest.parse::<Sha256Digest>().is_ok()),
        })
    }

    fn to_text(&self) -> String {
        let values = [
            (NODE, Some(&self.node)),
            (CLUSTER, self.cluster.as_ref()),
            (BASE, self.base.as_ref()),
            (BASE_DIGEST, self.base_digest.as_ref()),
        ];
        let lines = values.into_iter().filter_map(|(key, value)| Some(format!("{key}={}\n", quoted(value?))));
        format!("# Pressed by cardpress; `cardpress inspect` tells it.\n{}", lines.collect::<String>())
    }
}

/// The marker of this node in place of what is there, whatever that is. An image that is changed where it is has no
/// base but the one that its own marker names.
pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let before = draft.bytes(PATH);
    let (base, base_digest) = match context.facts.digest {
        Some(digest) => (base_name(&context.cluster.image.source), Some(digest.to_string())),
        None => {
            let before = before.as_deref().and_then(Marker::parse);
            before.map_or((None, None), |before| (before.base, before.base_digest))
        }
    };
    let marker =
        Marker { node: context.node.name.clone(), cluster: cluster_name(context.cluster), base, base_digest };
    if draft.exists(PATH) && (before.is_none() || draft.link_text(PATH).is_some()) {
        draft.remove(PATH);
    }
    draft.write_with(PATH, Content::text(marker.to_text()), Some(0o644), Some(Owner::ROOT));
}

/// One node alone in a cluster of its own name is what `cardpress customize` makes: no cluster to speak of.
fn cluster_name(cluster: &Cluster) -> Option<String> {
    match cluster.nodes.as_slice() {
        [only] if only.name == cluster.name => None,
        _ => Some(cluster.name.clone()),
    }
}

/// By the word of the profile, whatever file takes its place: the digest says what it was.
fn base_name(source: &ImageSource) -> Option<String> {
    let name = match source {
        ImageSource::Os(name) => name.clone(),
        ImageSource::Path(path) => path.file_name()?.to_string_lossy().into_owned(),
        // Passwords are in the host's part of an address, tokens behind the path.
        ImageSource::Url(url) => {
            let (_, path) = url.split_once("://")?.1.split_once('/')?;
            path.split(['?', '#']).next()?.rsplit('/').next()?.to_owned()
        }
    };
    Some(shown(&name)).filter(|name| !name.is_empty())
}

/// No longer than a value may be, and on one line.
fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(VALUE_CHARS_MAX).map(visible).collect()
}

/// In double quotes, where a shell knows four characters (os-release(5)).
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

fn unquoted(quoted: &str) -> String {
    let quoted = quoted.trim();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    let mut value = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        value.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    shown(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(node: &str, base: &str) -> Marker {
        let base_digest = Some("0f".repeat(32));
        Marker { node: node.to_owned(), cluster: None, base: Some(base.to_owned()), base_digest }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for base in ["raspios-lite-arm64", "a b.img", "$(reboot) `x` \"q\" \\", "ä=ö"] {
            let marker = marker("n1", base);
            assert_eq!(Marker::parse(marker.to_text().as_bytes()), Some(marker));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_what_was_written_and_runs_none_of_it() {
        let text = marker("n1", "$(echo no) `echo no` \"q\" \\ $HOME").to_text();
        let script = format!("{text}printf %s \"$CARDPRESS_BASE\"");
        let run = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), "$(echo no) `echo no` \"q\" \\ $HOME");
    }

    #[test]
    fn a_hostile_marker_is_bounded_and_steers_no_terminal() {
        let found =
            Marker::parse(b"CARDPRESS_NODE=\"a\x1b[2J\xff\"\nCARDPRESS_BASE_DIGEST=\"../../x\"\n").unwrap();
        assert_eq!((found.node.as_str(), found.base_digest), ("a\u{fffd}[2J\u{fffd}", None));
        let long = format!("CARDPRESS_NODE={}\n", "n".repeat(1000));
        assert_eq!(Marker::parse(long.as_bytes()).unwrap().node.len(), 255);
        let huge = format!("CARDPRESS_NODE=n\n{}", "#\n".repeat(4096));
        assert_eq!(Marker::parse(huge.as_bytes()), None);
        for empty in ["", "CARDPRESS_NODE=\"\"\n", "# CARDPRESS_NODE=n\n", "CARDPRESS_NODE\n"] {
            assert_eq!(Marker::parse(empty.as_bytes()), None, "{empty}");
        }
    }

    #[test]
    fn no_address_gives_its_secrets_to_the_image() {
        let url = |url: &str| base_name(&ImageSource::Url(url.to_owned()));
        assert_eq!(url("https://u:secret@h/a/b.img.xz?token=secret#s").as_deref(), Some("b.img.xz"));
        for nameless in ["https://u:secret@h", "https://u:secret@h/", "https://h/?x=/secret"] {
            assert_eq!(url(nameless), None, "{nameless}");
        }
    }
}
