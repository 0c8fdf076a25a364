//! What a device says of itself: model, serial number, how it is attached.

use super::super::{Transport, clean};
use super::nodes::{Node, bytes, is_below, is_numbered, number, text};

/// SCSI's word for CD, DVD and the like (SPC-4, peripheral device type).
const OPTICAL: u64 = 5;

/// What kind of thing that is no disk.
pub(super) fn not_a_disk(node: &Node) -> Option<&'static str> {
    let is = |prefix| is_numbered(node.name.as_bytes(), prefix);
    match () {
        () if is("sr") || number(&node.dir, "device/type") == Some(OPTICAL) => Some("an optical drive"),
        () if is("fd") => Some("a floppy drive"),
        () if is("ram") || is("zram") => Some("memory of this machine"),
        () if is("mtdblock") || node.name.starts_with("ubiblock") => Some("raw flash memory of this machine"),
        () => None,
    }
}

pub(super) fn is_read_only(node: &Node) -> bool {
    number(&node.dir, "ro") == Some(1)
}

pub(super) fn is_removable(node: &Node) -> bool {
    number(&node.dir, "removable") == Some(1)
}

pub(super) fn sequence(node: &Node) -> Option<u64> {
    number(&node.dir, "diskseq")
}

/// By the way that leads to it; a card reader on USB is USB, whatever it speaks to the card.
pub(super) fn transport(node: &Node) -> Transport {
    let name = node.name.as_str();
    match () {
        () if is_numbered(name.as_bytes(), "loop") => Transport::Loop,
        () if is_below(node, "usb") => Transport::Usb,
        // Whoever does not say that it is an SD card may be soldered.
        () if name.starts_with("mmcblk") && text(&node.dir, "device/type").as_deref() == Some("SD") => {
            Transport::Mmc
        }
        () if name.starts_with("mmcblk") => Transport::Emmc,
        () if name.starts_with("nvme") => Transport::Nvme,
        () if name.starts_with("vd") => Transport::Virtio,
        () if is_below(node, "ata") => Transport::Sata,
        () if name.starts_with("sd") => Transport::Scsi,
        () => Transport::Other,
    }
}

/// `Generic SD/MMC`; a file for a loop device.
pub(super) fn model(node: &Node) -> String {
    if let Some(backing) = &node.backing {
        return clean(format!("file {}", backing.display()).as_bytes());
    }
    let ask = |attribute| bytes(&node.dir, attribute).map(|bytes| clean(&bytes)).unwrap_or_default();
    let (vendor, model, name) = (ask("device/vendor"), ask("device/model"), ask("device/name"));
    match () {
        () if model.is_empty() && !name.is_empty() => name,
        () if model.is_empty() && node.name.starts_with("vd") => "virtual disk".to_owned(),
        // libata's word for every maker, and PCI's number of one.
        () if vendor == "ATA" || vendor.starts_with("0x") || model.starts_with(&vendor) => model,
        () => format!("{vendor} {model}").trim().to_owned(),
    }
}

pub(super) fn serial(node: &Node) -> String {
    let ask =
        |attribute| bytes(&node.dir, attribute).map(|bytes| clean(&bytes)).filter(|text| !text.is_empty());
    // The number of the medium or the drive, else of what it is plugged into.
    let own = || ask("device/serial").or_else(|| ask("serial"));
    let usb = || {
        let device = node.dir.ancestors().find(|dir| dir.join("idVendor").exists())?;
        bytes(device, "serial").map(|bytes| clean(&bytes))
    };
    // A page of SCSI's vital product data: four bytes of header, then the number (SPC-4 §7.8.13).
    let scsi = || Some(clean(bytes(&node.dir, "device/vpd_pg80")?.get(4..)?));
    own().or_else(usb).or_else(scsi).unwrap_or_default()
}
