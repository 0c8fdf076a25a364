//! The profiles of Kubernetes clusters, laid for the releases they are for: who gets which secret, and that what the
//! nodes and the workstation believe of each other fits.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::super::{Laid, lay};
use super::recipes::{facts, file};
use super::{KEY, World};
use crate::base::{Arch, ImagePath};
use crate::plan::{Seed, Settings};

const KUBEADM: &str = include_str!("../../../../profiles/kubernetes.toml");
const K3S: &str = include_str!("../../../../profiles/k3s.toml");
const RELEASES: [(&str, u32); 2] = [("bookworm", 12), ("trixie", 13)];

fn laid(profile: &str, release: (&str, u32), arch: Arch) -> Laid {
    let world = World::with(profile).file("/home/me/.ssh/id_ed25519.pub", KEY);
    let cluster = world.loaded().cluster;
    lay(&cluster, &facts(release.0, release.1, arch), &Seed::new([7; 32]))
        .unwrap_or_else(|f| panic!("{f:#?}"))
}

/// Every secret of a node is root's alone.
fn secrets(settings: &Settings) -> Vec<&str> {
    let secrets = settings.files.iter().filter(|file| file.content.is_secret());
    secrets
        .inspect(|file| assert_eq!(file.mode, Some(0o600), "{}", file.path))
        .map(|file| file.path.as_str())
        .collect()
}

fn text<'s>(settings: &'s Settings, path: &str) -> &'s str {
    file(settings, path).0
}

fn script<'s>(settings: &'s Settings, name: &str) -> &'s str {
    let step = settings.first_boot.iter().find(|step| step.name == name).expect("no such step");
    std::str::from_utf8(step.script.bytes()).unwrap()
}

/// The PEM texts in a kubeconfig: authority, certificate, key.
fn kubeconfig(laid: &Laid) -> [String; 3] {
    let file = laid.host_files.iter().find(|file| file.path == "kubeconfig").expect("no kubeconfig");
    assert!(file.content.is_secret());
    let text = std::str::from_utf8(file.content.bytes()).unwrap();
    assert!(text.contains("server: \"https://192.168.1.200:6443\""), "{text}");
    ["certificate-authority-data", "client-certificate-data", "client-key-data"].map(|name| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).expect("no such line");
        String::from_utf8(Base64::decode_vec(line.trim_start_matches(": ")).unwrap()).unwrap()
    })
}

fn word_after<'t>(text: &'t str, name: &str) -> &'t str {
    let rest = text.split_once(name).unwrap_or_else(|| panic!("no `{name}` in {text}")).1;
    rest.split_whitespace().next().unwrap().trim_matches('"')
}

#[test]
fn kubeadm_gives_the_authority_to_the_control_plane_and_what_it_is_known_by_to_the_workers() {
    for release in RELEASES {
        let laid = laid(KUBEADM, release, Arch::Arm64);
        let settings: Vec<&Settings> = laid.cluster.nodes.iter().map(|node| &node.settings).collect();
        let given = "/etc/cardpress/kubernetes";
        assert_eq!(secrets(settings[0]), [format!("{given}/ca.key"), format!("{given}/kubeadm.yaml")]);
        for worker in &settings[1..] {
            assert_eq!(
                secrets(worker),
                [format!("{given}/kubeadm.yaml"), format!("{given}/bootstrap.kubeconfig")]
            );
        }

        let (init, join) = (
            text(settings[0], "/etc/cardpress/kubernetes/kubeadm.yaml"),
            text(settings[1], "/etc/cardpress/kubernetes/kubeadm.yaml"),
        );
        let token = word_after(init, "- token:");
        assert_eq!(token.len(), 23);
        assert!(token.bytes().enumerate().all(|(i, b)| match i {
            6 => b == b'.',
            _ => b.is_ascii_lowercase() || b.is_ascii_digit(),
        }));
        assert_eq!(word_after(join, "token:"), token);
        assert!(word_after(join, "caCertHashes:\n      -").starts_with("sha256:"));
        let bootstrap = text(settings[1], "/etc/cardpress/kubernetes/bootstrap.kubeconfig");
        assert_eq!(word_after(bootstrap, "token:"), token);

        let [authority, certificate, key] = kubeconfig(&laid);
        assert_eq!(authority, text(settings[0], "/etc/cardpress/kubernetes/ca.crt"));
        assert_eq!(authority, text(settings[1], "/etc/cardpress/kubernetes/ca.crt"));
        assert_ne!(certificate, authority);
        assert_ne!(key, text(settings[0], "/etc/cardpress/kubernetes/ca.key"));
    }
}

