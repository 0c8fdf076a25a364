//! `cardpress devices`: what could be flashed, and why the rest could not.

use serde_json::Value;

use crate::support::loops::Loop;
use crate::support::tools::{may_attach, text};
use crate::support::world::World;

/// The word by which this test's device is found among those of others.
const LEN: u64 = 24 << 20;

#[test]
fn devices_lists_what_cannot_be_flashed_with_every_reason() {
    let run = World::new().run(&["devices"]).succeeded();
    // Whatever machine this is: each device below the heading has a reason.
    let below: Vec<&str> =
        run.out.lines().skip_while(|line| !line.ends_with("not to be flashed:")).skip(1).collect();
    for pair in below.windows(2) {
        assert!(!pair[0].starts_with('/') || pair[1].starts_with("  "), "{}", run.out);
    }
    if !may_attach() {
        return;
    }
    let device = Loop::new(LEN);
    let run = World::new().run(&["devices"]).succeeded();
    let mut lines =
        run.out.lines().skip_while(|line| !line.starts_with(&format!("{}:", text(device.path()))));
    let identity = lines.next().unwrap_or_default();
    assert!(identity.ends_with("24 MiB, loop; holds: nothing known"), "{}", run.out);
    assert_eq!(lines.next(), Some("  it is a fixed disk (loop), which only --allow-fixed-disk takes"));
}

#[test]
fn devices_as_json_is_one_array_with_all_that_is_known() {
    let device = may_attach().then(|| Loop::with(LEN, &["--read-only"]));
    let run = World::new().run(&["devices", "--json"]).succeeded();
    let all: Value = serde_json::from_str(&run.out).unwrap();
    let all = all.as_array().unwrap();
    for disk in all {
        let is_free = disk["obstacles"].as_array().unwrap().is_empty();
        assert_eq!(disk["is_candidate"], is_free, "{disk}");
    }
    let Some(device) = device else {
        eprintln!("not root: no loop devices");
        return;
    };
    let ours = all.iter().find(|disk| disk["path"] == text(device.path())).expect("it is listed");
    assert_eq!((&ours["len_bytes"], &ours["transport"]), (&LEN.into(), &"loop".into()));
    let reasons: Vec<&str> =
        ours["obstacles"].as_array().unwrap().iter().filter_map(|why| why["reason"].as_str()).collect();
    assert_eq!(reasons, ["read-only", "fixed"]);
    assert_eq!(ours["contents"], serde_json::json!({ "table": null, "whole": null, "partitions": [] }));
}

#[test]
fn devices_help_says_how_to_unmount_and_what_a_fixed_disk_is() {
    let help = World::new().run(&["devices", "--help"]).succeeded().out;
    for words in ["umount /dev/sdb1", "--allow-fixed-disk", "Examples:"] {
        assert!(help.contains(words), "{help}");
    }
}
