//! Files from a server that behaves, and refusals.

use std::time::Instant;

use super::*;

#[test]
fn a_file_comes_as_it_is_and_says_what_it_is() {
    let world = World::new();
    let body = data(LEN, 1);
    world.server.serve(FILE, Reply::file(&body).tag(TAG).modified(DATE));
    let downloaded = world.fetch_right(&body);
    assert_eq!(
        downloaded,
        Downloaded {
            len_bytes: LEN as u64,
            fetched_bytes: LEN as u64,
            etag: Some(TAG.to_owned()),
            last_modified: Some(DATE.to_owned()),
            resumed_from: 0,
        }
    );
    assert_eq!(
        world.seen.events(),
        [
            Event::Start("download image.img.xz".to_owned(), Some(LEN as u64)),
            Event::Advance(LEN as u64),
            Event::Finish
        ]
    );
    let request = world.requests().remove(0);
    assert_eq!(request.header("user-agent"), Some(concat!("cardpress/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!((request.range, request.if_range), (None, None));
}

#[test]
fn bytes_that_claim_to_be_encoded_are_not_decoded() {
    let world = World::new();
    let body = data(1000, 1);
    world.server.serve(FILE, Reply::file(&body).header("Content-Encoding", "gzip"));
    world.fetch_right(&body);
}

#[test]
fn a_file_may_be_empty_or_of_one_byte() {
    for len in [0, 1] {
        let world = World::new();
        world.server.serve(FILE, Reply::file(&data(len, 1)).tag(TAG));
        world.fetch_right(&data(len, 1));
    }
}

#[test]
fn a_body_without_a_length_ends_where_it_ends() {
    let body = data(LEN, 1);
    for reply in [Reply::file(&body).chunked(), Reply::file(&body).until_close()] {
        let world = World::new();
        world.server.serve(FILE, reply);
        world.fetch_right(&body);
        assert_eq!(world.seen.events()[0], Event::Start("download image.img.xz".to_owned(), None));
    }
}

#[test]
fn a_slow_drip_is_no_stall() {
    let world = World::with(hasty());
    let body = data(60, 1);
    world.server.serve(FILE, Reply::file(&body).tag(TAG).drips(10, Duration::from_millis(100)));
    world.fetch_right(&body);
}

#[test]
fn a_chain_of_ten_redirects_is_followed_with_what_was_asked() {
    let world = World::with_left_behind(&data(LEN, 1), 1000, TAG);
    world.server.serve(FILE, Reply::redirect("/1"));
    for n in 1..10 {
        // Relative and absolute, as the mirrors like it.
        let next = format!("/{}", n + 1);
        let next = if n % 2 == 0 { next } else { world.server.url(&next) };
        world.server.serve(&format!("/{n}"), Reply::redirect(&next));
    }
    world.server.serve("/10", Reply::file(&data(LEN, 1)).tag(TAG));
    let downloaded = world.fetch_right(&data(LEN, 1));
    assert_eq!((downloaded.resumed_from, downloaded.fetched_bytes), (1000, LEN as u64 - 1000));
    let last = &world.server.requests("/10")[0];
    assert_eq!((last.range.as_deref(), last.if_range.as_deref()), (Some("bytes=1000-"), Some(TAG)));
    assert_eq!(last.header("referer"), None);
}

#[test]
fn redirects_without_end_or_in_a_circle_or_out_of_the_web_are_not_followed() {
    let world = World::new();
    world.server.route(FILE, |_, _| Reply::redirect("/1"));
    for n in 1..20 {
        world.server.serve(&format!("/{n}"), Reply::redirect(&format!("/{}", n + 1)));
    }
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::Redirect { reason, .. } if reason.contains("more than 10")), "{error}");
    assert_eq!(world.server.all_requests().len(), 11);

    world.server.serve("/2", Reply::redirect(FILE));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::Redirect { reason, .. } if reason.contains("circle")), "{error}");

    world.server.serve("/2", Reply::redirect("ftp://example.com/image"));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::Redirect { reason, .. } if reason.contains("ftp://")), "{error}");
    world.assert_sound(&[]);
}

#[test]
fn a_refusal_is_final_and_names_status_and_url_after_redirects() {
    for status in [204, 300, 400, 401, 403, 404, 410, 416, 501, 505] {
        let world = World::new();
        world.server.serve(FILE, Reply::redirect("/moved"));
        world.server.serve("/moved", Reply::status(status));
        let error = world.fetch().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Status { .. }), "{text}");
        assert!(text.contains(&status.to_string()) && text.contains(&world.server.url("/moved")), "{text}");
        assert_eq!(world.requests().len(), 1);
        world.assert_sound(&[]);
    }
}

#[test]
fn a_part_that_nobody_asked_for_is_refused() {
    let world = World::new();
    world.server.serve(FILE, Reply::status(206).header("Content-Range", "bytes 0-9/10").body(&data(10, 1)));
    assert!(matches!(world.fetch(), Err(Error::Status { .. })));
    assert_eq!(world.left(), b"");
}

#[test]
fn nothing_but_http_is_asked_for() {
    let world = World::new();
    for url in ["ftp://a/b", "file:///etc/passwd", "image.img.xz", "", "http://", "data:,x"] {
        let error = world.fetch_from(url, None, u64::MAX).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{url}: {error}");
    }
    assert!(!world.path().exists());
}