#[test]
fn kubeadm_is_read_by_no_version_that_does_not_know_its_files() {
    let profile = KUBEADM.replace("version = \"1.35\"", "version = \"1.30\"");
    let world = World::with(&profile).file("/home/me/.ssh/id_ed25519.pub", KEY);
    let faults = lay(&world.loaded().cluster, &facts("trixie", 13, Arch::Arm64), &Seed::new([7; 32]));
    let shown = faults.map(|_| ()).expect_err("the version was taken").to_string();
    assert!(shown.contains("found version `1.30`, wanted a minor version such as 1.35"), "{shown}");
}

#[test]
fn k3s_agents_know_the_servers_authority_and_none_of_its_secrets() {
    for (release, arch) in RELEASES.into_iter().flat_map(|r| [(r, Arch::Arm64), (r, Arch::Armhf)]) {
        let laid = laid(K3S, release, arch);
        let settings: Vec<&Settings> = laid.cluster.nodes.iter().map(|node| &node.settings).collect();
        let tls = "/var/lib/rancher/k3s/server/tls";
        let own = ["/etc/rancher/k3s/token", "/etc/rancher/node/password"].map(str::to_owned);
        let servers = [
            String::from("/etc/rancher/k3s/agent-token"),
            format!("{tls}/server-ca.key"),
            format!("{tls}/client-ca.key"),
        ];
        assert_eq!(secrets(settings[0]), [own.as_slice(), &servers].concat());
        for agent in &settings[1..] {
            assert_eq!(secrets(agent), own);
        }

        let authority = text(settings[0], "/var/lib/rancher/k3s/server/tls/server-ca.crt");
        let hash = Sha256::digest(authority).iter().fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        let agent_token = text(settings[0], "/etc/rancher/k3s/agent-token").trim();
        let expected = format!("K10{hash}::node:{agent_token}\n");
        assert_eq!(text(settings[1], "/etc/rancher/k3s/token"), expected);
        let server_token = text(settings[0], "/etc/rancher/k3s/token").trim();
        assert!(server_token.len() == 32 && server_token != agent_token);
        let passwords: Vec<&str> =
            settings.iter().map(|settings| text(settings, "/etc/rancher/node/password").trim()).collect();
        assert!(passwords.iter().all(|password| password.len() == 32) && passwords[1] != passwords[2]);

        assert_eq!(kubeconfig(&laid)[0], authority);
        let wanted = format!("/v1.36.4%2Bk3s1/k3s-{}", arch.name());
        assert!(settings[1].downloads[0].url.ends_with(&wanted), "{}", settings[1].downloads[0].url);
    }
}

#[test]
fn every_kubernetes_of_the_cluster_takes_images_from_the_registry() {
    let with_registry = |profile: &str, role: &str| {
        let own = format!("[role.{role}]\nrecipes = [");
        laid(&profile.replace(&own, &format!("{own}\"registry\", ")), RELEASES[1], Arch::Arm64)
    };
    let laid = with_registry(KUBEADM, "control-plane");
    let hosts = text(&laid.cluster.nodes[2].settings, "/etc/containerd/certs.d/control.lan:5000/hosts.toml");
    let hosts: toml::Table = hosts.parse().unwrap();
    assert_eq!(hosts["server"].as_str(), Some("http://control.lan:5000"));
    let laid = with_registry(K3S, "server");
    let mirrors = text(&laid.cluster.nodes[2].settings, "/etc/rancher/k3s/registries.yaml");
    assert!(mirrors.contains("\"server:5000\":\n    endpoint: [\"http://server:5000\"]"), "{mirrors}");
}

#[test]
fn containerd_is_told_where_plugins_are_and_who_keeps_control_groups() {
    let laid = laid(KUBEADM, RELEASES[0], Arch::Arm64);
    let config: toml::Table =
        text(&laid.cluster.nodes[0].settings, "/etc/containerd/config.toml").parse().unwrap();
    let cri = &config["plugins"]["io.containerd.grpc.v1.cri"];
    assert_eq!(cri["cni"]["bin_dir"].as_str(), Some("/opt/cni/bin"));
    let options = &cri["containerd"]["runtimes"]["runc"]["options"];
    assert_eq!(options["SystemdCgroup"].as_bool(), Some(true));
}

/// A folder in which the scripts of a node run as if it were the node. Programs only note that they were called.
struct Board {
    root: tempfile::TempDir,
}

