//! The profiles that ship, pressed as they stand: what lands on each node, and what the programs concerned say of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::shapes::{Shape, cut, text};
use crate::support::tools::{must, run, tool, unpacked};
use crate::support::world::{PUBLIC_KEY, World, small_base};

/// Those that ship, but for `cluster.toml`, which shows every key and means no software.
fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut profiles: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml") && !path.ends_with("cluster.toml"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    profiles.sort();
    assert!(profiles.len() >= 5, "{profiles:?}");
    profiles
}

/// A world with what the profiles name: a key, passwords, a seed.
fn world(name: &str, profile: &str) -> World {
    let world = World::new();
    world.write(".ssh/id_ed25519.pub", &format!("{PUBLIC_KEY}\n"));
    world.write("pi.password", "correct horse battery staple\n");
    world.write("root.password", "correct horse battery staple\n");
    world.write("seed", &"5e".repeat(32));
    world.write(&format!("{name}.toml"), profile);
    world
}

fn words<'w>(verb: &'w str, profile: &'w str, image: &'w Path) -> Vec<&'w str> {
    vec![verb, profile, "--image", text(image), "--seed-file", "seed"]
}

#[test]
fn every_shipped_profile_is_pressed_on_every_release_and_architecture_it_is_for() {
    for (version, codename, date, token) in [
        (12, "bookworm", "2025-05-13", "quiet init=/usr/lib/raspberrypi-sys-mods/firstboot"),
        (13, "trixie", "2026-06-18", "resize"),
    ] {
        for arch in ["arm64", "armhf"] {
            let made = World::new();
            let base = Shape::raspios(version, codename, arch, date, token).make(&made, "base.img");
            for (name, profile) in shipped() {
                let world = world(&name, &profile);
                let profile = format!("{name}.toml");
                let mut words = words("build", &profile, &base);
                words.extend(["--format", "none", "--json"]);
                let run = world.run(&words);
                // Kubernetes has no packages for 32 bits, and the recipe says so before anything is written.
                if arch == "armhf" && run.err.contains("is for arm64; the image is armhf") {
                    assert_eq!((name.as_str(), run.status), ("kubernetes", 2), "{}", run.err);
                    continue;
                }
                let run = run.succeeded();
                let manifest: serde_json::Value = serde_json::from_str(&run.out).unwrap();
                let nodes = manifest["nodes"].as_array().unwrap().len();
                assert!(nodes >= 3, "{name} on {codename} {arch}: {nodes} nodes");
            }
        }
    }
}

/// Edits that every node has, whatever the profile, are told by other tests.
const COMMON: [&str; 4] =
    ["/first-boot 0755", "/cardpress-status", "/cardpress-first-boot.service", "/ssh_host_ed25519_key"];
const SECTIONS: [&str; 12] = [
    "cmdline",
    "sysctl",
    "module",
    "fstab",
    "remove",
    "directory",
    "file",
    "apt",
    "download",
    "symlink",
    "service",
    "first-boot",
];

/// What of a plan the profile and its recipes made.
fn told(plan: &str) -> String {
    let mut kept = String::new();
    let mut is_kept = false;
    for line in plan.lines() {
        if let Some(heading) = line.strip_prefix("  [") {
            let section = heading.split(']').next().unwrap_or_default();
            is_kept = SECTIONS.contains(&section) && !COMMON.iter().any(|common| heading.contains(common));
        } else if !line.starts_with(' ') {
            is_kept = true;
        }
        if is_kept && !line.is_empty() {
            kept += &format!("{line}\n");
        }
    }
    kept
}

