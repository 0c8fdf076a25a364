//! What can only be done on the node: packages, a locale to compile, units that a package brings, the profile's
//! scripts. One small runner does them in order, each once, each when what it needs is done (`src/plan/first-boot/`).
//!
//! ```text
//! /etc/systemd/system/cardpress-first-boot.service      started with multi-user.target, blocks nothing
//! /usr/local/lib/cardpress/first-boot                   the runner
//! /usr/local/lib/cardpress/first-boot.d/NN-NAME         what is run, 0700
//! /usr/local/lib/cardpress/needs                        a name a line, and behind it those that it needs; a step
//!                                                       without a line needs all before it
//! /usr/local/lib/cardpress/needs-network                the names of those that wait for it, one a line
//! /usr/local/bin/cardpress-status                       says how far it is
//! /var/lib/cardpress/NN-NAME.done                       written on the node
//! /var/log/cardpress/NN-NAME.log                        likewise; .log.1 what was in it before it grew long
//! /run/cardpress/NN-NAME                                likewise: what is known of a step that is not done
//! ```

use super::draft::Draft;
use super::{Context, Problem, apt};
use crate::base::Sha256Digest;
use crate::plan::needs::bad_needs;
use crate::plan::{AptKey, Content, Owner};

const LIB: &str = "/usr/local/lib/cardpress";
const UNIT: &str = "cardpress-first-boot.service";
const UNIT_TEXT: &str = include_str!("../first-boot/cardpress-first-boot.service");
const RUNNER: &str = include_str!("../first-boot/first-boot");
const STATUS: &str = include_str!("../first-boot/cardpress-status");
const DOWNLOADS: &str = include_str!("../first-boot/downloads.sh");
const PACKAGES: &str = include_str!("../first-boot/packages.sh");

/// Whether it is one of cardpress's own programs as they are, the same on every node of every profile.
#[must_use]
pub fn is_own_program(content: &Content) -> bool {
    [RUNNER, STATUS].iter().any(|own| own.as_bytes() == content.bytes())
}

/// One thing to run.
struct Step {
    name: String,
    script: Content,
    needs_network: bool,
    /// Names of steps, there or not. `None`: all before it.
    needs: Option<Vec<String>>,
}

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let steps = steps(context, draft);
    if steps.is_empty() {
        return;
    }
    let width = steps.len().to_string().len().max(2);
    let numbered = |(index, step): (usize, &Step)| format!("{:0width$}-{}", index + 1, step.name);
    let names: Vec<(String, String)> =
        steps.iter().enumerate().map(|entry| (entry.1.name.clone(), numbered(entry))).collect();
    let mut needs_network = String::new();
    let mut needs = String::new();
    for (step, (_, name)) in steps.into_iter().zip(&names) {
        if step.needs_network {
            needs_network.push_str(&format!("{name}\n"));
        }
        if let Some(wanted) = &step.needs {
            let found = wanted.iter().filter_map(|need| names.iter().find(|(plain, _)| plain == need));
            let line: Vec<&str> =
                std::iter::once(name.as_str()).chain(found.map(|(_, name)| name.as_str())).collect();
            needs.push_str(&format!("{}\n", line.join(" ")));
        }
        draft.write_with(&format!("{LIB}/first-boot.d/{name}"), step.script, Some(0o700), Some(Owner::ROOT));
    }
    draft.write(&format!("{LIB}/needs"), needs);
    draft.write(&format!("{LIB}/needs-network"), needs_network);
    let program = |draft: &mut Draft, path: &str, text: &str| {
        draft.write_with(path, Content::text(text), Some(0o755), Some(Owner::ROOT));
    };
    program(draft, &format!("{LIB}/first-boot"), RUNNER);
    program(draft, "/usr/local/bin/cardpress-status", STATUS);
    let unit = format!("/etc/systemd/system/{UNIT}");
    draft.write_with(&unit, Content::text(UNIT_TEXT), Some(0o644), Some(Owner::ROOT));
    super::units::enable(UNIT, context, draft);
}

