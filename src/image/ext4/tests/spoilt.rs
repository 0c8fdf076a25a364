//! Spoilt images: whatever the bytes, an answer and never a panic.

use super::support::{DIR, FILE, Image, Shape, path};
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem};

/// A linear congruential generator (Knuth's MMIX): the same faults in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

type Edit = fn(&mut Filesystem<'_>) -> Result<(), Error>;

fn poke(fs: &mut Filesystem<'_>) -> Result<(), Error> {
    let edits: [Edit; 20] = [
        |fs| fs.read_dir(&path("/")).map(drop),
        |fs| fs.read_dir(&path("/etc/long")).map(drop),
        |fs| fs.read_file(&path("/etc/big"), 1 << 22).map(drop),
        |fs| fs.read_link(&path("/absolute")).map(drop),
        |fs| fs.read_at(&path("/etc/big"), 99_999, &mut [0; 9000]).map(drop),
        |fs| fs.xattrs(&path("/etc/hostname")).map(drop),
        |fs| fs.used_ranges().map(drop),
        |fs| fs.set_xattr(&path("/etc/hostname"), b"user.long", &[4; 500]),
        |fs| fs.remove_xattr(&path("/etc/hostname"), b"user.short"),
        |fs| fs.set_mode(&path("/etc"), 0o751),
        |fs| fs.write_from(&path("/etc/big"), &mut &[5; 9000][..], 9000, FILE),
        |fs| fs.rename(&path("/etc/hostname"), &path("/link/big")),
        |fs| fs.write_file(&path("/etc/big"), &[1; 9000], FILE),
        |fs| fs.append(&path("/etc/big"), &[2; 9000]),
        |fs| fs.write_file(&path("/etc/long/new-name-that-is-long"), &[3; 90_000], FILE),
        |fs| fs.mkdir_all(&path("/link/a/b"), DIR),
        |fs| fs.rename(&path("/etc/long"), &path("/longer")),
        |fs| fs.truncate(&path("/etc/big"), 1 << 40),
        |fs| fs.remove(&path("/etc/hostname")),
        |fs| fs.remove_all(&path("/etc")),
    ];
    let failed = edits.iter().filter_map(|edit| edit(fs).err()).last();
    fs.commit()?;
    failed.map_or(Ok(()), Err)
}

#[test]
fn no_spoilt_byte_makes_the_editor_panic() {
    for args in [
        &["-b1024", "-O^metadata_csum,^uninit_bg,^has_journal"][..],
        &["-b1024", "-O^metadata_csum,^uninit_bg,^extent,^64bit,^has_journal"],
    ] {
        let image = Image::make(&Shape("spoilt", args, "4M"));
        image.edit(|fs| {
            fs.set_xattr(&path("/etc/hostname"), b"user.short", b"short").unwrap();
            fs.set_xattr(&path("/etc/hostname"), b"user.long", &[4; 400]).unwrap();
            fs.set_xattr(&path("/etc"), b"system.posix_acl_default", &super::xattrs::named_acl()).unwrap();
            for number in 0..150 {
                fs.write_file(&path(&format!("/etc/long/{number}-{number:0>60}")), b"", FILE).unwrap();
            }
        });
        let sound = image.bytes();
        // Only what is not zero can be told from what is not used.
        let used: Vec<usize> =
            (0..sound.len()).filter(|at| sound[*at] != 0 && (1024..800_000).contains(at)).collect();
        let mut dice = Dice(2026);
        for _ in 0..1500 {
            let mut bytes = sound.clone();
            for _ in 0..=dice.below(3) {
                let at = used[dice.below(used.len())];
                bytes[at] = u8::try_from(dice.below(256)).unwrap();
            }
            let device = Memory::new(bytes);
            // What cannot be edited may still be readable.
            if let Ok(mut fs) = Filesystem::open_to_read(&device) {
                let _: Result<(), Error> = poke(&mut fs);
            }
        }
    }
}