impl Board {
    fn new(settings: &Settings) -> Self {
        let board = Self { root: tempfile::tempdir().unwrap() };
        for file in settings.files.iter().filter(|file| file.path.as_str().starts_with("/etc/cardpress/")) {
            let path = board.path(file.path.as_str());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file.content.bytes()).unwrap();
        }
        fs::create_dir(board.path("/run")).unwrap();
        fs::create_dir(board.path("/bin")).unwrap();
        board.program("apt-mark", "");
        board.program("systemctl", "");
        board.program(
            "kubeadm",
            "case $1 in\nversion) echo v1.35.9 ;;\nreset) rm -r $root/etc/kubernetes ;;\n\
             init) cp \"${3#--config=}\" $root/init && [ ! -e $root/broken ] ;;\nesac\n",
        );
        board.program("kubectl", "[ -e $root/ready ]\n");
        board
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn program(&self, name: &str, body: &str) {
        let root = self.root.path().display();
        let text = format!("#!/bin/sh\nroot={root}\necho \"{name} $1\" >> $root/log\n{body}");
        let path = self.path(&format!("/bin/{name}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The exit status, and what of kubeadm was called.
    fn run(&self, script: &str) -> (i32, Vec<String>) {
        let root = self.root.path().to_str().unwrap();
        let mut text = script.to_owned();
        for folder in ["/etc/cardpress", "/etc/kubernetes", "/run/cardpress"] {
            text = text.replace(folder, &format!("{root}{folder}"));
        }
        fs::write(self.path("/log"), "").unwrap();
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap());
        let status = Command::new("sh").args(["-c", &text]).env("PATH", path).status().unwrap();
        let log = fs::read_to_string(self.path("/log")).unwrap();
        let called = log.lines().filter_map(|line| line.strip_prefix("kubeadm "));
        (status.code().unwrap(), called.map(str::to_owned).collect())
    }
}

#[test]
fn a_control_plane_that_was_cut_off_starts_over_with_its_authority() {
    let laid = laid(KUBEADM, RELEASES[1], Arch::Arm64);
    let settings = &laid.cluster.nodes[0].settings;
    let board = Board::new(settings);
    fs::write(board.path("/broken"), "").unwrap();
    assert_eq!(board.run(script(settings, "kubernetes")), (1, vec!["version".into(), "init".into()]));
    fs::remove_file(board.path("/broken")).unwrap();
    let (code, called) = board.run(script(settings, "kubernetes"));
    assert_eq!((code, called.join(" ")), (0, String::from("reset version init")));
    assert!(fs::read_to_string(board.path("/init")).unwrap().contains("kubernetesVersion: \"v1.35.9\"\n"));
    let key = board.path("/etc/kubernetes/pki/ca.key");
    assert_eq!(fs::read_to_string(&key).unwrap(), text(settings, "/etc/cardpress/kubernetes/ca.key"));
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!board.path("/run/cardpress-kubeadm.yaml").exists());
}

#[test]
fn a_worker_asks_again_until_the_control_plane_is_ready() {
    let laid = laid(KUBEADM, RELEASES[0], Arch::Arm64);
    let settings = &laid.cluster.nodes[1].settings;
    let board = Board::new(settings);
    assert_eq!(board.run(script(settings, "kubernetes")), (75, vec![]));
    fs::write(board.path("/ready"), "").unwrap();
    assert_eq!(board.run(script(settings, "kubernetes")), (0, vec!["join".into()]));
    // kubeadm refuses a node that has an authority already, so what is given to a worker is kept elsewhere.
    let path: ImagePath = "/etc/kubernetes/pki/ca.crt".parse().unwrap();
    assert!(settings.files.iter().all(|file| file.path != path));
    fs::create_dir_all(board.path("/etc/kubernetes/pki")).unwrap();
    fs::write(board.path("/etc/kubernetes/pki/ca.crt"), "").unwrap();
    assert_eq!(board.run(script(settings, "kubernetes")), (0, vec!["reset".into(), "join".into()]));
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for laid in [laid(KUBEADM, RELEASES[1], Arch::Arm64), laid(K3S, RELEASES[1], Arch::Arm64)] {
        for node in laid.cluster.nodes.iter().take(2) {
            for step in &node.settings.first_boot {
                let path = folder.path().join(format!("{}-{}", node.name, step.name));
                fs::write(&path, step.script.bytes()).unwrap();
                match Command::new("shellcheck").args(["--shell=sh"]).arg(&path).output() {
                    Ok(output) => {
                        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout))
                    }
                    Err(error) => {
                        let required = std::env::var("CARDPRESS_ORACLES").as_deref() == Ok("require");
                        assert!(!required, "shellcheck: {error}");
                        println!("shellcheck is not here ({error}): {} was not checked", path.display());
                    }
                }
            }
        }
    }
}
