//! The profiles that come with the program, in `profiles/`.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::anyhow;
use clap::builder::PossibleValuesParser;
use ipnet::Ipv4Net;

use super::ask::{Answers, Nodes};
use super::starter::quoted;
use crate::cli::report::Failure;

/// By name, as they are in the folder.
const ALL: [(&str, &str); 8] = [
    ("cluster", include_str!("../../../profiles/cluster.toml")),
    ("docker-nfs", include_str!("../../../profiles/docker-nfs.toml")),
    ("docker-swarm", include_str!("../../../profiles/docker-swarm.toml")),
    ("hpc", include_str!("../../../profiles/hpc.toml")),
    ("k3s", include_str!("../../../profiles/k3s.toml")),
    ("kubernetes", include_str!("../../../profiles/kubernetes.toml")),
    ("monitoring", include_str!("../../../profiles/monitoring.toml")),
    ("slurm", include_str!("../../../profiles/slurm.toml")),
];

/// The network that all of them are written for, and the key.
const PREFIX: &str = "192.168.1.";
const SUBNET: &str = "192.168.1.0/24";
const GATEWAY: &str = "\"192.168.1.1\"";
const KEY: &str = "\"file:~/.ssh/id_ed25519.pub\"";

pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ALL.map(|(name, _)| name))
}

/// One of them: nodes of their own, then many with one name. A test holds all to that.
#[derive(Clone, Copy)]
pub(super) struct Template {
    name: &'static str,
    text: &'static str,
}

/// The template of this name.
pub(super) fn find(name: &str) -> Result<Template, Failure> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (name, text) = *found.ok_or_else(|| Failure::Usage(anyhow!("there is no template `{name}`")))?;
    Ok(Template { name, text })
}

impl Template {
    /// The account to log in as.
    pub(super) fn user(self) -> &'static str {
        let headings =
            self.text.lines().filter_map(|line| line.strip_prefix("[defaults.user.")?.strip_suffix(']'));
        headings.into_iter().find(|user| *user != "root").unwrap_or_default()
    }

    /// As many nodes as it has.
    pub(super) fn nodes(self) -> Nodes {
        Nodes::Count(Rack::of(self.text).count())
    }

    /// Its first address, in another network.
    pub(super) fn first_in(self, subnet: Ipv4Net) -> Result<Ipv4Addr, String> {
        let first = Rack::of(self.text).entries.first().and_then(|entry| value(entry, "address"));
        let last = first.and_then(|first| first.strip_prefix(PREFIX)?.parse().ok());
        let [a, b, c, _] = subnet.network().octets();
        last.filter(|_| subnet.prefix_len() <= 24).map(|last: u8| Ipv4Addr::new(a, b, c, last)).ok_or_else(|| {
            format!("found the network {subnet}, wanted one of 256 addresses: templates number their nodes up to 254")
        })
    }

    /// The template with what was answered in the place of what stands there.
    pub(super) fn filled(self, file: &Path, answers: &Answers) -> Result<String, Failure> {
        let subnet = answers.subnet;
        let [a, b, c, _] = subnet.network().octets();
        let mut text = self
            .text
            .replace(GATEWAY, "\"GATEWAY\"")
            .replace(SUBNET, "SUBNET")
            .replace(PREFIX, &format!("{a}.{b}.{c}."))
            .replace("SUBNET", &subnet.to_string())
            .replace("\"GATEWAY\"", &quoted(&answers.gateway.to_string()));
        if let Some(key) = &answers.key {
            text = text.replace(KEY, &quoted(key));
        }
        if let Some(os) = &answers.os {
            text = set(&text, "[image]", &["os", "path"], &format!("os = {}", quoted(os)));
        }
        // Its remarks name the file and the folder as they are in the source of cardpress.
        text = text.replace(&format!("profiles/{}.toml", self.name), &file.to_string_lossy());
        if let Some(name) = &answers.name {
            let old = text.split("[cluster]\nname = \"").nth(1).and_then(|rest| rest.split('"').next());
            if let Some(old) = old.map(|old| format!("out/{old}/")) {
                text = text.replace(&old, &format!("out/{name}/"));
            }
            text = set(&text, "[cluster]", &["name"], &format!("name = {}", quoted(name)));
        }
        let (old, new) = (self.user(), &answers.user);
        text = text.replace(&format!("[defaults.user.{old}]"), &format!("[defaults.user.{new}]"));
        text = text.replace(&format!("users = [\"{old}\"]"), &format!("users = [{}]", quoted(new)));
        let filled = Rack::of(&text).filled(&answers.nodes, answers.address_from);
        filled.map_err(|why| Failure::Usage(anyhow!(why)))
    }
}

