//! What a node fetches by itself, fetched here by the same scripts and by this machine's apt, in a folder of its own.
//!
//! `fetch/` is a package source of one package, signed by a key that was thrown away:
//!
//! ```text
//! gpg --faked-system-time 20250101T000000! --quick-generate-key 'Nobody, …' ed25519 sign never
//! gpg --export > key.gpg; gpg --armor --export > key.asc; gpg --clearsign --output InRelease Release
//! ```

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::base::Sha256Digest;

const IN_RELEASE: &[u8] = include_bytes!("fetch/InRelease");
const PACKAGES: &[u8] = include_bytes!("fetch/Packages");
const ARMORED: &[u8] = include_bytes!("fetch/key.asc");
const BINARY: &[u8] = include_bytes!("fetch/key.gpg");
const STEPS: &str = "/usr/local/lib/cardpress/first-boot.d";

/// Answers by the last name of the path, at most a hundred times.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(100) {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                let body: Option<&[u8]> = match name.as_str() {
                    "tool" => Some(b"a tool\n"),
                    "InRelease" => Some(IN_RELEASE),
                    "Packages" => Some(PACKAGES),
                    "key.asc" => Some(ARMORED),
                    "key.gpg" => Some(BINARY),
                    _ => None,
                };
                noted.lock().unwrap().push(name);
                let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
                let body = body.unwrap_or_default();
                let len = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), body].concat());
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A folder in which apt finds everything it has; this machine's own is neither read nor written.
struct Apt {
    root: tempfile::TempDir,
}

