//! `--json` of every verb: what it prints fits the schemas of `docs/schema`, which are closed here, and each key of them
//! is in something that is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::loops::Loop;
use crate::support::schemas::{all, judge};
use crate::support::server::Reply;
use crate::support::shapes::Shape;
use crate::support::tools::{Mount, may_attach, must, text, tool};
use crate::support::web::{FILE, Web};
use crate::support::world::{PUBLIC_KEY, Run, World, profile, small_base};

/// The verbs of the program, and the schemas of what they print; none where that is no data of theirs.
const VERBS: &[(&str, &[&str])] = &[
    // Its standard output is the machine's console.
    ("boot", &[]),
    ("build", &["build"]),
    ("cache-list", &["cache-list"]),
    ("cache-path", &["cache-path"]),
    ("cache-prune", &["cache-prune"]),
    ("cache-verify", &["cache-verify"]),
    ("check", &["check"]),
    // Prints a script.
    ("completions", &[]),
    ("customize", &["customize"]),
    ("devices", &["devices"]),
    ("diff", &["diff"]),
    ("export", &["export"]),
    ("fetch", &["fetch"]),
    ("flash", &["flash"]),
    ("fs", &["fs-ls", "fs-stat", "fs-find", "fs-du", "fs-df"]),
    ("images", &["images"]),
    ("init", &["init"]),
    ("inspect", &["inspect"]),
    ("lock", &["lock"]),
    ("man", &["man"]),
    ("plan", &["plan"]),
    ("recipes", &["recipes"]),
    // Prints a JSON Schema.
    ("schema", &[]),
];

/// What runs have said, to be judged all at once.
#[derive(Default)]
struct Told {
    documents: BTreeMap<&'static str, Vec<Value>>,
}

impl Told {
    /// A run whose standard output is one document.
    #[track_caller]
    fn takes(&mut self, schema: &'static str, status: i32, run: &Run) -> &mut Self {
        assert_eq!(run.status, status, "{}{}", run.out, run.err);
        let document = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}", run.out));
        self.documents.entry(schema).or_default().push(document);
        self.events(run);
        self
    }

    /// A run whose standard output has a document on every line.
    #[track_caller]
    fn takes_lines(&mut self, schema: &'static str, run: &Run) -> &mut Self {
        assert_eq!(run.status, 0, "{}", run.err);
        assert!(!run.out.is_empty());
        let lines = run.out.lines().map(|line| serde_json::from_str(line).unwrap());
        self.documents.entry(schema).or_default().extend(lines);
        self.events(run);
        self
    }

    /// A run that ends with this status, prints no data, and says why.
    #[track_caller]
    fn fails(&mut self, status: i32, run: &Run) -> &mut Self {
        assert_eq!((run.status, run.out.as_str()), (status, ""), "{}", run.err);
        let events = self.events(run);
        let last = events.last().unwrap_or_else(|| panic!("nothing was said"));
        assert!(last["event"] == "error" || last["event"] == "fault", "{last}");
        self
    }

    /// The lines of standard error.
    #[track_caller]
    fn events(&mut self, run: &Run) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let events: Vec<Value> = run.err.lines().map(parse).collect();
        self.documents.entry("events").or_default().extend(events.iter().cloned());
        events
    }

    /// All of it fits; and of every schema but that of the events each key was there, except perhaps these.
    #[track_caller]
    fn fits(&self, absent: &[&str]) {
        let mut verdicts = judge(&World::new(), &self.documents);
        let faults: Vec<String> =
            verdicts.values_mut().flat_map(|verdict| verdict.faults.drain(..)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let verdicts = verdicts.iter().filter(|(name, _)| self.documents.len() == 1 || *name != "events");
        let unseen = verdicts.flat_map(|(_, verdict)| &verdict.unseen);
        let unseen = unseen.map(|(place, key)| format!("{place}/{key}"));
        let unseen: Vec<String> = unseen.filter(|key| !absent.iter().any(|end| key.ends_with(end))).collect();
        assert!(unseen.is_empty(), "keys that nothing has: {unseen:?}");
    }
}