/// The nodes of a template, and what stands before them.
struct Rack<'t> {
    before: &'t str,
    /// From `[[node]]` to the next. The last one is many.
    entries: Vec<&'t str>,
}

impl<'t> Rack<'t> {
    fn of(text: &'t str) -> Self {
        let starts: Vec<usize> = text.match_indices("\n[[node]]\n").map(|(at, _)| at + 1).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let entries = starts.iter().zip(ends).filter_map(|(start, end)| text.get(*start..end)).collect();
        let before = starts.first().and_then(|first| text.get(..*first)).unwrap_or(text);
        Self { before, entries }
    }

    /// Those that are one node each, and the one that is many.
    fn parts(&self) -> (&[&'t str], &'t str) {
        self.entries.split_last().map_or((&[], ""), |(many, ones)| (ones, *many))
    }

    fn count(&self) -> u32 {
        let (ones, many) = self.parts();
        let many = Range::of(value(many, "name").unwrap_or_default()).map_or(1, |range| range.count);
        u32::try_from(ones.len()).unwrap_or(u32::MAX).saturating_add(many)
    }

    /// Other nodes, at addresses in a row.
    ///
    /// # Errors
    /// Too few of them, or an address that is already somebody's.
    fn filled(&self, nodes: &Nodes, first: Ipv4Addr) -> Result<String, String> {
        let (ones, many) = self.parts();
        let name = |entry: &&'t str| value(entry, "name").unwrap_or_default();
        let wanted = nodes.count();
        let rest = usize::try_from(wanted).unwrap_or(0).checked_sub(ones.len()).filter(|rest| *rest > 0);
        let Some(rest) = rest else {
            let ones: Vec<String> = ones.iter().map(|one| format!("`{}`", name(one))).collect();
            let least = ones.len() + 1;
            return Err(format!(
                "found --nodes for {wanted}, wanted {least} or more: the template has {} and then `{}`",
                ones.join(", "),
                name(&many)
            ));
        };
        let last = u32::from(first).saturating_add(wanted - 1);
        let other = |word: &str| {
            word.parse().ok().filter(|other| (u32::from(first)..=last).contains(&u32::from(*other)))
        };
        if let Some(taken) = self.before.split('"').find_map(|word| other(word).map(|taken: Ipv4Addr| taken))
        {
            let last = Ipv4Addr::from(last);
            return Err(format!(
                "found nodes at {first} to {last}, wanted others: the template gives {taken} to something else"
            ));
        }
        let mut addresses = (u32::from(first)..).map(|address| Ipv4Addr::from(address).to_string());
        let mut next = || addresses.next().unwrap_or_default();
        let entry = |entry: &str, name: &str, address: &str| {
            let named = set(entry, "[[node]]", &["name"], &format!("name = {}", quoted(name)));
            set(&named, "[[node]]", &["address"], &format!("address = {}", quoted(address)))
        };
        let mut entries: Vec<String> = Vec::new();
        match nodes {
            Nodes::Named(names) => {
                // Who has no entry of his own is one of the many.
                let templates = ones.iter().chain(std::iter::repeat(&many));
                entries.extend(names.iter().zip(templates).map(|(name, old)| entry(old, name, &next())));
            }
            Nodes::Count(_) => {
                entries.extend(ones.iter().map(|one| entry(one, name(one), &next())));
                let range =
                    Range::of(name(&many)).map_or_else(|| name(&many).to_owned(), |range| range.named(rest));
                let from = next();
                let address = match from.rsplit_once('.') {
                    Some((net, from)) if rest > 1 => format!("{net}.[{from}-{}]", last & 0xff),
                    _ => from,
                };
                entries.push(entry(many, &range, &address));
            }
        }
        let mut text = self.before.to_owned();
        for entry in entries {
            // A comment at the end of one belongs to the next.
            let is_apart =
                text.ends_with("\n\n") || text.lines().last().is_some_and(|line| line.starts_with('#'));
            text += if is_apart { "" } else { "\n" };
            text += &entry;
        }
        Ok(text)
    }
}

/// `pi[02-04]`
struct Range<'n> {
    stem: &'n str,
    low: &'n str,
    count: u32,
}

impl<'n> Range<'n> {
    fn of(name: &'n str) -> Option<Self> {
        let (stem, rest) = name.split_once('[')?;
        let (low, high) = rest.strip_suffix(']')?.split_once('-')?;
        let count = high.parse::<u32>().ok()?.checked_sub(low.parse().ok()?)?.checked_add(1)?;
        Some(Self { stem, low, count })
    }

