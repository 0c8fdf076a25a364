//! `fetch`, `lock`, `cache`, and builds of images from the web: from a server on this machine, into a cache of their own.

use std::fs;
use std::process::Command;

use cardpress::base::Sha256Digest;
use serde_json::{Value, json};

use crate::support::tools;
use crate::support::web::{FILE, Web};
use crate::support::world::{World, profile, small_base};

const NEWER: &str =
    "/raspios_lite_arm64/images/raspios_lite_arm64-2030-02-03/2030-02-03-raspios-trixie-arm64-lite.img.xz";

const OS: &str = "os = \"raspios-lite-arm64\"";
const NONE: [&str; 4] = ["build", "cluster.toml", "--format", "none"];

#[test]
fn an_image_is_fetched_by_its_name_once_and_its_path_printed() {
    let web = Web::new();
    let run = web.run(&["fetch", "raspios-lite-arm64"]).succeeded();
    assert!(fs::read(run.out.trim_end()).unwrap() == web.image);
    assert!(
        run.err.contains("to download") && run.err.contains("download 2030-01-02-raspios"),
        "{}",
        run.err
    );
    let again =
        web.run(&["fetch", "--json", "raspios-lite-arm64@2030-01-02", &web.server.url(FILE)]).succeeded();
    let told: Value = serde_json::from_str(&again.out).unwrap();
    for image in told.as_array().unwrap() {
        assert_eq!(image["image_sha256"], Sha256Digest::of(&web.image).to_string());
        assert_eq!(image["path"], run.out.trim_end());
    }
    assert!(again.err.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", again.err);
    assert_eq!(web.server.sent_bytes(FILE), web.archive.len() as u64);
    let unknown = web.run(&["fetch", "raspios-lite-arm46"]);
    assert_eq!(unknown.status, 1);
    assert!(unknown.err.contains("the nearest: raspios-lite-arm64"), "{}", unknown.err);
    let missing = web.run(&["fetch", "nowhere.toml"]);
    assert_eq!(missing.status, 2, "{}", missing.err);
}

#[test]
fn a_build_pins_what_it_meets_and_keeps_to_it_when_the_catalogue_moves_on() {
    let web = Web::new();
    web.profile(OS);
    let locked = web.run(&[&NONE[..], &["--locked"]].concat());
    assert_eq!(locked.status, 2);
    assert!(locked.err.contains("`raspios-lite-arm64` is not in `cardpress.lock`"), "{}", locked.err);
    assert!(!web.world.path("cache").exists(), "asked before it was refused");

    let run = web.run(&NONE).succeeded();
    assert!(run.err.contains("settled `raspios-lite-arm64` in `cardpress.lock`"), "{}", run.err);
    let lock = web.lock();
    let (archive, image) = (Sha256Digest::of(&web.archive), Sha256Digest::of(&web.image));
    for line in [
        "name = \"raspios-lite-arm64\"".to_owned(),
        format!("url = \"{}\"", web.server.url(FILE)),
        "release-date = \"2030-01-02\"".to_owned(),
        format!("archive-sha256 = \"{archive}\""),
        format!("archive-bytes = {}", web.archive.len()),
        format!("image-sha256 = \"{image}\""),
        format!("image-bytes = {}", web.image.len()),
    ] {
        assert!(lock.lines().any(|found| found == line), "{line}\n{lock}");
    }

    // A newer release: the lock keeps to the old one, and needs no network for what is in the cache.
    web.serve(NEWER, &web.archive);
    web.list("2030-02-03", NEWER, &web.archive, &web.image);
    for words in [&["--locked", "--offline"][..], &["--offline"], &[]] {
        web.run(&[&NONE[..], words].concat()).succeeded();
        assert_eq!(web.lock(), lock, "{words:?}");
    }
    let stays = web.run(&["lock", "cluster.toml"]).succeeded();
    assert!(stays.err.contains("raspios-lite-arm64 stays of 2030-01-02"), "{}", stays.err);
    let moved = web.run(&["lock", "--update", "cluster.toml"]).succeeded();
    assert!(
        moved.err.contains("was of 2030-01-02") && moved.err.contains("is now of 2030-02-03"),
        "{}",
        moved.err
    );
    assert!(web.lock().contains(NEWER));
    assert!(web.server.requests(NEWER).is_empty(), "the catalogue says all that is needed");
    web.run(&[&NONE[..], &["--locked", "--offline"]].concat()).succeeded();
}

#[test]
fn a_lock_is_made_without_a_download_and_fetch_brings_what_it_names() {
    let web = Web::new();
    web.profile(OS);
    let told = web.run(&["lock", "--json", "cluster.toml"]).succeeded();
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&told[0]["before"], &told[0]["now"]["release_date"]), (&Value::Null, &json!("2030-01-02")));
    assert!(web.server.requests(FILE).is_empty());
    let offline = web.run(&[&NONE[..], &["--locked", "--offline"]].concat());
    assert_eq!(offline.status, 1);
    assert!(
        offline.err.contains("the network is off") && offline.err.contains("cardpress fetch"),
        "{}",
        offline.err
    );
    web.run(&["fetch", "--locked", "cluster.toml"]).succeeded();
    web.run(&[&NONE[..], &["--locked", "--offline"]].concat()).succeeded();
    assert_eq!(web.server.sent_bytes(FILE), web.archive.len() as u64);
}