/// The program with `--json`.
fn run(world: &World, words: &[&str]) -> Run {
    world.run(&[&["--json"], words].concat())
}

fn shape() -> Shape {
    Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "")
}

#[test]
fn each_event_fits_its_schema_and_a_slow_download_has_them_all() {
    let web = Web::new();
    web.profile("os = \"raspios-lite-arm64\"");
    // More than a second, however fast all else is.
    let piece = web.archive.len() / 7;
    web.server.serve(FILE, Reply::file(&web.archive).drips(piece, Duration::from_millis(250)));
    let mut told = Told::default();
    let log = web.run(&["--json", "-v", "fetch", "cluster.toml"]);
    assert!(!told.events(&log).is_empty());
    let error = web.run(&["--json", "fetch", "--offline", "--cache", "other", "raspios-lite-arm64"]);
    assert!(!told.fails(1, &error).documents.is_empty());
    let faulty = fs::read_to_string(web.world.path("cluster.toml")).unwrap().replace("timezone", "timezon");
    web.world.write("faulty.toml", &faulty);
    told.fails(2, &web.run(&["--json", "plan", "faulty.toml"]));
    if may_attach() {
        let card = Loop::new(1 << 20);
        fs::write(web.world.path("x.img"), [0; 4096]).unwrap();
        let words =
            ["--json", "--quiet", "flash", "--allow-fixed-disk", "--image", "x.img", text(card.path())];
        let question = Run::of(web.command(&words).stdin(Stdio::null()).output().unwrap());
        told.fails(3, &question);
    } else {
        told.documents
            .entry("events")
            .or_default()
            .push(serde_json::json!({ "v": 1, "event": "question", "text": "what flash asks of a card" }));
    }
    let seen = told.documents["events"].iter().filter_map(|event| event["event"].as_str());
    let seen: BTreeSet<&str> = seen.collect();
    let all = ["error", "fault", "finish", "log", "note", "progress", "question", "start"];
    assert_eq!(seen, all.into());
    told.fits(&[]);
}

#[test]
fn images_fit_their_schema() {
    let world = World::new();
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/os-list.json");
    world.write("page.html", "<html></html>");
    Told::default()
        .takes("images", 0, &run(&world, &["images", "--all", "--offline", "--catalogue", list]))
        .fails(1, &run(&world, &["images", "--catalogue", "page.html"]))
        .fits(&[]);
}

#[test]
fn what_comes_from_the_web_and_what_the_cache_keeps_fit_their_schemas() {
    let web = Web::new();
    web.profile("os = \"raspios-lite-arm64\"");
    let run = |words: &[&str]| web.run(&[&["--json"], words].concat());
    let mut told = Told::default();
    told.takes("lock", 0, &run(&["lock", "cluster.toml"]))
        .takes("lock", 0, &run(&["lock", "cluster.toml"]))
        .fails(2, &run(&["lock", "gone.toml"]))
        .takes("fetch", 0, &run(&["fetch", "cluster.toml", &web.server.url(FILE)]))
        .fails(1, &run(&["fetch", "raspios-lite-arm46"]))
        .takes("cache-path", 0, &run(&["cache", "path"]))
        .takes("cache-list", 0, &run(&["cache", "list"]));
    let kept = told.documents["cache-list"][0][0]["path"].as_str().unwrap().to_owned();
    must("cp", ["-r", "--sparse=always", text(&web.world.path("cache")), text(&web.world.path("other"))]);
    let file = fs::File::options().write(true).open(&kept).unwrap();
    file.write_all_at(b"another", 5000).unwrap();
    told.takes("cache-verify", 1, &run(&["cache", "verify"]));
    told.takes("cache-prune", 0, &run(&["--cache", "other", "cache", "prune", "--max-size", "0"]));
    assert!(
        told.documents["lock"][0][0]["before"].is_null() && !told.documents["lock"][1][0]["before"].is_null()
    );
    told.fits(&[]);
}

