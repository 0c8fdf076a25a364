//! What a CI system would run: the shell of `action.yml` and of `ci/gitlab-ci.yml`, as it stands there, in a world of its
//! own and without a network. The values around it are those that GitHub and GitLab document.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardpress::base::Sha256Digest;
use serde_json::Value;

use crate::support::tools::{text, tool};
use crate::support::world::{Run, World, profile, small_base};

const NODES: [(&str, &str); 3] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12"), ("n3", "192.168.7.13")];
const TO_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";

/// A file of the repository, read by a program that knows YAML.
fn yaml(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_json::from_str(&tool("python3", &["-c", TO_JSON, path.to_str().unwrap()])).unwrap()
}

/// A repository with a profile and its lock, a release archive as `make dist` lays it out, and its digest.
struct Site {
    world: World,
    archive: PathBuf,
    sha256: String,
    env: BTreeMap<String, String>,
}

impl Site {
    fn new() -> Self {
        let world = World::in_memory();
        fs::copy(small_base(), world.path("base.img.xz")).unwrap();
        let of_this_machine = text(&small_base()).to_owned();
        world.write("swarm.toml", &profile(&NODES, "").replace(&of_this_machine, "base.img.xz"));
        world.run(&["lock", "swarm.toml"]).succeeded();
        // In place of the program one line that calls it: packing and unpacking the real one would only take time.
        let program = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_cardpress"));
        let program = world.write("pack/cardpress-0.0.0-test/cardpress", &program);
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let (archive, pack) = (world.path("release.tar.gz"), world.path("pack"));
        let words = [
            "--create",
            "--gzip",
            "--file",
            text(&archive),
            "--directory",
            text(&pack),
            "cardpress-0.0.0-test",
        ];
        tool("tar", &words);
        let sha256 = Sha256Digest::of(&fs::read(&archive).unwrap()).to_string();
        // What would need the network. curl puts the archive where it is told to.
        world.write("stubs/apt-get", "#!/bin/sh\n");
        world.write(
            "stubs/curl",
            &format!(
                "#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\ncp '{}' \"$2\"\n",
                archive.display()
            ),
        );
        for stub in ["apt-get", "curl"] {
            fs::set_permissions(world.path("stubs").join(stub), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", world.path("stubs").display());
        let env = [("PATH", path.as_str()), ("LC_ALL", "C"), ("TZ", "UTC")];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { world, archive, sha256, env }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    fn shell(&self, words: &[&str], script: &str) -> Run {
        let mut command = Command::new("bash");
        command.args(words).arg(self.world.write("step.sh", script)).current_dir(self.world.path(""));
        command.env_clear().env("HOME", self.world.path("")).envs(&self.env).stdin(Stdio::null());
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        Run::of(command.output().expect("cannot run bash"))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.world.path(path)).unwrap_or_default()
    }
}

/// The action, with its inputs; GitHub fills in what stands in `${{ … }}`.
struct Action {
    site: Site,
    inputs: BTreeMap<String, String>,
}

impl Action {
    fn new(inputs: &[(&str, &str)]) -> Self {
        let mut site = Site::new();
        fs::create_dir(site.world.path("temp")).unwrap();
        let temp = site.world.path("temp").display().to_string();
        for (name, value) in
            [("RUNNER_TEMP", temp.as_str()), ("GITHUB_SERVER_URL", "https://forge.example.invalid")]
        {
            site.set(name, value);
        }
        for name in ["GITHUB_PATH", "GITHUB_OUTPUT"] {
            let file = site.world.write(name, "");
            site.set(name, file.to_str().unwrap());
        }
        let described = yaml("action.yml")["inputs"].as_object().unwrap().clone();
        let mut all: BTreeMap<String, String> = described
            .iter()
            .map(|(name, input)| (name.clone(), input["default"].as_str().unwrap_or_default().to_owned()))
            .collect();
        all.insert("sha256".into(), site.sha256.clone());
        for (name, value) in inputs {
            assert!(all.insert((*name).to_owned(), (*value).to_owned()).is_some(), "no input `{name}`");
        }
        Self { site, inputs: all }
    }

    fn filled(&self, value: &str) -> String {
        let Some(name) = value.strip_prefix("${{ inputs.").and_then(|rest| rest.strip_suffix(" }}")) else {
            return value.replace("${{ runner.temp }}", &self.site.env["RUNNER_TEMP"]);
        };
        self.inputs.get(name).unwrap_or_else(|| panic!("the action has no input `{name}`")).clone()
    }

    /// Runs the step of that name as the runner does.
    fn step(&mut self, name: &str) -> Run {
        let action = yaml("action.yml");
        let steps = action["runs"]["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        for (name, value) in step["env"].as_object().unwrap() {
            let value = self.filled(value.as_str().unwrap());
            self.site.set(name, &value);
        }
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "{name}: an input becomes part of a script");
        let run = self.site.shell(&["--noprofile", "--norc", "-e", "-o", "pipefail"], script);
        let more = self.site.text("GITHUB_PATH").replace('\n', ":");
        let path = format!("{more}{}", self.site.env["PATH"]);
        self.site.set("PATH", &path);
        run
    }
}

const SEED: &str = "1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn the_github_action_installs_presses_shards_and_joins_them() {
    let release = [("repository", "OWNER/cardpress"), ("version", "0.0.0"), ("seed", SEED)];
    let mut action = Action::new(&[&release[..], &[("profile", "swarm.toml"), ("shard", "1/2")]].concat());
    let run = action.step("Install cardpress").succeeded();
    assert!(run.out.contains(concat!("cardpress ", env!("CARGO_PKG_VERSION"))), "{}", run.out);
    let lock = Sha256Digest::of(action.site.text("cardpress.lock").as_bytes());
    assert_eq!(action.site.text("GITHUB_OUTPUT"), format!("lock={lock}\n"));
    action.step("Press").succeeded();
    action.inputs.insert("shard".into(), "2/2".into());
    action.step("Press").succeeded();
    assert!(!action.site.world.path("temp/cardpress-seed").exists(), "the seed stays behind");
    assert!(!action.site.world.path(".cardpress").exists(), "another seed was made");
    action.inputs.insert("merge".into(), "true".into());
    action.step("Press").succeeded();
    let manifest: Value = serde_json::from_str(&action.site.text("out/test/manifest.json")).unwrap();
    assert_eq!(manifest["nodes"].as_array().unwrap().len(), NODES.len());
    assert!(action.site.world.path("out/test/n3.img.xz").exists());
}