#[test]
fn another_file_than_the_locked_one_is_refused_with_both_digests() {
    let web = Web::new();
    web.profile(OS);
    web.run(&["lock", "cluster.toml"]).succeeded();
    let mut other = web.archive.clone();
    let at = other.len() / 2;
    other[at] ^= 1;
    web.serve(FILE, &other);
    let run = web.run(&[&NONE[..], &["--locked"]].concat());
    assert_eq!(run.status, 1);
    let (found, wanted) = (Sha256Digest::of(&other), Sha256Digest::of(&web.archive));
    assert!(run.err.contains(&format!("has SHA-256 {found}, wanted {wanted}")), "{}", run.err);
    assert_eq!(web.server.requests(FILE).len(), 2, "tried once more from the start");
    assert_eq!(web.run(&["cache", "list"]).succeeded().out, "");

    // A digest in the profile is stronger than the lock, unless only the lock is to count.
    web.serve(FILE, &web.archive);
    web.profile(&format!("{OS}\nsha256 = \"{}\"", Sha256Digest::of(b"another")));
    let run = web.run(&[&NONE[..], &["--locked"]].concat());
    assert!(run.status == 2 && run.err.contains("the profile wants `raspios-lite-arm64`"), "{}", run.err);
    assert_eq!(web.run(&NONE).status, 1);
}

