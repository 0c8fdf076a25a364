//! Filesystems of our own making, mounted and filled by the kernel.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use cardpress::block::Memory;
use cardpress::image::ext4::{MakeOptions, Timestamp, make};

use crate::support::tools::{Mount, Workspace, may_attach, run, text};

#[test]
fn the_kernel_mounts_what_is_made_and_writes_it_full() {
    if !may_attach() {
        return;
    }
    let world = Workspace::new();
    let image = world.path("image");
    let base = MakeOptions {
        uuid: [0x33; 16],
        hash_seed: [0x44; 16],
        time: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
        ..MakeOptions::default()
    };
    for (len, options, fill) in [
        (70 << 20, MakeOptions { is_zero: true, ..base.clone() }, 0),
        (70 << 20, base.clone(), 0xa5),
        (300 << 20, MakeOptions { block_len: Some(4096), is_zero: true, ..base.clone() }, 0),
        (40 << 20, MakeOptions { journal: false, ..base.clone() }, 0x5a),
    ] {
        let device = Memory::new(vec![fill; len]);
        make(&device, &options).unwrap();
        fs::write(&image, device.into_bytes()).unwrap();
        let mount = Mount::new(&image, "loop");
        assert!(mount.path().join("lost+found").is_dir());
        for number in 0..500 {
            let dir = mount.path().join(format!("{}", number % 20));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("{number:0>100}")), vec![7; number * 10]).unwrap();
        }
        let mut file = fs::File::create(mount.path().join("full")).unwrap();
        let piece = vec![9; 1 << 20];
        let mut written = 0;
        while file.write_all(&piece).is_ok() {
            written += piece.len();
        }
        assert!(written > len / 2, "{written} of {len}");
        drop(file);
        // Through the loop device's cache, then from it.
        Command::new("sync").status().unwrap();
        mount.unmount();
        let said = run("e2fsck", ["-fn", text(&image)]);
        assert!(said.status == 0 && !said.text.contains("Fix?"), "{options:?}: {}", said.text);
    }
}
