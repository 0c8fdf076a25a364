//! What is left when the power goes, or the process.

mod kill;
mod power;
