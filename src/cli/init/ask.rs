//! What goes into a new profile: said by options, proposed from what is found on this machine, asked on a terminal.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use ipnet::Ipv4Net;

use super::Init;
use super::network::{self, Network};
use super::templates;
use crate::cli::report::Failure;
use crate::cli::subject::Host;
use crate::plan::profile::Surroundings as _;

/// A question that was answered wrongly so often is given up.
const TRIES: usize = 3;

/// What this machine proposes.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) network: Option<Network>,
    pub(super) own_address: Option<Ipv4Addr>,
    /// `~/.ssh/id_ed25519.pub`, the likeliest first.
    pub(super) keys: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) timezone: Option<String>,
}

impl Found {
    pub(super) fn look() -> Self {
        let network = network::of_this_machine();
        let user = std::env::var("USER").ok().filter(|user| user != "root" && is_account(user));
        let zone = std::fs::read_link("/etc/localtime").ok();
        let zone = zone.and_then(|path| Some(path.to_str()?.split_once("zoneinfo/")?.1.to_owned()));
        Self {
            network,
            own_address: network.and_then(|network| network::own_address(network.gateway)),
            keys: Host.home().map(|home| keys_in(&home.join(".ssh"))).unwrap_or_default(),
            user,
            timezone: zone.filter(|zone| zone.contains('/')),
        }
    }
}

/// The public keys in a folder: ed25519 first, then by name.
fn keys_in(folder: &Path) -> Vec<String> {
    let names = Host.names_in(folder).unwrap_or_default();
    let mut keys: Vec<String> = names
        .into_iter()
        .filter(|(name, is_folder)| name.ends_with(".pub") && !is_folder)
        .map(|(name, _)| name)
        .collect();
    keys.sort_by_key(|name| (!name.contains("ed25519"), name.clone()));
    keys.into_iter().map(|name| format!("~/.ssh/{name}")).collect()
}

/// As Debian's `adduser` takes it; the profile is read once more in the end.
fn is_account(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
}

/// What the profile is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) name: Option<String>,
    pub(super) nodes: Nodes,
    pub(super) os: Option<String>,
    pub(super) subnet: Ipv4Net,
    pub(super) gateway: Ipv4Addr,
    pub(super) address_from: Ipv4Addr,
    pub(super) user: String,
    /// `file:PATH`, or a line of authorized_keys.
    pub(super) key: Option<String>,
    pub(super) timezone: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    /// node1, node2, …
    Count(u32),
    Named(Vec<String>),
}

impl Nodes {
    fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match (text.trim().parse::<u32>(), names.iter().any(String::is_empty)) {
            (Ok(count @ 1..=253), _) => Ok(Self::Count(count)),
            (Err(_), false) => Ok(Self::Named(names)),
            _ => Err(format!("found `{text}`, wanted 1 to 253, or names with commas between them")),
        }
    }

    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Count(count) => *count,
            Self::Named(names) => u32::try_from(names.len()).unwrap_or(u32::MAX),
        }
    }
}

type Say<'s> = &'s mut dyn FnMut(&str);

/// What options say, and for the rest what is proposed.
pub(super) fn proposed(args: &Init, found: &Found, say: Say<'_>) -> Result<Answers, Failure> {
    answers(args, found, &mut |_, proposal| Ok(proposal.to_owned()), say)
}

/// What options say, and for the rest what the person answers.
pub(super) fn dialogue(
    args: &Init,
    found: &Found,
    ask: &mut dyn FnMut(&str) -> Result<String, Failure>,
    say: Say<'_>,
) -> Result<Answers, Failure> {
    let mut ask = |question: &str, proposal: &str| {
        let answer = ask(&format!("{question} [{proposal}]:"))?;
        Ok(if answer.is_empty() { proposal.to_owned() } else { answer })
    };
    answers(args, found, &mut ask, say)
}

/// Asks, with what is proposed.
type Ask<'a> = &'a mut dyn FnMut(&str, &str) -> Result<String, Failure>;

/// Asks until the answer means something.
fn until<T>(
    ask: Ask<'_>,
    say: Say<'_>,
    question: &str,
    proposal: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let mut fault = String::new();
    for _ in 0..TRIES {
        match read(&ask(question, proposal)?) {
            Ok(value) => return Ok(value),
            Err(why) => {
                say(&why);
                fault = why;
            }
        }
    }
    Err(Failure::Usage(anyhow!(fault)))
}

