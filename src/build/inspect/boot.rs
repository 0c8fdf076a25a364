//! The boot partition: which boards start from it, with which kernels, and what the kernel is told.
//!
//! A board needs a kernel it can run and, where the partition has device trees at all, one of its own. By the first-stage
//! firmware alone nothing is ruled out: boards since the Pi 4 have theirs in a flash chip.
//!
//! Facts: Raspberry Pi documentation, config_txt/boot (`kernel`, `arm_64bit`): which kernel a board looks for; the names
//! of the device trees as the kernel's `arch/arm*/boot/dts/broadcom` has them.

use serde::Serialize;

use super::look::{Look, Told, Unread};
use super::warning::Warning;

/// What is on the boot partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// Its number; `None` for a filesystem without a disk.
    pub partition: Option<u32>,
    /// The kernels under their names: `kernel8.img`.
    pub kernels: Vec<String>,
    /// How many device trees there are.
    pub device_trees: usize,
    /// Is there firmware for boards up to the Pi 4 (`start*.elf`)? The Pi 5 needs none.
    pub has_firmware: bool,
    /// The boards that start from it, the oldest first.
    pub boards: Vec<Board>,
    /// The kernel's command line, as cmdline.txt has it; `None` when there is no such file.
    pub command_line: Told<Option<String>>,
}

/// A family of boards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Board {
    /// `Raspberry Pi 4, 400, CM4`
    pub name: &'static str,
    /// The kernels it can run, the one it takes first in front.
    pub kernels: Vec<&'static str>,
}

/// Boards, the beginnings of their device trees' names, and their kernels.
const BOARDS: [(&str, &[&str], &[&str]); 6] = [
    ("Raspberry Pi 1, Zero, Zero W, CM1", &["bcm2708-rpi-", "bcm2835-rpi-"], &["kernel.img"]),
    ("Raspberry Pi 2", &["bcm2709-rpi-2", "bcm2710-rpi-2", "bcm2836-rpi-2"], &["kernel7.img"]),
    (
        "Raspberry Pi 3, 3+, CM3",
        &["bcm2710-rpi-3", "bcm2710-rpi-cm3", "bcm2837-rpi-3", "bcm2837-rpi-cm3"],
        &["kernel8.img", "kernel7.img"],
    ),
    ("Raspberry Pi Zero 2 W", &["bcm2710-rpi-zero-2", "bcm2837-rpi-zero-2"], &["kernel8.img", "kernel7.img"]),
    ("Raspberry Pi 4, 400, CM4", &["bcm2711-rpi-"], &["kernel8.img", "kernel7l.img"]),
    ("Raspberry Pi 5, 500, CM5", &["bcm2712-rpi-", "bcm2712d0-rpi-"], &["kernel_2712.img", "kernel8.img"]),
];

/// Reads the boot partition.
pub(super) fn read(look: &Look<'_, '_>, partition: Option<u32>) -> Result<Boot, Unread> {
    let names: Vec<String> = look.list("/")?.into_iter().map(|(name, _)| name).collect();
    let device_trees: Vec<&String> =
        names.iter().filter(|name| name.starts_with("bcm27") || name.starts_with("bcm28")).collect();
    let device_trees: Vec<&str> =
        device_trees.into_iter().filter(|name| name.ends_with(".dtb")).map(String::as_str).collect();
    let kernels: Vec<String> = names.iter().filter(|name| is_kernel(name)).cloned().collect();
    let has_firmware = names.iter().any(|name| name.starts_with("start") && name.ends_with(".elf"));
    Ok(Boot {
        partition,
        boards: boards(&kernels, &device_trees),
        kernels,
        device_trees: device_trees.len(),
        has_firmware,
        command_line: look.text("/cmdline.txt").into(),
    })
}

fn is_kernel(name: &str) -> bool {
    name.starts_with("kernel") && name.ends_with(".img")
}

fn boards(kernels: &[String], device_trees: &[&str]) -> Vec<Board> {
    let has_tree = |beginnings: &[&str]| {
        device_trees.is_empty()
            || device_trees.iter().any(|name| beginnings.iter().any(|begin| name.starts_with(begin)))
    };
    BOARDS
        .iter()
        .filter(|(_, beginnings, _)| has_tree(beginnings))
        .filter_map(|(name, _, wanted)| {
            let there = |wanted: &&&str| kernels.iter().any(|kernel| kernel.eq_ignore_ascii_case(wanted));
            let kernels: Vec<&'static str> = wanted.iter().filter(there).copied().collect();
            (!kernels.is_empty()).then_some(Board { name, kernels })
        })
        .collect()
}

/// The words of a cmdline.txt that count: those of its first line.
pub(super) fn words(command_line: &str) -> impl Iterator<Item = &str> {
    command_line.lines().next().unwrap_or_default().split_ascii_whitespace()
}

/// What is wrong with a command line.
pub(super) fn check(command_line: &str, warnings: &mut Vec<Warning>) {
    let lines = command_line.lines().collect::<Vec<_>>();
    // A line of nothing behind the last one is no line that is missed.
    let used = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    if used > 1 {
        warnings.push(Warning::CmdlineLines(used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kernels: &[&str], device_trees: &[&str]) -> Vec<(&'static str, Vec<&'static str>)> {
        let kernels: Vec<String> = kernels.iter().map(|name| (*name).to_owned()).collect();
        boards(&kernels, device_trees).into_iter().map(|board| (&board.name[13..], board.kernels)).collect()
    }

    #[test]
    fn kernels_tell_the_boards_and_device_trees_narrow_them_down() {
        assert_eq!(names(&[], &[]), []);
        assert_eq!(names(&["kernel.img"], &[]), [("1, Zero, Zero W, CM1", vec!["kernel.img"])]);
        let of_arm64: Vec<&str> =
            names(&["kernel8.img", "kernel_2712.img"], &[]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(of_arm64, ["3, 3+, CM3", "Zero 2 W", "4, 400, CM4", "5, 500, CM5"]);
        // A system from before the Pi 5 has a kernel for it and no device tree.
        let trees = ["bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb"];
        assert_eq!(
            names(&["kernel7.img", "kernel8.img"], &trees),
            [("3, 3+, CM3", vec!["kernel8.img", "kernel7.img"]), ("4, 400, CM4", vec!["kernel8.img"])]
        );
    }

    #[test]
    fn a_second_line_of_the_command_line_is_told_and_a_blank_one_is_not() {
        for (text, wanted) in [
            ("console=tty1 rootwait\n", None),
            ("console=tty1 rootwait\n\n \n", None),
            ("", None),
            ("console=tty1\nrootwait\n", Some(2)),
            ("console=tty1\n\nrootwait", Some(3)),
        ] {
            let mut warnings = Vec::new();
            check(text, &mut warnings);
            assert_eq!(
                warnings,
                wanted.map(Warning::CmdlineLines).into_iter().collect::<Vec<_>>(),
                "{text:?}"
            );
        }
        assert_eq!(words("a b\nc").collect::<Vec<_>>(), ["a", "b"]);
    }
}