impl Apt {
    /// `None`, announced, where there is no apt. Missing is a failure where oracles are required.
    fn new() -> Option<Self> {
        if !PathBuf::from("/usr/lib/apt/apt-helper").exists() {
            let required = std::env::var_os("CARDPRESS_ORACLES").is_some_and(|value| value == "require");
            assert!(!required, "apt is not here");
            println!("apt is not here: not checked");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        for dir in ["state/lists/partial", "cache/archives/partial", "etc/sources.list.d", "keyrings"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::write(root.path().join("status"), "").unwrap();
        let here = root.path().display();
        let conf = format!(
            "Dir::State \"{here}/state\";\nDir::State::status \"{here}/status\";\nDir::Cache \"{here}/cache\";\n\
             Dir::Etc \"{here}/etc\";\nAPT::Sandbox::User \"root\";\nAcquire::Retries \"0\";\n\
             Acquire::http::Proxy::127.0.0.1 \"DIRECT\";\n"
        );
        fs::write(root.path().join("apt.conf"), conf).unwrap();
        Some(Self { root })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn here(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).env("APT_CONFIG", self.path("apt.conf")).env("LC_ALL", "C");
        command.env("CARDPRESS_KEYRINGS", self.path("keyrings")).env_remove("http_proxy").output().unwrap()
    }

    /// Runs the plan's first step, its keyrings here.
    fn first_step(&self, plan: &NodePlan) -> Output {
        let text = plan.text(&format!("{STEPS}/01-downloads"));
        fs::write(self.path("step"), text.replace("/etc/apt/keyrings/", &self.here("keyrings/"))).unwrap();
        self.run("sh", &[&self.here("step")])
    }

    /// Puts the plan's source `name` here, and its keyring.
    fn place(&self, plan: &NodePlan, name: &str) {
        let text = plan.text(&format!("/etc/apt/sources.list.d/{name}.sources"));
        let text = text.replace("/etc/apt/keyrings/", &self.here("keyrings/"));
        fs::write(self.path(&format!("etc/sources.list.d/{name}.sources")), text).unwrap();
        for ending in ["asc", "gpg"] {
            let file = format!("cardpress-{name}.{ending}");
            if let Some((content, ..)) = plan.write(&format!("/etc/apt/keyrings/{file}")) {
                fs::write(self.path("keyrings").join(file), content.bytes()).unwrap();
            }
        }
    }

    fn knows(&self, package: &str) -> bool {
        let output = self.run("apt-cache", &["show", package]);
        String::from_utf8(output.stdout).unwrap().starts_with(&format!("Package: {package}\n"))
    }
}

fn download(url: String, of: &[u8], path: String) -> Download {
    Download { url, sha256: Sha256Digest::of(of), path: path.parse().unwrap(), mode: Some(0o755) }
}

fn source(name: &str, url: &str, key: AptKey) -> AptSource {
    AptSource {
        name: name.into(),
        url: url.into(),
        suite: "./".into(),
        components: Vec::new(),
        // What runs this test may be any machine.
        architectures: vec!["arm64".into(), "amd64".into()],
        key,
    }
}

#[test]
fn downloads_arrive_whole_or_not_at_all_and_once() {
    let Some(apt) = Apt::new() else { return };
    let server = Server::start();
    let plan = plan(
        &with(|settings| {
            settings.downloads = vec![
                download(format!("{}tool", server.url), b"another tool\n", apt.here("opt/wrong")),
                download(format!("{}gone", server.url), b"", apt.here("opt/gone")),
                download(
                    format!("{}tool?it's=1&/tool", server.url),
                    b"a tool\n",
                    apt.here("opt/it's here/tool"),
                ),
            ];
        }),
        &trixie(),
    );
    let output = apt.first_step(&plan);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let tool = apt.path("opt/it's here/tool");
    assert_eq!(fs::read(&tool).unwrap(), b"a tool\n");
    assert_eq!(fs::metadata(&tool).unwrap().permissions().mode() & 0o777, 0o755);
    let names = |dir: &str| -> Vec<String> {
        let entries = fs::read_dir(apt.path(dir)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("opt"), ["it's here"]);
    assert_eq!(names("opt/it's here"), ["tool"]);
    assert_eq!(server.asked(), ["tool", "gone", "tool"]);

    // What is there is not fetched again, unless it was spoilt.
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o600)).unwrap();
    apt.first_step(&plan);
    assert_eq!(server.asked(), ["tool", "gone"]);
    assert_eq!(fs::metadata(&tool).unwrap().permissions().mode() & 0o777, 0o755);
    fs::write(&tool, "cut").unwrap();
    apt.first_step(&plan);
    assert_eq!(fs::read(&tool).unwrap(), b"a tool\n");
}

#[test]
fn apt_takes_our_sources_with_keys_of_either_form() {
    let Some(apt) = Apt::new() else { return };
    let server = Server::start();
    let fetched = |name: &str, key: &[u8]| AptKey::Download {
        url: format!("{}{name}", server.url),
        sha256: Sha256Digest::of(key),
    };
    let keys = [
        AptKey::Armored(ARMORED.into()),
        AptKey::Binary(BINARY.into()),
        fetched("key.asc", ARMORED),
        fetched("key.gpg", BINARY),
    ];
    for key in keys {
        let is_fetched = matches!(key, AptKey::Download { .. });
        let cluster = with(|settings| settings.apt = vec![source("test", &server.url, key.clone())]);
        let plan = plan(&cluster, &trixie());
        assert_eq!(plan.write(&format!("{STEPS}/01-downloads")).is_some(), is_fetched);
        let apt = Apt::new().unwrap();
        if is_fetched {
            let output = apt.first_step(&plan);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        apt.place(&plan, "test");
        let output = apt.run("apt-get", &["update", "--option", "APT::Update::Error-Mode=any"]);
        assert!(output.status.success(), "{key:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(apt.knows("nothing"));
    }
    // The same without the key.
    let cluster =
        with(|settings| settings.apt = vec![source("test", &server.url, fetched("key.asc", ARMORED))]);
    apt.place(&plan(&cluster, &trixie()), "test");
    assert!(!apt.run("apt-get", &["update"]).status.success());
    assert!(!apt.knows("nothing"));
}

#[test]
fn a_source_that_cannot_be_reached_is_an_error_only_when_asked_for() {
    let Some(apt) = Apt::new() else { return };
    // Nobody listens at port 1 of this machine.
    let key = AptKey::Armored(ARMORED.into());
    let cluster = with(|settings| settings.apt = vec![source("test", "http://127.0.0.1:1/", key.clone())]);
    apt.place(&plan(&cluster, &trixie()), "test");
    assert!(apt.run("apt-get", &["update"]).status.success());
    assert!(!apt.run("apt-get", &["update", "--option", "APT::Update::Error-Mode=any"]).status.success());
    assert!(
        include_str!("../../first-boot/packages.sh")
            .contains("apt_get update --option APT::Update::Error-Mode=any")
    );
}

#[test]
fn sources_and_downloads_have_their_files() {
    let cluster = with(|settings| {
        let key = AptKey::Armored((*b"key").into());
        settings.apt = vec![
            AptSource {
                suite: "trixie".into(),
                components: vec!["stable".into(), "test".into()],
                architectures: Vec::new(),
                ..source("docker", "https://apt.example/debian", key)
            },
            source(
                "flat",
                "https://apt.example/",
                AptKey::Download { url: "https://apt.example/key".into(), sha256: Sha256Digest([1; 32]) },
            ),
        ];
        settings.downloads = vec![Download {
            url: "https://files.example/tool".into(),
            sha256: Sha256Digest([2; 32]),
            path: "/usr/local/bin/tool".parse().unwrap(),
            mode: None,
        }];
        settings.packages = vec!["docker-ce".into()];
    });
    let plan = plan(&cluster, &trixie());
    assert_eq!(
        plan.text("/etc/apt/sources.list.d/docker.sources"),
        "# Of the cardpress profile.\nTypes: deb\nURIs: https://apt.example/debian\nSuites: trixie\n\
         Components: stable test\nSigned-By: /etc/apt/keyrings/cardpress-docker.asc\n"
    );
    assert_eq!(
        plan.text("/etc/apt/sources.list.d/flat.sources"),
        "# Of the cardpress profile.\nTypes: deb\nURIs: https://apt.example/\nSuites: ./\n\
         Architectures: arm64 amd64\nSigned-By: /etc/apt/keyrings/cardpress-flat.asc\n"
    );
    let (content, mode, owner) = plan.write("/etc/apt/keyrings/cardpress-docker.asc").unwrap();
    assert_eq!((content.bytes(), mode, owner), (&b"key"[..], Some(0o644), Some(Owner::ROOT)));
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    let arguments = format!(
        "set -eu\nset -- \\\n    'https://files.example/tool' {two} '/usr/local/bin/tool' 0644 \\\n    \
         'https://apt.example/key' {one} '/etc/apt/keyrings/cardpress-flat.key' 0644\n"
    );
    let script = plan.text(&format!("{STEPS}/01-downloads"));
    assert!(script.contains(&arguments), "{script}");
    let lib = "/usr/local/lib/cardpress";
    assert_eq!(plan.text(&format!("{lib}/needs")), "01-downloads\n02-packages 01-downloads\n");
    assert_eq!(plan.text(&format!("{lib}/needs-network")), "01-downloads\n02-packages\n");
}

#[test]
fn a_source_of_the_image_itself_is_not_written_over() {
    let key = AptKey::Armored((*b"key").into());
    let cluster = with(|settings| settings.apt = vec![source("debian", "https://apt.example/", key.clone())]);
    let path = "/etc/apt/sources.list.d/debian.sources";
    assert!(wanted_paths(&cluster).contains(&path.parse().unwrap()));
    let found = problems(&cluster, &trixie().file(path, "Types: deb\n"));
    assert!(matches!(&found[..], [Problem::Taken { what: "apt", .. }]), "{found:?}");
    // What was pressed is pressed again.
    let first = plan(&cluster, &trixie());
    assert!(plan(&cluster, &trixie().file(path, first.text(path))).write(path).is_none());
}

#[test]
fn a_download_does_not_go_to_the_boot_partition() {
    let cluster = with(|settings| {
        settings.downloads = vec![download("https://a/b".into(), b"", "/boot/firmware/x".into())];
    });
    assert!(matches!(
        &problems(&cluster, &trixie())[..],
        [Problem::BadValue { place: "the boot partition", .. }]
    ));
}
