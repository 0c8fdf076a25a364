//! The first-boot runner, run for real in a folder of its own, where time is a file and a pause moves it on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan/first-boot");

struct World {
    root: tempfile::TempDir,
}

impl World {
    /// Steps by their names and lines, which find the file to leave traces in as `$trace`.
    fn new(steps: &[(&str, &str)]) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.path("lib/first-boot.d")).unwrap();
        fs::create_dir_all(world.path("bin")).unwrap();
        fs::write(world.path("lib/needs"), "").unwrap();
        fs::write(world.path("uptime"), "100.25 7.00\n").unwrap();
        fs::write(world.path("sleeps"), "").unwrap();
        for (name, lines) in steps {
            let trace = format!("trace={}", world.path("trace").display());
            world.program(&format!("lib/first-boot.d/{name}"), &format!("{trace}\n{lines}"));
        }
        // A pause takes no time, is written down, and is the power cut when time is up.
        let here = world.root.path().display();
        let sleep = format!(
            "cd {here}\nread -r now _ < uptime\nnow=${{now%%.*}}\necho $1 >> sleeps\n\
             echo $((now + $1)).99 0 > uptime\n[ $((now + $1)) -lt $END ] || kill -KILL $PPID"
        );
        world.program("bin/sleep", &sleep);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn program(&self, name: &str, lines: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn needs(self, lines: &str) -> Self {
        fs::write(self.path("lib/needs"), lines).unwrap();
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(Path::new(FOLDER).join(program))
            .env("CARDPRESS_LIB", self.path("lib"))
            .env("CARDPRESS_STATE", self.path("state"))
            .env("CARDPRESS_LOGS", self.path("logs"))
            .env("CARDPRESS_RUN", self.path("run"))
            .env("CARDPRESS_UPTIME", self.path("uptime"))
            .env("CARDPRESS_SYNCHRONIZED", self.path("synchronized"))
            .env("CARDPRESS_NOT_YET_LOGGED", "20")
            .env("END", "100000")
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display()));
        command
    }

    fn run(&self) -> Output {
        self.command("first-boot").output().unwrap()
    }

    /// Lets so many seconds go by, then cuts the power.
    #[track_caller]
    fn run_for(&self, seconds: u32) -> String {
        let output = self.command("first-boot").env("END", (100 + seconds).to_string()).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// In a process group of its own, so that all of it can be killed, as systemd kills a unit.
    fn start(&self) -> Child {
        self.command("first-boot").process_group(0).stdout(Stdio::null()).spawn().unwrap()
    }

    fn status(&self) -> String {
        let output = self.command("cardpress-status").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), text.ends_with("this node is set up\n"), "{text}");
        text.replace(&self.root.path().display().to_string(), "")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What the steps left, in one line.
    fn trace(&self) -> String {
        self.read("trace").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The pauses, in seconds.
    fn sleeps(&self) -> Vec<u32> {
        self.read("sleeps").lines().map(|line| line.parse().unwrap()).collect()
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
fn steps_run_in_order_and_each_once() {
    let world = World::new(&[("02-b", "echo b >> $trace"), ("01-a", "echo a >> $trace; echo hello")]);
    let output = world.run();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("hello\n01-a: done\n"));
    assert!(world.read("logs/01-a.log").contains("hello"));
    assert!(world.has("first-boot.done"));
    assert!(world.status().ends_with("this node is set up\n"));
    fs::remove_file(world.path("state/first-boot.done")).unwrap(); // as if the unit were started again
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a b");
    assert!(world.sleeps().is_empty());
}

#[test]
fn a_failing_step_is_tried_again_and_holds_up_those_after_it_that_say_nothing_else() {
    let fails_twice = "echo try >> $trace; [ \"$(grep -c try $trace)\" -ge 3 ]";
    let world = World::new(&[("01-a", fails_twice), ("02-b", "echo b >> $trace")]);
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "try try try b");
    assert_eq!(world.sleeps(), [10, 20]);
}

