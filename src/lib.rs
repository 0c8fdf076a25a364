//! `cardpress` presses one Raspberry Pi OS image into many: one finished image, or card, per node.
//!
//! ```text
//! profile ─▶ plan ─▶ [NodePlan: Vec<Edit>] ────────────────────────┐
//! archive or file ─▶ source ─▶ base image ─▶ block::Overlay ─▶ image::{table, fat, ext4}   build::apply
//!                                                    └─ base + dirty blocks ─▶ sink ─▶ file | card ─▶ build::verify
//! ```
//!
//! The layers, from the edge inwards; each imports only from layers further down.
//!
//! | layer      | what it holds | what it never does |
//! |------------|---------------|--------------------|
//! | [`cli`]    | words in, words out: arguments, progress, reports, exit status | reads no image |
//! | [`build`]  | the conductor: one plan and one base make one pressed image | knows no flags, no terminal, no TOML |
//! | [`plan`]   | intent as values: profile, cluster, edits | touches no disk, network, clock or randomness |
//! | [`source`] | where base images come from: the catalogue, archives, the cache | knows no nodes |
//! | [`sink`]   | where pressed images go | knows no nodes |
//! | [`image`]  | what the bytes mean: partition tables, FAT, ext4 | has not heard of Raspberry Pi |
//! | [`block`]  | numbered bytes, the copy-on-write overlay, changes in place by a redo log | knows no partitions and no files |
//! | [`base`]   | nouns with units | imports nothing of ours |
//!
//! Start with [`plan::Edit`], the one change, then [`build`]. What runs on a cluster is no code: recipes are folders of data in
//! `profiles/recipes`, and [`plan::profile::lay()`] is where they come in.
//!
//! What lasts is written in three places only: `sink` makes new files, [`sink::flash`] writes cards, and [`block::redo`]
//! changes an image in place, for `cardpress fs` and `customize`. An image that nodes are pressed from is never written to.
//!
//! Deliberately absent: mounting, chroot, root rights, virtual machines, and journal writing (we never run beside a
//! kernel).

pub mod base;
pub mod block;
pub mod build;
pub mod cli;
pub mod image;
pub mod plan;
pub mod sink;
pub mod source;