#[test]
fn offline_nothing_is_asked_and_nothing_changed() {
    let mut world = World::with_left_behind(&data(LEN, 1), 1000, TAG);
    world.client = Client::new(quick(), true).unwrap();
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::Offline { url } if *url == world.server.url(FILE)), "{error}");
    assert!(matches!(
        world.client.document(&world.server.url(FILE), None, 10, &world.seen, &world.interrupt),
        Err(Error::Offline { .. })
    ));
    assert_eq!(world.server.all_requests(), []);
    assert_eq!(world.left().len(), 1000);
}

#[test]
fn a_password_is_sent_and_shown_to_nobody() {
    let world = World::new();
    let url = world.server.url(FILE).replace("http://", "http://user:geheim@");
    let broken = Reply::file(&data(1000, 1)).tag(TAG).resets_after(10);
    world.server.script(FILE, [broken, Reply::status(503)]);
    let error = world.fetch_from(&url, None, u64::MAX).unwrap_err();
    assert!(world.requests()[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    assert!(!error.to_string().contains("geheim"));
    assert!(!fs::read_to_string(record_path(&world.path())).unwrap().contains("geheim"));
    assert!(world.seen.notes().iter().all(|note| !note.contains("geheim")));
}

#[test]
fn a_busy_server_is_asked_again_when_it_said() {
    let world = World::new();
    let body = data(LEN, 1);
    let busy = Reply::status(503).header("Retry-After", "1");
    world.server.script(FILE, [busy, Reply::file(&body)]);
    let begin = Instant::now();
    world.fetch_right(&body);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let notes = world.seen.notes();
    assert!(notes[0].contains("503") && notes[0].contains("again in 1 s"), "{notes:?}");
    assert_eq!(world.requests().len(), 2);
}

#[test]
fn a_server_that_is_busy_for_hours_is_left_alone() {
    let world = World::new();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(7200));
    for value in ["7200", &date] {
        world.server.serve(FILE, Reply::status(429).header("Retry-After", value));
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, Error::Later { .. }), "{error}");
    }
    assert_eq!(world.requests().len(), 2);
}

#[test]
fn passing_troubles_are_waited_out() {
    let world = World::new();
    let body = data(LEN, 1);
    world.server.script(FILE, [Reply::status(500), Reply::status(502), Reply::nothing(), Reply::file(&body)]);
    world.fetch_right(&body);

    let world = World::new();
    world
        .server
        .script(FILE, [Reply::status(408), Reply::status(504), Reply::status(429), Reply::file(&body)]);
    world.fetch_right(&body);
}

#[test]
fn a_trouble_that_does_not_pass_ends_in_an_error_that_names_it() {
    let world = World::new();
    world.server.serve(FILE, Reply::status(502));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::GaveUp { tries: 4, trouble: Trouble::Busy(s), .. } if s.contains("502")));
    assert_eq!(world.requests().len(), 4);
    assert_eq!(world.seen.notes().len(), 3);
    world.assert_sound(&[]);
}

#[test]
fn a_server_that_is_not_there_is_given_up_after_three_tries() {
    let world = World::new();
    // A port that was free a moment ago. Should another test get it: it serves no such path.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = world.fetch_from(&format!("http://{nobody}/nobody-has-this"), None, u64::MAX).unwrap_err();
    match error {
        Error::GaveUp { tries: 3, trouble: Trouble::Unreachable(_), .. } | Error::Status { .. } => {}
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_no_safe_connection() {
    let world = World::new();
    // Answers in plain HTTP to whatever comes first.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/a", listener.local_addr().unwrap());
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 16];
        std::io::Read::read_exact(&mut stream, &mut hello).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let error = world.fetch_from(&url, None, u64::MAX).unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::Setup { .. }), "{error:?} {:?}", world.seen.notes());
    drop(plain);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let world = World::new();
    world.server.serve(FILE, Reply::file(&data(10, 1)));
    fs::create_dir(world.path()).unwrap();
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, Error::File { action: "open", path, .. } if *path == world.path()), "{error}");
    world.assert_reader_failed();
}

#[test]
fn ctrl_c_ends_a_silence_and_a_wait_and_keeps_what_came() {
    let body = data(LEN, 1);
    let replies = [
        Reply::silence(),
        Reply::file(&body).tag(TAG).falls_silent_after(5000),
        Reply::status(503).header("Retry-After", "300"),
        Reply::file(&body).tag(TAG).drips(1, Duration::from_millis(20)),
    ];
    for reply in replies {
        let world = World::new();
        world.server.serve(FILE, reply);
        let begin = Instant::now();
        let stopped = std::thread::scope(|scope| {
            let fetching = scope.spawn(|| world.fetch());
            while world.requests().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(100));
            world.interrupt.raise();
            fetching.join().unwrap()
        });
        assert!(matches!(stopped, Err(Error::Interrupted(_))), "{stopped:?}");
        // Far below the patience of twenty seconds, far above what it takes.
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        world.assert_sound(&[(TAG, &body)]);
        let left = world.left().len() as u64;
        let downloaded = world.assert_heals(&body, TAG);
        assert_eq!((downloaded.resumed_from, downloaded.fetched_bytes), (left, LEN as u64 - left));
    }
}
