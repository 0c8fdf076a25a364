//! `cardpress fs`

mod find;
mod grammar;
pub(super) mod show;
mod trees;
pub(super) mod words;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::base::Interrupt;
use crate::build;
use crate::build::disk::{Disk, FileKind, Input, Part, Timestamp, Tree};
use crate::source::Cache;

use super::args::Global;
use super::report::Failure;
use super::subject::{cache_folder, source_date_epoch};
use super::ui::Ui;
use grammar::Command;
use show::Screen;
pub(super) use show::visible;

const HELP: &str = "\
Examples:
  cardpress fs raspios.img.xz ls -l /etc         look, packed or not
  cardpress fs raspios.img.xz cat /etc/fstab
  cardpress fs pi.img put motd /etc/motd         change a raw image in place
  cardpress fs pi.img --script edits.txt         many changes
  cardpress fs pi.img tar-out /home > home.tar

Commands, one as arguments or one a line of a script (POSIX shell quoting, # comments):
  ls [-l] [-R] PATH          cat PATH                 get PATH LOCAL          put LOCAL PATH
  append LOCAL PATH          write-at OFFSET LOCAL PATH                       truncate SIZE PATH
  mkdir [-p] PATH            rm [-r] PATH             mv OLD NEW              ln [-s] TARGET PATH
  chmod [-R] OCTAL PATH      chown [-R] UID:GID PATH  touch [-d @SECONDS] PATH
  stat [--json] PATH         xattr get|set|rm PATH NAME [VALUE]               df
  find PATH [-name GLOB] [-type f|d|l|b|c|p|s] [-newer PATH] [-maxdepth N] [-print0]
  du [-s] [-h] PATH          tar-out PATH [LOCAL]     tar-in [LOCAL] PATH
  grow SIZE                  set-uuid UUID            set-label TEXT          mkfs ext4|fat32 (bare file)

PATH begins with / and is as the running system sees it: /boot/firmware/cmdline.txt is on the boot partition if the \
image's fstab says so. `put` onto an existing file keeps owner, mode and extended attributes except \
security.capability; a new file is 0644, a new directory 0755, both root's. Times are SOURCE_DATE_EPOCH when set, \
else the clock's. Trees go out and in as tar archives, \
with all attributes: `tar-out PATH > x.tar`, `tar-in PATH < x.tar`, also packed. SIZE is the new length of the image, as 8GiB. NEW is the whole new name, also when it is a directory.

Exit status: 0 done; 1 failed, image untouched; 2 a command that is none; 3 in use by another process, or refused; \
4 the disk failed while the image was written: the next command on it finishes the changes.";

#[derive(Clone, Debug, Args)]
#[command(
    after_help = HELP,
    override_usage = "cardpress fs [OPTIONS] <IMAGE> <COMMAND> [WORDS]...\n       \
        cardpress fs [OPTIONS] <IMAGE> --script <FILE>"
)]
pub(super) struct Fs {
    /// A disk image, or a filesystem without a partition table.
    pub(super) image: PathBuf,

    /// Only this partition, whose root is then `/`: boot, root or a number [default: all, as the running system
    /// sees them].
    #[arg(long, value_name = "boot|root|N", value_parser = super::fs::part)]
    pub(super) partition: Option<Part>,

    /// Run the commands of this file, `-` for standard input: all of them, or none when one fails.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub(super) script: Option<PathBuf>,

