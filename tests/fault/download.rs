//! The real program, ended by a signal at many moments while it downloads, and several of it at once.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cardpress::base::Sha256Digest;

use crate::support::server::{Reply, Server};
use crate::support::world::{Run, World};

const FILE: &str = "/image.img.xz";
/// How often the program is ended before it may finish.
const KILLS: u32 = 40;

/// A disk of 6 MiB that does not pack.
fn image() -> Vec<u8> {
    let mut state = 1_u64;
    let mut image: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(6 << 20)
    .collect();
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

fn xz(image: &[u8]) -> Vec<u8> {
    let mut packer = xz2::write::XzEncoder::new(Vec::new(), 0);
    std::io::Write::write_all(&mut packer, image).unwrap();
    packer.finish().unwrap()
}

fn fetch(world: &World, server: &Server) -> Command {
    let mut command = world.command(&["fetch", &server.url(FILE)]);
    command.env("CARDPRESS_CACHE", world.path("cache"));
    command
}

fn leftovers(world: &World) -> Vec<String> {
    let names = fs::read_dir(world.path("cache")).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".part") || name.ends_with(".lock")).collect()
}

#[cfg(unix)]
#[test]
fn a_download_that_is_killed_again_and_again_goes_on_where_it_was() {
    let (world, server) = (World::in_memory(), Server::start());
    let (image, sums) = (image(), format!("{FILE}.sha256"));
    let archive = xz(&image);
    let digest = format!("{}  image.img.xz\n", Sha256Digest::of(&archive));
    server.serve(&sums, Reply::status(200).body(digest.as_bytes()));
    // Some twenty seconds in all, so that it is never through before it is killed.
    let slow = Reply::file(&archive).tag("\"one\"").drips(archive.len() / 2000, Duration::from_millis(10));
    server.serve(FILE, slow);

    let mut on_the_way = 0;
    for round in 0..KILLS {
        let mut child = fetch(&world, &server).stderr(Stdio::null()).spawn().unwrap();
        let (began, before) = (Instant::now(), server.requests(FILE).len());
        // Some at once, some while they ask, most in the middle of the file.
        while round % 8 != 0
            && server.requests(FILE).len() == before
            && began.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 150)));
        let signal = if round % 4 == 3 { "-INT" } else { "-KILL" };
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).output();
        assert!(kill.is_ok());
        on_the_way += u32::from(!child.wait().unwrap().success());
        assert!(!leftovers(&world).iter().any(|name| name.ends_with(".img")), "believed too early");
    }
    assert_eq!(on_the_way, KILLS, "one came to its end too soon");

    server.serve(FILE, Reply::file(&archive).tag("\"one\""));
    let run = Run::of(fetch(&world, &server).output().unwrap()).succeeded();
    assert!(fs::read(run.out.trim_end()).unwrap() == image);
    assert_eq!(leftovers(&world), [""; 0]);
    let requests = server.requests(FILE);
    let resumed = requests.iter().filter(|request| request.range.is_some()).count();
    let sent = server.sent_bytes(FILE);
    // What was on its way to a process that died is lost; no more than the buffers between two programs hold.
    let lost_max = u64::try_from(requests.len()).unwrap() * (256 << 10);
    println!("{} requests, {resumed} resumed, {sent} bytes for {}", requests.len(), archive.len());
    assert!(sent <= archive.len() as u64 + lost_max, "{sent} bytes for {}", archive.len());
    assert!(resumed * 2 > requests.len(), "{resumed} of {}", requests.len());
}

#[test]
fn of_two_programs_that_start_together_one_downloads_and_the_other_uses_it() {
    let (image, server) = (image(), Server::start());
    let archive = xz(&image);
    let digest = format!("{}  image.img.xz\n", Sha256Digest::of(&archive));
    server.serve(&format!("{FILE}.sha256"), Reply::status(200).body(digest.as_bytes()));
    server.serve(FILE, Reply::file(&archive).tag("\"one\"").drips(64 << 10, Duration::from_millis(2)));
    for round in 1..=10 {
        let world = World::in_memory();
        let children: Vec<_> = (0..2)
            .map(|_| fetch(&world, &server).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            .collect();
        for child in children {
            let run = Run::of(child.wait_with_output().unwrap()).succeeded();
            assert!(fs::read(run.out.trim_end()).unwrap() == image, "round {round}");
        }
        assert_eq!(server.sent_bytes(FILE), round * archive.len() as u64, "round {round}");
        assert_eq!(leftovers(&world), [""; 0], "round {round}");
    }
}
