use super::*;

const URL: &str = "https://example.invalid/demo.img.xz";

#[track_caller]
fn read(text: &str) -> Found {
    parse(text.as_bytes(), 1).unwrap()
}

fn names(found: &Found) -> Vec<&str> {
    found.images.iter().map(|image| image.name.as_str()).collect()
}

/// A list with one image, whose further fields are `fields`.
fn one(fields: &str) -> Image {
    let text = format!(r#"{{ "os_list": [ {{ "name": "Demo", "url": "{URL}"{fields} }} ] }}"#);
    read(&text).images.remove(0)
}

/// `depth` lists, one in the other; an image in each.
fn nested(depth: usize) -> String {
    let mut list = String::from("[]");
    for level in (1..=depth).rev() {
        list = format!(
            r#"[ {{ "name": "image {level}", "url": "{URL}?{level}" }}, {{ "name": "list", "subitems": {list} }} ]"#
        );
    }
    format!(r#"{{ "os_list": {list} }}"#)
}

#[test]
fn an_image_with_every_published_field_is_read() {
    let digests = ["1".repeat(64), "2".repeat(64)];
    let image = one(&format!(
        r#", "description": "made up", "icon": "https://example.invalid/i.png", "extract_size": 5000000000,
        "extract_sha256": "{}", "image_download_size": 512000000, "image_download_sha256": "{}",
        "release_date": "2030-01-02", "devices": ["pi5-64bit", "pi4-64bit"], "init_format": "cloudinit-rpi",
        "website": "https://example.invalid", "architecture": "armv8", "capabilities": ["i2c"],
        "bmap_url": "https://example.invalid/b", "random": false, "tooltip": "t", "enable_rpi_connect": true,
        "of the future": {{ "a": [1, {{}}] }}"#,
        digests[0], digests[1]
    ));
    let expected = Image {
        name: "Demo".into(),
        description: "made up".into(),
        url: URL.into(),
        release_date: Some("2030-01-02".into()),
        archive_len: Some(512_000_000),
        extract_len: Some(5_000_000_000),
        archive_sha256: digests[1].parse().ok(),
        image_sha256: digests[0].parse().ok(),
        architecture: Some(Arch::Arm64),
        devices: vec!["pi5-64bit".into(), "pi4-64bit".into()],
        init_format: Some("cloudinit-rpi".into()),
    };
    assert_eq!(image, expected);
}

#[test]
fn an_image_needs_no_more_than_a_name_and_a_url() {
    assert_eq!(one(""), Image { name: "Demo".into(), url: URL.into(), ..Image::default() });
}

#[test]
fn values_of_the_wrong_type_are_as_good_as_none() {
    let bare = one("");
    let others =
        ["7", "-7", "1.5", "true", "null", "[]", "[[\"a\"]]", "{}", "{\"a\": [1]}", "\"\"", "\"?!\""];
    let fields = [
        "extract_size",
        "image_download_size",
        "extract_sha256",
        "image_download_sha256",
        "release_date",
        "devices",
        "init_format",
        "architecture",
        "subitems",
        "subitems_url",
    ];
    for field in fields {
        for value in others.iter().filter(|value| !(field.ends_with("_size") && **value == "7")) {
            assert_eq!(one(&format!(", \"{field}\": {value}")), bare, "{field}: {value}");
        }
    }
    let devices = one(r#", "devices": ["pi5-64bit", 4, null, ["x"], "no tag", "pi4-64bit"]"#).devices;
    assert_eq!(devices, ["pi5-64bit", "pi4-64bit"]);
}

#[test]
fn items_that_are_neither_image_nor_list_are_left_out() {
    let found = read(&format!(
        r#"{{ "os_list": [ 1, -1, 1.5, null, true, "text", [[]], {{}}, {{ "name": "no url" }}, {{ "url": "{URL}" }},
        {{ "name": 3, "url": "{URL}" }}, {{ "name": "relative", "url": "images/demo.img.xz" }},
        {{ "name": "other scheme", "url": "file:///etc/shadow" }}, {{ "name": "no host", "url": "https://" }},
        {{ "name": "spaced", "url": "https://example.invalid/a b" }}, {{ "name": "list", "subitems_url": "more.json" }},
        {{ "name": "sound", "url": "{URL}" }} ] }}"#
    ));
    assert_eq!(names(&found), ["sound"]);
    assert_eq!(found.remotes, []);
}

