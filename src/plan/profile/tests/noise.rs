//! Whatever stands in a profile, reading it ends with a cluster or with faults.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../../profiles/cluster.toml");

/// The example with a few stretches cut out, doubled, or swapped for noise.
fn spoilt(cuts: &[(usize, usize, String)]) -> String {
    let mut text: Vec<char> = EXAMPLE.chars().collect();
    for (at, length, noise) in cuts {
        let start = at % (text.len() + 1);
        let end = (start + length).min(text.len());
        text.splice(start..end, noise.chars());
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_spoilt_profile_ends_in_faults_with_true_spans(
        cuts in prop::collection::vec((any::<usize>(), 0..40_usize, "[\\[\\]{}=\"'.,#\n 0-9a-zé-]{0,6}"), 1..6),
    ) {
        let world = World::with(&spoilt(&cuts)).file("/home/me/.ssh/id_ed25519.pub", KEY);
        if let Err(faults) = world.load() {
            prop_assert!(!faults.as_slice().is_empty());
            for fault in &faults {
                prop_assert!(fault.span.is_none() || fault.under_span().is_some(), "{fault:?}");
                prop_assert!(!fault.message.contains('\n'), "{fault:?}");
            }
        }
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_do_not_matter() {
    let crlf = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    let world = World::with(&crlf).file("/home/me/.ssh/id_ed25519.pub", KEY);
    let nodes = world.loaded().cluster.nodes;
    assert_eq!(nodes.len(), 5);
    assert!(nodes[0].settings.first_boot[0].script.bytes().starts_with(b"#!/bin/sh\n"));
    let windows =
        World::with(&one_node("first-boot = [{ name = \"a\", file = \"a\" }]")).file("/p/a", "#!/bin/sh\r\n");
    let message = "found a script whose lines end in carriage returns, wanted Unix line breaks";
    assert_eq!(windows.faults()[0].message, message);
    let faults = World::with("\u{feff}schema = 2\r\n").faults();
    assert_eq!(faults[0].under_span(), Some("2"));
}
