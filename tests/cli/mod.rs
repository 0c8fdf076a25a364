//! The real program in a sealed world, one file per verb.

mod build;
mod check;
#[cfg(unix)]
mod ci;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod dist;
mod docs;
mod export;
mod fleet;
mod fs;
mod images;
mod plan;
mod recipes;
mod source;
