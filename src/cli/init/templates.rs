//! The profiles that come with the program, in `profiles/`.

use std::path::Path;

use anyhow::anyhow;
use clap::builder::PossibleValuesParser;

use super::ask::Answers;
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

/// The template with what was answered in the place of what stands there.
pub(super) fn filled(name: &str, file: &Path, answers: &Answers) -> Result<String, Failure> {
    let Some((_, text)) = ALL.iter().find(|(known, _)| *known == name) else {
        return Err(Failure::Usage(anyhow!("there is no template `{name}`")));
    };
    let subnet = answers.subnet;
    if subnet.prefix_len() > 24 {
        let message = format!(
            "found the network {subnet}, wanted one of 256 addresses: templates number their nodes up to 254"
        );
        return Err(Failure::Usage(anyhow!(message)));
    }
    let [a, b, c, _] = subnet.network().octets();
    let mut text = text
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
    text = text.replace(&format!("profiles/{name}.toml"), &file.to_string_lossy());
    if let Some(name) = &answers.name {
        let old = text.split("[cluster]\nname = \"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(old) = old.map(|old| format!("out/{old}/")) {
            text = text.replace(&old, &format!("out/{name}/"));
        }
        text = set(&text, "[cluster]", &["name"], &format!("name = {}", quoted(name)));
    }
    Ok(text)
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
    fn a_key_is_set_in_its_section_alone() {
        let text = "[a]\nname = 1\n[b]\nnames = 2\nname = 3   # why\nname = 4\n";
        assert_eq!(
            set(text, "[b]", &["name"], "name = 9"),
            "[a]\nname = 1\n[b]\nnames = 2\nname = 9 # why\nname = 4\n"
        );
    }
}
