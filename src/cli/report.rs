//! The one place where an error meets the user: one line, the chain of causes, at most one hint, the exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use crate::build::disk::InPlaceError;
use crate::plan::profile;
use crate::sink::{card, disks, flash};
use crate::source::{catalogue, net};
use crate::{build, source};

use super::{style, ui};

/// Why a verb stopped.
pub(super) enum Failure {
    /// The profile is faulty: drawn with the lines at fault. Exit status 2.
    Profile(profile::Faults),
    /// A word on the command line that only this profile could tell is wrong, or what kept `diff` from an answer. Exit
    /// status 2.
    Usage(anyhow::Error),
    /// Flags that make no profile, or do not go with the image: all of them. Exit status 2.
    Flags(Vec<Flaw>),
    /// What was judged is not sound, or what was compared not the same, as has been told. Exit status 1.
    Unsound,
    /// The user did not agree. Exit status 3.
    Refused(anyhow::Error),
    /// Everything else. Exit status 1: targets appear whole or not at all. What is refused as unsafe is 3, and what
    /// left an image incomplete is 4.
    Other(anyhow::Error),
}

/// What is wrong with a flag.
pub(super) struct Flaw {
    pub(super) text: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<build::Error> for Failure {
    fn from(error: build::Error) -> Self {
        match error {
            build::Error::Plan(_)
            | build::Error::BadLock { .. }
            | build::Error::NotLocked { .. }
            | build::Error::LockDiffers { .. }
            | build::Error::NoSuchNode { .. }
            | build::Error::NoSuchPartition { .. } => Self::Usage(error.into()),
            _ => Self::Other(error.into()),
        }
    }
}

pub(super) fn report(failure: &Failure, json: bool) -> ExitCode {
    let chain = |error| if json { event(error) } else { chain(error) };
    let (text, status) = match failure {
        Failure::Profile(faults) if json => (events(faults), 2),
        Failure::Profile(faults) => (draw(faults), 2),
        Failure::Usage(error) => (chain(error), 2),
        Failure::Flags(flaws) => (flaws.iter().map(|flaw| flaw.told(json)).collect(), 2),
        Failure::Refused(error) => (chain(error), 3),
        Failure::Other(error) => (chain(error), error.chain().find_map(status).unwrap_or(1)),
        Failure::Unsound => (String::new(), 1),
    };
    // Standard error may be closed; the status still tells.
    let _ = anstream::stderr().write_all(text.as_bytes());
    ExitCode::from(status)
}

impl Flaw {
    fn told(&self, json: bool) -> String {
        let Self { text, hint } = self;
        if json {
            return ui::event("error", json!({ "text": text, "because": [], "hint": hint })) + "\n";
        }
        let hint = hint.as_ref().map(|hint| format!("{} {hint}\n", style::paint(style::HINT, "hint:")));
        format!("{} {text}\n{}", style::paint(style::ERROR, "error:"), hint.unwrap_or_default())
    }
}

/// Says why one of several things failed, while the others are still to be told.
pub(super) fn tell(error: &anyhow::Error, json: bool) {
    let text = if json { event(error) } else { chain(error) };
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// The exit status for this alone.
pub(super) fn status_of(error: &(dyn std::error::Error + 'static)) -> u8 {
    std::iter::successors(Some(error), |error| error.source()).find_map(status).unwrap_or(1)
}

/// An error and its causes: `cannot flash it: the card was not touched: …`
pub(super) fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The exit status that a cause asks for.
fn status(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(failed) = find::<flash::Failed>(cause) {
        return (failed.left != flash::Left::Untouched).then_some(4);
    }
    if find::<card::Error>(cause).is_some_and(card::Error::is_refusal) {
        return Some(3);
    }
    match (find::<InPlaceError>(cause), find::<build::Error>(cause)) {
        (Some(InPlaceError::InUse(_) | InPlaceError::Foreign { .. }), _) => Some(3),
        (Some(InPlaceError::Incomplete { .. }), _) => Some(4),
        (_, Some(build::Error::HasTable { .. })) => Some(3),
        (_, Some(build::Error::BadWord { .. })) => Some(2),
        _ => None,
    }
}

/// `error:` and a `because:` for each cause. A cause may have several lines: one per fault.
fn chain(error: &anyhow::Error) -> String {
    let mut text = format!("{} {error}\n", style::paint(style::ERROR, "error:"));
    for cause in error.chain().skip(1) {
        for line in cause.to_string().lines() {
            text += &format!("because: {line}\n");
        }
    }
    if let Some(hint) = error.chain().find_map(hint) {
        text += &format!("{} {hint}\n", style::paint(style::HINT, "hint:"));
    }
    text
}

/// The same in one line of JSON.
fn event(error: &anyhow::Error) -> String {
    let because: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let hint = error.chain().find_map(hint);
    ui::event("error", json!({ "text": error.to_string(), "because": because, "hint": hint })) + "\n"
}

/// A line of JSON for each fault of a profile.
fn events(faults: &profile::Faults) -> String {
    let told = |fault: &profile::Fault| {
        let (line, column) = fault.line_and_column().unzip();
        let told = json!({
            "text": fault.message, "file": fault.file, "line": line, "column": column, "hint": fault.help,
        });
        ui::event("fault", told) + "\n"
    };
    faults.into_iter().map(told).collect()
}

/// Neither the network nor a proxy let it through.
const UNREACHED: &str =
    "is there a network, or a proxy that HTTPS_PROXY has to name? An image that is a file needs neither";

fn is_missing(error: &source::Error) -> bool {
    matches!(error, source::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// What to do about it, where that is not plain from the words.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match find::<source::Error>(cause) {
        Some(source::Error::Digest { .. }) => {
            return Some(
                "download the image again, correct image.sha256 if another image is meant, or move on with \
                 `cardpress lock --update`",
            );
        }
        Some(source::Error::NoSignature { .. }) => {
            return Some("leave out image.signed-by where nobody signs; sha256 and the lock still hold");
        }
        Some(source::Error::NoSpace { .. } | source::Error::Full { .. }) => {
            return Some(
                "`cardpress cache prune --older-than 30d` makes room; --cache DIR names another disk",
            );
        }
        Some(source::Error::Net(net::Error::Offline { .. })) => {
            return Some("`cardpress fetch` beforehand, with the network, fills the cache");
        }
        Some(source::Error::Net(net::Error::Status { .. })) => {
            return Some("if the release is gone, `cardpress lock --update` moves on to the newest one");
        }
        Some(source::Error::Net(net::Error::GaveUp { .. })) => {
            return Some(UNREACHED);
        }
        _ => {}
    }
    if let Some(disks::Error::Io { action: "find", .. } | disks::Error::NotBlockDevice { .. }) = find(cause) {
        return Some("`cardpress devices` shows the cards there are; images are written by `build`");
    }
    match find::<InPlaceError>(cause) {
        Some(InPlaceError::Foreign { .. }) => {
            return Some("if the image was replaced on purpose, delete the log; its changes are then lost");
        }
        Some(InPlaceError::Incomplete { .. }) => {
            return Some("keep both files together: the next command on the image finishes the changes");
        }
        _ => {}
    }
    let wrapped = match find::<build::Error>(cause) {
        Some(build::Error::Catalogue(error)) => Some(&**error),
        _ => None,
    };
    match wrapped.or(find::<catalogue::Error>(cause)) {
        Some(catalogue::Error::Offline { .. }) => {
            return Some(
                "`cardpress images` without --offline fetches it; --catalogue FILE names one you have",
            );
        }
        Some(catalogue::Error::Fetch { .. }) => return Some(UNREACHED),
        Some(catalogue::Error::NoSuchImage { .. }) => {
            return Some("`cardpress images --all` shows the names");
        }
        Some(catalogue::Error::NoSuchDate { .. }) => {
            return Some(
                "the catalogue names few releases of each; others are in the folder of their product on \
                 downloads.raspberrypi.com, dated, for image.url, or pinned in a lock file",
            );
        }
        _ => {}
    }
    match find::<build::Error>(cause)? {
        build::Error::Base { source, .. } if is_missing(source) => {
            Some("image.path begins at the folder of the profile, --image FILE at the current one")
        }
        build::Error::NotLocked { .. } => Some("`cardpress lock PROFILE` pins what the profile names"),
        build::Error::LockDiffers { .. } => {
            Some("if the profile is right, `cardpress lock PROFILE` moves on to what it wants")
        }
        build::Error::BadLock { .. } => Some(
            "delete the lock, or take it from the repository again; `cardpress lock PROFILE` makes a new one",
        ),
        build::Error::Plan(_) => {
            Some("`cardpress plan PROFILE` checks a profile against an image and writes nothing")
        }
        build::Error::Packed { .. } => Some("unpack it first, and edit the raw image"),
        build::Error::HostDirectory { .. } | build::Error::DirectoryAsFile { .. } => Some(
            "whole trees travel as archives: `tar -C DIR -cf - . | cardpress fs IMAGE tar-in PATH`, and back with \
             `cardpress fs IMAGE tar-out PATH > x.tar`",
        ),
        build::Error::Bare { .. } => Some("leave out --partition"),
        build::Error::Fat { .. } => Some("--partition root works on the root partition alone"),
        build::Error::NoFilesystem { .. } => {
            Some("wanted an image, .img or packed; of an empty file `cardpress fs FILE mkfs ext4` makes one")
        }
        build::Error::RootFull { .. } => {
            Some("set image.grow to a larger size, or leave some files to a first-boot script")
        }
        build::Error::Verify(_) => {
            Some("the image was not kept; if the disk is sound this is a bug in cardpress: please report it")
        }
        build::Error::BadSeed { .. } => Some(
            "restore the seed from a backup; a new one changes every key, id and password salt of the cluster",
        ),
        _ => None,
    }
}

/// A cause of this type, boxed or not: large errors are boxed on their way up.
fn find<'e, T: std::error::Error + 'static>(cause: &'e (dyn std::error::Error + 'static)) -> Option<&'e T> {
    cause.downcast_ref::<T>().or_else(|| Some(&**cause.downcast_ref::<Box<T>>()?))
}

/// Every fault with its line of the profile drawn.
fn draw(faults: &profile::Faults) -> String {
    let theme = match style::shows_on_stderr() {
        true => miette::GraphicalTheme::unicode(),
        false => miette::GraphicalTheme::unicode_nocolor(),
    };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(110);
    let mut text = String::new();
    for fault in faults {
        if handler.render_report(&mut text, fault).is_err() {
            text += &format!("error: {fault}\n");
        }
    }
    let count = faults.as_slice().len();
    text + &format!(
        "{} {count} {} in the profile; nothing was opened or written\n",
        style::paint(style::ERROR, "error:"),
        plural(count, "fault")
    )
}

pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}
