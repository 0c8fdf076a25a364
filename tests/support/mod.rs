//! What tests stand on. Nothing here decides a verdict.

pub(crate) mod tools;
