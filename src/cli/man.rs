//! `cardpress man`: man(7) pages out of the same words as `--help`. They bear no date, so the same program makes the
//! same bytes.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use crate::build::write_host_files;
use crate::plan::{Content, HostFile};

use super::args::{Cli, Global};
use super::report::{Failure, plural};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress man | man -l -                 read it
  cardpress man ~/.local/share/man/man1    then `man cardpress-build` finds it";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Man {
    /// Write cardpress.1, and a page cardpress-COMMAND.1 for each command, into this folder. Without it, the first goes to
    /// standard output.
    #[arg(value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
}

pub(super) fn run(args: &Man, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let pages =
        pages().map_err(|error| Failure::Other(anyhow::Error::new(error).context("cannot make a page")))?;
    let Some(folder) = &args.folder else {
        let first = pages.iter().find(|page| page.path == "cardpress.1");
        return first.map_or(Ok(()), |page| ui::print_bytes(page.content.bytes()));
    };
    let written = write_host_files(folder, &pages)?;
    let count = written.len();
    ui.say(&format!("wrote {count} {} into {}", plural(count, "page"), folder.display()));
    if !global.json {
        return Ok(());
    }
    let list: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
    ui::print_object(json!({ "files": list }))
}

/// A page for the program and for every command, sorted by name.
fn pages() -> io::Result<Vec<HostFile>> {
    // `help` is another way to say `--help`, and so are the pages.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    let mut open = vec![program];
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        pages.push(page(command)?);
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pages)
}

fn page(command: Command) -> io::Result<HostFile> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let has_parent = name.contains('-');
    let more = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let has_commands = command.get_subcommands().any(|command| !command.is_hide_set());
    let source = format!("cardpress {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command).title(&name).source(source).manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    let mut end = Roff::default();
    notes(&mut end, &more.unwrap_or_default());
    if has_parent {
        end.control("SH", ["SEE ALSO"]).text([bold("cardpress"), roman("(1)")]);
    }
    end.to_writer(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(HostFile { path: format!("{name}.1"), content: Content::text(text), mode: 0o644 })
}

/// What stands at the end of `--help`: a paragraph with a heading and indented lines is an example, kept line by line;
/// the others are filled.
fn notes(page: &mut Roff, help: &str) {
    let mut heading = String::new();
    for paragraph in help.split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let (title, shown) = match first.split_once(':') {
            Some(("Exit status", status)) => ("EXIT STATUS".to_owned(), vec![status.trim()]),
            Some((title, _)) if rest.starts_with("  ") => {
                (title.split(',').next().unwrap_or(title).to_uppercase(), rest.lines().collect())
            }
            _ => ("NOTES".to_owned(), vec![paragraph]),
        };
        if paragraph.is_empty() {
            continue;
        }
        if title == heading {
            page.control("PP", []);
        } else {
            page.control("SH", [title.as_str()]);
        }
        heading = title;
        if rest.starts_with("  ") {
            page.control("nf", []);
            for line in shown {
                page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            page.control("fi", []);
        } else {
            shown.iter().for_each(|text| {
                page.text([roman(*text)]);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_the_rest_is_filled() {
        let mut page = Roff::default();
        notes(&mut page, "Examples:\n  a  1\n  b  2\n\nSome words\nmore.\n\nExit status: 0 done.");
        let text = page.to_roff();
        assert!(text.contains(".SH EXAMPLES\n.nf\na  1\nb  2\n.fi\n"), "{text}");
        assert!(text.contains(".SH NOTES\nSome words\nmore.\n"), "{text}");
        assert!(text.contains(".SH \"EXIT STATUS\"\n0 done.\n"), "{text}");
    }
}
