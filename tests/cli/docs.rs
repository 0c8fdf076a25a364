//! README and docs as a reader follows them: what they say to type is typed, page by page from the top, and their
//! profiles are planned. `src/cli/tests.rs` has the commands that are only parsed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use cardpress::base::is_zero;

use crate::support::docs::{Page, Typed, pages};
use crate::support::web::Web;
use crate::support::world::{PUBLIC_KEY, Run, World, small_base};

/// Commands that are not run, and why: by how they begin, or, behind a `…`, by what they hold. Those with `cardpress` in
/// them are parsed all the same.
const NOT_RUN: &[(&str, &str)] = &[
    ("cardpress flash ", "writes to a disk; tests/fault/flash.rs does, to loop devices"),
    ("…/dev/sd", "a disk: the same"),
    ("…sudo ", "changes or asks the machine it runs on"),
    (
        "cardpress boot ",
        "needs an emulator and a kernel; tests/cli/boot.rs has a stand-in, make boot-test real ones",
    ),
    ("ssh ", "needs a node that runs; tests/boot asks one"),
    ("ansible ", "needs a node that runs; tests/oracle/host_files.rs has ansible read the inventory"),
    ("make ", "builds or tests; what it calls is tested on its own"),
    ("cargo ", "builds or tests, as this does"),
];

/// What has to be done before a command works, where the page leaves it to the reader.
const BEFORE: &[(&str, &str)] = &[
    (
        "cardpress build --merge-manifests home.toml",
        "for part in 1 2 3 4 5; do cardpress build --quiet --shard $part/5 home.toml; done",
    ),
    (
        "cardpress build home.toml --merge-manifests",
        "for part in 1 2 4 5 6 7 8 9 10 11 12 13 14 15 16; do cardpress build --quiet --shard $part/16 home.toml; done",
    ),
];

/// Commands that tell something by their exit status, which is then not 0.
const STATUS: &[(&str, i32)] = &[("cardpress diff ", 1)];

/// Files that pages talk about and do not show. Images are the small base, under any name.
const FILES: &[(&str, &str)] = &[
    ("pw", "correct horse\n"),
    ("wifi-pw", "correct horse\n"),
    ("wifi.txt", "correct horse\n"),
    ("motd", "pressed by cardpress\n"),
    ("edits.txt", "mkdir -p /opt/cluster\nput motd /opt/cluster/motd\n"),
];

/// What a page's commands are typed in.
struct Desk<'w> {
    world: World,
    web: &'w Web,
}

impl<'w> Desk<'w> {
    fn new(page: &Page, web: &'w Web) -> Self {
        // In memory: nearly all of the time would go into syncing images.
        let desk = Self { world: World::in_memory(), web };
        desk.world.write(".ssh/id_ed25519.pub", &format!("{PUBLIC_KEY}\n"));
        for (name, text) in FILES {
            desk.world.write(name, text);
        }
        for name in images(page) {
            match name.ends_with(".xz") {
                true => drop(fs::copy(small_base(), desk.world.path(&name)).unwrap()),
                false => write_with_holes(&desk.world.path(&name), &web.image),
            }
        }
        desk.world.write("home.toml", &home());
        // A page may build on the profile of an earlier one; its own comes last.
        for block in pages().iter().chain([page]).flat_map(Page::blocks) {
            if let Some(name) = block.text.lines().next().and_then(|line| line.strip_prefix("# "))
                && block.language == "toml"
                && name.ends_with(".toml")
            {
                desk.world.write(name, &block.text);
            }
        }
        desk
    }

    /// In a shell, so that comments, quotes, pipes and `~` are what they are to the reader.
    fn run(&self, command: &str) -> Run {
        let program = Path::new(env!("CARGO_BIN_EXE_cardpress")).parent().unwrap().display();
        let mut shell = Command::new("bash");
        shell.args(["-e", "-u", "-o", "pipefail", "-c", command]).current_dir(self.world.path(""));
        shell.env_clear().env("PATH", format!("{program}:/usr/bin:/bin")).env("HOME", self.world.path(""));
        shell.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
        shell.env("CARDPRESS_CACHE", self.web.world.path("cache"));
        shell.env("CARDPRESS_CATALOGUE", self.web.server.url("/list.json"));
        shell.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        Run::of(shell.output().expect("cannot run bash"))
    }
}

