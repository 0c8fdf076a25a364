//! The real program in a sealed world, one file per verb.

#[cfg(unix)]
mod boot;
mod build;
mod check;
#[cfg(unix)]
mod ci;
mod customize;
#[cfg(target_os = "linux")]
mod devices;
mod diff;
#[cfg(target_os = "linux")]
mod dist;
mod docs;
mod export;
mod fleet;
mod fs;
mod fs_trees;
mod images;
mod init;
mod inspect;
mod json;
mod mistakes;
mod plan;
mod recipes;
mod schemas;
mod settings;
mod source;
mod teach;