#[test]
fn lists_within_lists_are_read_to_the_eighth() {
    let found = read(&nested(8));
    assert_eq!((found.images.len(), found.is_too_deep), (8, true)); // the empty ninth
    let found = read(&nested(40));
    assert_eq!((found.images.len(), found.is_too_deep), (8, true));
    let found = read(&nested(7));
    assert_eq!((found.images.len(), found.is_too_deep), (7, false));
}

#[test]
fn lists_elsewhere_are_noted_with_their_depth() {
    let text = r#"{ "os_list": [ { "name": "a", "subitems_url": "https://example.invalid/1.json" },
        { "name": "b", "subitems": [ { "subitems_url": "http://example.invalid/2.json" } ] } ] }"#;
    let found = read(text);
    let remotes: Vec<(&str, usize)> =
        found.remotes.iter().map(|remote| (remote.url.as_str(), remote.depth)).collect();
    assert_eq!(remotes, [("https://example.invalid/1.json", 2), ("http://example.invalid/2.json", 3)]);
    let last = parse(text.as_bytes(), 8).unwrap();
    assert!(last.remotes.is_empty() && last.is_too_deep);
}

#[test]
fn what_is_no_list_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        (" <!DOCTYPE html>", "found a web page, wanted JSON"),
        ("[]", "invalid type: sequence, expected an object with an `os_list` array at line 1 column 2"),
        ("{}", "found no `os_list` array"),
        (r#"{ "os_list": {} }"#, "found no `os_list` array"),
        (r#"{ "os_list": "x" }"#, "found no `os_list` array"),
        (r#"{ "os_list": [] } x"#, "trailing characters at line 1 column 19"),
        (r#"{ "os_list": [ {"#, "EOF while parsing an object at line 1 column 16"),
    ] {
        assert_eq!(parse(text.as_bytes(), 1).unwrap_err(), reason, "{text}");
    }
    assert!(parse(b"{ \"os_list\": [ { \"name\": \"\xff\" } ] }", 1).is_err());
}

#[test]
fn ten_megabytes_of_junk_end_well() {
    let len = 10 << 20;
    for junk in ["[", "{\"os_list\":[", "{\"os_list\":[{\"subitems\":[", "\u{1}", "{\"a\":"] {
        let text = junk.repeat(len / junk.len());
        assert!(parse(text.as_bytes(), 1).is_err(), "{junk}");
    }
    for (junk, join) in [("0", ","), ("[]", ","), ("{}", ","), ("{\"name\":{}}", ",")] {
        let items = vec![junk; len / (junk.len() + 1)].join(join);
        let found = read(&format!("{{\"os_list\":[{items}],\"more\":[{items}]}}"));
        assert!(found.images.is_empty());
    }
    let deep = format!("{{\"x\":{}{}, \"os_list\":[]}}", "[".repeat(len / 2), "]".repeat(len / 2));
    assert!(read(&deep).images.is_empty());
    let long = "x".repeat(len);
    let found = read(&format!(r#"{{ "os_list": [ {{ "name": "{long}", "url": "{URL}" }} ] }}"#));
    assert!(found.images.is_empty());
}

#[test]
fn of_more_images_than_anyone_publishes_the_first_are_kept() {
    let items =
        vec![format!(r#"{{ "name": "a", "url": "{URL}", "subitems_url": "{URL}" }}"#); 30_000].join(",");
    let found = read(&format!("{{\"os_list\":[{items}]}}"));
    assert_eq!((found.images.len(), found.remotes.len(), found.is_too_many), (10_000, 10_000, true));
}

#[test]
fn what_a_terminal_would_obey_does_not_reach_it() {
    let text = format!(r#"{{ "os_list": [ {{ "name": "\u001b[2JDemo\r\n\u202eOS", "url": "{URL}" }} ] }}"#);
    assert_eq!(read(&text).images[0].name, "[2JDemo   OS");
}

#[test]
fn days_are_told_from_other_texts() {
    for text in ["2026-06-18", "1999-12-31"] {
        assert!(is_date(text), "{text}");
    }
    for text in ["", "2026-6-18", "2026-13-01", "2026-00-01", "2026-01-32", "2026-01-01-01", "+026-01-01"] {
        assert!(!is_date(text), "{text}");
    }
}