#[test]
fn plans_manifests_and_exports_fit_their_schemas() {
    let world = World::new();
    // A warning, a link, a removal, attributes.
    let more = "[[defaults.symlink]]\npath = \"/opt/link\"\ntarget = \"x\"\n[[defaults.directory]]\npath = \"/opt/d\"\n";
    let text = profile(&[("n1", "192.168.7.11")], more)
        .replace("[cluster]", "grow = \"300MiB\"\n[cluster]")
        .replace("[defaults]\n", "[defaults]\nremove = [\"/gone\"]\n");
    world.write("cluster.toml", &text);
    world.write("faulty.toml", &text.replace("192.168.7.11", "10.0.0.1").replace("timezone", "timezon"));
    let run = |words: &[&str]| run(&world, words);
    let mut told = Told::default();
    told.takes("plan", 0, &run(&["plan", "cluster.toml"]))
        .fails(2, &run(&["plan", "faulty.toml"]))
        .takes("build", 0, &run(&["build", "cluster.toml", "--sha256"]))
        .takes("build", 0, &run(&["build", "cluster.toml", "--format", "none"]))
        .fails(2, &run(&["build", "cluster.toml", "--locked"]))
        .takes("export", 0, &run(&["export", "cluster.toml", "hosts"]))
        .takes("export", 0, &run(&["export", "cluster.toml", "ansible", "--output", "inventory"]))
        .takes("export", 0, &run(&["export", "cluster.toml", "--all", "host"]))
        .fails(2, &run(&["export", "gone.toml", "hosts"]));
    assert!(!told.documents["plan"][0]["nodes"][0]["warnings"].as_array().unwrap().is_empty());
    assert_eq!(told.documents["export"][1]["files"], serde_json::json!(["inventory"]));
    let manifest = fs::read_to_string(world.path("out/test/manifest.json")).unwrap();
    told.documents.entry("build").or_default().push(serde_json::from_str(&manifest).unwrap());
    told.fits(&[]);
}

#[test]
fn customize_fits_its_schema() {
    let world = World::new();
    world.write("id.pub", &format!("{PUBLIC_KEY}\n"));
    let base = small_base();
    let customize = |words: &[&str]| run(&world, &[&["customize", text(&base)], words].concat());
    let mut told = Told::default();
    let user = ["--user", "ops", "--ssh-key", "id.pub", "--address", "192.168.1.20/24"];
    told.takes("customize", 0, &customize(&[&["--output", "a.img"], &user[..]].concat()))
        .takes("customize", 0, &customize(&["--save-profile", "p.toml", "--hostname", "pi"]))
        .fails(3, &customize(&["--output", "a.img"]));
    let in_place = ["customize", "a.img", "--in-place", "--hostname", "pi", "--set", "remove=[\"/gone\"]"];
    told.takes("customize", 0, &run(&world, &in_place));
    // One event for each flag.
    let faulty = customize(&["--output", "b.img", "--timezone", "Mars", "--locale", "english"]);
    let errors = told.fails(2, &faulty).events(&faulty);
    let texts: Vec<&str> = errors.iter().filter_map(|error| error["text"].as_str()).collect();
    assert!(
        texts.len() == 2 && texts[0].starts_with("--timezone: ") && texts[1].starts_with("--locale: "),
        "{texts:?}"
    );
    let told_of = &told.documents["customize"];
    assert!(told_of[0]["address"] == "192.168.1.20" && told_of[2]["address"].is_null());
    assert!(!told_of[2]["warnings"].as_array().unwrap().is_empty());
    told.fits(&["len_bytes"]);
}

