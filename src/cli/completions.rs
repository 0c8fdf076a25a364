//! `cardpress completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::report::Failure;
use super::ui;

const HELP: &str = "\
Examples:
  cardpress completions bash > \\
      ~/.local/share/bash-completion/completions/cardpress
  cardpress completions zsh > ~/.zfunc/_cardpress
  cardpress completions fish > ~/.config/fish/completions/cardpress.fish
  cardpress completions powershell >> $PROFILE

The folders have to be there: `mkdir -p ~/.zfunc`. zsh wants `fpath+=~/.zfunc` before `compinit` in ~/.zshrc.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

pub(super) fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cardpress", &mut script);
    ui::print_bytes(&script)
}
