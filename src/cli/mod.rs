//! Words in, words out.

use std::ffi::OsString;
use std::process::ExitCode;

/// Does what `args` say; the exit status tells what became of the target.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
