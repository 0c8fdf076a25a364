//! What makes one card another machine: machine-id, disk identifier, root UUID, boot serial.
//!
//! The machine-id is a real one, so systemd takes no boot for the first (`ConditionFirstBoot=`, machine-id(5)).
//! What a first boot would have done is done here or seen to: host keys ([`super::ssh`]), growing
//! ([`super::growth`]), units set by links rather than presets ([`super::units`]).

use uuid::Uuid;

use super::Context;
use super::draft::Draft;
use crate::plan::{Action, Content, FirstBoot, Growth};

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    booted_before(context, draft);
    machine_id(context, draft);
    // A seed that is the same on every card is worse than none (systemd-random-seed(8)).
    draft.remove("/var/lib/systemd/random-seed");
    if draft.in_image("/var/lib/systemd/credential.secret") {
        draft.remove("/var/lib/systemd/credential.secret");
    }
    ids(context, draft);
}

/// Every Raspberry Pi OS as shipped has a token for its first boot, which that boot takes away. Ids, host keys and
/// seeds are made anew here all the same; what its users left, nobody can tell from what was shipped.
fn booted_before(context: &Context, draft: &mut Draft) {
    if context.facts.release.reference.is_none() || context.facts.first_boot != FirstBoot::None {
        return;
    }
    let grows = match context.cluster.image.grow {
        Some(Growth::To(_)) => "",
        Some(Growth::Card) | None => ", and its root filesystem will not grow by itself",
    };
    draft.warn(format!(
        "cmdline.txt has no first-boot token: the image has been booted or changed before. \
         Its history is part of every node{grows}"
    ));
}

fn machine_id(context: &Context, draft: &mut Draft) {
    let id = context.seed.derive_uuid(&format!("machine-id {}", context.node.name));
    let mode = if draft.in_image("/etc/machine-id") { None } else { Some(0o444) };
    draft.write_with("/etc/machine-id", Content::text(format!("{}\n", id.simple())), mode, None);
    // D-Bus falls back to /etc/machine-id; a copy of its own would contradict it.
    let path = "/var/lib/dbus/machine-id";
    if draft.in_image(path) && draft.link_text(path).is_none() {
        draft.remove(path);
    }
}

/// New identifiers, and every `PARTUUID=` and `UUID=` of fstab and cmdline.txt that speaks of the old ones.
fn ids(context: &Context, draft: &mut Draft) {
    let node = &context.node.name;
    let facts = context.facts;
    let mut renamed: Vec<(String, String)> = Vec::new();
    if let Some(old) = facts.disk_id {
        let new = different(old, u32::from_le_bytes(context.seed.derive(&format!("disk-id {node}"))));
        draft.finally(Action::SetDiskId(new));
        // Lower case: the image's own first boot replaces what fdisk prints, by exact match.
        renamed.push((format!("PARTUUID={old:08x}-"), format!("PARTUUID={new:08x}-")));
    }
    if !facts.partition_guids.is_empty() {
        let new_guid = |number: &u32| context.seed.derive_uuid(&format!("partition-guid {node} {number}"));
        let partitions: Vec<_> =
            facts.partition_guids.iter().map(|(number, _)| (*number, new_guid(number))).collect();
        for ((_, old), (_, new)) in facts.partition_guids.iter().zip(&partitions) {
            renamed.push((format!("PARTUUID={old}"), format!("PARTUUID={new}")));
        }
        draft.finally(Action::SetGuids {
            disk: context.seed.derive_uuid(&format!("disk-guid {node}")),
            partitions,
        });
    }
    let root: Uuid = context.seed.derive_uuid(&format!("root-uuid {node}"));
    draft.finally(Action::SetRootUuid(root));
    renamed.push((format!("UUID={}", facts.root_uuid.hyphenated()), format!("UUID={}", root.hyphenated())));
    let old = facts.boot_serial;
    let serial = different(old, u32::from_le_bytes(context.seed.derive(&format!("boot-serial {node}"))));
    draft.finally(Action::SetBootSerial(serial));
    renamed.push((format!("UUID={}", serial_text(old)), format!("UUID={}", serial_text(serial))));

    for path in [String::from("/etc/fstab"), context.boot_path("cmdline.txt")] {
        let Some(text) = draft.text(&path) else { continue };
        let edited = renamed.iter().fold(text.clone(), |text, (old, new)| replace_word(&text, old, new));
        if edited != text {
            draft.write(&path, edited);
        }
    }
}

/// 0 means "none" to some tools, and the old value would make two cards one.
fn different(old: u32, new: u32) -> u32 {
    if new == 0 || new == old { old ^ 0x5a5a_5a5a } else { new }
}

/// As `blkid` shows it and fstab spells it.
fn serial_text(serial: u32) -> String {
    format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
}

/// Replaces `old`, whatever its case, where no letter stands before it: `UUID=` is the end of `PARTUUID=`.
fn replace_word(text: &str, old: &str, new: &str) -> String {
    // Only ASCII changes, so both texts have the same offsets.
    let (haystack, needle) = (text.to_ascii_lowercase(), old.to_ascii_lowercase());
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in haystack.match_indices(&needle) {
        let (Some(before), Some(head)) = (text.get(..at), text.get(done..at)) else { continue };
        if before.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        out.push_str(head);
        out.push_str(new);
        done = at + needle.len();
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_replaced_whatever_their_case_and_never_inside_a_longer_word() {
        assert_eq!(
            replace_word("root=PARTUUID=DEADBEEF-02 x", "PARTUUID=deadbeef-", "PARTUUID=00000001-"),
            "root=PARTUUID=00000001-02 x"
        );
        assert_eq!(
            replace_word("PARTUUID=AB-CD UUID=ab-cd", "UUID=AB-CD", "UUID=X"),
            "PARTUUID=AB-CD UUID=X"
        );
    }

    #[test]
    fn a_serial_is_spelled_as_blkid_does() {
        assert_eq!(serial_text(0x0a1b_2c3d), "0A1B-2C3D");
    }

    #[test]
    fn an_id_is_never_zero_and_never_the_old_one() {
        assert_eq!(different(7, 8), 8);
        assert!(![0, 7].contains(&different(7, 7)));
        assert!(![0, 7].contains(&different(7, 0)));
    }
}