#[test]
fn a_failing_step_holds_up_only_those_that_need_it() {
    let fails = "echo a >> $trace; exit 7";
    let world = World::new(&[
        ("01-a", fails),
        ("02-b", "echo b >> $trace"),
        ("03-c", "echo c >> $trace"),
        ("04-d", "echo d >> $trace"),
        ("05-e", "echo e >> $trace"),
    ])
    .needs("02-b\n03-c 02-b\n05-e 03-c 01-a\n");
    let said = world.run_for(60);
    assert_eq!(world.trace(), "a b c a a");
    assert!(said.contains("01-a: failed with status 7, again in 10 seconds"), "{said}");
    let status = world.status();
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines[0], "01-a                     failed, try 3, status 7; see /logs/01-a.log");
    assert!(lines[1].starts_with("02-b                     done 2"));
    assert!(lines[2].starts_with("03-c                     done 2"));
    assert_eq!(lines[3], "04-d                     waiting for 01-a");
    assert_eq!(lines[4], "05-e                     waiting for 01-a");
    assert!(lines[5].starts_with("3 left;"));
}

#[test]
fn a_step_may_need_a_later_one() {
    let world = World::new(&[("01-a", "echo a >> $trace"), ("02-b.x", "echo b >> $trace")])
        .needs("01-a 02-b.x\n02-b.x\n");
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "b a");
    assert!(world.sleeps().is_empty());
}

#[test]
fn a_step_that_always_fails_is_tried_for_ever_at_most_ten_minutes_apart() {
    let world = World::new(&[("01-a", "exit 1")]);
    world.run_for(5000);
    assert_eq!(world.sleeps()[..8], [10, 20, 40, 80, 160, 320, 600, 600]);
    assert!(world.sleeps()[8..].iter().all(|pause| *pause == 600));
    assert!(!world.has("01-a.done") && !world.has("first-boot.done"));
}

#[test]
fn a_step_that_is_not_ready_yet_is_asked_again_soon_and_has_not_failed() {
    let third = "echo a >> $trace; n=$(grep -c a $trace); [ $n -ne 3 ] || exit 1; [ $n -gt 5 ] || exit 75";
    let world = World::new(&[("01-a", third), ("02-b", "echo b >> $trace")]).needs("02-b\n");
    let said = world.run_for(16);
    assert!(said.contains("01-a: not yet, asked again every 15 seconds\n"), "{said}");
    assert_eq!(world.trace(), "a b a");
    assert!(
        world.status().starts_with("01-a                     not yet, asked 2 times; see /logs/01-a.log\n")
    );
    let output = world.run();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("01-a: failed with status 1, again in 10 seconds")
    );
    // Ten seconds is the first pause: nothing before it was a failure. What follows is not late because of it.
    assert_eq!(world.sleeps(), [15, 15, 10, 15, 15]);
    assert!(output.status.success());
}

#[test]
fn a_day_of_not_yet_leaves_few_lines() {
    let world = World::new(&[("01-a", "echo no manager; exit 75")]);
    // One in twenty is to be logged here.
    let said = world.run_for(15 * 25);
    assert_eq!(world.sleeps().len(), 25);
    assert_eq!(said.matches("no manager\n01-a: not yet").count(), 2, "{said}");
    let log = world.read("logs/01-a.log");
    assert_eq!(log.matches("no manager").count(), 2, "{log}");
    assert_eq!(log.lines().count(), 4, "{log}");
}

#[test]
fn a_log_that_grew_long_is_put_aside_once() {
    let world = World::new(&[("01-a", "echo 0123456789012345678901234567890123456789; exit 1")]);
    let mut command = world.command("first-boot");
    command.env("CARDPRESS_LOG_LIMIT", "200").env("END", "4000").output().unwrap();
    assert!(world.sleeps().len() > 9);
    let names = fs::read_dir(world.path("logs")).unwrap().count();
    assert_eq!(names, 2);
    for name in ["logs/01-a.log", "logs/01-a.log.1"] {
        assert!((1..300).contains(&world.read(name).len()), "{name}");
    }
}

