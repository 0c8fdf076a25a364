//! README and docs as data: their blocks of code, and what a reader is told to type. Also part of the unit tests of
//! `cli`, by its path.
//!
//! | in a page                        | is                                                                        |
//! |----------------------------------|---------------------------------------------------------------------------|
//! | a block marked `console`         | lines beginning with `$ ` are typed, the others are what is then shown     |
//! | a block marked `toml`            | a profile, or a piece of one                                               |
//! | `` `cardpress …` `` in a sentence | a verb and its options, with words in capitals for the rest                |
#![allow(dead_code, reason = "the two crates that include it use different halves")]

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the documentation.
pub(crate) struct Page {
    /// From the top of the repository: `docs/fs.md`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// Of its first line of content, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence: `toml`.
    pub(crate) language: String,
    pub(crate) text: String,
}

/// A command of a `console` block.
pub(crate) struct Typed {
    /// `docs/fs.md:8`
    pub(crate) place: String,
    /// As it is typed, with a comment at its end if it has one.
    pub(crate) command: String,
    /// What is shown below it.
    pub(crate) shown: Vec<String>,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages: those at the top, then those of the book.
pub(crate) fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let entries = fs::read_dir(top().join("docs")).expect("no docs");
    let mut book: Vec<String> = entries
        .map(|entry| format!("docs/{}", entry.expect("docs cannot be read").file_name().display()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    book.sort();
    names.append(&mut book);
    let page = |name: String| {
        let text = fs::read_to_string(top().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Page { name, text }
    };
    names.into_iter().map(page).collect()
}

impl Page {
    /// The folder that its links begin at.
    pub(crate) fn folder(&self) -> PathBuf {
        top().join(&self.name).parent().expect("a page is in a folder").to_owned()
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open = Some(Block {
                        line: index + 2,
                        language: language.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is never closed", self.name);
        blocks
    }

    /// What the page is without its blocks.
    pub(crate) fn prose(&self) -> String {
        let mut is_block = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            prose += if is_block || is_fence { "" } else { line };
            prose.push('\n');
        }
        prose
    }

    /// The commands, in the order of the page.
    pub(crate) fn typed(&self) -> Vec<Typed> {
        let mut all: Vec<Typed> = Vec::new();
        for block in self.blocks().iter().filter(|block| block.language == "console") {
            let first = all.len();
            let mut goes_on = false;
            for (index, line) in block.text.lines().enumerate() {
                let place = format!("{}:{}", self.name, block.line + index);
                match (line.strip_prefix("$ "), all.get_mut(first..).and_then(<[Typed]>::last_mut)) {
                    (_, Some(typed)) if goes_on => typed.command += &format!("\n{line}"),
                    (Some(command), _) => {
                        all.push(Typed { place, command: command.to_owned(), shown: Vec::new() });
                    }
                    (None, Some(typed)) => typed.shown.push(line.to_owned()),
                    (None, None) => panic!("{place}: a `console` block begins with `$ `, found: {line}"),
                }
                goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
            }
        }
        all
    }

    /// What begins with `cardpress ` between single backquotes, with its line.
    pub(crate) fn mentioned(&self) -> Vec<(String, String)> {
        let prose = self.prose();
        let mut found = Vec::new();
        // Sentences are wrapped, so a span may go over the end of a line.
        for (index, span) in prose.split('`').enumerate().filter(|(index, _)| index % 2 == 1) {
            let before: usize = prose.split('`').take(index).map(|piece| piece.matches('\n').count()).sum();
            let span = span.split_whitespace().collect::<Vec<_>>().join(" ");
            if span.starts_with("cardpress ") {
                found.push((format!("{}:{}", self.name, before + 1), span));
            }
        }
        found
    }
}

impl Typed {
    /// Is anything of it the program itself? Also behind `sudo`, or in a pipe.
    pub(crate) fn calls_cardpress(&self) -> bool {
        self.command.split_whitespace().any(|word| word == "cardpress")
    }
}