#[test]
fn disks_and_what_becomes_of_cards_fit_their_schemas() {
    let world = World::new();
    let mut told = Told::default();
    told.fails(1, &run(&world, &["flash", "--yes", "--image", text(&small_base()), "/dev/gone"]));
    if !may_attach() {
        told.takes("devices", 0, &run(&world, &["devices"]));
        assert!(judge(&world, &told.documents).values().all(|verdict| verdict.faults.is_empty()));
        return;
    }
    let image = shape().make(&world, "disk.img");
    let card = Loop::new(fs::metadata(image).unwrap().len());
    let words = ["flash", "--yes", "--allow-fixed-disk", "--image", "disk.img", text(card.path())];
    told.takes("flash", 0, &run(&world, &words));
    told.fails(3, &run(&world, &["flash", "--yes", "--image", "disk.img", text(card.path())]));
    // A filesystem on the whole disk, which is mounted.
    let plain = world.path("plain.img");
    must("mke2fs", ["-q", "-t", "ext4", "-L", "plain", text(&plain), "4M"]);
    let mounted = Loop::over(&plain, &[]);
    let mount = Mount::new(mounted.path(), "ro");
    told.takes("devices", 0, &run(&world, &["devices"]));
    mount.unmount();
    let paths: Vec<&Value> =
        told.documents["devices"][0].as_array().unwrap().iter().map(|disk| &disk["path"]).collect();
    assert!(paths.contains(&&text(card.path()).into()), "{paths:?}");
    // Written again is only what a worn card lost; nobody could not look, as root.
    told.fits(&[
        "rewritten/items/offset",
        "rewritten/items/len_bytes",
        "/unread",
        "sequence",
        "/device",
        "/on",
    ]);
}

#[test]
fn inspect_fits_its_schema() {
    let world = World::in_memory();
    let mut shape = Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "");
    let wifi = "network={\n\tssid=\"n\"\n\tpsk=\"a long phrase\"\n}\n";
    shape
        .boot("wpa_supplicant.conf", wifi)
        .boot("firstrun.sh", "#!/bin/bash\n")
        .boot("kernel8.img", "")
        .file_as("/etc/ssh/ssh_host_ed25519_key", "key", 0o600, 0)
        .file("/etc/ssh/ssh_host_ed25519_key.pub", PUBLIC_KEY)
        .file("/etc/cardpress-release", "CARDPRESS_NODE=\"n1\"\n")
        .file_as(
            "/etc/NetworkManager/system-connections/a.nmconnection",
            "[connection]\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=192.168.7.2/24\n",
            0o600,
            0,
        )
        .file_as(
            "/etc/NetworkManager/system-connections/w.nmconnection",
            "[connection]\ntype=wifi\n[wifi]\nssid=my net\n",
            0o600,
            0,
        );
    shape.make(&world, "used.img");
    Shape::debian(12, "bookworm", "amd64", "/boot/firmware").make(&world, "debian.img");
    fs::write(world.path("zeros.img"), vec![0; 1 << 20]).unwrap();
    let mut told = Told::default();
    for image in [text(&small_base()), "used.img", "debian.img", "zeros.img"] {
        told.takes("inspect", 0, &run(&world, &["inspect", image]));
    }
    told.fails(1, &run(&world, &["inspect", "gone.img"])).fits(&[]);
}

