//! A web server with a catalogue and one image, and a world whose program knows no other.

use std::fs;
use std::process::Command;

use cardpress::base::Sha256Digest;
use serde_json::json;

use super::server::{Reply, Server};
use super::world::{Run, World, profile, small_base};

/// As `downloads.raspberrypi.com` lays them out; the name of an image is in its address.
pub(crate) const FILE: &str =
    "/raspios_lite_arm64/images/raspios_lite_arm64-2030-01-03/2030-01-02-raspios-trixie-arm64-lite.img.xz";
pub(crate) const NODES: [(&str, &str); 1] = [("n1", "192.168.7.11")];

/// A world, and a web with one image in it: the small base.
pub(crate) struct Web {
    pub(crate) world: World,
    pub(crate) server: Server,
    pub(crate) archive: Vec<u8>,
    pub(crate) image: Vec<u8>,
}

impl Web {
    pub(crate) fn new() -> Self {
        let archive = fs::read(small_base()).unwrap();
        let image = unpacked(&archive);
        let web = Self { world: World::new(), server: Server::start(), archive, image };
        web.serve(FILE, &web.archive);
        web.list("2030-01-02", FILE, &web.archive, &web.image);
        web
    }

    pub(crate) fn serve(&self, path: &str, bytes: &[u8]) {
        let tag = format!("\"{}\"", Sha256Digest::of(bytes));
        self.server.serve(path, Reply::file(bytes).tag(&tag));
    }

    /// Publishes a catalogue with one image.
    pub(crate) fn list(&self, date: &str, path: &str, archive: &[u8], image: &[u8]) {
        let list = json!({ "os_list": [{
            "name": "Raspberry Pi OS Lite (64-bit)",
            "description": "made up",
            "url": self.server.url(path),
            "extract_size": image.len(),
            "extract_sha256": Sha256Digest::of(image).to_string(),
            "image_download_size": archive.len(),
            "image_download_sha256": Sha256Digest::of(archive).to_string(),
            "release_date": date,
            "devices": ["pi5-64bit"],
        }]});
        self.serve("/list.json", list.to_string().as_bytes());
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.world.command(words);
        command.env("CARDPRESS_CACHE", self.world.path("cache"));
        command.env("CARDPRESS_CATALOGUE", self.server.url("/list.json"));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Run {
        Run::of(self.command(words).output().unwrap())
    }

    /// A profile that names its image so.
    pub(crate) fn profile(&self, image: &str) {
        let text = profile(&NODES, "");
        let (before, rest) = text.split_once("path = ").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        self.world.write("cluster.toml", &format!("{before}{image}\n{after}"));
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.world.path("cardpress.lock")).unwrap_or_default()
    }
}

/// What an `.xz` holds.
pub(crate) fn unpacked(archive: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    std::io::Read::read_to_end(&mut xz2::read::XzDecoder::new_multi_decoder(archive), &mut image).unwrap();
    image
}
