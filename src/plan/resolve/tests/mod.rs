//! What a node becomes, per generation of image: exact outcomes of whole plans.

mod fetch;
mod images;
mod machine;
mod oracle;
mod people;
mod profile;
mod runner;

use std::collections::BTreeSet;

use images::{Image, bookworm, bullseye, buster, debian, trixie};

use super::*;
use crate::base::{ByteLen, Secret};
use crate::plan::*;

fn node(name: &str, address: Option<&str>) -> Node {
    Node {
        name: name.to_owned(),
        role: None,
        addresses: address.iter().map(|address| address.parse().unwrap()).collect(),
        settings: Settings::default(),
        recipes: Recipes::default(),
    }
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password: None,
        ssh_keys: vec![String::from("ssh-ed25519 AAAAuser me")],
        groups: Vec::new(),
        shell: None,
        sudo: None,
        uid: None,
        full_name: None,
    }
}

/// Two nodes with addresses and one on DHCP.
fn cluster() -> Cluster {
    Cluster {
        name: String::from("swarm"),
        domain: Some(String::from("lan")),
        subnets: vec!["192.0.2.0/24".parse().unwrap()],
        gateways: vec!["192.0.2.1".parse().unwrap()],
        dns: vec!["192.0.2.53".parse().unwrap()],
        ssh_between_nodes: false,
        image: ImageChoice {
            source: ImageSource::Path("base.img".into()),
            sha256: None,
            signed_by: None,
            grow: None,
        },
        nodes: vec![
            node("one", Some("192.0.2.11/24")),
            node("two", Some("192.0.2.12/24")),
            node("three", None),
        ],
        origin: Default::default(),
    }
}

/// The same settings for every node.
fn with(edit: impl Fn(&mut Settings)) -> Cluster {
    let mut cluster = cluster();
    cluster.nodes.iter_mut().for_each(|node| edit(&mut node.settings));
    cluster
}

fn seed() -> Seed {
    Seed::new([42; 32])
}

fn plans(cluster: &Cluster, image: &Image) -> Vec<NodePlan> {
    let plans = resolve(cluster, &image.facts, &seed()).unwrap();
    for plan in &plans {
        let mut seen = BTreeSet::new();
        for edit in &plan.edits {
            let (Action::WriteFile { path, .. } | Action::Symlink { path, .. }) = &edit.action else {
                continue;
            };
            assert!(seen.insert(path.clone()), "{path} is written twice");
        }
    }
    plans
}

/// The first node's plan.
fn plan(cluster: &Cluster, image: &Image) -> NodePlan {
    plans(cluster, image).remove(0)
}

fn problems(cluster: &Cluster, image: &Image) -> Vec<Problem> {
    let faults = resolve(cluster, &image.facts, &seed()).unwrap_err();
    faults.0.into_iter().filter(|fault| fault.node == "one").map(|fault| fault.problem).collect()
}

impl NodePlan {
    fn write(&self, wanted: &str) -> Option<(&Content, Option<u16>, Option<Owner>)> {
        self.edits.iter().find_map(|edit| match &edit.action {
            Action::WriteFile { path, content, mode, owner } if path.as_str() == wanted => {
                Some((content, *mode, *owner))
            }
            _ => None,
        })
    }

    fn text(&self, path: &str) -> &str {
        let (content, ..) =
            self.write(path).unwrap_or_else(|| panic!("{path} is not written: {:#?}", self.edits));
        std::str::from_utf8(content.bytes()).unwrap()
    }

    fn line(&self, path: &str, start: &str) -> &str {
        self.text(path).lines().find(|line| line.starts_with(start)).unwrap_or_default()
    }

    fn link(&self, wanted: &str) -> Option<&str> {
        self.edits.iter().find_map(|edit| match &edit.action {
            Action::Symlink { path, target } if path.as_str() == wanted => Some(target.as_str()),
            _ => None,
        })
    }

    fn removes(&self, wanted: &str) -> bool {
        self.does(&Action::Remove { path: wanted.parse().unwrap() })
    }

    fn does(&self, wanted: &Action) -> bool {
        self.edits.iter().any(|edit| edit.action == *wanted)
    }
}

const GENERATIONS: [fn() -> Image; 5] = [buster, bullseye, bookworm, trixie, debian];

fn busy() -> Cluster {
    let mut cluster = with(|settings| {
        settings.ssh_enable = Some(true);
        settings.ssh_password_login = Some(false);
        settings.users = vec![User {
            password: Some(Password::Plain(Secret::new(String::from("hunter2hunter2")))),
            sudo: Some(Sudo::NoPassword),
            ..user("ada")
        }];
        settings.wifi = Some(Wifi {
            ssid: String::from("net"),
            passphrase: Some(WifiKey::Passphrase(Secret::new(String::from("correct horse")))),
            hidden: false,
            country: String::from("GB"),
            addresses: Vec::new(),
        });
        settings.timezone = Some(String::from("Europe/London"));
        settings.packages = vec![String::from("docker.io")];
    });
    cluster.ssh_between_nodes = true;
    cluster
}

