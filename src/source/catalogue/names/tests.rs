use super::*;

const HOST: &str = "https://downloads.example.invalid";

fn raspios_url(product: &str, file: &str) -> String {
    format!("{HOST}/{product}/images/{product}-2026-06-19/{file}")
}

fn listed(name: &str, url: &str, date: &str) -> Listed {
    let release_date = Some(date.to_owned()).filter(|date| !date.is_empty());
    let image = Image { name: name.into(), url: url.into(), release_date, ..Image::default() };
    Listed { image, is_trusted: true }
}

fn ids(listed: Vec<Listed>) -> Vec<String> {
    name(listed).into_iter().map(|entry| entry.id).collect()
}

#[test]
fn the_url_says_which_raspberry_pi_os_it_is() {
    for (product, file, id, release) in [
        ("raspios_lite_arm64", "2026-06-18-raspios-trixie-arm64-lite.img.xz", "raspios-lite-arm64", "trixie"),
        ("raspios_arm64", "2026-06-18-raspios-trixie-arm64.img.xz", "raspios-arm64", "trixie"),
        ("raspios_full_armhf", "2026-06-18-raspios-trixie-armhf-full.img.xz", "raspios-full-armhf", "trixie"),
        (
            "raspios_oldstable_lite_arm64",
            "2026-06-18-raspios-bookworm-arm64-lite.img.xz",
            "raspios-oldstable-lite-arm64",
            "bookworm",
        ),
        (
            "raspios_oldstable_armhf",
            "2026-06-18-raspios-bookworm-armhf.img.xz",
            "raspios-oldstable-armhf",
            "bookworm",
        ),
        // The order of 2020.
        ("raspios_lite_armhf", "2020-05-27-raspios-buster-lite-armhf.zip", "raspios-lite-armhf", "buster"),
    ] {
        // The name to be shown says something else, and so does the date.
        let entry = &name(vec![listed("Some OS", &raspios_url(product, file), "2026-01-01")])[0];
        assert_eq!((entry.id.as_str(), entry.release.as_deref()), (id, Some(release)));
        assert_eq!(entry.release_date.as_deref(), file.get(..10), "{file}");
        assert!(entry.is_raspios);
        assert_eq!(entry.is_oldstable, product.contains("oldstable"));
    }
}

#[test]
fn a_url_of_another_shape_is_no_raspberry_pi_os() {
    for url in [
        "https://example.invalid/2026-06-18-raspios-trixie-arm64-lite.img.xz",
        "https://example.invalid/raspios_lite_arm64/2026-06-18-raspios-trixie-arm64-lite.img.xz",
        "https://example.invalid/raspios_lite_riscv/images/x/2026-06-18-raspios-trixie-riscv-lite.img.xz",
        "https://example.invalid/raspios_tiny_arm64/images/x/a.img.xz",
        "https://example.invalid/?/raspios_lite_arm64/images/x/a.img.xz",
        "images/raspios_lite_arm64/images/x/a.img.xz",
    ] {
        assert_eq!(of_url(url), None, "{url}");
    }
    let plain = of_url("https://mirror.invalid/pi/raspios_lite_arm64/images/x/any.img.xz?tracker=1").unwrap();
    assert_eq!((plain.date, plain.codename), (None, None));
}

#[test]
fn a_list_of_others_cannot_name_a_raspberry_pi_os() {
    let url = raspios_url("raspios_lite_arm64", "2099-01-01-raspios-trixie-arm64-lite.img.xz");
    let mut other = listed("raspios lite (arm64)", &url, "2099-01-01");
    other.is_trusted = false;
    let entry = &name(vec![other])[0];
    assert_eq!((entry.id.as_str(), entry.is_raspios), ("other-raspios-lite-arm64", false));
}

