//! What the tests stand on. Nothing in here decides a verdict.

pub mod tools;
pub mod world;
