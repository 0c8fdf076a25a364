//! Connections that break and servers that lie.

use super::*;

#[test]
fn a_connection_may_break_after_any_number_of_bytes() {
    let body = data(LEN, 1);
    let mut cuts: Vec<usize> = vec![0, 1, 2, 3, 100, 4095, 4096, 8191, 8192, 16_384, 65_535, 65_536, 65_537];
    cuts.extend((1..24).map(|n| n * LEN / 24 + n));
    cuts.extend([LEN - 4096, LEN - 2, LEN - 1]);
    for cut in cuts {
        let good = Reply::file(&body).tag(TAG);
        for bad in [good.clone().resets_after(cut), good.clone().closes_after(cut)] {
            let world = World::new();
            world.server.script(FILE, [bad, good.clone()]);
            let downloaded = world.fetch_right(&body);
            // Not one byte twice.
            assert_eq!(downloaded.fetched_bytes, LEN as u64, "after {cut}");
            assert_eq!(world.requests().len(), 2, "after {cut}");
            assert_eq!(world.arrival.round(), 0);
        }
    }
}

#[test]
fn a_file_comes_through_a_connection_that_breaks_again_and_again() {
    let body = data(LEN, 1);
    let world = World::new();
    // Far more often than the tries in a row; every try brings something.
    world.server.serve(FILE, Reply::file(&body).tag(TAG).closes_after(LEN / 20));
    let downloaded = world.fetch_right(&body);
    assert_eq!(downloaded.fetched_bytes, LEN as u64);
    assert_eq!(world.requests().len(), 21);
    assert_eq!(world.server.sent_bytes(FILE), LEN as u64);
}

#[test]
fn a_download_cut_off_for_good_is_finished_by_the_next_run() {
    let body = data(LEN, 1);
    for cut in [0, 1, 1000, LEN - 1] {
        let world = World::new();
        let good = Reply::file(&body).tag(TAG);
        world.server.script(FILE, [good.closes_after(cut), Reply::status(503)]);
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, Error::GaveUp { .. }), "{error}");
        world.assert_sound(&[(TAG, &body)]);
        assert_eq!(world.left().len(), cut);
        let downloaded = world.assert_heals(&body, TAG);
        assert_eq!((downloaded.resumed_from, downloaded.fetched_bytes), (cut as u64, (LEN - cut) as u64));
    }
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let body = data(LEN, 1);
    let good = Reply::file(&body).tag(TAG);
    for (bad, kept) in [(Reply::silence(), 0), (good.clone().falls_silent_after(5000), 5000)] {
        // The patience covers the answer's head by the one for the connection as well.
        let world = World::with(Patience { connect: Duration::from_secs(1), ..hasty() });
        world.server.script(FILE, [bad, good.clone()]);
        let downloaded = world.fetch_right(&body);
        assert_eq!(downloaded.fetched_bytes, LEN as u64);
        assert_eq!(world.ranges()[1], (kept > 0).then(|| format!("bytes={kept}-")));
        assert!(world.seen.notes()[0].contains("no byte came"), "{:?}", world.seen.notes());
    }
}

#[test]
fn a_silent_server_is_given_up_and_what_came_is_kept() {
    let body = data(LEN, 1);
    let world = World::with(hasty());
    world.server.serve(FILE, Reply::file(&body).tag(TAG).falls_silent_after(0));
    let error = world.fetch().unwrap_err();
    assert!(matches!(error, Error::GaveUp { tries: 4, trouble: Trouble::Stalled(_), .. }), "{error:?}");
    world.assert_sound(&[(TAG, &body)]);
    world.assert_heals(&body, TAG);
}

#[test]
fn a_file_that_changes_between_two_tries_is_begun_again() {
    let (old, new) = (data(LEN, 1), data(LEN, 2));
    for cut in [1, 1000, LEN - 1] {
        for heeds_if_range in [true, false] {
            let world = World::new();
            let good = Reply::file(&new).tag("\"two\"");
            let good = if heeds_if_range { good } else { good.ignores_if_range() };
            world.server.script(FILE, [Reply::file(&old).tag(TAG).closes_after(cut), good]);
            let downloaded = world.fetch_right(&new);
            assert_eq!(downloaded.etag.as_deref(), Some("\"two\""));
            assert_eq!(world.arrival.round(), 1);
            let starts = world.seen.events().into_iter().filter(|event| matches!(event, Event::Start(..)));
            assert_eq!(starts.count(), 2);
        }
    }
}

#[test]
fn a_file_that_never_stops_changing_is_given_up() {
    let world = World::new();
    // Each a little longer, so that each try is progress.
    world.server.route(FILE, |nth, _| {
        let reply = Reply::file(&data(LEN, nth as u64)).tag(&format!("\"{nth}\""));
        reply.closes_after(10_000 + nth)
    });
    let error = world.fetch().unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    assert!(world.requests().len() <= 10, "{}", world.requests().len());
}

