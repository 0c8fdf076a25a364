//! Random operations on filesystems of many shapes: after each run the tree is what a model says, read by us, by
//! ext4-view and, as root, by the kernel, and e2fsck finds nothing to repair.
//!
//! `CARDPRESS_TORTURE_SEQUENCES=N` runs N sequences instead of a few hundred, from the seed `CARDPRESS_TORTURE_SEED`
//! on. A failing sequence is cut down to the operations that matter and printed.

use std::rc::Rc;

use cardpress::block::Overlay;
use cardpress::image::ext4::{Filesystem, check};

use super::ext4_acl::{ACCESS, DEFAULT};
use super::ext4_bench::{Base, Bench, Image, view};
use super::ext4_edit::{Verdict, edit, read};
use super::ext4_generate::{Generator, Op, Random};
use super::ext4_model::{Fault, Flat, Kind, Model, Node, Xattrs};
use super::ext4_shapes::{SHAPES, Shape, made};
use crate::support::tools::may_attach;

/// Sequences of a normal run, of all shapes together.
const SEQUENCES: u64 = 180;
/// Where we are root the kernel reads the tree of every so manyth, of all in a longer run.
const KERNEL_EVERY: u64 = 10;
/// Operations of a sequence.
const OPS_MAX: u64 = 40;

#[test]
fn every_shape_is_sound_before_it_is_edited() {
    for (index, shape) in SHAPES.iter().enumerate() {
        let base = made(index);
        let image = Rc::new(Overlay::new(Base(base)));
        Bench::new(base).e2fsck(&image).unwrap_or_else(|fault| panic!("{}: {fault}", shape.name));
        if shape.is_viewable {
            view(&image).unwrap_or_else(|fault| panic!("{}: {fault}", shape.name));
        }
    }
}

/// One test a shape, so that a failure names it and cores share the work.
macro_rules! shapes {
    ($($name:ident = $index:literal,)*) => {
        $(
            #[test]
            fn $name() {
                torture($index);
            }
        )*

        #[test]
        fn no_shape_is_forgotten() {
            assert_eq!([$($index,)*].len(), SHAPES.len());
        }
    };
}

shapes! {
    random_edits_leave_4k_sound = 0,
    random_edits_leave_1k_sound = 1,
    random_edits_leave_big_directories_at_4k_sound = 2,
    random_edits_leave_big_directories_hashed_unsigned_sound = 3,
    random_edits_leave_big_directories_without_checksums_sound = 4,
    random_edits_leave_images_from_before_2022_sound = 5,
    random_edits_leave_uninitialised_groups_on_a_used_medium_sound = 6,
    random_edits_leave_groups_without_flex_bg_sound = 7,
    random_edits_leave_block_maps_at_1k_sound = 8,
    random_edits_leave_an_old_filesystem_sound = 9,
    random_edits_leave_block_maps_below_extents_sound = 10,
    random_edits_leave_small_inodes_with_checksums_sound = 11,
    random_edits_leave_big_linear_directories_sound = 12,
    random_edits_leave_large_inodes_sound = 13,
    random_edits_leave_a_nearly_full_filesystem_at_1k_sound = 14,
    random_edits_leave_a_nearly_full_filesystem_at_4k_sound = 15,
    random_edits_leave_two_copies_at_2k_sound = 16,
    random_edits_leave_long_descriptors_with_crc16_sound = 17,
}

fn block_len(index: usize) -> usize {
    1024 << made(index)[1024 + 0x18]
}

pub(super) fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}: found `{text}`, wanted a number"))
    })
}

/// Runs this shape's part of the sequences.
#[expect(clippy::print_stderr, reason = "how much was tried")]
fn torture(index: usize) {
    let shape = &SHAPES[index];
    let bench = Bench::new(made(index));
    let sequences = number_from("CARDPRESS_TORTURE_SEQUENCES", SEQUENCES).div_ceil(SHAPES.len() as u64);
    let first_seed = number_from("CARDPRESS_TORTURE_SEED", 1);
    let start = start(shape, index);
    let is_torture = std::env::var_os("CARDPRESS_TORTURE_SEQUENCES").is_some();
    let may_attach = may_attach();
    let mut count = 0;
    for seed in first_seed..first_seed + sequences {
        let ops = generate(&start, index, seed);
        count += ops.len();
        let asks_kernel = may_attach && (is_torture || seed % KERNEL_EVERY == 0);
        let play = |ops: &[Op]| play(shape, index, &bench, &start, ops, asks_kernel);
        if let Err(fault) = play(&ops) {
            let (ops, fault) = shrink(ops, fault, play);
            let list: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
            panic!(
                "{}: CARDPRESS_TORTURE_SEED={seed} fails; these operations are enough:\n[\n{list}]\n{fault}",
                shape.name
            );
        }
    }
    eprintln!("{}: {sequences} sequences from seed {first_seed}, {count} operations, all sound", shape.name);
}

