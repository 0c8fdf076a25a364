//! Files of which a part is there.

use super::*;

#[test]
fn what_is_there_is_not_fetched_again() {
    let body = data(LEN, 1);
    for len in [1, 2, 1000, LEN / 2, LEN - 1] {
        let world = World::with_left_behind(&body, len, TAG);
        world.server.serve(FILE, Reply::file(&body).tag(TAG));
        let downloaded = world.fetch_right(&body);
        assert_eq!(downloaded.resumed_from, len as u64);
        assert_eq!(downloaded.fetched_bytes, (LEN - len) as u64);
        let requests = world.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].range, Some(format!("bytes={len}-")));
        assert_eq!(requests[0].if_range.as_deref(), Some(TAG));
        assert_eq!(requests[0].sent_bytes, (LEN - len) as u64);
        assert_eq!(world.arrival.round(), 0);
        assert_eq!(
            world.seen.events(),
            [
                Event::Start("download image.img.xz".to_owned(), Some(LEN as u64)),
                Event::Advance(LEN as u64),
                Event::Finish
            ]
        );
    }
}

#[test]
fn a_whole_file_is_asked_about_and_not_fetched() {
    let body = data(LEN, 1);
    let world = World::with_left_behind(&body, LEN, TAG);
    world.server.serve(FILE, Reply::file(&body).tag(TAG));
    let downloaded = world.fetch_right(&body);
    assert_eq!((downloaded.resumed_from, downloaded.etag.as_deref()), (LEN as u64, Some(TAG)));
    assert_eq!(world.ranges(), [Some(format!("bytes={LEN}-"))]);
}

#[test]
fn the_reader_begins_with_what_is_there_before_the_server_answers() {
    let body = data(LEN, 1);
    let world = World::with_left_behind(&body, 1000, TAG);
    world.server.serve(FILE, Reply::silence());
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| world.fetch());
        assert_eq!(world.arrival.wait(0, 0, &Interrupt::default()), Ok(Next::Until(1000)));
        world.interrupt.raise();
        assert!(matches!(fetching.join().unwrap(), Err(Error::Interrupted(_))));
    });
    assert_eq!(world.left(), &body[..1000]);
}

#[test]
fn a_file_that_changed_is_begun_again() {
    let (old, new) = (data(LEN, 1), data(LEN + 10, 2));
    for len in [1, 1000, LEN - 1, LEN] {
        let world = World::with_left_behind(&old, len, TAG);
        world.server.serve(FILE, Reply::file(&new).tag("\"two\""));
        let downloaded = world.fetch_right(&new);
        assert_eq!((downloaded.resumed_from, downloaded.etag.as_deref()), (0, Some("\"two\"")));
        assert_eq!(downloaded.fetched_bytes, new.len() as u64);
        assert_eq!(world.requests().len(), 1);
        assert_eq!(world.arrival.round(), 1);
    }
}

#[test]
fn a_changed_file_is_noticed_though_the_server_heeds_no_if_range() {
    // As long as the old one, longer, shorter, shorter than what is there.
    for len in [LEN, LEN + 10, LEN - 10, 500] {
        let (old, new) = (data(LEN, 1), data(len, 2));
        let world = World::with_left_behind(&old, 1000, TAG);
        world.server.serve(FILE, Reply::file(&new).tag("\"two\"").ignores_if_range());
        assert_eq!(world.fetch_right(&new).resumed_from, 0);
        assert_eq!(world.ranges(), [Some("bytes=1000-".to_owned()), None]);
        assert_eq!(world.arrival.round(), 1);
    }
}

#[test]
fn without_a_tag_the_date_names_the_file_and_without_both_nothing_does() {
    let body = data(LEN, 1);
    type Name = fn(Reply) -> Reply;
    let cases: [(Name, Option<&str>); 4] = [
        (|reply| reply.modified(DATE), Some(DATE)),
        (|reply| reply.modified(DATE).tag("W/\"weak\""), Some(DATE)),
        (|reply| reply.tag("W/\"weak\""), None),
        (|reply| reply, None),
    ];
    for (name, validator) in cases {
        let world = World::new();
        let good = name(Reply::file(&body));
        world.server.script(FILE, [good.clone().closes_after(5000), good]);
        let downloaded = world.fetch_right(&body);
        let last = world.requests().remove(1);
        assert_eq!(last.if_range.as_deref(), validator);
        match validator {
            Some(_) => assert_eq!(downloaded.fetched_bytes, LEN as u64),
            None => assert_eq!((last.range, downloaded.fetched_bytes), (None, LEN as u64 + 5000)),
        }
    }
}