#[test]
fn the_newest_release_has_the_plain_name() {
    let of = |date: &str| {
        listed(
            "x",
            &raspios_url("raspios_lite_arm64", &format!("{date}-raspios-trixie-arm64-lite.img.xz")),
            "",
        )
    };
    let entries = name(vec![of("2025-12-04"), of("2026-06-18"), of("2025-10-01"), of("2026-06-18")]);
    let named: Vec<String> =
        entries.iter().map(|entry| format!("{} {}", entry.id, entry.dated_id())).collect();
    assert_eq!(
        named,
        [
            "raspios-lite-arm64 raspios-lite-arm64@2026-06-18",
            "raspios-lite-arm64@2025-12-04 raspios-lite-arm64@2025-12-04",
            "raspios-lite-arm64@2025-10-01 raspios-lite-arm64@2025-10-01",
        ]
    );
}

#[test]
fn other_images_are_called_as_they_are_shown() {
    for (shown, id) in [
        ("Demo OS Lite (64-bit)", "demo-os-lite-64-bit"),
        ("  --Ünï 1.2-- ", "n-1-2"),
        ("日本", "demo"), // by the file
        ("Raspios!", "other-raspios"),
    ] {
        assert_eq!(ids(vec![listed(shown, "https://example.invalid/demo.img.xz", "")]), [id]);
    }
    let long = ids(vec![listed(&"ab ".repeat(40), "https://example.invalid/a", "")]).remove(0);
    assert_eq!(long.len(), 59); // 60 would end in a hyphen
    assert_eq!(ids(vec![listed("日本", "https://example.invalid/", "")]), ["image"]);
}

#[test]
fn images_shown_under_one_name_get_one_each_whatever_their_order() {
    let images = || {
        vec![
            listed("Demo", "https://example.invalid/b", "2030-01-01"),
            listed("Demo", "https://example.invalid/a", "2030-01-01"),
            listed("Demo", "https://example.invalid/c", "2029-01-01"),
            listed("Demo", "https://example.invalid/d", ""),
            listed("Demo 2", "https://example.invalid/e", "2030-01-01"),
            listed("Demo", "https://example.invalid/a", "2030-01-01"),
        ]
    };
    let by_url = |mut listed: Vec<Listed>, is_reversed: bool| {
        if is_reversed {
            listed.reverse();
        }
        let mut pairs: Vec<(String, String)> =
            name(listed).into_iter().map(|entry| (entry.url, entry.id)).collect();
        pairs.sort();
        pairs
    };
    let forward = by_url(images(), false);
    let ids: Vec<&str> = forward.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["demo", "demo-3", "demo@2029-01-01", "demo-4", "demo-2"]);
    assert_eq!(forward, by_url(images(), true));
}

#[test]
fn raspberry_pi_os_comes_first_and_lite_before_the_desktop() {
    let raspios = |product: &str| listed("x", &raspios_url(product, "a.img.xz"), "2026-06-18");
    let order = ids(vec![
        listed("Another", "https://example.invalid/a", ""),
        raspios("raspios_oldstable_lite_arm64"),
        raspios("raspios_full_arm64"),
        raspios("raspios_armhf"),
        raspios("raspios_lite_armhf"),
        raspios("raspios_lite_arm64"),
    ]);
    let expected = [
        "raspios-lite-arm64",
        "raspios-lite-armhf",
        "raspios-armhf",
        "raspios-full-arm64",
        "raspios-oldstable-lite-arm64",
        "another",
    ];
    assert_eq!(order, expected);
}

#[test]
fn the_architecture_is_what_the_list_says_or_what_all_boards_have_in_common() {
    for (said, devices, found) in [
        (Some(Arch::Armhf), &["pi4-64bit"][..], Some(Arch::Armhf)),
        (None, &["pi4-64bit", "pi5-64bit"], Some(Arch::Arm64)),
        (None, &["pi1-32bit"], Some(Arch::Armhf)),
        (None, &["pi4-64bit", "pi4-32bit"], None),
        (None, &[], None),
    ] {
        let mut one = listed("Demo", "https://example.invalid/a", "");
        one.image.architecture = said;
        one.image.devices = devices.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(name(vec![one])[0].architecture, found, "{said:?} {devices:?}");
    }
}
