//! What is left when the power goes, or the process.

mod download;
mod kill;
mod power;
