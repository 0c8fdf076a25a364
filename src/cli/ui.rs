//! Talk on standard error: progress bars on a terminal, plain lines elsewhere, JSON where it is asked for.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::base::{ByteLen, Interrupt, Interrupted, Progress};

use super::args::Global;
use super::report::Failure;
use super::style;

/// Between two lines about the same job, where there is no terminal.
const LINES_APART: Duration = Duration::from_secs(10);
/// Between two events about the same job.
const EVENTS_APART: Duration = Duration::from_secs(1);

pub(super) struct Ui {
    lane: Lane,
    /// Raised by Ctrl-C.
    pub(super) interrupt: Interrupt,
    /// Nothing but events on standard error, also with `--quiet`.
    is_json: bool,
}

/// One job after another; beside other lanes, when there are several cards at once.
pub(super) struct Lane {
    manner: Manner,
    /// What its jobs are about; empty for the only lane there is.
    name: String,
    bars: MultiProgress,
    job: Mutex<Option<Job>>,
}

/// How talk looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Quiet,
    /// On a terminal: bars that move.
    Bars,
    Lines,
    /// One JSON object a line.
    Events,
}

/// What takes its time just now.
struct Job {
    what: String,
    total_bytes: Option<u64>,
    done_bytes: u64,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Ui {
    pub(super) fn new(global: &Global) -> Self {
        let interrupt = Interrupt::default();
        let raised = interrupt.clone();
        // Without a handler Ctrl-C would end the program at once and leave temporary files; that is all that is
        // lost, so a failure to install one is no reason to stop.
        let _ = ctrlc::set_handler(move || raised.raise());
        let manner = match (global.quiet, global.json, io::stderr().is_terminal()) {
            (true, ..) => Manner::Quiet,
            (_, true, _) => Manner::Events,
            (_, _, true) => Manner::Bars,
            _ => Manner::Lines,
        };
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        write_log(global.verbose, manner, &bars);
        Self {
            lane: Lane { manner, name: String::new(), bars, job: Mutex::new(None) },
            interrupt,
            is_json: global.json,
        }
    }

    /// A line for the person who waits.
    pub(super) fn say(&self, line: &str) {
        self.lane.say(line);
    }

    /// A lane for the jobs of `name`, with a bar of its own.
    pub(super) fn lane(&self, name: &str) -> Lane {
        let Lane { manner, bars, .. } = &self.lane;
        Lane { manner: *manner, name: name.to_owned(), bars: bars.clone(), job: Mutex::new(None) }
    }

    /// What the person types in answer to `question`, without the end of the line; empty when there is nobody.
    ///
    /// # Errors
    /// [`Interrupted`] by Ctrl-C, which must not wait for the end of the line.
    pub(super) fn ask(&self, question: &str) -> Result<String, Interrupted> {
        if self.is_json {
            eprint_line(&event("question", json!({ "text": question })));
        } else {
            let _ = write!(io::stderr(), "{question} ").and_then(|()| io::stderr().flush());
        }
        let (sender, answers) = mpsc::channel();
        // Left behind when nobody answers: reading a line cannot be stopped.
        std::thread::spawn(move || {
            let mut answer = String::new();
            let _ = io::stdin().read_line(&mut answer);
            let _ = sender.send(answer);
        });
        loop {
            self.interrupt.check()?;
            match answers.recv_timeout(Duration::from_millis(100)) {
                Ok(answer) => return Ok(answer.trim().to_owned()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(String::new()),
            }
        }
    }
}

impl Lane {
    fn say(&self, line: &str) {
        match self.manner {
            Manner::Quiet => {}
            Manner::Events => eprint_line(&event("note", json!({ "text": line }))),
            Manner::Lines => eprint_line(&painted(line)),
            Manner::Bars => self.bars.suspend(|| eprint_line(&painted(line))),
        }
    }

    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Bytes each second, and seconds left.
    fn pace(&self, now: Instant) -> (Option<u64>, Option<u64>) {
        let millis = u64::try_from(now.duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        let rate = self.done_bytes.saturating_mul(1000).checked_div(millis).filter(|rate| *rate > 0);
        let left = self.total_bytes.map(|total| total.saturating_sub(self.done_bytes));
        (rate, left.zip(rate).map(|(left, rate)| left.div_ceil(rate)))
    }

    /// `download x.img.xz: 120 MiB of 433 MiB, 12 MiB/s, 26 s left`
    fn line(&self, now: Instant) -> String {
        let (rate, left) = self.pace(now);
        let mut line = format!("{}: {}", self.what, ByteLen(self.done_bytes));
        line += &self.total_bytes.map_or_else(String::new, |total| format!(" of {}", ByteLen(total)));
        line += &rate.map_or_else(String::new, |rate| format!(", {}/s", ByteLen(rate)));
        line + &left.map_or_else(String::new, |seconds| format!(", {seconds} s left"))
    }

    fn event(&self, event: &str, now: Instant) -> String {
        let (rate, left) = self.pace(now);
        let told = json!({
            "what": self.what,
            "done_bytes": self.done_bytes,
            "total_bytes": self.total_bytes,
            "bytes_per_second": rate,
            "seconds_left": left,
        });
        self::event(event, told)
    }
}

/// The form of the lines that `--json` makes on standard error; `docs/json.md` says what is in them.
const EVENTS_VERSION: u32 = 1;

/// The form of the objects that `--json` makes on standard output.
const DATA_VERSION: u32 = 1;

/// One line of `--json` on standard error.
pub(super) fn event(name: &str, mut told: Value) -> String {
    told["v"] = json!(EVENTS_VERSION);
    told["event"] = json!(name);
    told.to_string()
}

/// A warning is seen.
fn painted(line: &str) -> String {
    match line.strip_prefix("warning:") {
        Some(rest) => style::paint(style::WARNING, "warning:") + rest,
        None => line.to_owned(),
    }
}

/// Shows what the layers below tell, where `-v` or RUST_LOG ask for it.
fn write_log(verbose: u8, manner: Manner, bars: &MultiProgress) {
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = match (asked, verbose) {
        (Some(asked), _) => asked,
        (None, 0) => return,
        (None, 1) => "cardpress=info".to_owned(),
        (None, 2) => "cardpress=debug".to_owned(),
        (None, _) => "cardpress=trace".to_owned(),
    };
    let began = Instant::now();
    let format = move |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        let seconds = began.elapsed().as_secs_f64();
        let (level, target, text) = (record.level().as_str(), record.target(), record.args());
        if manner == Manner::Events {
            let level = level.to_lowercase();
            let told =
                json!({ "level": level, "target": target, "text": text.to_string(), "seconds": seconds });
            return writeln!(out, "{}", event("log", told));
        }
        writeln!(out, "{seconds:8.3} {level:5} {target}: {text}")
    };
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filter).write_style(env_logger::WriteStyle::Never).format(format);
    builder.target(env_logger::Target::Pipe(Box::new(AboveBars(bars.clone()))));
    // There is another only where this runs twice in one process.
    let _ = builder.try_init();
}

/// Standard error, between two drawings of the bars.
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Standard error may be closed; then nobody wants to know.
fn eprint_line(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Text with paint on standard output, which shows where colour does.
pub(super) fn print_painted(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    finish(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Data on standard output. A closed pipe is a clean end, as for any filter.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The one object of `--json`, with the version of its layout.
pub(super) fn print_object(mut told: Value) -> Result<(), Failure> {
    told["schema"] = json!(DATA_VERSION);
    print(&format!("{told}\n"))
}

/// The same for bytes that need not be text, such as names.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    finish(out.write_all(bytes).and_then(|()| out.flush()))
}

fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output").into()),
        Ok(()) => Ok(()),
    }
}

impl Progress for Ui {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        self.lane.start(what, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.lane.advance(bytes);
    }