/// Writes an image, most of which is zeros.
fn write_with_holes(path: &Path, image: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    file.set_len(image.len() as u64).unwrap();
    for (index, piece) in image.chunks(1 << 16).enumerate().filter(|(_, piece)| !is_zero(piece)) {
        file.seek(SeekFrom::Start((index << 16) as u64)).unwrap();
        file.write_all(piece).unwrap();
    }
}

/// The images that a page takes for granted: named in its commands, but not made by them, or in its profiles.
fn images(page: &Page) -> BTreeSet<String> {
    let is_image = |name: &str| (name.ends_with(".img") || name.ends_with(".img.xz")) && !name.contains('/');
    let all = page.typed();
    let (mut wanted, mut made) = (BTreeSet::new(), BTreeSet::new());
    for typed in all.iter().filter(|typed| !not_run(typed)) {
        let words: Vec<&str> = typed.command.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| is_image(pair[1])) {
            if pair[0] == "--output" {
                made.insert(pair[1]);
            } else if !made.contains(pair[1]) {
                wanted.insert(pair[1].to_owned());
            }
        }
    }
    for block in page.blocks().iter().filter(|block| is_whole(&block.language, &block.text)) {
        wanted.extend(block.text.split('"').filter(|text| is_image(text)).map(str::to_owned));
    }
    wanted
}

/// The profile that README shows, which all pages then use.
fn home() -> String {
    let readme = pages().into_iter().next().expect("README is the first page");
    let whole = readme.blocks().into_iter().find(|block| is_whole(&block.language, &block.text));
    whole.expect("README shows a whole profile").text
}

fn is_whole(language: &str, text: &str) -> bool {
    language == "toml"
        && ["schema = 1", "[cluster]"].iter().all(|head| text.lines().any(|line| line.starts_with(head)))
}

fn holds(typed: &Typed, words: &str) -> bool {
    match words.strip_prefix('…') {
        Some(words) => typed.command.contains(words),
        None => typed.command.starts_with(words),
    }
}

fn not_run(typed: &Typed) -> bool {
    NOT_RUN.iter().any(|(words, _)| holds(typed, words))
}

/// Is a line that a page shows among those that were printed? `…` stands for anything.
fn is_printed(shown: &str, printed: &str) -> bool {
    let pieces: Vec<&str> = shown.split('…').map(str::trim).collect();
    let [first, middle @ .., last] = &pieces[..] else {
        return printed.lines().any(|line| line.trim() == shown.trim());
    };
    printed.lines().map(str::trim).any(|line| {
        let inner = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
        let Some(mut rest) = inner else { return false };
        middle.iter().all(|piece| {
            let after = rest.split_once(piece).map(|(_, after)| after);
            rest = after.unwrap_or(rest);
            after.is_some()
        })
    })
}

/// What is wrong with a page, one line each.
fn faults(page: &Page, web: &Web) -> Vec<String> {
    let desk = Desk::new(page, web);
    let mut faults = Vec::new();
    for block in page.blocks() {
        if ["sh", "bash", "shell"].contains(&block.language.as_str()) {
            faults.push(format!("{}:{}: commands go into a `console` block", page.name, block.line));
        }
        if is_whole(&block.language, &block.text) {
            desk.world.write("block.toml", &block.text);
            let run = desk.run("cardpress plan block.toml");
            if run.status != 0 {
                faults.push(format!("{}:{}: this profile is refused: {}", page.name, block.line, run.err));
            }
        }
    }
    for typed in page.typed().iter().filter(|typed| !not_run(typed)) {
        for (_, script) in BEFORE.iter().filter(|(command, _)| typed.command.starts_with(command)) {
            desk.run(script).succeeded();
        }
        for name in ["home", "swarm"] {
            if typed.command.contains(&format!("out/{name}/")) && !desk.world.path("out").join(name).exists()
            {
                desk.run(&format!("cardpress build --quiet {name}.toml")).succeeded();
            }
        }
        // What jq would make of it is jq's business.
        let command = typed.command.split(" | jq ").next().unwrap_or_default();
        let run = desk.run(command);
        let may_end =
            STATUS.iter().any(|(begins, status)| command.starts_with(begins) && run.status == *status);
        if run.status != 0 && !may_end {
            faults.push(format!("{}: {}\n{}", typed.place, typed.command, run.err));
        }
        let printed = run.out + &run.err;
        for line in typed.shown.iter().filter(|line| !line.trim().is_empty() && !is_printed(line, &printed)) {
            faults.push(format!("{}: not printed: {line}\nbut:\n{printed}", typed.place));
        }
    }
    faults
}

