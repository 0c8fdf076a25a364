//! What the tests stand on. Nothing in here decides a verdict.

pub(crate) mod docs;
pub(crate) mod loops;
pub(crate) mod schemas;
pub(crate) mod server;
pub(crate) mod shapes;
pub(crate) mod tar;
pub(crate) mod tools;
pub(crate) mod web;
pub(crate) mod world;
