//! What we wrote, judged by programs and by kernel code that we did not write.

mod diff;
mod ext4_acl;
mod ext4_apply;
mod ext4_bench;
mod ext4_corpus;
mod ext4_edit;
mod ext4_generate;
mod ext4_kernel;
mod ext4_make;
mod ext4_model;
mod ext4_mounted;
mod ext4_property;
mod ext4_recover;
mod ext4_seal;
mod ext4_shapes;
mod ext4_turns;
mod fat_corpus;
#[cfg(target_os = "linux")]
mod fs_trees;
mod grow;
mod host_files;
mod packed;
mod press;
mod profiles;
mod releases;
mod schema;
mod table_corpus;