/// `CARDPRESS_SNAPSHOTS=write cargo test shipped_profile` writes them; a change of theirs is read before it is committed.
#[test]
fn what_a_shipped_profile_puts_on_each_kind_of_node_is_as_it_was_read_last() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let writes = std::env::var("CARDPRESS_SNAPSHOTS").as_deref() == Ok("write");
    let mut differing = Vec::new();
    for (name, profile) in shipped() {
        let world = world(&name, &profile);
        let (file, base) = (format!("{name}.toml"), small_base());
        let mut words = words("plan", &file, &base);
        // Nodes of one range are alike: the first of each entry.
        let nodes: Vec<String> = profile
            .lines()
            .filter_map(|line| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned()))
            .skip(1)
            .map(|name| match name.split_once('[') {
                Some((stem, range)) => format!("{stem}{}", range.split('-').next().unwrap()),
                None => name,
            })
            .collect();
        words.extend(nodes.iter().flat_map(|node| ["--node", node.as_str()]));
        let found = told(&world.run(&words).succeeded().out);
        let snapshot = folder.join(format!("{name}.txt"));
        if writes {
            fs::write(&snapshot, &found).unwrap();
        } else if fs::read_to_string(&snapshot).unwrap_or_default() != found {
            let path = world.write("found.txt", &found);
            differing.push(run("diff", ["-u", text(&snapshot), text(&path)]).text);
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[track_caller]
fn agrees(mut judge: Command, args: &[&str]) {
    let output = judge.args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{judge:?} (run `make oracles`): {error}"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{judge:?}: {said}");
}

/// The root filesystem of a node, taken out by debugfs.
fn root_of(world: &World, image: &Path, node: &str) -> PathBuf {
    let (_, ext4) = cut(image, world);
    let root = world.path(&format!("{node}.root"));
    fs::create_dir(&root).unwrap();
    tool("debugfs", &["-R", &format!("rdump / {}", root.display()), text(&ext4)]);
    root
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[cfg(unix)]
#[test]
fn what_recipes_write_for_the_workstation_is_there_and_secrets_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    for (wanted, files) in [
        ("kubernetes", &["kubeconfig"][..]),
        ("k3s", &["kubeconfig"]),
        ("monitoring", &["grafana/password"]),
        ("docker-swarm", &["portainer/password"]),
    ] {
        let (name, profile) = shipped().into_iter().find(|(name, _)| name == wanted).unwrap();
        let world = world(&name, &profile);
        let mut words = vec!["export", "--seed-file", "seed", "--all", "files"];
        let profile = format!("{name}.toml");
        words.push(&profile);
        world.run(&words).succeeded();
        for file in files {
            let path = world.path("files").join(file);
            let content = fs::read_to_string(&path).unwrap();
            assert!(content.len() > 20, "{name}: {file}: {content}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}: {file}");
            let readme = fs::read_to_string(world.path("files/README.md")).unwrap();
            assert!(readme.contains(&format!("| `{file}` | of a recipe; **secret**")), "{readme}");
            assert!(!readme.contains(content.trim()), "{readme}");
        }
    }
}

#[test]
fn what_shipped_profiles_write_is_taken_by_the_programs_it_is_for() {
    let mut judged: Vec<&str> = Vec::new();
    for (name, profile) in shipped() {
        let world = world(&name, &profile);
        let (file, base) = (format!("{name}.toml"), small_base());
        world.run(&words("build", &file, &base)).succeeded();
        let out = fs::read_dir(world.path("out")).unwrap().next().unwrap().unwrap().path();
        for image in files_in(&out).iter().filter(|path| path.extension().is_some_and(|ext| ext == "img")) {
            let node = image.file_stem().unwrap().to_str().unwrap();
            let root = root_of(&world, image, node);
            judge(&root, &mut judged);
            fs::remove_dir_all(&root).unwrap();
        }
    }
    // Each judge had something to judge.
    for judge in ["shellcheck", "sudoers", "dockerd", "promtool", "sshd", "units", "slurm.conf"] {
        assert!(judged.contains(&judge), "{judge} was never asked: {judged:?}");
    }
}