    fn finish(&self) {
        self.lane.finish();
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}

impl Progress for Lane {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        let now = Instant::now();
        let what = if self.name.is_empty() { what.to_owned() } else { format!("{}: {what}", self.name) };
        let done_bytes = 0;
        let mut job = Job { what, total_bytes, done_bytes, began: now, told: now, bar: None };
        match self.manner {
            Manner::Quiet => return,
            Manner::Lines => eprint_line(&job.what),
            Manner::Events => eprint_line(&job.event("start", now)),
            Manner::Bars => {
                let bar = self.bars.add(bar(&job.what, total_bytes));
                bar.enable_steady_tick(Duration::from_millis(200));
                job.bar = Some(bar);
            }
        }
        if let Some(Job { bar: Some(earlier), .. }) = self.job().replace(job) {
            earlier.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        let mut job = self.job();
        let Some(job) = job.as_mut() else { return };
        job.done_bytes = job.done_bytes.saturating_add(bytes);
        if let Some(bar) = &job.bar {
            return bar.inc(bytes);
        }
        let now = Instant::now();
        let apart = if self.manner == Manner::Events { EVENTS_APART } else { LINES_APART };
        if now.duration_since(job.told) < apart {
            return;
        }
        job.told = now;
        match self.manner {
            Manner::Events => eprint_line(&job.event("progress", now)),
            _ => eprint_line(&job.line(now)),
        }
    }

    fn finish(&self) {
        let Some(job) = self.job().take() else { return };
        if let Some(bar) = &job.bar {
            bar.finish_and_clear();
        }
        if self.manner == Manner::Events {
            eprint_line(&job.event("finish", Instant::now()));
        }
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}

fn bar(what: &str, total_bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::hidden());
    let template = match total_bytes {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{msg} {spinner} {bytes} {bytes_per_sec} {elapsed}",
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_much_how_fast_and_how_long() {
        let began = Instant::now();
        let what = "download x".to_owned();
        let mut job =
            Job { what, total_bytes: Some(30 << 20), done_bytes: 10 << 20, began, told: began, bar: None };
        let now = began + Duration::from_secs(5);
        assert_eq!(job.line(now), "download x: 10 MiB of 30 MiB, 2 MiB/s, 10 s left");
        assert_eq!(job.line(began), "download x: 10 MiB of 30 MiB");
        let event: serde_json::Value = serde_json::from_str(&job.event("progress", now)).unwrap();
        assert_eq!((&event["bytes_per_second"], &event["seconds_left"]), (&json!(2 << 20), &json!(10)));
        job.total_bytes = None;
        assert_eq!(job.line(now), "download x: 10 MiB, 2 MiB/s");
    }
}