#[test]
fn diff_fits_its_schema() {
    let world = World::in_memory();
    let mut shape = shape();
    shape
        .file("/etc/text", "one\n")
        .file("/etc/gone", "")
        .link("/etc/link", "a")
        .binary("/usr/bin/tool", "arm64");
    let image = shape.make(&world, "a.img");
    fs::copy(&image, world.path("b.img")).unwrap();
    world.write("text", "two\n");
    world.write("bytes", "\0\0");
    let script = "put text /etc/text\nput bytes /usr/bin/tool\nrm /etc/gone\nput text /etc/new\nrm /etc/link\n\
                  ln -s b /etc/link\nput text /etc/key\nchmod 0600 /etc/key\nxattr set /etc/text user.note hello\n\
                  set-label other\n";
    world.write("edits", script);
    world.run(&["fs", "b.img", "--script", "edits"]).succeeded();
    world.run(&["fs", "a.img", "put", "bytes", "/etc/key"]).succeeded();
    let mut told = Told::default();
    told.takes("diff", 1, &run(&world, &["diff", "a.img", "b.img"]))
        .takes("diff", 0, &run(&world, &["diff", "a.img", "a.img"]))
        .fails(2, &run(&world, &["diff", "a.img", "gone.img"]));
    // What is no text, and what cannot be read.
    let odd = odd_image(&world, "odd.img");
    fs::copy(&odd, world.path("spoilt.img")).unwrap();
    fs::copy(&odd, world.path("changed.img")).unwrap();
    for (image, command) in
        [("spoilt.img", &b"zap_block -f /\xff -p 0x55 0\n"[..]), ("changed.img", b"sif /\xff uid 5\n")]
    {
        fs::write(world.path("script"), command).unwrap();
        tool("debugfs", &["-w", "-f", text(&world.path("script")), text(&world.path(image))]);
    }
    must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", text(&world.path("empty.img")), "16M"]);
    told.takes("diff", 1, &run(&world, &["diff", "empty.img", "odd.img"]))
        .takes("diff", 1, &run(&world, &["diff", "odd.img", "empty.img"]))
        .takes("diff", 1, &run(&world, &["diff", "odd.img", "changed.img"]))
        .takes("diff", 2, &run(&world, &["diff", "odd.img", "spoilt.img"]));
    // Names of attributes are text, whoever wrote them.
    told.fits(&["name_hex"]);
}

#[test]
fn check_fits_its_schema() {
    let world = World::in_memory();
    let image = shape().make(&world, "disk.img");
    let mut told = Told::default();
    told.takes("check", 0, &run(&world, &["check", "disk.img"]));
    let file = fs::File::options().read(true).write(true).open(&image).unwrap();
    let root_at = (8192 + 73_728) * 512;
    // The bitmap of blocks that the first group names, and the first sector of the boot partition.
    let mut bitmap = [0; 4];
    file.read_exact_at(&mut bitmap, root_at + 4096).unwrap();
    file.write_all_at(&[0; 64], root_at + u64::from(u32::from_le_bytes(bitmap)) * 4096).unwrap();
    file.write_all_at(&[0; 512], 8192 * 512).unwrap();
    told.takes("check", 1, &run(&world, &["check", "disk.img"]));
    // And the superblock.
    file.write_all_at(&[0; 1024], root_at + 1024).unwrap();
    told.takes("check", 1, &run(&world, &["check", "disk.img", "--partition", "root"]))
        .fails(1, &run(&world, &["check", "gone.img"]));
    let [spoilt, unjudged] = [1, 2].map(|nth| told.documents["check"][nth]["partitions"].as_array().unwrap());
    assert!(spoilt.iter().all(|part| part["sound"] == false), "{spoilt:?}");
    assert!(unjudged[0]["not_judged"].is_string() && unjudged[0]["sound"].is_null(), "{unjudged:?}");
    told.fits(&[]);
}

/// A bare filesystem with names that are no text, a link, a device and an attribute.
fn odd_image(world: &World, name: &str) -> PathBuf {
    let tree = world.path("tree");
    world.write("tree/d/file", "hello\n");
    let odd = |name: &[u8]| tree.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
    fs::create_dir(odd(b"\xff")).unwrap();
    std::os::unix::fs::symlink(odd(b"d\xfe").file_name().unwrap(), tree.join("link")).unwrap();
    let image = world.path(name);
    must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", "-d", text(&tree), text(&image), "16M"]);
    let script = world.write("script", "mknod null c 1 3\nea_set /d/file user.note hello\n");
    tool("debugfs", &["-w", "-f", text(&script), text(&image)]);
    image
}

