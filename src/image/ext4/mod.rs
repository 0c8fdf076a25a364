//! The ext4 editor.
#![allow(dead_code, reason = "the editor that uses these parts is on its way")]

mod dir;
mod hash;
mod htree;