#[test]
fn every_command_of_readme_and_docs_runs_as_written_and_every_profile_is_accepted() {
    let web = Web::new();
    let pages = pages();
    // Two at a time: each works on images of its own.
    let halves: [Vec<&Page>; 2] =
        [0, 1].map(|half| pages.iter().enumerate().filter(|(i, _)| i % 2 == half).map(|(_, p)| p).collect());
    let all: Vec<String> = std::thread::scope(|scope| {
        let work = |half: &Vec<&Page>| half.iter().flat_map(|page| faults(page, &web)).collect::<Vec<_>>();
        let threads = halves.each_ref().map(|half| scope.spawn(move || work(half)));
        threads.into_iter().flat_map(|thread| thread.join().expect("a page stopped the test")).collect()
    });
    assert!(all.is_empty(), "{}", all.join("\n\n"));
}

/// `docs/img/build.sh` draws it from a run; the seconds are that run's.
#[test]
fn the_picture_in_the_readme_shows_what_the_program_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img");
    let text = fs::read_to_string(folder.join("build.txt")).unwrap();
    let mut draw = Command::new("python3");
    draw.arg(folder.join("terminal.py")).stdin(fs::File::open(folder.join("build.txt")).unwrap());
    let drawn = draw.output().expect("cannot run python3");
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let picture = fs::read(folder.join("build.svg")).unwrap();
    assert!(drawn.stdout == picture, "build.svg is not what terminal.py makes of build.txt");

    let (before, rest) = text.split_once(" nodes in ").unwrap();
    let (_, after) = rest.split_once(" s into ").unwrap();
    let text = format!("```console\n{before} nodes in … s into {after}```\n");
    let faults = faults(&Page { name: "docs/img/build.txt".to_owned(), text }, &Web::new());
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn the_table_of_commands_that_are_not_run_names_none_that_is_gone() {
    let typed: Vec<Typed> = pages().iter().flat_map(Page::typed).collect();
    let words = NOT_RUN.iter().chain(BEFORE).map(|(words, _)| words);
    let stale: Vec<_> = words.filter(|words| !typed.iter().any(|typed| holds(typed, words))).collect();
    assert!(stale.is_empty(), "in no page any more: {stale:?}");
}

#[test]
fn every_link_of_readme_and_docs_leads_to_a_file_and_a_heading() {
    let mut faults = Vec::new();
    for page in pages() {
        let prose = page.prose();
        for (before, rest) in prose.match_indices("](").map(|(at, _)| prose.split_at(at)) {
            let target = rest[2..].split([')', ' ']).next().unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.name.rsplit('/').next().unwrap() } else { file };
            let path = page.folder().join(file);
            if !path.exists() {
                faults.push(format!("{}:{line}: there is no `{file}`", page.name));
            } else if !heading.is_empty() && !headings(&path).contains(&heading.to_owned()) {
                faults.push(format!("{}:{line}: `{file}` has no heading `{heading}`", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The anchors of a page, as GitHub makes them of its headings.
fn headings(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |line: &str| {
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        line.trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    lines.map(anchor).collect()
}

#[test]
fn a_line_that_is_shown_is_compared_with_what_is_printed() {
    for (shown, printed, is_so) in [
        ("a b", "x\na b\n", true),
        ("a b", "a b c", false),
        ("a … c", "a b c", true),
        ("a …", "a b c", true),
        ("… c", "a b c", true),
        ("a … d", "a b c", false),
        ("a … c", "a b c d", false),
        ("a … c … e", "a b c d e", true),
        ("a … e … c", "a b c d e", false),
    ] {
        assert_eq!(is_printed(shown, printed), is_so, "{shown:?} {printed:?}");
    }
}
