//! Words in, words out: arguments, progress, reports, the exit status. Standard output is data, standard error is
//! talk.

mod args;
mod boot;
mod build;
mod cache;
mod catalogue;
mod check;
mod completions;
mod config;
mod customize;
mod devices;
mod diff;
mod edit;
mod export;
mod fetch;
mod flash;
mod fs;
mod images;
mod init;
mod inspect;
mod lock;
mod man;
mod plan;
mod recipes;
mod report;
mod schema;
mod style;
mod subject;
#[cfg(test)]
mod tests;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ColorChoice, Parser};

use args::{Cli, Command};

/// Does what `args` say; the exit status tells what became of the target.
///
/// 0 done · 1 failed, target untouched · 2 usage or a faulty profile · 3 refused as unsafe · 4 failed, target left
/// incomplete.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and succeed; a closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let config = config::read();
    let said = config.as_ref().map_or(None, |config| config.color);
    style::choose(cli.global.color.or(said).unwrap_or(ColorChoice::Auto));
    let result = config.and_then(|config| {
        cli.global.config = config;
        run_verb(&cli)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::report(&failure, cli.global.json),
    }
}

fn run_verb(cli: &Cli) -> Result<(), report::Failure> {
    let ui = ui::Ui::new(&cli.global);
    if !cli.global.config.path.as_os_str().is_empty() {
        log::debug!("settings from `{}`", cli.global.config.path.display());
    }
    match &cli.command {
        Command::Init(args) => init::run(args, &cli.global, &ui),
        Command::Images(args) => images::run(args, &cli.global, &ui),
        Command::Fetch(args) => fetch::run(args, &cli.global, &ui),
        Command::Lock(args) => lock::run(args, &cli.global, &ui),
        Command::Cache(args) => cache::run(args, &cli.global, &ui),
        Command::Boot(args) => boot::run(args, &cli.global, &ui),
        Command::Build(args) => build::run(args, &cli.global, &ui),
        Command::Export(args) => export::run(args, &cli.global, &ui),
        Command::Plan(args) => plan::run(args, &cli.global, &ui),
        Command::Customize(args) => customize::run(args, &cli.global, &ui),
        Command::Recipes(args) => recipes::run(args, &cli.global),
        Command::Fs(args) => fs::run(args, &cli.global, &ui),
        Command::Flash(args) => flash::run(args, &cli.global, &ui),
        Command::Devices => devices::run(&cli.global, &ui),
        Command::Check(args) => check::run(args, &cli.global, &ui),
        Command::Inspect(args) => inspect::run(args, &cli.global, &ui),
        Command::Diff(args) => diff::run(args, &cli.global, &ui),
        Command::Schema(args) => schema::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args, &cli.global, &ui),
    }
}