/// The model of a new filesystem: what we see, and ext4-view too where it can.
pub(super) fn start(shape: &Shape, index: usize) -> Model {
    let image = Rc::new(Overlay::new(Base(made(index))));
    let told = |fault: String| -> Model { panic!("{}: {fault}", shape.name) };
    let seen = Filesystem::open(&*image).map_err(|error| error.to_string()).and_then(|fs| read(&fs));
    let mut model = seen.unwrap_or_else(told);
    if shape.is_viewable {
        let (viewed, _) = view(&image).unwrap_or_else(|fault| (told(fault), [0; 16]));
        if let Err(fault) = compare("ext4-view", &viewed.flat(), &model.flat(), false) {
            told(fault);
        }
    }
    model.has_small_inodes = shape.options.contains(&"-I128");
    model
}

/// Operations that mean something, because each is made for the tree that those before leave in the model.
fn generate(start: &Model, index: usize, seed: u64) -> Vec<Op> {
    let mut random = Random(seed.wrapping_mul(1_000) + index as u64);
    let count = 1 + random.below(OPS_MAX);
    let mut generator =
        Generator { random, block_len: block_len(index), is_viewable: SHAPES[index].is_viewable };
    let mut model = start.clone();
    let mut ops = Vec::new();
    for _ in 0..count {
        let op = generator.op(&model);
        let _fault = model.apply(&op);
        ops.push(op);
    }
    ops
}

/// Does the operations to the image and to the model; says where they part.
fn play(
    shape: &Shape,
    index: usize,
    bench: &Bench,
    start: &Model,
    ops: &[Op],
    asks_kernel: bool,
) -> Result<(), String> {
    let image: Image = Rc::new(Overlay::new(Base(made(index))));
    let open = || Filesystem::open(&*image).map_err(|error| format!("cannot open: {error}"));
    let mut model = start.clone();
    let mut fs = open()?;
    let mut uuid = fs.uuid();
    for op in ops {
        let told = |what: String| format!("at {op:?}: {what}");
        for part in op.parts() {
            match edit(&mut fs, &part) {
                Verdict::Broken(what) => return Err(told(what)),
                Verdict::NoRoom(_) if shape.is_tight => break,
                Verdict::NoRoom(what) => return Err(told(what)),
                Verdict::Full if model.has_room(&part, block_len(index)) => {
                    return Err(told(String::from("found no room for an attribute that fits")));
                }
                Verdict::Full => {}
                Verdict::Done => compare_faults(&part, Ok(()), model.apply(&part)).map_err(told)?,
                Verdict::Fault(fault) => {
                    compare_faults(&part, Err(fault), model.apply(&part)).map_err(told)?
                }
            }
        }
        match op {
            Op::SetUuid { byte } => uuid = [*byte; 16],
            Op::Commit => fs = open().map_err(told)?,
            _ => {}
        }
    }
    // Before and after: what is held in memory is what is laid down.
    let wanted = model.flat();
    compare("before commit, our reader", &read(&fs)?.flat(), &wanted, true)?;
    fs.commit().map_err(|error| format!("commit: {error}"))?;
    drop(fs);
    bench.e2fsck(&image)?;
    let report = check(&*image).map_err(|error| format!("our check: {error}"))?;
    if !report.is_sound() {
        return Err(format!("our check, where e2fsck finds nothing: {:?}", report.findings.kept()));
    }
    let fs = open()?;
    compare("our reader", &read(&fs)?.flat(), &wanted, true)?;
    if fs.uuid() != uuid {
        return Err(format!("found the UUID {:02x?}, wanted {uuid:02x?}", fs.uuid()));
    }
    if shape.is_viewable {
        let (model, found) = view(&image)?;
        compare("ext4-view", &model.flat(), &wanted, false)?;
        if found != uuid {
            return Err(format!("ext4-view: found the UUID {found:02x?}, wanted {uuid:02x?}"));
        }
    }
    if asks_kernel {
        compare("the kernel", &bench.mounted(&image)?.flat(), &wanted, true)?;
    }
    Ok(())
}

