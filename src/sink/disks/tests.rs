use super::*;

#[test]
fn what_others_wrote_is_shown_without_what_could_move_a_cursor() {
    for (bytes, shown) in [
        (&b"  Generic   SD/MMC \0junk"[..], "Generic SD/MMC"),
        ("K\u{f6}ln \u{202e}gpj".as_bytes(), "Köln ?gpj"),
        (b"\x1b]0;title\x07", "?]0;title?"),
        (b"\xff\xff", "??"),
        (b"", ""),
    ] {
        let shown =
            if bytes == b"\xff\xff" { "\u{fffd}\u{fffd}".replace('\u{fffd}', "?") } else { shown.to_owned() };
        assert_eq!(clean(bytes), shown);
    }
    assert_eq!(clean(&[b'x'; 5000]).len(), 64);
}

fn card(name: &str, sequence: u64) -> Disk {
    Disk {
        path: format!("/dev/{name}").into(),
        name: name.to_owned(),
        number: (8, 16),
        sequence: Some(sequence),
        len_bytes: 64 << 20,
        block_len: None,
        model: "Generic SD/MMC".to_owned(),
        serial: String::new(),
        is_removable: true,
        transport: Transport::Usb,
        contents: Contents::Unread("nobody looked".to_owned()),
        mounts: Vec::new(),
        found: Vec::new(),
    }
}

fn empty(name: &str) -> Disk {
    Disk { len_bytes: 0, found: vec![Obstacle::NoMedium], ..card(name, 1) }
}

fn fixed(name: &str) -> Disk {
    Disk { is_removable: false, transport: Transport::Sata, ..card(name, 2) }
}

/// Shows one list after the other, the last one for ever.
struct Scenes(std::sync::Mutex<Vec<Vec<Disk>>>);

impl System for Scenes {
    fn list(&self, _look_into: bool) -> Result<Vec<Disk>, Error> {
        let mut scenes = self.0.lock().unwrap();
        Ok(if scenes.len() > 1 { scenes.remove(0) } else { scenes[0].clone() })
    }

    fn find(&self, path: &Path) -> Result<Disk, Error> {
        Ok(self.0.lock().unwrap()[0].iter().find(|disk| disk.path == path).unwrap().clone())
    }
}

fn wait_through(known: &[Disk], scenes: &[&[Disk]]) -> Result<Disk, Error> {
    let scenes = Scenes(std::sync::Mutex::new(scenes.iter().map(|scene| scene.to_vec()).collect()));
    wait::wait(&scenes, known, &Interrupt::default(), std::time::Duration::from_millis(1))
}

#[test]
fn waiting_ends_with_a_card_in_a_slot_that_was_empty_or_a_reader_that_was_not_there() {
    let known = [empty("sdb"), fixed("sda"), card("sdd", 9)];
    let then = [card("sdb", 3), fixed("sda"), card("sdd", 9)];
    assert_eq!(wait_through(&known, &[&known, &known, &then]).unwrap().name, "sdb");
    let then = [empty("sdb"), card("sdc", 3)];
    assert_eq!(wait_through(&known, &[&then]).unwrap().name, "sdc");
}

#[test]
fn waiting_takes_a_card_that_was_pulled_and_put_back_for_new() {
    let known = [card("sdb", 3)];
    assert_eq!(
        wait_through(&known, &[&known, &[empty("sdb")], &[card("sdb", 4)]]).unwrap().sequence,
        Some(4)
    );
    // Where the kernel does not count media, the moment without one tells.
    let uncounted = || Disk { sequence: None, ..card("sdb", 0) };
    let known = [uncounted()];
    assert_eq!(wait_through(&known, &[&known, &[empty("sdb")], &[uncounted()]]).unwrap().name, "sdb");
}

#[test]
fn waiting_passes_by_what_bounces_and_what_is_no_card() {
    let optical = Disk { found: vec![Obstacle::NotADisk("an optical drive")], ..card("sr0", 5) };
    let bounce: &[Disk] = &[card("sdb", 3)];
    let scenes: [&[Disk]; 4] =
        [bounce, &[], &[fixed("sda"), optical.clone()], &[fixed("sda"), optical, card("sdc", 6)]];
    assert_eq!(wait_through(&[], &scenes).unwrap().name, "sdc");
}

#[test]
fn waiting_hands_over_a_card_that_was_mounted_at_once_so_that_its_obstacle_can_be_told() {
    let mounted =
        Obstacle::Mounted { device: "/dev/sdb1".into(), on: "/media/ann/bootfs".to_owned(), advice: None };
    let card = Disk { found: vec![mounted.clone()], ..card("sdb", 3) };
    assert_eq!(wait_through(&[], &[&[card]]).unwrap().obstacles(false), [mounted]);
}

#[test]
fn waiting_does_not_guess_between_two_cards() {
    let error = wait_through(&[], &[&[card("sdb", 3), card("sdc", 4)]]).unwrap_err();
    assert_eq!(error.to_string(), "found 2 new cards (/dev/sdb, /dev/sdc), wanted one");
}

#[test]
fn waiting_ends_when_the_user_asks() {
    let interrupt = Interrupt::default();
    interrupt.raise();
    let scenes = Scenes(std::sync::Mutex::new(vec![Vec::new()]));
    let ended = wait::wait(&scenes, &[], &interrupt, std::time::Duration::from_secs(60));
    assert!(matches!(ended, Err(Error::Interrupted(_))));
}