    /// One command with its words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// A script is read whole; one that is longer is something else.
const SCRIPT_LIMIT_BYTES: u64 = 16 << 20;

/// A command, and where it was written.
struct Step {
    /// `script.txt:12: rm /x`; `rm /x` for words of the command line.
    at: String,
    command: Command,
}

pub(super) fn run(args: &Fs, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let steps = match &args.script {
        Some(script) => read_script(script)?,
        None if args.command.is_empty() => {
            return Err(Failure::Usage(anyhow!(
                "found no command, wanted one such as `ls /`, or --script FILE; `cardpress fs --help` lists them"
            )));
        }
        None => vec![of_words(&args.command)?],
    };
    let part = args.partition.unwrap_or_default();
    check_input(args, &steps)?;
    let is_edit = steps.iter().any(|step| step.command.is_edit());
    let disk = if is_edit {
        Disk::open_to_write(&args.image, part, now()?)?
    } else {
        let cache = Cache::at(cache_folder(global)?);
        Disk::open_to_read(&args.image, part, &cache, ui, &ui.interrupt)?
    };
    let session = Session {
        disk: &disk,
        screen: Screen::new(global.json, &ui.interrupt),
        ui,
        interrupt: &ui.interrupt,
        fixed: source_date_epoch()?.is_some(),
    };
    session.run(&steps)?;
    session.notes();
    if is_edit {
        disk.commit(&ui.interrupt)?;
    }
    Ok(())
}

/// Standard input can be read once only, and by nobody when it is a person.
fn check_input(args: &Fs, steps: &[Step]) -> Result<(), Failure> {
    let mut readers = steps.iter().filter(|step| step.command.reads_input());
    let Some(first) = readers.next() else { return Ok(()) };
    let reason = if args.script.as_deref() == Some(Path::new("-")) {
        "standard input is the script already; name a file"
    } else if readers.next().is_some() {
        "standard input can be read once only; name files"
    } else if io::stdin().is_terminal() {
        "standard input is a terminal; name a file, or use `< x.tar`"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(anyhow!("{}: {reason}", first.at)))
}

/// `SOURCE_DATE_EPOCH`, or else what the clock says: whoever edits by hand expects the time of the day.
fn now() -> Result<Timestamp, Failure> {
    if let Some(seconds) = source_date_epoch()? {
        return Ok(Timestamp { seconds, nanoseconds: 0 });
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    })
}

fn of_words(words: &[OsString]) -> Result<Step, Failure> {
    let command = Command::parse(words).map_err(|reason| Failure::Usage(anyhow!(reason)))?;
    let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    Ok(Step { at: shown.join(" "), command })
}

/// All commands of a script. Nothing has been opened when one of them is wrong.
fn read_script(path: &Path) -> Result<Vec<Step>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(SCRIPT_LIMIT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(SCRIPT_LIMIT_BYTES + 1).read_to_end(&mut bytes))
    };
    let name = path.display();
    read.with_context(|| format!("cannot read the script `{name}`"))?;
    if bytes.len() as u64 > SCRIPT_LIMIT_BYTES {
        return Err(Failure::Usage(anyhow!("the script `{name}` is longer than 16 MiB")));
    }
    let faulty = |number: usize, reason: &str| Failure::Usage(anyhow!("{name}:{number}: {reason}"));
    let script = std::str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        faulty(before.iter().filter(|byte| **byte == b'\n').count() + 1, "found a byte that is not UTF-8")
    })?;
    let lines = words::split(script).map_err(|fault| faulty(fault.number, fault.reason))?;
    lines
        .into_iter()
        .map(|line| {
            let words: Vec<OsString> = line.words.iter().map(OsString::from).collect();
            let command = Command::parse(&words).map_err(|reason| faulty(line.number, &reason))?;
            Ok(Step { at: format!("{name}:{}: {}", line.number, line.words.join(" ")), command })
        })
        .collect()
}

/// Steps that open the filesystems anew.
fn reopens(command: &Command) -> bool {
    matches!(command, Command::Grow { .. } | Command::Mkfs { .. })
}

struct Session<'s> {
    disk: &'s Disk,
    screen: Screen,
    ui: &'s Ui,
    interrupt: &'s Interrupt,
    /// `SOURCE_DATE_EPOCH` is set: the same commands are to give the same bytes.
    fixed: bool,
}

