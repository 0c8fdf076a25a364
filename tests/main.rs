//! The real program, and what others say of its work. One binary, so that it links once.

mod cli;
mod fault;
mod oracle;
mod support;