fn answers(args: &Init, found: &Found, ask: Ask<'_>, say: Say<'_>) -> Result<Answers, Failure> {
    let usage = |why: String| Failure::Usage(anyhow!(why));
    // What no option says stays as the template has it.
    let template = args.template.as_deref().map(templates::find).transpose()?;
    let is_template = template.is_some();
    let text = |text: &str| Ok(text.to_owned());
    let name = match &args.name {
        Some(name) => Some(name.clone()),
        None if is_template => None,
        None => Some(until(ask, say, "Name of the cluster", "home", text)?),
    };
    let nodes = match (&args.nodes, template) {
        (Some(nodes), _) => Nodes::parse(nodes).map_err(|fault| usage(format!("--nodes: {fault}")))?,
        (None, Some(template)) => template.nodes(),
        (None, None) => until(ask, say, "How many nodes, or their names", "4", Nodes::parse)?,
    };
    let os = match &args.os {
        Some(os) => Some(os.clone()),
        None if is_template => None,
        None => Some(until(ask, say, "Image, as `cardpress images` names it", "raspios-lite-arm64", text)?),
    };
    let subnet = match (args.subnet, args.gateway, found.network) {
        (Some(subnet), ..) => subnet.trunc(),
        (None, gateway, network) => {
            let known = network
                .map(|network| network.subnet)
                .filter(|net| gateway.is_none_or(|gateway| net.contains(&gateway)));
            let around = gateway.and_then(|gateway| Ipv4Net::new(gateway, 24).ok()).map(|net| net.trunc());
            let proposal =
                known.or(around).map_or_else(|| "192.168.1.0/24".to_owned(), |net| net.to_string());
            if known.is_none() && around.is_none() {
                say(&format!("no network was found on this machine: {proposal} is a guess"));
            }
            until(ask, say, "Network of the nodes", &proposal, network::subnet)?
        }
    };
    let first = subnet.hosts().next().unwrap_or(subnet.addr());
    let address = |text: &str| {
        let address: Ipv4Addr =
            text.parse().map_err(|_| format!("found `{text}`, wanted an IPv4 address"))?;
        if subnet.contains(&address) {
            Ok(address)
        } else {
            Err(format!("found `{text}`, wanted an address in {subnet}"))
        }
    };
    let gateway = match args.gateway {
        Some(gateway) => {
            address(&gateway.to_string()).map_err(|fault| usage(format!("--gateway: {fault}")))?
        }
        None => {
            let known =
                found.network.map(|network| network.gateway).filter(|gateway| subnet.contains(gateway));
            until(ask, say, "Router", &known.unwrap_or(first).to_string(), address)?
        }
    };
    let count = nodes.count();
    let taken: Vec<Ipv4Addr> = [Some(gateway), found.own_address].into_iter().flatten().collect();
    let is_range = |start: Ipv4Addr| {
        let end = u32::from(start).saturating_add(count - 1);
        let fits = subnet.contains(&Ipv4Addr::from(end))
            && end < u32::from(subnet.broadcast())
            && start > subnet.network();
        let in_one_run = u32::from(start) >> 8 == end >> 8;
        let free = !(u32::from(start)..=end).contains(&u32::from(gateway));
        if fits && in_one_run && free {
            return Ok(start);
        }
        Err(format!(
            "found `{start}`, wanted {count} addresses in a row in {subnet}, without {gateway}, which differ in the last number"
        ))
    };
    let proposed = match template {
        Some(template) => Some(template.first_in(subnet).map_err(usage)?),
        None => network::free_range(subnet, count, &taken),
    };
    let address_from = match (args.address_from, proposed) {
        (Some(start), _) => is_range(start).map_err(|fault| usage(format!("--address-from: {fault}")))?,
        (None, Some(start)) if is_template => is_range(start).map_err(usage)?,
        (None, None) => return Err(usage(format!("found no room for {count} nodes in {subnet}"))),
        (None, Some(start)) => {
            until(ask, say, "Address of the first node", &start.to_string(), |text| is_range(address(text)?))?
        }
    };
    let user = match (&args.user, template) {
        (Some(user), _) => user.clone(),
        (None, Some(template)) => template.user().to_owned(),
        (None, None) => until(ask, say, "Account to log in as", found.user.as_deref().unwrap_or("pi"), text)?,
    };
    let key = match (&args.ssh_key, found.keys.first()) {
        (Some(key), _) => Some(key.clone()),
        (None, None) => {
            say(
                "no key was found in ~/.ssh: `ssh-keygen -t ed25519` makes one; without a key nobody can log in",
            );
            None
        }
        (None, Some(first)) => {
            if found.keys.len() > 1 {
                say(&format!("keys on this machine: {}", found.keys.join(", ")));
            }
            Some(until(ask, say, "Key that may log in", first, text)?)
        }
    };
    let key = key.map(|key| key_word(&key, &args.file));
    Ok(Answers {
        name,
        nodes,
        os,
        subnet,
        gateway,
        address_from,
        user,
        key,
        timezone: found.timezone.clone(),
    })
}