/// What cardpress itself needs comes first, then the profile's scripts as they stand.
fn steps(context: &Context, draft: &mut Draft) -> Vec<Step> {
    let mut steps = Vec::new();
    let shell = |name: &str, lines: &str, needs: &[&str]| Step {
        name: name.to_owned(),
        script: Content::text(format!("#!/bin/sh\nset -eu\n{lines}\n")),
        needs_network: false,
        needs: Some(needs.iter().map(|&need| need.to_owned()).collect()),
    };
    for (name, lines) in std::mem::take(&mut draft.first_boot_steps) {
        steps.push(shell(name, &lines, &[]));
    }
    steps.extend(downloads(context, draft));
    let packages = &context.settings().packages;
    for name in packages.iter().filter(|name| !is_package(name)) {
        let value = name.escape_debug().to_string();
        let why = "a package is lower-case letters, digits, `+`, `-`, `.`, with `:arch` or `=version`";
        draft.fault(Problem::BadValue { value, place: "package", why });
    }
    if !packages.is_empty() {
        let script = with_arguments(PACKAGES, &packages.join(" "));
        let needs = Some(vec![String::from("keys")]);
        steps.push(Step { name: String::from("packages"), script, needs_network: true, needs });
    }
    let late = std::mem::take(&mut draft.late_units);
    if !late.is_empty() {
        let enable = format!("systemctl enable --now {}", late.join(" "));
        steps.push(shell("services", &enable, &["packages"]));
    }
    for script in &context.settings().first_boot {
        if !is_name(&script.name) {
            let value = script.name.escape_debug().to_string();
            let why = "a script's name is letters, digits, `-`, `_` and `.`";
            draft.fault(Problem::BadValue { value, place: "first-boot.d", why });
        }
        if !script.script.bytes().starts_with(b"#!") {
            let why = "a script's first line must be `#!` and its interpreter";
            draft.fault(Problem::BadValue { value: script.name.clone(), place: "first-boot.d", why });
        }
        steps.push(Step {
            name: script.name.clone(),
            script: script.script.clone(),
            needs_network: script.needs_network,
            needs: script.needs.clone(),
        });
    }
    for (_, bad) in bad_needs(&context.settings().first_boot) {
        draft.fault(Problem::Needs(bad));
    }
    steps
}

/// The script with its arguments in itself, so that it can be run by hand as it is.
fn with_arguments(script: &str, arguments: &str) -> Content {
    Content::text(script.replacen("set -eu\n", &format!("set -eu\nset -- {arguments}\n"), 1))
}

/// The steps that fetch what the node needs of the world: keys of package sources, and files. Two, because packages wait
/// for the keys, and not for a file that is not to be had.
fn downloads(context: &Context, draft: &mut Draft) -> Vec<Step> {
    let settings = context.settings();
    let mut keys = Vec::new();
    for source in &settings.apt {
        if let AptKey::Download { url, sha256 } = &source.key {
            keys.push(arguments(url, *sha256, &format!("{}.key", apt::key_stem(&source.name)), 0o644));
        }
    }
    let mut files = Vec::new();
    for download in &settings.downloads {
        if download.path.below(&context.facts.boot_mount).is_some() {
            let why = "a download cannot be put there whole or not at all";
            let value = download.path.to_string();
            draft.fault(Problem::BadValue { value, place: "the boot partition", why });
        }
        let mode = download.mode.unwrap_or(0o644);
        files.push(arguments(&download.url, download.sha256, download.path.as_str(), mode));
    }
    let step = |(name, lines): (&str, Vec<String>)| Step {
        name: name.to_owned(),
        script: with_arguments(DOWNLOADS, &format!("\\\n    {}", lines.join(" \\\n    "))),
        needs_network: true,
        needs: Some(Vec::new()),
    };
    let both = [("keys", keys), ("downloads", files)];
    both.into_iter().filter(|(_, lines)| !lines.is_empty()).map(step).collect()
}

/// One file to fetch, as words of the shell.
fn arguments(url: &str, sha256: Sha256Digest, path: &str, mode: u16) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    format!("{} {sha256} {} {mode:04o}", quoted(url), quoted(path))
}

/// Debian Policy §5.6.7, with what `apt-get install` takes behind it.
fn is_package(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let (bare, version) = name.split_once('=').map_or((name, None), |(bare, version)| (bare, Some(version)));
    let (bare, arch) = bare.split_once(':').map_or((bare, "any"), |(bare, arch)| (bare, arch));
    bare.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && bare.chars().all(sound)
        && !arch.is_empty()
        && arch.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && version.is_none_or(|v| {
            !v.is_empty() && v.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:~".contains(c))
        })
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