    /// So many, from the same number on.
    fn named(&self, count: usize) -> String {
        let Self { stem, low, .. } = self;
        let last = low.parse::<usize>().unwrap_or(0) + count - 1;
        let width = if low.starts_with('0') { low.len() } else { 0 };
        if count == 1 { format!("{stem}{low}") } else { format!("{stem}[{low}-{last:0width$}]") }
    }
}

/// The string of a key in an entry.
fn value<'e>(entry: &'e str, key: &str) -> Option<&'e str> {
    let mut values = entry.lines().filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    values.next()?.trim_start().strip_prefix('"')?.split('"').next()
}

/// The text with another line in the place of the first of these keys in a section; a comment behind it stays.
fn set(text: &str, section: &str, keys: &[&str], line: &str) -> String {
    let mut is_in = false;
    let mut is_done = false;
    let mut lines: Vec<String> = Vec::new();
    for old in text.lines() {
        if old.starts_with('[') {
            is_in = old.trim_end() == section;
        }
        let is_key =
            |key: &&str| old.strip_prefix(*key).is_some_and(|rest| rest.trim_start().starts_with('='));
        if is_in && !is_done && keys.iter().any(is_key) {
            let comment = old.find(" #").and_then(|at| old.get(at..)).unwrap_or_default();
            lines.push(format!("{line}{comment}"));
            is_done = true;
        } else {
            lines.push(old.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_in_the_folder_is_a_template() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
            .collect();
        found.sort();
        assert_eq!(found, ALL.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn every_template_has_nodes_of_their_own_then_many_in_a_row() {
        for (name, text) in ALL {
            let rack = Rack::of(text);
            let (ones, many) = rack.parts();
            assert!(!ones.is_empty() && Range::of(value(many, "name").unwrap()).is_some(), "{name}");
            let template = Template { name, text };
            assert!(!template.user().is_empty(), "{name}");
            let first = template.first_in(SUBNET.parse().unwrap()).unwrap();
            assert_eq!(rack.filled(&template.nodes(), first).as_deref(), Ok(text), "{name}");
        }
    }

    const RACK: &str = "nas = \"10.0.0.9\"\n\n[[node]]\nname = \"head\"\nrole = \"h\"\naddress = \"10.0.0.1\"\n\n\
                        # More.\n[[node]]\nname = \"w[08-10]\"\naddress = \"10.0.0.[2-4]\"   # in a row\n";

    fn filled(nodes: Nodes, first: &str) -> Result<String, String> {
        Rack::of(RACK).filled(&nodes, first.parse().unwrap())
    }

    #[test]
    fn nodes_are_counted_out_or_named_and_keep_what_else_is_said_of_them() {
        let count = filled(Nodes::Count(5), "10.0.0.20").unwrap();
        assert!(
            count.contains("name = \"head\"\nrole = \"h\"\naddress = \"10.0.0.20\"\n\n# More.\n"),
            "{count}"
        );
        assert!(count.ends_with("name = \"w[08-11]\"\naddress = \"10.0.0.[21-24]\" # in a row\n"), "{count}");
        let two = filled(Nodes::Count(2), "10.0.0.1").unwrap();
        assert!(two.ends_with("name = \"w08\"\naddress = \"10.0.0.2\" # in a row\n"), "{two}");
        let named = filled(Nodes::Named(["a", "b", "c"].map(str::to_owned).to_vec()), "10.0.0.1").unwrap();
        assert!(named.contains("name = \"a\"\nrole = \"h\"\n"), "{named}");
        assert!(named.ends_with("[[node]]\nname = \"c\"\naddress = \"10.0.0.3\" # in a row\n"), "{named}");
        assert_eq!(named.matches("[[node]]").count(), 3);
    }

    #[test]
    fn too_few_nodes_and_addresses_of_others_are_refused() {
        let few = filled(Nodes::Count(1), "10.0.0.1").unwrap_err();
        assert_eq!(few, "found --nodes for 1, wanted 2 or more: the template has `head` and then `w[08-10]`");
        let taken = filled(Nodes::Count(4), "10.0.0.6").unwrap_err();
        assert!(taken.contains("10.0.0.6 to 10.0.0.9") && taken.contains("gives 10.0.0.9 to"), "{taken}");
        assert!(filled(Nodes::Count(3), "10.0.0.6").is_ok());
    }

    #[test]
    fn a_key_is_set_in_its_section_alone() {
        let text = "[a]\nname = 1\n[b]\nnames = 2\nname = 3   # why\nname = 4\n";
        assert_eq!(
            set(text, "[b]", &["name"], "name = 9"),
            "[a]\nname = 1\n[b]\nnames = 2\nname = 9 # why\nname = 4\n"
        );
    }
}