#[test]
fn a_runner_killed_in_the_middle_goes_on_where_it_was() {
    let slow = "echo start >> $trace; [ -e $trace.go ] || { touch $trace.running; /bin/sleep 60; }; echo end >> $trace";
    let world = World::new(&[("01-a", "echo a >> $trace"), ("02-slow", slow), ("03-c", "echo c >> $trace")]);
    let mut child = world.start();
    world.wait_for("trace.running");
    assert!(world.status().contains("\n02-slow                  running, try 1; see /logs/02-slow.log\n"));
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    child.wait().unwrap();
    assert!(world.has("01-a.done") && !world.has("02-slow.done"));
    fs::write(world.path("trace.go"), "").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a start start end c");
    assert!(world.status().ends_with("this node is set up\n"));
}

#[test]
fn power_cuts_in_every_step_are_survived() {
    // Each step cuts the power in the middle of its first run and at the end of its second.
    let cut = |name: &str| {
        format!(
            "echo {name} >> $trace; n=$(grep -cx {name} $trace)\n[ $n -ne 1 ] || {{ kill -KILL $PPID; exit; }}\n\
             echo {name}-end >> $trace\n[ $n -ne 2 ] || kill -KILL $PPID"
        )
    };
    let (a, b) = (cut("a"), cut("b"));
    let world = World::new(&[("01-a", &a), ("02-b", &b)]);
    for _ in 0..4 {
        assert_eq!(world.run().status.signal(), Some(9));
    }
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a a a-end a a-end b b b-end b b-end");
}

#[test]
fn a_half_written_mark_is_no_mark() {
    let world = World::new(&[("01-a", "echo a >> $trace")]);
    fs::create_dir_all(world.path("state")).unwrap();
    fs::write(world.path("state/01-a.done.new"), "20").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "a");
}

/// An `ip` that knows a route, or an address, once a file of that name is there.
fn with_ip(world: &World) {
    let here = world.root.path().display();
    let lines = format!(
        "case \"$*\" in *route*) what=route ;; *) what=address ;; esac\n[ ! -e {here}/$what ] || echo some"
    );
    world.program("bin/ip", &lines);
}

#[test]
fn only_steps_that_ask_for_the_network_wait_for_it_and_for_the_clock() {
    let world = World::new(&[("01-far", "echo far >> $trace"), ("02-local", "echo local >> $trace")])
        .needs("02-local\n");
    fs::write(world.path("lib/needs-network"), "01-far\n").unwrap();
    with_ip(&world);
    world.run_for(1000);
    assert_eq!(world.trace(), "local");
    assert!(world.status().starts_with("01-far                   waiting for the network\n"));
    fs::write(world.path("route"), "").unwrap();
    fs::write(world.path("sleeps"), "").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.trace(), "local far");
    // Nobody set the clock: that is borne after a minute.
    assert_eq!(world.sleeps().iter().sum::<u32>(), 60);
}

#[test]
fn a_clock_that_is_set_is_not_waited_for() {
    let world = World::new(&[("01-far", "echo far >> $trace")]);
    fs::write(world.path("lib/needs-network"), "01-far\n").unwrap();
    with_ip(&world);
    fs::write(world.path("route"), "").unwrap();
    fs::write(world.path("synchronized"), "").unwrap();
    assert!(world.run().status.success());
    assert!(world.sleeps().is_empty());
}

#[test]
fn an_address_without_a_route_is_a_network_after_a_while() {
    let world = World::new(&[("01-far", "echo far >> $trace")]);
    fs::write(world.path("lib/needs-network"), "01-far\n").unwrap();
    with_ip(&world);
    fs::write(world.path("address"), "").unwrap();
    fs::write(world.path("synchronized"), "").unwrap();
    assert!(world.run().status.success());
    assert_eq!(world.sleeps().iter().sum::<u32>(), 60);
}

#[test]
fn what_a_step_leaves_running_holds_nothing_up() {
    let world =
        World::new(&[("01-a", "/bin/sleep 30 &\necho $! > $trace.pid"), ("02-b", "echo b >> $trace")]);
    let start = Instant::now();
    assert!(world.run().status.success());
    assert!(start.elapsed() < Duration::from_secs(20));
    let pid = fs::read_to_string(world.path("trace.pid")).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
}

#[test]
fn the_shell_scripts_are_sound() {
    for name in ["first-boot", "cardpress-status", "downloads.sh", "packages.sh"] {
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