#[test]
fn what_fs_lists_fits_its_schemas() {
    let world = World::in_memory();
    odd_image(&world, "x.img");
    let fs = |words: &[&str]| run(&world, &[&["fs", "x.img"], words].concat());
    world.write("stats", "stat /\nstat /d/file\nstat /link\nstat /null\n");
    must("mkfs.fat", ["-C", "-F", "16", "-s", "2", "--invariant", text(&world.path("fat.img")), "20480"]);
    let mut told = Told::default();
    told.takes_lines("fs-ls", &fs(&["ls", "-R", "/d"]))
        .takes_lines("fs-ls", &fs(&["ls", "/"]))
        .takes_lines("fs-ls", &fs(&["ls", "/link"]))
        .takes_lines("fs-stat", &fs(&["--script", "stats"]))
        .takes("fs-find", 0, &fs(&["find", "/"]))
        .takes("fs-find", 0, &fs(&["find", "/", "-name", "none"]))
        .takes("fs-du", 0, &fs(&["du", "/"]))
        .takes_lines("fs-df", &fs(&["df"]))
        .takes_lines("fs-df", &run(&world, &["fs", "fat.img", "df"]))
        .takes_lines("fs-stat", &run(&world, &["fs", "fat.img", "stat", "/"]))
        .fails(1, &fs(&["stat", "/gone"]))
        .fails(2, &fs(&["frobnicate"]));
    // Names of attributes are text, whoever wrote them.
    told.fits(&["name_hex"]);
}

#[test]
fn recipes_profiles_and_pages_fit_their_schemas() {
    let world = World::new();
    fs::create_dir_all(world.path(".ssh")).unwrap();
    world.write(".ssh/id_ed25519.pub", &format!("{PUBLIC_KEY}\n"));
    let run = |words: &[&str]| run(&world, words);
    Told::default()
        .takes("recipes", 0, &run(&["recipes"]))
        .takes("recipes", 0, &run(&["recipes", "slurm"]))
        .fails(2, &run(&["recipes", "slrum"]))
        .takes("init", 0, &run(&["init", "--yes", "--schema", "a.toml"]))
        .takes("init", 0, &run(&["init", "--yes", "--template", "k3s", "b.toml"]))
        .fails(2, &run(&["init", "--yes", "a.toml"]))
        .takes("man", 0, &run(&["man", "pages"]))
        .fails(1, &run(&["man", "a.toml"]))
        .fits(&[]);
}

#[test]
fn verbs_without_data_fail_with_an_event_all_the_same() {
    let world = World::new();
    let mut told = Told::default();
    told.fails(1, &run(&world, &["boot", "gone.img"]));
    world.write(".config/cardpress/config.toml", "colour = \"red\"\n");
    for words in [&["schema"][..], &["completions", "bash"], &["cache", "list"], &["devices"]] {
        told.fails(2, &run(&world, words));
    }
    let verdicts = judge(&world, &told.documents);
    assert_eq!(verdicts["events"].faults, [""; 0]);
}

#[test]
fn every_verb_has_its_schemas_and_every_schema_is_tested() {
    let world = World::new();
    let man = run(&world, &["man", "pages"]).succeeded();
    let man: Value = serde_json::from_str(&man.out).unwrap();
    let verb = |path: &Value| -> Option<String> {
        let name = Path::new(path.as_str()?).file_stem()?.to_str()?;
        Some(name.strip_prefix("cardpress-")?.to_owned())
    };
    // `cache` has verbs of its own.
    let verbs = man["files"].as_array().unwrap().iter().filter_map(verb).filter(|verb| verb != "cache");
    let known: BTreeSet<String> = VERBS.iter().map(|(verb, _)| (*verb).to_owned()).collect();
    assert_eq!(verbs.collect::<BTreeSet<_>>(), known);

    let schemas: BTreeSet<String> = all().into_keys().collect();
    let named = VERBS.iter().flat_map(|(_, schemas)| schemas.iter()).chain(&["events"]);
    assert_eq!(schemas, named.map(|name| (*name).to_owned()).collect());
    let tests: String = include_str!("json.rs").split_whitespace().collect();
    for schema in schemas.iter().filter(|schema| *schema != "events") {
        let is_tested = tests.contains(&format!("takes(\"{schema}\""))
            || tests.contains(&format!("takes_lines(\"{schema}\""));
        assert!(is_tested, "nothing is held against {schema}.json");
    }
}