#[test]
fn an_image_by_its_address_is_locked_by_what_it_proved_to_be_and_without_its_password() {
    let web = Web::new();
    let url = web.server.url(FILE).replace("http://", "http://me:secret@");
    web.profile(&format!("url = {url:?}"));
    web.run(&NONE).succeeded();
    let lock = web.lock();
    assert!(
        lock.contains(&format!("name = \"{}\"", web.server.url(FILE))) && !lock.contains("secret"),
        "{lock}"
    );
    assert!(lock.contains(&format!("image-sha256 = \"{}\"", Sha256Digest::of(&web.image))), "{lock}");
    web.run(&[&NONE[..], &["--locked"]].concat()).succeeded();
    assert_eq!(web.server.sent_bytes(FILE), web.archive.len() as u64);
    let kept: Vec<String> = fs::read_dir(web.world.path("cache"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    assert!(!kept.iter().any(|text| text.contains("secret")), "{kept:?}");
}

#[test]
fn a_file_of_ones_own_is_locked_on_demand() {
    let web = Web::new();
    fs::write(web.world.path("base.img.xz"), &web.archive).unwrap();
    web.profile("path = \"base.img.xz\"");
    web.run(&NONE).succeeded();
    assert_eq!(web.lock(), "", "nobody asked for it");
    assert_eq!(web.run(&[&NONE[..], &["--locked"]].concat()).status, 2);
    web.run(&["lock", "cluster.toml"]).succeeded();
    assert!(web.lock().contains("name = \"base.img.xz\""), "{}", web.lock());
    web.run(&[&NONE[..], &["--locked"]].concat()).succeeded();
    fs::write(web.world.path("base.img.xz"), &web.image).unwrap();
    assert_eq!(web.run(&[&NONE[..], &["--locked"]].concat()).status, 1);
    let warned = web.run(&NONE).succeeded();
    assert!(
        warned.err.contains("warning: `base.img.xz` is not the image in `cardpress.lock`"),
        "{}",
        warned.err
    );
    assert!(web.server.all_requests().is_empty());
}

#[test]
fn the_cache_is_shown_checked_and_pruned() {
    let web = Web::new();
    let path = web.run(&["cache", "path"]).succeeded().out;
    assert_eq!(path.trim_end(), web.world.path("cache").to_str().unwrap());
    assert_eq!(web.run(&["cache", "verify"]).succeeded().out, "");
    let image = web.run(&["fetch", "raspios-lite-arm64"]).succeeded().out;
    let list = web.run(&["cache", "list"]).succeeded();
    assert!(list.out.lines().nth(1).unwrap().ends_with(&web.server.url(FILE)), "{}", list.out);
    assert!(list.err.contains("1 image, "), "{}", list.err);
    let verified = web.run(&["cache", "verify"]).succeeded();
    assert_eq!(verified.out, format!("{}: whole\n", web.server.url(FILE)));

    let mut spoilt = web.image.clone();
    spoilt[5000] ^= 1;
    fs::write(image.trim_end(), spoilt).unwrap();
    let verified = web.run(&["cache", "verify", "--json"]);
    assert_eq!(verified.status, 1);
    assert_eq!(serde_json::from_str::<Value>(&verified.out).unwrap()[0]["is_whole"], false);
    web.run(&["fetch", "raspios-lite-arm64"]).succeeded();
    assert!(fs::read(image.trim_end()).unwrap() == web.image, "fetched again");

    web.run(&["cache", "prune", "--older-than", "1d", "--max-size", "1TiB"]).succeeded();
    assert_eq!(web.run(&["cache", "list", "--json"]).succeeded().out.matches("origin").count(), 1);
    let pruned = web.run(&["cache", "prune", "--max-size", "0"]).succeeded();
    assert!(pruned.err.contains("1 image and 1 leftover removed"), "{}", pruned.err);
    assert_eq!(web.run(&["cache", "list", "--json"]).succeeded().out, "[]\n");
    let wrong = web.run(&["cache", "prune", "--older-than", "soon"]);
    assert!(wrong.status == 2 && wrong.err.contains("wanted an age such as 30d"), "{}", wrong.err);
}

/// A key that signs, gone with its folder.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new() -> Self {
        let signer = Self(tempfile::tempdir().unwrap());
        let owner = "Somebody <somebody@example.invalid>";
        signer.gpg(&["--passphrase=", "--quick-generate-key", owner, "ed25519", "sign,cert", "never"]);
        signer
    }

    fn gpg(&self, words: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.0.path()).args(["--batch", "--yes", "--quiet", "--pinentry-mode=loopback"]);
        let output = gpg.args(words).output().expect("gpg is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn key(&self) -> Vec<u8> {
        self.gpg(&["--armor", "--export"])
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let path = self.0.path().join("data");
        fs::write(&path, bytes).unwrap();
        self.gpg(&["--passphrase=", "--detach-sign", "--output=-", path.to_str().unwrap()])
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let stop = Command::new("gpgconf").env("GNUPGHOME", self.0.path()).args(["--kill", "all"]).output();
        assert!(stop.is_ok() || std::thread::panicking(), "gpgconf is not there");
    }
}