#[test]
fn a_server_that_claims_more_than_it_sends_is_given_up() {
    let body = data(LEN, 1);
    let liars = [
        Reply::file(&body).tag(TAG).claims(LEN as u64 + 100),
        Reply::file(&body).tag(TAG).claims(LEN as u64 + 100).ignores_range(),
        Reply::file(&body).claims(LEN as u64 + 100),
        Reply::file(&body).tag(TAG).claims(u64::MAX - 1),
    ];
    for liar in liars {
        let world = World::new();
        world.server.serve(FILE, liar);
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
        assert!(world.requests().len() <= 10);
        world.assert_sound(&[(TAG, &body)]);
        world.assert_heals(&body, "\"two\"");
    }
}

#[test]
fn a_length_that_was_announced_otherwise_is_an_error_before_a_byte_is_believed() {
    let body = data(LEN, 1);
    for announced in [LEN as u64 - 1, LEN as u64 + 1, 0] {
        for reply in [
            Reply::file(&body).tag(TAG),
            Reply::file(&body).tag(TAG).chunked(),
            // Sends all, and says that it is less.
            Reply::file(&body).tag(TAG).claims(LEN as u64 - 5),
        ] {
            let world = World::new();
            world.server.serve(FILE, reply);
            let error = world.fetch_from(&world.server.url(FILE), Some(announced), u64::MAX).unwrap_err();
            assert!(
                matches!(error, Error::Length { wanted_bytes, .. } if wanted_bytes == announced),
                "{error}"
            );
            assert_eq!(world.requests().len(), 1);
            world.assert_sound(&[(TAG, &body)]);
        }
    }
}

#[test]
fn a_body_that_ends_with_its_connection_may_be_cut_short_and_is_completed() {
    let body = data(LEN, 1);
    let world = World::new();
    let good = Reply::file(&body).tag(TAG).until_close();
    world.server.script(FILE, [good.clone().closes_after(5000), good]);
    let downloaded = world.fetch_from(&world.server.url(FILE), Some(LEN as u64), u64::MAX).unwrap();
    world.assert_right(&body);
    assert_eq!(downloaded.fetched_bytes, LEN as u64);
}

#[test]
fn an_endless_body_is_cut_off_at_the_limit() {
    let body = data(LEN, 1);
    for (reply, requests) in [
        (Reply::file(&body).tag(TAG), 1),
        (Reply::file(&body).tag(TAG).chunked(), 1),
        (Reply::file(&body).tag(TAG).until_close(), 1),
        // Little by little.
        (Reply::file(&body).tag(TAG).chunked().closes_after(LEN / 10), 6),
    ] {
        let world = World::new();
        world.server.serve(FILE, reply);
        let limit = LEN as u64 / 2;
        let error = world.fetch_from(&world.server.url(FILE), None, limit).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: named, .. } if named == limit), "{error}");
        assert!(world.requests().len() <= requests);
        // Emptied, or stopped before the limit: the rest names the length of the whole.
        assert!(world.left().is_empty() || requests > 1);
        world.assert_sound(&[(TAG, &body)]);
    }
}

#[test]
fn a_web_page_with_status_200_is_no_file() {
    for page in [
        Reply::page(),
        Reply::page().chunked(),
        Reply::status(200).body(b"\n\n<!DocType Html>"),
        Reply::status(200).body(b"<html><head>").drips(1, Duration::from_millis(1)),
        Reply::file(&data(1000, 1)).header("Content-Type", "text/html"),
    ] {
        let world = World::new();
        world.server.serve(FILE, Reply::redirect("/login"));
        world.server.serve("/login", page);
        let error = world.fetch().unwrap_err();
        assert!(matches!(&error, Error::WebPage { url } if *url == world.server.url("/login")), "{error}");
        assert_eq!(world.requests().len(), 1);
        assert_eq!(world.left(), b"");
        world.assert_sound(&[]);
    }
}

#[test]
fn garbage_in_place_of_an_answer_is_no_reason_to_fall_over() {
    for garbage in [
        b"".as_slice(),
        b"\0\0\0\0",
        b"HTTP/9.9 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ] {
        let world = World::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(4) {
                let mut stream = stream.unwrap();
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                let _ = std::io::Write::write_all(&mut stream, garbage);
            }
        });
        let error = world.fetch_from(&url, None, u64::MAX).unwrap_err();
        assert!(matches!(error, Error::GaveUp { tries: 4, trouble: Trouble::Broken(_), .. }), "{error:?}");
        server.join().unwrap();
    }
}
