//! Every command that README and docs show is one that can be typed.

#[path = "../../tests/support/docs.rs"]
mod docs;

use clap::{CommandFactory as _, Parser as _};

use super::args::Cli;
use super::fs::words;
use docs::{Page, pages};

/// What ends a command of a pipe or list; the pages write them as words of their own.
const ENDS: [&str; 6] = ["|", "||", "&&", ";", ">", ">>"];

/// The calls of `cardpress` in a line, each with its words.
fn calls(line: &str) -> Vec<Vec<String>> {
    let lines = words::split(line).unwrap_or_else(|fault| panic!("{line}: {}", fault.reason));
    let words = lines.into_iter().flat_map(|line| line.words).collect::<Vec<_>>();
    let commands = words.split(|word| ENDS.contains(&word.as_str()));
    commands
        .filter_map(|words| {
            let begin = words.iter().position(|word| word == "cardpress")?;
            // `2>&1` and `2>file` are for the shell.
            let words = words.get(begin..)?.iter();
            Some(words.filter(|word| !word.starts_with("2>")).cloned().collect())
        })
        .collect()
}

#[test]
fn every_command_of_readme_and_docs_is_understood() {
    let mut faults = Vec::new();
    let mut count = 0;
    for typed in pages().iter().flat_map(Page::typed).filter(docs::Typed::calls_cardpress) {
        let calls = calls(&typed.command);
        assert!(!calls.is_empty(), "{}: {}", typed.place, typed.command);
        for words in calls {
            count += 1;
            if let Err(error) = Cli::try_parse_from(&words)
                && error.use_stderr()
            {
                faults.push(format!("{}: {}\n{error}", typed.place, typed.command));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 20, "only {count} commands were found");
}

/// Sentences leave arguments out, so only verbs and options are looked up.
#[test]
fn every_verb_and_option_named_in_a_sentence_of_the_docs_is_there() {
    let program = Cli::command();
    let mut faults = Vec::new();
    for (place, span) in pages().iter().flat_map(Page::mentioned) {
        let mut command = &program;
        // Up to a pipe: behind it are the options of another program.
        for word in span.split(' ').skip(1).take_while(|word| !ENDS.contains(word)) {
            let next = command.find_subcommand(word);
            let Some(option) = word.strip_prefix("--") else {
                if next.is_none() && command.get_name() == program.get_name() {
                    faults.push(format!("{place}: `{span}`: no verb `{word}`"));
                }
                command = next.unwrap_or(command);
                continue;
            };
            let name = option.split(['=', '[', ']', ',', '…']).next().unwrap_or_default();
            let all = command.get_arguments().chain(program.get_arguments());
            let mut known = all.filter_map(clap::Arg::get_long).chain(["help", "version"]);
            if !name.is_empty() && !known.any(|known| known == name) {
                faults.push(format!("{place}: `{span}`: no option --{name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The examples of every command, each in one line, and as its lines stand.
fn examples(command: &clap::Command) -> Vec<(String, Vec<String>)> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let block =
        help.split("Examples:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines() {
        let example = line.split_once("  ").map_or(line, |_| line.trim_start());
        // What it does stands behind two blanks.
        let typed = example.split("  ").next().unwrap_or_default();
        match all.last_mut() {
            Some((open, lines)) if open.ends_with('\\') => {
                *open = format!("{}{typed}", open.trim_end_matches('\\'));
                lines.push(line.to_owned());
            }
            // The rest of a remark.
            Some((_, lines)) if line.starts_with("     ") => lines.push(line.to_owned()),
            _ => all.push((typed.to_owned(), vec![line.to_owned()])),
        }
    }
    all
}

#[test]
fn every_example_of_the_help_can_be_typed_and_stands_in_80_columns() {
    let (mut faults, mut count) = (Vec::new(), 0);
    for command in Cli::command().get_subcommands() {
        for (typed, lines) in examples(command) {
            faults
                .extend(lines.iter().filter(|line| line.len() > 80).map(|line| format!("too wide: {line}")));
            let calls = calls(&typed);
            assert!(!calls.is_empty(), "{}: {typed}", command.get_name());
            for words in calls {
                count += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    faults.push(format!("{typed}\n{error}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 50, "only {count} examples were found");
}
