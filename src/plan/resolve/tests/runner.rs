//! The first-boot runner, run for real in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan/first-boot");

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.path("lib/first-boot.d")).unwrap();
        for (name, lines) in scripts {
            let path = world.path("lib/first-boot.d").join(name);
            let trace = world.path("trace");
            fs::write(&path, format!("#!/bin/sh\ntrace={}\n{lines}\n", trace.display())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(Path::new(FOLDER).join(program))
            .env("CARDPRESS_LIB", self.path("lib"))
            .env("CARDPRESS_STATE", self.path("state"))
            .env("CARDPRESS_LOGS", self.path("logs"))
            .env("CARDPRESS_PAUSE", "0")
            .env("CARDPRESS_TRIES", "3")
            .env("CARDPRESS_CLOCK_WAIT", "0")
            .env("CARDPRESS_NETWORK_WAIT", "0")
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display()));
        command
    }

    fn run(&self) -> Output {
        self.command("first-boot").output().unwrap()
    }

    /// In a process group of its own, so that all of it can be killed, as systemd kills a unit.
    fn start(&self) -> Child {
        self.command("first-boot").process_group(0).stdout(Stdio::null()).spawn().unwrap()
    }

    fn trace(&self) -> String {
        fs::read_to_string(self.path("trace")).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.path("state").join(name).exists()
    }

    fn wait_for(&self, name: &str) {
        let start = Instant::now();
        while !self.path(name).exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "{name} does not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn scripts_run_in_order_and_each_once() {
    let world = World::new(&[("02-b", "echo b >> $trace"), ("01-a", "echo a >> $trace; echo hello")]);
    let output = world.run();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("hello\n01-a: done\n"));
    assert!(fs::read_to_string(world.path("logs/01-a.log")).unwrap().contains("hello"));
    assert!(world.has("first-boot.done"));
    fs::remove_file(world.path("state/first-boot.done")).unwrap(); // as if the unit were started again
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a\nb\n");
}

#[test]
fn a_failing_script_is_tried_again_and_holds_up_those_after_it() {
    let fails_twice = "echo try >> $trace; [ \"$(grep -c try $trace)\" -ge 3 ]";
    let world = World::new(&[("01-a", fails_twice), ("02-b", "echo b >> $trace")]);
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "try\ntry\ntry\nb\n");
}

#[test]
fn a_script_that_never_succeeds_is_left_for_the_next_boot() {
    let world = World::new(&[("01-a", "exit 7"), ("02-b", "echo b >> $trace")]);
    let output = world.run();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("01-a: failed with status 7"));
    assert!(!world.has("01-a.done") && !world.has("first-boot.done"));
    assert_eq!(world.trace(), "");
    let status = world.command("cardpress-status").output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("try 3"));
}

#[test]
fn a_runner_killed_in_the_middle_goes_on_where_it_was() {
    let slow =
        "echo start >> $trace; [ -e $trace.go ] || { touch $trace.running; sleep 60; }; echo end >> $trace";
    let world = World::new(&[("01-a", "echo a >> $trace"), ("02-slow", slow), ("03-c", "echo c >> $trace")]);
    let mut child = world.start();
    world.wait_for("trace.running");
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    child.wait().unwrap();
    assert!(world.has("01-a.done") && !world.has("02-slow.done"));
    fs::write(world.path("trace.go"), "").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a\nstart\nstart\nend\nc\n");
    assert!(world.command("cardpress-status").status().unwrap().success());
}

#[test]
fn only_scripts_that_ask_for_the_network_wait_for_it() {
    let world = World::new(&[("01-local", "echo local >> $trace"), ("02-far", "echo far >> $trace")]);
    fs::write(world.path("lib/needs-network"), "02-far\n").unwrap();
    fs::create_dir_all(world.path("bin")).unwrap();
    // An `ip` that says there is a route once the file is there.
    let ip = format!("#!/bin/sh\n[ ! -e {} ] || echo default via 192.0.2.1\n", world.path("route").display());
    fs::write(world.path("bin/ip"), ip).unwrap();
    fs::set_permissions(world.path("bin/ip"), fs::Permissions::from_mode(0o755)).unwrap();
    let output = world.run();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("02-far: no network"));
    assert_eq!(world.trace(), "local\n");
    fs::write(world.path("route"), "").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "local\nfar\n");
}

#[test]
fn what_a_script_leaves_running_holds_nothing_up() {
    let world = World::new(&[("01-a", "sleep 30 &\necho $! > $trace.pid"), ("02-b", "echo b >> $trace")]);
    let start = Instant::now();
    assert!(world.run().status.success());
    assert!(start.elapsed() < Duration::from_secs(20));
    let pid = fs::read_to_string(world.path("trace.pid")).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
}

#[test]
fn the_shell_scripts_are_sound() {
    for name in ["first-boot", "cardpress-status", "packages.sh"] {
        let path = Path::new(FOLDER).join(name);
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success(), "{name}");
        match Command::new("shellcheck").args(["--shell=sh"]).arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) if std::env::var_os("CARDPRESS_ORACLES").is_some_and(|value| value == "require") => {
                panic!("shellcheck: {error}")
            }
            Err(error) => println!("shellcheck is not here ({error}): {name} was not checked"),
        }
    }
}