/// A key as a profile names it. A relative path begins here, and in a profile at its folder.
fn key_word(key: &str, profile: &Path) -> String {
    if key.contains(' ') && ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| key.contains(kind)) {
        return key.trim().to_owned();
    }
    let is_here = profile.parent().is_none_or(|folder| folder.as_os_str().is_empty());
    let path = PathBuf::from(key);
    if key.starts_with("~/") || path.is_absolute() || is_here {
        return format!("file:{key}");
    }
    format!("file:{}", std::path::absolute(&path).unwrap_or(path).display())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        init: Init,
    }

    fn typed(words: &[&str]) -> Init {
        Typed::parse_from([&["init"][..], words].concat()).init
    }

    fn found() -> Found {
        Found {
            network: Some(Network {
                subnet: "10.1.2.0/24".parse().unwrap(),
                gateway: Ipv4Addr::new(10, 1, 2, 1),
            }),
            own_address: Some(Ipv4Addr::new(10, 1, 2, 200)),
            keys: vec!["~/.ssh/id_ed25519.pub".into(), "~/.ssh/old.pub".into()],
            user: Some("ada".into()),
            timezone: Some("Europe/London".into()),
        }
    }

    /// The answers given to the questions, and what was asked and said.
    fn talk(words: &[&str], given: &[&str]) -> (Result<Answers, String>, String) {
        let mut given = given.iter();
        let talk = std::cell::RefCell::new(String::new());
        let answers = dialogue(
            &typed(words),
            &found(),
            &mut |question| {
                *talk.borrow_mut() += &format!("{question}\n");
                Ok((*given.next().unwrap_or(&"")).to_owned())
            },
            &mut |line| *talk.borrow_mut() += &format!("{line}\n"),
        );
        let answers = answers.map_err(|failure| match failure {
            Failure::Usage(error) => error.to_string(),
            _ => "another failure".to_owned(),
        });
        (answers, talk.into_inner())
    }

    #[test]
    fn an_empty_answer_takes_what_is_proposed() {
        let (answers, talk) = talk(&[], &[]);
        assert_eq!(
            talk,
            "Name of the cluster [home]:\nHow many nodes, or their names [4]:\n\
             Image, as `cardpress images` names it [raspios-lite-arm64]:\nNetwork of the nodes [10.1.2.0/24]:\n\
             Router [10.1.2.1]:\nAddress of the first node [10.1.2.201]:\nAccount to log in as [ada]:\n\
             keys on this machine: ~/.ssh/id_ed25519.pub, ~/.ssh/old.pub\nKey that may log in [~/.ssh/id_ed25519.pub]:\n"
        );
        let answers = answers.unwrap();
        assert_eq!(
            (answers.nodes, answers.key.as_deref()),
            (Nodes::Count(4), Some("file:~/.ssh/id_ed25519.pub"))
        );
    }

    #[test]
    fn what_options_say_is_not_asked_and_a_wrong_answer_is_asked_again() {
        let words =
            ["--name", "x", "--os", "y", "--user", "z", "--ssh-key", "k.pub", "--subnet", "10.9.0.7/16"];
        let (answers, talk) =
            talk(&words, &["none,,", "a, b", "10.8.0.1", "10.9.0.1", "10.9.0.255", "10.9.1.7"]);
        let answers = answers.unwrap();
        assert_eq!(answers.nodes, Nodes::Named(vec!["a".into(), "b".into()]));
        assert_eq!(answers.subnet.to_string(), "10.9.0.0/16");
        assert_eq!(
            (answers.gateway, answers.address_from),
            ("10.9.0.1".parse().unwrap(), "10.9.1.7".parse().unwrap())
        );
        assert_eq!(answers.key.as_deref(), Some("file:k.pub"));
        assert_eq!(talk.matches("How many nodes").count(), 2, "{talk}");
        assert!(talk.contains("found `10.8.0.1`, wanted an address in 10.9.0.0/16\n"), "{talk}");
        assert!(talk.contains("found `10.9.0.255`, wanted 2 addresses in a row"), "{talk}");
    }

    #[test]
    fn three_wrong_answers_are_enough_and_wrong_options_are_not_asked_again() {
        let (answers, _) = talk(&[], &["x", "0", "0", "0"]);
        assert_eq!(answers.unwrap_err(), "found `0`, wanted 1 to 253, or names with commas between them");
        for words in [
            &["--gateway", "10.7.0.1", "--subnet", "10.1.2.0/24"][..],
            &["--nodes", "300"],
            &["--nodes", "20", "--subnet", "10.1.2.0/28"],
            &["--address-from", "10.1.2.253"],
        ] {
            let (answers, _) = talk(words, &[]);
            assert!(answers.is_err(), "{words:?}: {answers:?}");
        }
    }

    #[test]
    fn a_relative_key_is_found_from_the_folder_of_the_profile() {
        assert_eq!(key_word("k.pub", Path::new("a.toml")), "file:k.pub");
        assert_eq!(key_word("~/k.pub", Path::new("b/a.toml")), "file:~/k.pub");
        assert!(key_word("k.pub", Path::new("b/a.toml")).starts_with("file:/"));
        assert_eq!(key_word("ssh-ed25519 AAAA me\n", Path::new("a.toml")), "ssh-ed25519 AAAA me");
    }
}