#[test]
fn the_same_input_gives_the_same_plan_and_another_seed_another() {
    for image in GENERATIONS.map(|image| image()) {
        let first = resolve(&busy(), &image.facts, &seed()).unwrap();
        assert_eq!(first, resolve(&busy(), &image.facts, &seed()).unwrap());
        assert_ne!(first, resolve(&busy(), &image.facts, &Seed::new([43; 32])).unwrap());
    }
}

#[test]
fn nothing_secret_is_shown_by_a_plan() {
    for image in GENERATIONS.map(|image| image()) {
        let plans = plans(&busy(), &image);
        let shown = format!("{plans:?}");
        for secret in ["hunter2", "correct horse", "BEGIN OPENSSH", "$6$"] {
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(
                !shown.contains(secret) && !shown.contains(bytes.trim_matches(['[', ']'])),
                "{secret} is shown"
            );
        }
        // Nor is any of them put where everybody can read it.
        for edit in plans.iter().flat_map(|plan| &plan.edits) {
            if let Action::WriteFile { path, content, mode, .. } = &edit.action
                && content.is_secret()
            {
                assert!(!path.as_str().starts_with("/boot"));
                assert!(mode.is_none_or(|mode| mode & 0o007 == 0), "{path}");
            }
        }
    }
}

#[test]
fn edits_come_in_their_order() {
    let rank = |edit: &Edit| match edit.action {
        Action::Rename { .. } => 0,
        Action::Remove { .. } => 1,
        Action::MakeDirectory { .. } => 2,
        Action::WriteFile { .. } => 3,
        Action::Symlink { .. } => 4,
        Action::SetAttributes { .. } => 5,
        _ => 6,
    };
    for image in GENERATIONS.map(|image| image()) {
        let ranks: Vec<u8> = plan(&busy(), &image).edits.iter().map(rank).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
}

#[test]
fn everything_that_planning_reads_was_asked_for() {
    let wanted = wanted_paths(&busy());
    for path in
        ["/etc/passwd", "/boot/cmdline.txt", "/boot/firmware/cmdline.txt", "/home/ada/.ssh/authorized_keys"]
    {
        assert!(wanted.contains(&path.parse().unwrap()), "{path}");
    }
    // A tree of exactly these paths gives the same plan as the whole one.
    for image in GENERATIONS.map(|image| image()) {
        let mut facts = image.facts.clone();
        facts.tree = Tree::default();
        for path in &wanted {
            if let Some(found) = image.facts.tree.get(path.as_str()) {
                facts.tree.insert(path.clone(), found.clone());
            }
        }
        let whole = resolve(&busy(), &image.facts, &seed());
        assert!(resolve(&busy(), &facts, &seed()) == whole, "{}", facts.release.codename);
    }
}

#[test]
fn a_node_knows_its_name_and_every_node_with_an_address() {
    let plan = plan(&cluster(), &trixie());
    assert_eq!(plan.text("/etc/hostname"), "one\n");
    assert_eq!(
        plan.text("/etc/hosts"),
        "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\n\n\
         127.0.1.1\tone.lan one\n\
         # cardpress begin\n\
         192.0.2.11\tone one.local one.lan\n\
         192.0.2.12\ttwo two.local two.lan\n\
         # cardpress end\n"
    );
}

#[test]
fn pressing_what_was_pressed_changes_no_hosts() {
    let first = plan(&cluster(), &trixie());
    let again = trixie().file("/etc/hosts", first.text("/etc/hosts"));
    assert!(plan(&cluster(), &again).write("/etc/hosts").is_none());
}

#[test]
fn a_unit_that_is_not_there_is_taken_for_a_slip_only_if_its_own_name_is_like_another_s() {
    for (unit, meant) in [("sshd.service", Some("ssh.service")), ("docker.service", None), ("ssh.sock", None)]
    {
        let cluster = with(|settings| settings.units_enable = vec![String::from(unit)]);
        let told = resolve(&cluster, &trixie().facts, &seed()).unwrap_err().to_string();
        assert_eq!(told.contains("did you mean"), meant.is_some(), "{told}");
        assert!(told.contains(&meant.map_or_else(String::new, |meant| format!("`{meant}`"))), "{told}");
    }
}

#[test]
fn every_fault_of_every_node_is_told_at_once_and_what_several_have_once() {
    let mut cluster = with(|settings| settings.timezone = Some(String::from("No/Where")));
    cluster.nodes[1].settings.units_enable = vec![String::from("nope.service")];
    let faults = resolve(&cluster, &trixie().facts, &seed()).unwrap_err();
    let said: Vec<(&str, &str)> = faults.0.iter().map(|fault| (fault.node.as_str(), fault.section)).collect();
    assert_eq!(said, [("one", "timezone"), ("two", "timezone"), ("two", "service"), ("three", "timezone")]);
    let twice = Faults([&faults.0[0]; 2].map(Clone::clone).to_vec());
    assert_eq!(twice.to_string(), "node `one`, timezone: the image has no time zone `No/Where`");
    assert_eq!(
        faults.to_string(),
        "nodes `one, two, three`, timezone: the image has no time zone `No/Where`\n\
         node `two`, service: the image has no unit `nope.service`"
    );
}
