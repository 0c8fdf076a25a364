//! Colour: what is painted, and with what. Whether it shows is decided in one place, [`choose`], and followed by every
//! stream of `anstream`, which leaves the paint out. Nothing is told by colour alone.

use std::io;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const HINT: Style = AnsiColor::Cyan.on_default().bold();
pub(super) const HEADING: Style = Style::new().bold();
pub(super) const ADDED: Style = AnsiColor::Green.on_default();
pub(super) const REMOVED: Style = AnsiColor::Red.on_default();

/// `auto` asks the terminal, NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
pub(super) fn choose(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// Does colour show on standard error?
pub(super) fn shows_on_stderr() -> bool {
    AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A table whose first line is its heading.
pub(super) fn table(text: &str) -> String {
    match text.split_once('\n') {
        Some((heading, rows)) => format!("{}\n{rows}", paint(HEADING, heading)),
        None => text.to_owned(),
    }
}