impl Session<'_> {
    fn run(&self, steps: &[Step]) -> Result<(), Failure> {
        let mut left = steps;
        while let Some((first, rest)) = left.split_first() {
            self.interrupt.check().map_err(build::Error::from)?;
            left = match &first.command {
                Command::Grow { len } => {
                    self.disk.grow(*len).map_err(|error| failed(first, error.into()))?;
                    rest
                }
                Command::Mkfs { kind } => {
                    self.disk.make(*kind, self.fixed).map_err(|error| failed(first, error.into()))?;
                    rest
                }
                _ => {
                    let count = left.iter().take_while(|step| !reopens(&step.command)).count();
                    let (together, rest) = left.split_at(count);
                    self.disk.with_tree(|tree| {
                        self.notes();
                        together.iter().try_for_each(|step| {
                            self.interrupt.check().map_err(build::Error::from)?;
                            self.step(tree, &step.command).map_err(|failure| failed(step, failure))
                        })
                    })?;
                    rest
                }
            };
        }
        Ok(())
    }

    fn notes(&self) {
        for note in self.disk.take_notes() {
            self.ui.say(&note);
        }
    }

    fn step(&self, tree: &mut Tree<'_>, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Ls { long, recursive, json, path } => {
                self.screen.list(tree, path, *long, *recursive, *json)?;
            }
            Command::Cat { path } => self.cat(tree, path)?,
            Command::Get { path, local } => tree.get(path, local, self.interrupt)?,
            Command::Put { local, path } => {
                let mut input = Input::open(local, self.interrupt)?;
                let len_bytes = input.len_bytes;
                tree.put(path, &mut input, len_bytes)?;
            }
            Command::Append { local, path } => {
                let mut input = Input::open(local, self.interrupt)?;
                let len_bytes = input.len_bytes;
                tree.write_at(path, None, &mut input, len_bytes)?;
            }
            Command::WriteAt { offset, local, path } => {
                let mut input = Input::open(local, self.interrupt)?;
                let len_bytes = input.len_bytes;
                tree.write_at(path, Some(offset.0), &mut input, len_bytes)?;
            }
            Command::Truncate { len, path } => tree.truncate(path, len.0)?,
            Command::Mkdir { parents, path } => tree.make_directory(path, *parents)?,
            Command::Rm { recursive, path } => tree.remove(path, *recursive)?,
            Command::Mv { from, to } => tree.rename(from, to)?,
            Command::HardLink { existing, path } => tree.hard_link(existing, path)?,
            Command::Symlink { target, path } => tree.symlink(path, target)?,
            Command::Chmod { recursive: false, mode, path } => tree.set_mode(path, *mode)?,
            Command::Chmod { mode, path, .. } => tree.set_mode_below(path, *mode)?,
            Command::Chown { recursive: false, uid, gid, path } => tree.set_owner(path, *uid, *gid)?,
            Command::Chown { uid, gid, path, .. } => tree.set_owner_below(path, *uid, *gid)?,
            Command::Touch { time, path } => tree.touch(path, *time)?,
            Command::Stat { json, path } => self.screen.stat(tree, path, *json)?,
            Command::Find { path, tests } => self.screen.find(tree, path, tests, &mut self.job("find"))?,
            Command::Du { form, path } => self.screen.du(tree, path, *form, &mut self.job("add up"))?,
            Command::TarOut { path, local } => self.tar_out(tree, path, local.as_deref())?,
            Command::TarIn { local, path } => self.tar_in(tree, local.as_deref(), path)?,
            Command::XattrGet { path, name } => self.screen.attribute(&tree.xattr(path, name)?)?,
            Command::XattrSet { path, name, value } => tree.set_xattr(path, name, value)?,
            Command::XattrRm { path, name } => tree.remove_xattr(path, name)?,
            Command::Df { json } => self.screen.usage(tree, *json)?,
            Command::SetUuid { uuid } => tree.set_uuid(uuid)?,
            Command::SetLabel { label } => tree.set_label(label)?,
            // Done by who called.
            Command::Grow { .. } | Command::Mkfs { .. } => {}
        }
        Ok(())
    }

    fn cat(&self, tree: &Tree<'_>, path: &crate::base::ImagePath) -> Result<(), Failure> {
        let stat = tree.stat(path, true)?;
        if stat.kind != FileKind::Regular {
            return Err(Failure::Other(anyhow!("cannot read {path}: it is a {}", stat.kind)));
        }
        let mut out = io::stdout().lock();
        let mut closed = false;
        tree.read(path, &mut |piece| {
            self.interrupt.check().map_err(build::Error::from)?;
            if closed {
                return Ok(());
            }
            match out.write_all(piece).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => closed = true,
                written => written.context("cannot write to standard output")?,
            }
            Ok::<(), Failure>(())
        })
    }
}

/// Says which step it was.
fn failed(step: &Step, failure: Failure) -> Failure {
    match failure {
        Failure::Other(error) => Failure::Other(error.context(step.at.clone())),
        Failure::Usage(error) => Failure::Usage(error.context(step.at.clone())),
        failure => failure,
    }
}

/// `boot`, `root` or a number.
pub(super) fn part(word: &str) -> Result<Part, String> {
    match word {
        "boot" => Ok(Part::Boot),
        "root" => Ok(Part::Root),
        number => match number.parse() {
            Ok(number @ 1..) => Ok(Part::Number(number)),
            _ => Err("wanted boot, root or the number of a partition".to_owned()),
        },
    }
}
