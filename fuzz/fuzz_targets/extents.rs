#![no_main]

use cardpress_fuzz::ext4::{Part, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(Part::Extents, input));
