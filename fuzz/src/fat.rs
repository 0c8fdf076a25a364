//! FAT: seeds of our own making, and a life of edits.

use std::sync::OnceLock;

use cardpress::block::{Memory, ReadAt as _};
use cardpress::image::fat::{Fat, FatTime, MakeOptions, check, make};

use crate::{Image, Seed};

fn time() -> FatTime {
    FatTime::from_epoch_seconds(1_700_000_000)
}

/// A FAT16 and a FAT32 with files in them; an input reaches what describes them.
fn seeds() -> Vec<Seed> {
    [(4_usize << 20, false), (41 << 20, true)]
        .into_iter()
        .map(|(len, is_fat32)| {
            let device = Memory::new(vec![0; len]);
            let options = MakeOptions { label: String::from("bootfs"), volume_id: 0x1a2b_3c4d, time: time() };
            make(&device, &options).unwrap();
            let fat = Fat::open(&device, time()).unwrap();
            fat.write_file("config.txt", b"arm_64bit=1\n").unwrap();
            fat.write_file("overlays/a long name that takes entries.dtbo", &[7; 3000]).unwrap();
            for number in 0..12 {
                fat.write_file(&format!("overlays/{number}.dtbo"), &[7; 700]).unwrap();
            }
            fat.close().unwrap();
            let mut boot = [0; 64];
            device.read_at(0, &mut boot).unwrap();
            let word = |at: usize| usize::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
            let reserved = word(14) * 512;
            let fat_len = if is_fat32 { word(36) } else { word(22) } * 512;
            let fats_end = reserved + fat_len * usize::from(boot[16]);
            // Boot sector, FSInfo, the start of both FATs, and of what they describe.
            let windows = vec![
                0..90,
                510..512,
                512 + 484..1024,
                reserved..reserved + 160,
                reserved + fat_len..reserved + fat_len + 160,
                fats_end..fats_end + 512,
                fats_end + word(17) * 32..fats_end + word(17) * 32 + 8192,
            ];
            Seed { bytes: device.into_bytes(), windows }
        })
        .collect()
}

/// One run.
pub fn run(input: &[u8]) {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    let seeds = SEEDS.get_or_init(seeds);
    let [flags, patches @ ..] = input else { return };
    let image = seeds[usize::from(flags & 1)].spoil(patches);
    let was_sound = check(&image).is_ok_and(|report| report.is_sound());
    if live(&image) && was_sound {
        let report = check(&image).expect("what was judged before");
        assert!(report.is_sound(), "a sound filesystem was edited, and is unsound: {:#?}", report.findings);
    }
    if let Ok(fat) = Fat::open(&image, time()) {
        walk(&fat, "", 0);
    }
}

fn walk(fat: &Fat<'_>, folder: &str, depth: u32) {
    let Ok(entries) = fat.read_dir(folder) else { return };
    for entry in entries.into_iter().take(200) {
        let path = format!("{folder}/{}", entry.name);
        if entry.is_dir && depth < 3 {
            walk(fat, &path, depth + 1);
        } else {
            let _ = fat.read_file(&path, 1 << 20);
        }
    }
}

/// Reads and edits; whether everything edited was laid down.
fn live(image: &Image) -> bool {
    let Ok(fat) = Fat::open(image, time()) else { return true };
    walk(&fat, "", 0);
    let _ = fat.free_bytes();
    let _ = fat.write_file("config.txt", &[1; 5000]);
    let _ = fat.write_file("overlays/another long name.dtbo", &[2; 900]);
    let _ = fat.write_file("new/folder/file", &[3; 20_000]);
    let _ = fat.make_dir("overlays/more");
    let _ = fat.set_volume_id(7);
    let _ = fat.remove("overlays/3.dtbo");
    let _ = fat.remove("overlays");
    fat.close().is_ok()
}