#[test]
fn the_github_action_takes_no_archive_unchecked_and_makes_no_seed_of_its_own() {
    let mut action = Action::new(&[("profile", "swarm.toml")]);
    let archive = action.site.archive.display().to_string();
    action.inputs.insert("archive".into(), archive);
    for (sha256, word) in [("", "sha256 is needed"), (SEED, "did NOT match")] {
        action.inputs.insert("sha256".into(), sha256.into());
        let run = action.step("Install cardpress");
        assert!(run.status == 1 && (run.out + &run.err).contains(word), "{word}");
        assert!(!action.site.world.path("temp/cardpress").exists());
    }
    let sha256 = action.site.sha256.clone();
    action.inputs.insert("sha256".into(), sha256);
    action.step("Install cardpress").succeeded();
    let run = action.step("Press");
    assert!(run.status == 1 && run.out.contains("seed is needed"), "{}{}", run.out, run.err);
    // A lock that does not know the image: nothing is pinned on the way.
    action.inputs.insert("seed".into(), SEED.into());
    fs::write(action.site.world.path("cardpress.lock"), "schema = 1\n").unwrap();
    let run = action.step("Press");
    assert!(run.status != 0 && run.err.contains("cardpress.lock"), "{}", run.err);
    assert!(!action.site.world.path("out").exists());
}

#[test]
fn the_gitlab_pipeline_presses_its_parts_and_joins_them() {
    let mut site = Site::new();
    let pipeline = yaml("ci/gitlab-ci.yml");
    let top = site.world.path("").display().to_string();
    let top = top.trim_end_matches('/');
    site.set("CI_PROJECT_DIR", top);
    for (name, value) in pipeline["variables"].as_object().unwrap() {
        site.set(name, &value.as_str().unwrap().replace("$CI_PROJECT_DIR", top));
    }
    // What a person fills in, and a format that takes less time.
    site.set("FORMAT", "img");
    let sha256 = site.sha256.clone();
    site.set("CARDPRESS_SHA256", &sha256);
    let seed = site.world.write("file-variable", &format!("{SEED}\n"));
    site.set("CARDPRESS_SEED_FILE", seed.to_str().unwrap());
    let lines = |job: &str, key: &str| {
        let lines = pipeline[job][key].as_array().unwrap().iter();
        lines.map(|line| format!("{}\n", line.as_str().unwrap())).collect::<String>()
    };
    let parts = pipeline["press"]["parallel"].as_u64().unwrap();
    site.set("CI_NODE_TOTAL", &parts.to_string());
    for part in 1..=parts {
        site.set("CI_NODE_INDEX", &part.to_string());
        site.shell(
            &["-e", "-o", "pipefail"],
            &(lines(".cardpress", "before_script") + &lines("press", "script")),
        )
        .succeeded();
    }
    site.shell(
        &["-e", "-o", "pipefail"],
        &(lines(".cardpress", "before_script") + &lines("merge", "script")),
    )
    .succeeded();
    let manifest: Value = serde_json::from_str(&site.text("out/test/manifest.json")).unwrap();
    assert_eq!(manifest["nodes"].as_array().unwrap().len(), NODES.len());
    assert!(site.world.path(".cardpress-cache").exists(), "what the jobs are to cache is elsewhere");
}

#[test]
fn actions_of_others_are_pinned_to_a_commit() {
    let text = ["action.yml", "ci/github-workflow.yml"]
        .map(|path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap())
        .concat();
    let uses: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, uses)| uses)).collect();
    assert!(uses.len() > 4);
    for uses in uses.iter().filter(|uses| !uses.starts_with("OWNER/")) {
        let commit = uses.split_once('@').unwrap().1.split(' ').next().unwrap();
        assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{uses}");
        assert!(uses.contains("  # v"), "{uses}: which release is that?");
    }
}
