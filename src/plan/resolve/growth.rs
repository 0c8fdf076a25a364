//! Growing the root filesystem: left to the image's first boot, or done offline and the image told so.

use super::cmdline::Cmdline;
use super::draft::Draft;
use super::{Context, Problem, units};
use crate::plan::{Action, FirstBoot, Growth};

pub(super) const GROWFS: &str = "systemd-growfs-root.service";
pub(super) const RPI_RESIZE: &str = "rpi-resize.service";

/// Partition tables count in these.
const SECTOR_LEN: u64 = 512;

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    match context.cluster.image.grow {
        Some(Growth::To(len)) => {
            let image = context.facts.image_len_bytes;
            if len.0 < image || !len.0.is_multiple_of(SECTOR_LEN) {
                draft.fault(Problem::BadGrowth { image, wanted: len.0 });
            }
            tell_the_machinery(context, draft);
            draft.finally(Action::GrowImage(len));
        }
        Some(Growth::Card) | None => keep_growing(context, draft),
    }
}

/// trixie: an initramfs script grows the partition (word `resize`); the filesystem is grown by
/// `systemd-growfs-root.service`, which `rpi-resize.service` wants. That one has `ConditionFirstBoot=yes`, which a
/// real machine-id makes false, so it would never disable itself and would have its wants, an fstrim among them,
/// started on every boot. A link of our own takes its place: growing a grown filesystem does nothing.
fn keep_growing(context: &Context, draft: &mut Draft) {
    if context.facts.first_boot != FirstBoot::ResizeWord {
        return;
    }
    let Some((path, _)) = units::find(GROWFS, draft) else {
        draft.warn(format!("`{GROWFS}` is not in the image: will the root filesystem grow?"));
        return;
    };
    draft.symlink(&format!("/etc/systemd/system/local-fs.target.wants/{GROWFS}"), path);
    if units::is_known(RPI_RESIZE, draft) {
        units::mask(RPI_RESIZE, draft);
    }
}

/// Without its token none of the three machineries starts.
fn tell_the_machinery(context: &Context, draft: &mut Draft) {
    let path = context.boot_path("cmdline.txt");
    let Some(text) = draft.text(&path) else {
        if context.facts.first_boot != FirstBoot::None {
            draft.fault(Problem::NoFile { path, needed_for: "the token that grows the root" });
        }
        return;
    };
    let mut line = Cmdline::parse(&text);
    match context.facts.first_boot {
        FirstBoot::None => return,
        FirstBoot::InitResize => line.remove("init=/usr/lib/raspi-config/init_resize.sh"),
        FirstBoot::SysModsFirstboot => line.remove("init=/usr/lib/raspberrypi-sys-mods/firstboot"),
        FirstBoot::ResizeWord => {
            line.remove("resize");
            for unit in [RPI_RESIZE, GROWFS] {
                if units::is_known(unit, draft) {
                    units::mask(unit, draft);
                }
            }
        }
    }
    // Both scripts take away the `quiet` that only they wanted, and the workaround for their reboot.
    if context.facts.first_boot != FirstBoot::ResizeWord {
        line.remove("sdhci.debug_quirks2=4");
        if !line.has("splash") {
            line.remove("quiet");
        }
    }
    draft.write(&path, line.text());
}
