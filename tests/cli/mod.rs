//! The real program in a sealed world, one file per verb.

mod build;
mod check;
#[cfg(target_os = "linux")]
mod devices;
mod export;
mod fleet;
mod fs;
mod images;
mod init;
mod plan;
mod recipes;
mod settings;
mod source;
mod teach;
