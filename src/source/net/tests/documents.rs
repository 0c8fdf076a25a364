//! Small documents.

use super::*;

const LIST: &str = "/os_list.json";

fn fetch(world: &World, etag: Option<&str>, max_len_bytes: u64) -> Result<Document, Error> {
    world.client.document(&world.server.url(LIST), etag, max_len_bytes, &world.seen, &world.interrupt)
}

#[test]
fn a_document_comes_whole_and_unchanged_the_second_time() {
    let world = World::new();
    let body = data(LEN, 1);
    world.server.serve(LIST, Reply::redirect("/moved"));
    world.server.serve("/moved", Reply::file(&body).tag(TAG));
    let Document::Fresh { bytes, etag } = fetch(&world, None, LEN as u64).unwrap() else { panic!() };
    assert!(bytes == body);
    assert_eq!(etag.as_deref(), Some(TAG));
    assert!(matches!(fetch(&world, Some(TAG), 10), Ok(Document::Unchanged)));
    assert_eq!(world.server.requests("/moved")[1].if_none_match.as_deref(), Some(TAG));
    assert!(matches!(fetch(&world, Some("\"old\""), LEN as u64), Ok(Document::Fresh { .. })));
}

#[test]
fn a_document_that_is_too_long_is_refused_before_it_is_read_or_as_soon_as_it_is_known() {
    let world = World::new();
    let body = data(LEN, 1);
    let limit = LEN as u64 - 1;
    for reply in [Reply::file(&body), Reply::file(&body).chunked(), Reply::file(&body).until_close()] {
        world.server.serve(LIST, reply);
        let error = fetch(&world, None, limit).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: named, .. } if named == limit), "{error}");
    }
}

#[test]
fn a_document_is_tried_again_from_its_start_and_each_time_it_is_said_why() {
    let world = World::with(hasty());
    let body = data(LEN, 1);
    world.server.script(
        LIST,
        [
            Reply::file(&body).resets_after(1000),
            Reply::file(&body).falls_silent_after(1000),
            Reply::status(500),
            Reply::file(&body),
        ],
    );
    let Document::Fresh { bytes, .. } = fetch(&world, None, LEN as u64).unwrap() else { panic!() };
    assert!(bytes == body);
    let notes = world.seen.notes();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes.iter().all(|note| note.contains(LIST) && note.contains("; trying again in ")), "{notes:?}");
    assert!(world.server.requests(LIST).iter().all(|request| request.range.is_none()));
}

#[test]
fn a_document_that_never_comes_whole_is_given_up() {
    let world = World::new();
    world.server.serve(LIST, Reply::file(&data(LEN, 1)).claims(LEN as u64 + 1));
    let error = fetch(&world, None, u64::MAX).unwrap_err();
    assert!(matches!(error, Error::GaveUp { tries: 4, trouble: Trouble::Broken(_), .. }), "{error:?}");
}

#[test]
fn a_web_page_is_no_document_whatever_it_is_called() {
    let world = World::new();
    for page in [Reply::page(), Reply::page().header("Content-Type", "application/json")] {
        world.server.serve(LIST, page);
        assert!(matches!(fetch(&world, None, 1000), Err(Error::WebPage { .. })));
    }
    // And no page because of what it is called.
    world.server.serve(LIST, Reply::file(b"{}").header("Content-Type", "text/html"));
    assert!(matches!(fetch(&world, None, 1000), Ok(Document::Fresh { .. })));
}

#[test]
fn a_document_nobody_has_or_nobody_changed_without_being_asked_is_an_error() {
    let world = World::new();
    assert!(matches!(fetch(&world, None, 1000), Err(Error::Status { .. })));
    world.server.serve(LIST, Reply::status(304).body(b""));
    assert!(matches!(fetch(&world, None, 1000), Err(Error::Status { .. })));
}

#[test]
fn a_file_is_known_to_be_unchanged_without_fetching_it() {
    let world = World::new();
    let body = data(LEN, 1);
    let ask = |etag| world.client.is_unchanged(&world.server.url(LIST), etag, &world.seen, &world.interrupt);
    world.server.script(LIST, [Reply::status(503), Reply::file(&body).tag(TAG)]);
    assert!(ask(TAG).unwrap());
    assert!(!ask("\"old\"").unwrap());
    assert!(matches!(
        world.client.is_unchanged(&world.server.url("/gone"), TAG, &world.seen, &world.interrupt),
        Err(Error::Status { .. })
    ));
}
