//! The `cardpress` program: hand the words to [`cardpress::cli`], hand its verdict to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    cardpress::cli::run(std::env::args_os())
}
