//! The real program in a sealed world, one file per verb.

#[cfg(unix)]
mod boot;
mod build;
mod check;
mod customize;
#[cfg(target_os = "linux")]
mod devices;
mod diff;
mod export;
mod fleet;
mod fs;
mod fs_trees;
mod images;
mod inspect;
mod plan;
mod recipes;
mod source;