/// Which of two faulty paths is told of is nobody's business.
fn compare_faults(op: &Op, found: Result<(), Fault>, wanted: Result<(), Fault>) -> Result<(), String> {
    let has_two_paths = matches!(op, Op::Rename { .. } | Op::HardLink { .. });
    if found == wanted || (has_two_paths && found.is_err() && wanted.is_err()) {
        return Ok(());
    }
    Err(format!("{op:?}: found {found:?}, wanted {wanted:?}"))
}

/// Says where two trees part.
pub(super) fn compare(reader: &str, found: &Flat, wanted: &Flat, knows_links: bool) -> Result<(), String> {
    let mut faults = Vec::new();
    for path in found.keys().chain(wanted.keys().filter(|path| !found.contains_key(*path))) {
        match (found.get(path), wanted.get(path)) {
            (None, _) => faults.push(format!("{path} is missing")),
            (_, None) => faults.push(format!("{path} should not be there")),
            (Some((found, found_first)), Some((wanted, wanted_first))) => {
                if let Some(fault) = part(found, wanted) {
                    faults.push(format!("{path}: {fault}"));
                }
                if knows_links && found_first != wanted_first {
                    faults
                        .push(format!("{path}: found the same file as {found_first}, wanted {wanted_first}"));
                }
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let more = faults.len().saturating_sub(10);
    faults.truncate(10);
    Err(format!("{reader}: {}\n(and {more} more)", faults.join("\n")))
}

/// How two files differ.
fn part(found: &Node, wanted: &Node) -> Option<String> {
    let attributes = |node: &Node| (node.mode, node.uid, node.gid);
    if attributes(found) != attributes(wanted) {
        return Some(format!(
            "found mode, user, group {:?}, wanted {:?}",
            attributes(found),
            attributes(wanted)
        ));
    }
    if wanted.modified.is_some() && found.modified != wanted.modified {
        return Some(format!("found modified {:?}, wanted {:?}", found.modified, wanted.modified));
    }
    if let (Some(found), Some(wanted)) = (&found.xattrs, &wanted.xattrs)
        && found != wanted
    {
        return Some(format!("found the attributes {}, wanted {}", list(found), list(wanted)));
    }
    match (&found.kind, &wanted.kind) {
        (found, wanted) if found == wanted => None,
        (Kind::Node(found, None), Kind::Node(wanted, _)) if found == wanted => None,
        (Kind::File(found), Kind::File(wanted)) => {
            let at = found.iter().zip(wanted.iter()).position(|(a, b)| a != b);
            let (found, wanted) = (found.len(), wanted.len());
            Some(format!("found {found} bytes, wanted {wanted}; the first that differs is {at:?}"))
        }
        (found, wanted) => Some(format!("found {found:?}, wanted {wanted:?}")),
    }
}

/// The names; of what differs little more than the length helps nobody, so access control lists are written out.
fn list(xattrs: &Xattrs) -> String {
    let told = |(name, value): (&String, &Vec<u8>)| match name.as_str() {
        ACCESS | DEFAULT => format!("{name}={}", value.escape_ascii()),
        _ => format!("{name} ({} bytes)", value.len()),
    };
    xattrs.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// Leaves out operations, fewer and fewer at a time, as long as something still fails.
fn shrink(
    mut ops: Vec<Op>,
    mut fault: String,
    play: impl Fn(&[Op]) -> Result<(), String>,
) -> (Vec<Op>, String) {
    let mut piece = ops.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < ops.len() {
            let fewer = [&ops[..at], &ops[(at + piece).min(ops.len())..]].concat();
            match play(&fewer) {
                Err(still) => (ops, fault) = (fewer, still),
                Ok(()) => at += piece,
            }
        }
        piece /= 2;
    }
    (ops, fault)
}
