//! Whole catalogues, from a web that exists only here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use super::*;
use crate::source::net::Document;

const V4: &str = PUBLISHED[0];
const V3: &str = PUBLISHED[1];
const DAY: u64 = 24 * 60 * 60;
/// 2026-07-01 12:00:00
const NOW: u64 = 1_782_907_200;

/// Documents by URL, with their ETags; whatever is not there fails.
#[derive(Default)]
struct Pages {
    pages: RefCell<BTreeMap<String, Page>>,
    /// What was asked for, with the ETag.
    asked: RefCell<Vec<String>>,
    interrupt: Option<Interrupt>,
}

type Page = (Vec<u8>, Option<String>);

impl Pages {
    fn put(&self, url: &str, document: impl AsRef<[u8]>, etag: Option<&str>) {
        let page = (document.as_ref().to_vec(), etag.map(str::to_owned));
        self.pages.borrow_mut().insert(url.to_owned(), page);
    }

    fn lose(&self) {
        self.pages.borrow_mut().clear();
    }

    fn asked(&self) -> Vec<String> {
        self.asked.take()
    }
}

impl Web for Pages {
    fn document(&self, url: &str, etag: Option<&str>, _max_len_bytes: u64) -> Result<Document, BoxError> {
        self.asked.borrow_mut().push(format!("{url} {}", etag.unwrap_or("-")));
        if let Some(interrupt) = &self.interrupt {
            interrupt.raise();
        }
        let pages = self.pages.borrow();
        let (bytes, tag) = pages.get(url).ok_or("no such page")?;
        if etag.is_some() && etag == tag.as_deref() {
            return Ok(Document::Unchanged);
        }
        Ok(Document::Fresh { bytes: bytes.clone(), etag: tag.clone() })
    }
}

