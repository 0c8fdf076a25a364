//! Why a node cannot be what the profile says, on this image.

use std::fmt;

use crate::base::ImagePathError;
use crate::plan::BadNeeds;
use crate::plan::profile::fold;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node `{node}`, {section}: {problem}")]
pub struct Fault {
    /// The node's name.
    pub node: String,
    /// The profile's word for what asked for it.
    pub section: &'static str,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong: what was found and what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A text that is no path inside an image.
    #[error("{0}")]
    Path(ImagePathError),
    /// A file that would have to be edited is not UTF-8.
    #[error("`{path}` of the image is no UTF-8 text, so it cannot be edited")]
    NotText {
        /// The file.
        path: String,
    },
    /// The image lacks what the profile counts on.
    #[error("the image has no {what} `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Missing {
        /// `unit`, `group`, `time zone`, …
        what: &'static str,
        /// Its name.
        name: String,
        /// The nearest that it has.
        nearest: Option<String>,
    },
    /// The image lacks a file that must be edited.
    #[error("the image has no `{path}`, which {needed_for} is written to")]
    NoFile {
        /// The file.
        path: String,
        /// What would be in it.
        needed_for: &'static str,
    },
    /// A static address or a Wi-Fi net, and nobody who would bring it up.
    #[error("the image brings up its network in no way known: found none of {looked_for}")]
    NoNetworkStack {
        /// What was looked for.
        looked_for: &'static str,
    },
    /// Another account, group or path is in the way.
    #[error("{what} `{name}` is taken: {by}")]
    Taken {
        /// `uid`, `group`, `home`, …
        what: &'static str,
        /// Its name or number.
        name: String,
        /// By whom.
        by: String,
    },
    /// No free number is left.
    #[error("no free {0} is left in the image")]
    NoneFree(&'static str),
    /// A value that the file it belongs into cannot hold.
    #[error("`{value}` cannot stand in {place}: {why}")]
    BadValue {
        /// The value, shortened and escaped; never a secret.
        value: String,
        /// The file or field.
        place: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A password hash that the image's C library does not know.
    #[error("password hash of kind `{kind}`: {release} knows only `$5$` and `$6$`")]
    HashKind {
        /// `$y$`, …
        kind: String,
        /// The release.
        release: String,
    },
    /// A secret would land where everybody can read it.
    #[error("`{path}` is on the boot partition, which has no owners: a secret would be open to everybody")]
    SecretOnBoot {
        /// Where.
        path: String,
    },
    /// `ssh-between-nodes` and nobody to log in as.
    #[error("ssh-between-nodes needs a user: none is set and the image has none with uid 1000")]
    NobodyToLogIn,
    /// A line is too long for the firmware.
    #[error("`{line}` has {len} characters, the firmware reads {max}")]
    LineTooLong {
        /// The beginning of the line.
        line: String,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `image.grow` is no length that the image can have.
    #[error(
        "the image has {image} bytes, image.grow is {wanted}: wanted as many or more, in whole sectors of 512"
    )]
    BadGrowth {
        /// How long the image is.
        image: u64,
        /// How long it was to be.
        wanted: u64,
    },
    /// A script of the first boot that could never run.
    #[error("{0}")]
    Needs(BadNeeds),
    /// What should not happen: key material that a library refuses.
    #[error("{what} cannot be made: {why}")]
    Derive {
        /// What.
        what: &'static str,
        /// The library's words.
        why: String,
    },
}

/// All faults of all nodes, in the order of the nodes. Says once what is the same for several of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(&Fault, Vec<&str>)> = Vec::new();
        for fault in &self.0 {
            let is_same = |known: &Fault| known.section == fault.section && known.problem == fault.problem;
            match groups.iter_mut().find(|(known, _)| is_same(known)) {
                // A unit that is asked for twice is missing once.
                Some((_, nodes)) if nodes.last() == Some(&fault.node.as_str()) => {}
                Some((_, nodes)) => nodes.push(&fault.node),
                None => groups.push((fault, vec![&fault.node])),
            }
        }
        for (index, (fault, nodes)) in groups.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match nodes.as_slice() {
                [_] => write!(f, "{separator}{fault}")?,
                nodes => {
                    let Fault { section, problem, .. } = fault;
                    write!(f, "{separator}nodes `{}`, {section}: {problem}", fold(nodes))?;
                }
            }
        }
        Ok(())
    }
}

/// The name in `names` that `name` was most likely meant to be.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let best = names.into_iter().min_by_key(|&other| (distance(other), other.to_owned()))?;
    (distance(best) <= name.len() / 3 + 1).then(|| best.to_owned())
}