fn judge(root: &Path, judged: &mut Vec<&'static str>) {
    let mut note = |what| {
        if !judged.contains(&what) {
            judged.push(what);
        }
    };
    let mut scripts = files_in(&root.join("usr/local/lib/cardpress/first-boot.d"));
    scripts.extend(
        files_in(&root.join("usr/local/lib/cardpress"))
            .into_iter()
            .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!"))),
    );
    for script in &scripts {
        must("sh", ["-n", text(script)]);
    }
    if !scripts.is_empty() {
        note("shellcheck");
        must(
            "shellcheck",
            ["--shell=sh", "--severity=info"].into_iter().chain(scripts.iter().map(|s| text(s))),
        );
    }
    for sudoers in files_in(&root.join("etc/sudoers.d")).iter().filter(|path| !path.ends_with("README")) {
        note("sudoers");
        agrees(unpacked("visudo"), &["--check", "--quiet", "--file", text(sudoers)]);
    }
    let daemon = root.join("etc/docker/daemon.json");
    if daemon.exists() {
        note("dockerd");
        docker_daemon(&daemon);
    }
    let prometheus = root.join("etc/prometheus/prometheus.yml");
    if prometheus.exists() {
        note("promtool");
        agrees(unpacked("promtool"), &["check", "config", text(&prometheus)]);
    }
    ssh_server(root);
    note("sshd");
    for unit in files_in(&root.join("etc/systemd/system"))
        .iter()
        .filter(|unit| unit.extension().is_some_and(|ext| ext == "service") && !unit.is_symlink())
    {
        note("units");
        // What it runs is installed on the node: here a program that is there stands for it.
        let text_of_unit = fs::read_to_string(unit).unwrap();
        let here: String = text_of_unit
            .lines()
            .map(|line| match line.starts_with("ExecStart=") {
                true => String::from("ExecStart=/bin/true\n"),
                false => format!("{line}\n"),
            })
            .collect();
        let copy = root.join(unit.file_name().unwrap());
        fs::write(&copy, here).unwrap();
        must("systemd-analyze", ["verify", "--man=no", "--recursive-errors=no", text(&copy)]);
    }
    let slurm = root.join("etc/slurm/slurm.conf");
    if slurm.exists() {
        note("slurm.conf");
        let text = fs::read_to_string(slurm).unwrap();
        assert!(text.lines().filter(|line| line.starts_with("NodeName=")).count() >= 3, "{text}");
        assert!(text.contains("PartitionName="), "{text}");
    }
}

/// The program as no user of this machine, who still may read what is ours: a user namespace that maps nobody.
fn as_nobody(program: &str) -> Command {
    let found = unpacked(program);
    let mut command = Command::new("unshare");
    command.arg("--user").arg(found.get_program()).stdin(Stdio::null());
    command.envs(found.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// `dockerd --validate`, and before version 23 what it says on its way to finding out that it is not root.
fn docker_daemon(settings: &Path) {
    let said = unpacked("dockerd").args(["--validate", "--config-file", text(settings)]).output();
    let said = said.unwrap_or_else(|error| panic!("`dockerd` (run `make oracles`): {error}"));
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    if !error.contains("unknown flag: --validate") {
        assert!(said.status.success(), "dockerd: {error}");
        return;
    }
    let said = as_nobody("dockerd").args(["--config-file", text(settings)]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("needs to be started with root"), "dockerd: {said}");
}

/// Its settings as one file: `Include` would lead out of the root that is judged.
fn ssh_server(root: &Path) {
    let mut all = String::new();
    for file in files_in(&root.join("etc/ssh/sshd_config.d")) {
        all += &fs::read_to_string(file).unwrap();
    }
    for line in fs::read_to_string(root.join("etc/ssh/sshd_config")).unwrap_or_default().lines() {
        if !line.trim_start().starts_with("Include") {
            all += &format!("{line}\n");
        }
    }
    let config = root.join("sshd.judged");
    fs::write(&config, all).unwrap();
    // Root's sshd asks for the user `sshd`, whom only its package would make.
    let key = root.join("etc/ssh/ssh_host_ed25519_key");
    agrees(as_nobody("sshd"), &["-T", "-f", text(&config), "-h", text(&key)]);
}
