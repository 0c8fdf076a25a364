//! Talk on standard error: progress bars on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::{Interrupt, Progress};

use super::args::Global;
use super::report::Failure;

pub(super) struct Ui {
    quiet: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// Raised by Ctrl-C.
    pub(super) interrupt: Interrupt,
}

impl Ui {
    pub(super) fn new(global: &Global) -> Self {
        let interrupt = Interrupt::default();
        let raised = interrupt.clone();
        // Without a handler Ctrl-C would end the program at once and leave temporary files; that is all that is
        // lost, so a failure to install one is no reason to stop.
        let _ = ctrlc::set_handler(move || raised.raise());
        Self { quiet: global.quiet, bar: Mutex::new(None), interrupt }
    }

    /// A line for the person who waits.
    pub(super) fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        match self.bar.lock() {
            Ok(bar) if bar.is_some() => {
                if let Some(bar) = bar.as_ref() {
                    bar.suspend(|| eprint_line(line));
                }
            }
            _ => eprint_line(line),
        }
    }
}

/// Standard error may be closed; then nobody wants to know.
fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Data on standard output. A closed pipe is a clean end, as for any filter.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for bytes that need not be text, such as names.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output").into()),
        Ok(()) => Ok(()),
    }
}

impl Progress for Ui {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        if self.quiet {
            return;
        }
        if !io::stderr().is_terminal() {
            return self.say(what);
        }
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr_with_hz(10));
        let template = match total_bytes {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{msg} {spinner} {bytes} {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut slot) = self.bar.lock()
            && let Some(earlier) = slot.replace(bar)
        {
            earlier.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = bar.as_ref()
        {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}