struct World {
    dir: tempfile::TempDir,
    web: Pages,
    place: Place,
    scope: Scope,
    refresh: bool,
    offline: bool,
    now_seconds: u64,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            web: Pages::default(),
            place: Place::Published,
            scope: Scope::All,
            refresh: false,
            offline: false,
            now_seconds: NOW,
        }
    }

    fn load(&self) -> Result<Catalogue, Error> {
        let options = Options {
            place: &self.place,
            cache_dir: self.dir.path(),
            scope: self.scope,
            refresh: self.refresh,
            offline: self.offline,
            now: UNIX_EPOCH + Duration::from_secs(self.now_seconds),
        };
        load(&options, &self.web, &self.web.interrupt.clone().unwrap_or_default())
    }

    #[track_caller]
    fn ids(&self) -> Vec<String> {
        self.load().unwrap().entries.into_iter().map(|entry| entry.id).collect()
    }

    fn kept(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("catalogue")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// A list of images with these names.
fn list(names: &[&str]) -> String {
    let items = names
        .iter()
        .map(|name| format!(r#"{{ "name": "{name}", "url": "https://example.invalid/{name}" }}"#));
    format!("{{ \"os_list\": [ {} ] }}", items.collect::<Vec<_>>().join(", "))
}

/// A list of lists elsewhere, and an image.
fn links(name: &str, urls: &[String]) -> String {
    let items = urls.iter().map(|url| format!(r#"{{ "name": "more", "subitems_url": "{url}" }}, "#));
    let image = format!(r#"{{ "name": "{name}", "url": "https://example.invalid/{name}" }}"#);
    format!("{{ \"os_list\": [ {}{image} ] }}", items.collect::<String>())
}

fn raspios(date: &str) -> String {
    let url = format!(
        "https://downloads.raspberrypi.com/raspios_lite_arm64/images/raspios_lite_arm64-{date}/\
         {date}-raspios-trixie-arm64-lite.img.xz"
    );
    format!(r#"{{ "os_list": [ {{ "name": "Lite", "url": "{url}" }} ] }}"#)
}

#[test]
fn a_list_is_asked_for_once_a_day_and_then_by_its_etag() {
    let mut world = World::new();
    world.web.put(V4, list(&["one"]), Some("tag"));
    assert_eq!(world.ids(), ["one"]);
    assert_eq!(world.web.asked(), [format!("{V4} -")]);

    world.now_seconds += DAY - 1;
    assert_eq!(world.ids(), ["one"]);
    assert!(world.web.asked().is_empty());

    world.now_seconds += 1;
    assert_eq!(world.ids(), ["one"]);
    assert_eq!(world.web.asked(), [format!("{V4} tag")]);

    // Unchanged is as good as new for another day.
    world.now_seconds += DAY - 1;
    world.web.put(V4, list(&["two"]), Some("other"));
    assert_eq!(world.ids(), ["one"]);
    assert!(world.web.asked().is_empty());
    world.refresh = true;
    assert_eq!(world.ids(), ["two"]);
    assert_eq!(world.web.asked(), [format!("{V4} tag")]);
}

#[test]
fn a_list_of_the_future_is_asked_for_again() {
    let mut world = World::new();
    world.web.put(V4, list(&["one"]), None);
    world.ids();
    world.now_seconds -= 1;
    world.web.asked();
    world.ids();
    assert_eq!(world.web.asked(), [format!("{V4} -")]);
}

#[test]
fn the_older_address_serves_when_the_newer_fails() {
    let world = World::new();
    for broken in [None, Some("<html>come back later</html>"), Some("{}"), Some("")] {
        if let Some(page) = broken {
            world.web.put(V4, page, None);
        }
        world.web.put(V3, list(&["three"]), None);
        let _ = std::fs::remove_dir_all(world.dir.path().join("catalogue"));
        let catalogue = world.load().unwrap();
        assert_eq!((catalogue.origin.as_str(), catalogue.entries[0].id.as_str()), (V3, "three"));
        assert_eq!(catalogue.notes.len(), 1, "{:?}", catalogue.notes);
        assert!(catalogue.notes[0].starts_with(&format!("cannot fetch the catalogue `{V4}`: ")));
    }
}

#[test]
fn the_kept_list_serves_when_everything_fails_and_says_how_old_it_is() {
    let mut world = World::new();
    world.web.put(V4, list(&["one"]), None);
    world.ids();
    world.web.lose();
    world.now_seconds += 3 * DAY;
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.entries[0].id, "one");
    assert_eq!(catalogue.notes.len(), 3, "{:?}", catalogue.notes);
    assert_eq!(catalogue.notes[2], "using the catalogue of 2026-07-01 12:00:00 UTC, 3 days old");
    // A page of another kind does not take its place.
    world.web.put(V4, "<html>", None);
    assert_eq!(world.ids(), ["one"]);
}

#[test]
fn without_any_list_the_first_reason_is_told() {
    let world = World::new();
    match world.load().unwrap_err() {
        Error::Fetch { url, source } => {
            assert_eq!((url.as_str(), source.to_string().as_str()), (V4, "no such page"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn offline_asks_nobody() {
    let mut world = World::new();
    world.offline = true;
    assert!(matches!(world.load(), Err(Error::Offline { .. })));
    world.offline = false;
    let more = "https://example.invalid/more.json".to_owned();
    world.web.put(V4, links("one", std::slice::from_ref(&more)), None);
    world.web.put(&more, list(&["two"]), None);
    world.ids();
    world.web.asked();
    (world.offline, world.now_seconds) = (true, NOW + 90 * 60);
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.notes, ["using the catalogue of 2026-07-01 12:00:00 UTC, 1 hour old"]);
    assert_eq!(catalogue.entries.len(), 2);
    assert!(world.web.asked().is_empty());
}

#[test]
fn a_damaged_list_in_the_cache_is_fetched_again() {
    let world = World::new();
    world.web.put(V4, list(&["one"]), Some("tag"));
    world.ids();
    let path = world.kept().remove(0);
    let sound = std::fs::read_to_string(&path).unwrap();
    for damaged in [sound.replace("example", "exomple"), sound[..sound.len() / 2].to_owned(), String::new()] {
        std::fs::write(&path, damaged).unwrap();
        world.web.asked();
        assert_eq!(world.load().unwrap().entries[0].url, "https://example.invalid/one");
        assert_eq!(world.web.asked(), [format!("{V4} -")]);
    }
    assert_eq!(world.kept(), [path]);
}

#[test]
fn what_killed_processes_left_is_swept_after_a_day() {
    let mut world = World::new();
    world.web.put(V4, list(&["one"]), None);
    world.ids();
    let left = world.dir.path().join("catalogue/fetch-abc.part");
    std::fs::write(&left, "{").unwrap();
    let written = UNIX_EPOCH + Duration::from_secs(NOW);
    std::fs::File::options().write(true).open(&left).unwrap().set_modified(written).unwrap();
    world.refresh = true;
    world.now_seconds = NOW + DAY;
    world.ids();
    assert!(left.exists());
    world.now_seconds += 1;
    world.ids();
    assert!(!left.exists());
}

#[test]
fn sublists_are_followed_but_not_in_circles() {
    let world = World::new();
    let url = |name: &str| format!("https://example.invalid/{name}.json");
    world.web.put(V4, links("one", &[url("a"), url("b")]), None);
    world.web.put(&url("a"), links("two", &[url("a"), url("b"), V4.to_owned()]), None);
    world.web.put(&url("b"), links("three", &[url("a")]), None);
    assert_eq!(world.ids(), ["one", "three", "two"]);
    assert_eq!(world.web.asked().len(), 3);
}

#[test]
fn a_sublist_that_fails_is_a_note_and_its_kept_copy_serves() {
    let mut world = World::new();
    let url = |name: &str| format!("https://example.invalid/{name}.json");
    let main = links("one", &[url("a"), url("b"), url("c")]);
    world.web.put(V4, &main, None);
    world.web.put(&url("a"), list(&["two"]), None);
    world.web.put(&url("c"), "<html>", None);
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.entries.len(), 2);
    assert_eq!(catalogue.notes.len(), 2, "{:?}", catalogue.notes);
    assert!(catalogue.notes[0].contains("b.json") && catalogue.notes[0].contains("no such page"));
    assert!(catalogue.notes[1].contains("found a web page, wanted JSON"));

    world.web.lose();
    world.web.put(V4, &main, None);
    world.now_seconds += 2 * DAY;
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.entries.len(), 2);
    assert!(catalogue.notes[0].contains("a.json`, using it of 2026-07-01 12:00:00 UTC, 2 days old"));
}

#[test]
fn endless_sublists_end() {
    let world = World::new();
    let url = |number: usize| format!("https://example.invalid/{number}.json");
    // A chain is cut by depth, a crowd by count.
    world.web.put(V4, links("0", &[url(1)]), None);
    for number in 1..20 {
        world.web.put(&url(number), links(&number.to_string(), &[url(number + 1)]), None);
    }
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.entries.len(), 8);
    assert!(catalogue.notes[0].contains("too large"), "{:?}", catalogue.notes);

    let world = World::new();
    let many: Vec<String> = (0..100).map(url).collect();
    world.web.put(V4, links("main", &many), None);
    many.iter().for_each(|url| world.web.put(url, list(&[]), None));
    assert!(world.load().unwrap().notes[0].contains("too large"));
    assert_eq!(world.web.asked().len(), 1 + 32);
}

#[test]
fn lists_of_others_are_neither_asked_for_raspberry_pi_os_nor_believed() {
    let mut world = World::new();
    let (own, other) = ("https://downloads.raspberrypi.com/own.json", "https://evil.invalid/other.json");
    world.web.put(V4, links("main", &[own.to_owned(), other.to_owned()]), None);
    world.web.put(own, raspios("2026-06-18"), None);
    world.web.put(other, raspios("2099-01-01"), None);
    world.scope = Scope::to_find("raspios-lite-arm64");
    assert_eq!(world.ids(), ["raspios-lite-arm64", "main"]);
    assert_eq!(world.web.asked().len(), 2);
    // Both addresses are Raspberry Pi's own.
    world.web.put(V3, links("main", &[own.to_owned(), other.to_owned()]), None);
    world.web.pages.borrow_mut().remove(V4);
    world.refresh = true;
    assert_eq!(world.ids(), ["raspios-lite-arm64", "main"]);
    world.scope = Scope::to_find("lite");
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.find("raspios-lite-arm64").unwrap().release_date.as_deref(), Some("2026-06-18"));
    assert!(!catalogue.find("lite").unwrap().is_raspios);
}

#[test]
fn a_catalogue_may_be_a_file() {
    let mut world = World::new();
    let path = world.dir.path().join("list.json");
    world.place = Place::File(path.clone());
    assert!(matches!(world.load(), Err(Error::Read { .. })));
    std::fs::write(&path, "[]").unwrap();
    assert!(matches!(world.load(), Err(Error::NotAList { .. })));
    std::fs::write(&path, links("one", &["https://example.invalid/a.json".into()])).unwrap();
    world.web.put("https://example.invalid/a.json", list(&["two"]), None);
    assert_eq!(world.ids(), ["one", "two"]);
    // Not whole, but long.
    std::fs::File::create(&path).unwrap().set_len(DOCUMENT_LEN_MAX + 1).unwrap();
    assert!(matches!(world.load(), Err(Error::TooLong { .. })));
}

#[test]
fn a_document_that_is_too_long_is_as_good_as_none() {
    let world = World::new();
    let long = list(&["one"]) + &" ".repeat(16 << 20);
    world.web.put(V4, long, None);
    world.web.put(V3, list(&["three"]), None);
    assert_eq!(world.ids(), ["three"]);
}

#[test]
fn who_asks_to_stop_is_not_sent_elsewhere() {
    let mut world = World::new();
    world.web.interrupt = Some(Interrupt::default());
    assert!(matches!(world.load(), Err(Error::Interrupted(_))));
    assert_eq!(world.web.asked().len(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note() {
    let world = World::new();
    std::fs::write(world.dir.path().join("catalogue"), "in the way").unwrap();
    world.web.put(V4, list(&["one"]), None);
    let catalogue = world.load().unwrap();
    assert_eq!(catalogue.entries.len(), 1);
    assert!(catalogue.notes[0].starts_with("cannot keep the catalogue in `"), "{:?}", catalogue.notes);
}

#[test]
fn processes_that_keep_at_once_do_each_other_no_harm() {
    let world = World::new();
    let dir = world.dir.path();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let web = Pages::default();
                web.put(V4, list(&["one"]), Some(&thread.to_string()));
                for _ in 0..20 {
                    let options = Options {
                        place: &Place::Published,
                        cache_dir: dir,
                        scope: Scope::All,
                        refresh: true,
                        offline: false,
                        now: UNIX_EPOCH + Duration::from_secs(NOW),
                    };
                    let catalogue = load(&options, &web, &Interrupt::default()).unwrap();
                    assert_eq!((catalogue.entries.len(), catalogue.notes.len()), (1, 0));
                }
            });
        }
    });
    assert_eq!(world.kept().len(), 1);
}

#[test]
fn names_that_are_not_there_are_told_with_those_that_are() {
    let world = World::new();
    let (old, new) = (raspios("2026-04-13"), raspios("2026-06-18"));
    let items = |text: &str| text.split_once('[').unwrap().1.rsplit_once(']').unwrap().0.to_owned();
    world.web.put(V4, format!("{{ \"os_list\": [ {}, {} ] }}", items(&old), items(&new)), None);
    let catalogue = world.load().unwrap();
    let date = |name: &str| catalogue.find(name).unwrap().release_date.clone().unwrap();
    assert_eq!(date("raspios-lite-arm64"), "2026-06-18");
    assert_eq!(date("raspios-lite-arm64@2026-06-18"), "2026-06-18");
    assert_eq!(date("raspios-lite-arm64@2026-04-13"), "2026-04-13");
    for (name, told) in [
        (
            "raspios-lite-arm46",
            "no image `raspios-lite-arm46` in the catalogue; the nearest: raspios-lite-arm64",
        ),
        ("zzz", "no image `zzz` in the catalogue"),
        (
            "raspios-lite-arm64@2025-01-01",
            "no `raspios-lite-arm64` of 2025-01-01 in the catalogue, which has 2026-06-18, 2026-04-13",
        ),
    ] {
        assert_eq!(catalogue.find(name).unwrap_err().to_string(), told);
    }
}

#[test]
fn a_place_is_a_url_or_a_path() {
    let file = |path: &str| Place::File(path.into());
    for (text, place) in [
        ("https://example.invalid/a.json", Place::Url("https://example.invalid/a.json".into())),
        ("list.json", file("list.json")),
        ("/a b/list.json", file("/a b/list.json")),
        ("file:///a%20b/list.json", file("/a b/list.json")),
    ] {
        assert_eq!(Place::parse(text).unwrap(), place);
    }
    for text in ["", "ftp://example.invalid/a", "https://", "file://elsewhere/a", "https://a b/"] {
        assert!(Place::parse(text).is_err(), "{text}");
    }
}