#[test]
fn an_image_that_must_be_signed_is_taken_with_a_good_signature_and_no_other() {
    let (web, signer, other) = (Web::new(), Signer::new(), Signer::new());
    fs::write(web.world.path("key.asc"), signer.key()).unwrap();
    web.profile(&format!("{OS}\nsigned-by = \"key.asc\""));
    let signature = format!("{FILE}.sig");
    let refused = |words: &str| {
        let run = web.run(&NONE);
        assert!(run.status == 1 && run.err.contains(words), "{words}: {}", run.err);
        assert_eq!(web.run(&["cache", "list"]).succeeded().out, "", "{words}");
        assert_eq!(web.lock(), "", "{words}");
    };
    refused("there is no signature `");
    assert!(web.server.requests(FILE).is_empty(), "fetched before the signature was there");
    for (bytes, words) in [
        (other.sign(&web.archive), "wanted one of `key.asc`"),
        (signer.sign(b"another file"), "is no signature of this file"),
        (b"soon".to_vec(), "wanted a detached OpenPGP signature"),
    ] {
        web.serve(&signature, &bytes);
        refused(words);
    }
    web.serve(&signature, &signer.sign(&web.archive));
    web.run(&NONE).succeeded();
    let listed = web.run(&["cache", "list", "--json"]).succeeded().out;
    assert!(!listed.contains("\"signed_by\":null"), "{listed}");
    let asked = web.server.all_requests().len();
    web.run(&[&NONE[..], &["--locked", "--offline"]].concat()).succeeded();

    // The cache does not vouch for a key that nobody checked.
    fs::write(web.world.path("key.asc"), other.key()).unwrap();
    let run = web.run(&[&NONE[..], &["--locked", "--offline"]].concat());
    assert!(run.status == 1 && run.err.contains("no signature checked"), "{}", run.err);
    assert_eq!(web.server.all_requests().len(), asked);

    // A file of one's own, with its signature beside it.
    fs::write(web.world.path("key.asc"), signer.key()).unwrap();
    fs::write(web.world.path("base.img.xz"), &web.archive).unwrap();
    web.profile("path = \"base.img.xz\"\nsigned-by = \"key.asc\"");
    assert!(web.run(&NONE).err.contains("base.img.xz.sig"));
    fs::write(web.world.path("base.img.xz.sig"), other.sign(&web.archive)).unwrap();
    assert_eq!(web.run(&NONE).status, 1);
    fs::write(web.world.path("base.img.xz.sig"), signer.sign(&web.archive)).unwrap();
    web.run(&NONE).succeeded();
}

/// Nobody says how long the image is, so it shows only on the way that it does not fit.
#[test]
fn a_cache_that_fills_up_while_unpacking_is_told_of_and_left_clean() {
    if !tools::may_attach() {
        return;
    }
    let world = World::new();
    let (raw, packed) = (world.path("base.img"), world.path("base.img.zst"));
    let unpack = Command::new("xz").arg("-dc").arg(small_base()).output().unwrap();
    fs::write(&raw, unpack.stdout).unwrap();
    // From a pipe zstd does not know the length.
    let pack =
        Command::new("zstd").args(["-1", "-q", "-c"]).stdin(fs::File::open(&raw).unwrap()).output().unwrap();
    fs::write(&packed, pack.stdout).unwrap();
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], ""));
    fs::create_dir(world.path("small")).unwrap();
    let small = world.path("small");
    tools::tool("mount", &["-t", "tmpfs", "-o", "size=16m", "tmpfs", small.to_str().unwrap()]);
    let run = world.run(&["build", "cluster.toml", "--image", "base.img.zst", "--cache", "small"]);
    let left = fs::read_dir(&small).unwrap().count();
    assert_eq!(tools::unmount(&small), Ok(()));
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(
        run.err.contains("no space in `small` to unpack `base.img.zst`: it takes more than the 16 MiB"),
        "{}",
        run.err
    );
    assert!(run.err.contains("hint: `cardpress cache prune"), "{}", run.err);
    assert_eq!(left, 0, "something stays in the cache");
    world
        .run(&["build", "cluster.toml", "--image", "base.img.zst", "--cache", "large", "--format", "none"])
        .succeeded();
}