#[test]
fn a_server_without_ranges_sends_all_of_it_once_more() {
    let body = data(LEN, 1);
    let world = World::with_left_behind(&body, 1000, TAG);
    world.server.serve(FILE, Reply::file(&body).tag(TAG).ignores_range());
    let downloaded = world.fetch_right(&body);
    assert_eq!((downloaded.resumed_from, downloaded.fetched_bytes), (0, LEN as u64));
    assert_eq!(world.requests().len(), 1);
}

#[test]
fn a_part_with_a_wrong_name_is_not_believed() {
    let body = data(LEN, 1);
    let last = LEN - 1;
    for name in [
        format!("bytes 0-{last}/{LEN}"),
        format!("bytes 999-{last}/{LEN}"),
        format!("bytes 1001-{last}/{LEN}"),
        format!("bytes 1000-{last}/{}", LEN + 1),
        format!("bytes 1000-{}/{LEN}", last - 1),
        "bytes 1000-18446744073709551615/*".to_owned(),
        "bytes */*".to_owned(),
        "nonsense".to_owned(),
    ] {
        let world = World::with_left_behind(&body, 1000, TAG);
        world.server.serve(FILE, Reply::file(&body).tag(TAG).content_range(&name));
        assert_eq!(world.fetch_right(&body).resumed_from, 0, "{name}");
        assert_eq!(world.ranges(), [Some("bytes=1000-".to_owned()), None], "{name}");
    }
}

#[test]
fn a_part_may_be_shorter_than_the_rest() {
    let body = data(5000, 1);
    let world = World::with_left_behind(&body, 1000, TAG);
    let part = body[1000..3000].to_vec();
    let whole = Reply::file(&body).tag(TAG);
    world.server.route(FILE, move |nth, _| match nth {
        0 => Reply::status(206).tag(TAG).header("Content-Range", "bytes 1000-2999/5000").body(&part),
        _ => whole.clone(),
    });
    let downloaded = world.fetch_right(&body);
    assert_eq!((downloaded.resumed_from, downloaded.fetched_bytes), (1000, 4000));
    assert_eq!(world.ranges(), [Some("bytes=1000-".to_owned()), Some("bytes=3000-".to_owned())]);
}

#[test]
fn a_part_that_goes_on_past_its_end_is_not_believed() {
    let body = data(5000, 1);
    let world = World::with_left_behind(&body, 1000, TAG);
    let whole = Reply::file(&body).tag(TAG);
    world.server.route(FILE, move |nth, _| match nth {
        0 => {
            let long = Reply::status(206).tag(TAG).header("Content-Range", "bytes 1000-4999/5000");
            long.body(&data(4001, 3)).chunked()
        }
        _ => whole.clone(),
    });
    assert_eq!(world.fetch_right(&body).resumed_from, 0);
}

#[test]
fn nothing_behind_what_is_there_means_whole_only_if_the_lengths_agree() {
    let body = data(LEN, 1);
    for range in ["bytes */1000", "bytes */999", "nonsense"] {
        let world = World::with_left_behind(&body, 1000, TAG);
        let whole = Reply::file(&body).tag(TAG);
        world.server.route(FILE, move |nth, _| match nth {
            0 => Reply::status(416).header("Content-Range", range),
            _ => whole.clone(),
        });
        assert_eq!(world.fetch_right(&body).resumed_from, 0, "{range}");
        assert_eq!(world.ranges()[1], None);
    }
}

#[test]
fn an_error_page_in_place_of_the_rest_destroys_nothing() {
    let body = data(LEN, 1);
    let pages = [
        Reply::page(),
        Reply::page().header("Content-Type", "application/x-xz"),
        Reply::status(200).body(b"  \n<HTML>").chunked(),
        Reply::status(404),
        Reply::status(503),
        Reply::nothing(),
        Reply::redirect(FILE),
    ];
    for page in pages {
        let world = World::with_left_behind(&body, 1000, TAG);
        world.server.serve(FILE, page);
        world.fetch().unwrap_err();
        assert_eq!(world.left(), &body[..1000]);
        world.assert_sound(&[(TAG, &body)]);
        assert_eq!(world.assert_heals(&body, TAG).resumed_from, 1000);
    }
}

#[test]
fn another_url_shares_no_bytes() {
    let body = data(LEN, 1);
    let world = World::with_left_behind(&body, 1000, TAG);
    world.server.serve("/other", Reply::file(&data(LEN, 2)).tag(TAG));
    let url = world.server.url("/other");
    assert_eq!(world.fetch_from(&url, None, u64::MAX).unwrap().resumed_from, 0);
    world.assert_right(&data(LEN, 2));
    assert_eq!(world.server.requests("/other")[0].range, None);
}
