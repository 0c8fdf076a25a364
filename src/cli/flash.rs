//! `cardpress flash`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::{Value, json};

use crate::base::ByteLen;
use crate::build;
use crate::build::flash::{self, Finished, Job, Onto, What};
use crate::plan::NodePlan;
use crate::sink::card::{self, Card};
use crate::sink::disks::{self, Disk};
use crate::sink::flash::Flashed;
use crate::source::Cache;

use super::args::Global;
use super::report::{self, Failure, plural};
use super::subject::{Inputs, Opening, Subject, cache_folder, open_base, read_profile, source_date_epoch};
use super::ui::{self, Lane, Ui};

const HELP: &str = "\
Examples:
  cardpress devices                                what there is to write to
  cardpress flash swarm.toml manager1=/dev/sdb worker1=/dev/sdc
  cardpress flash swarm.toml --node worker1 --node worker2
  cardpress flash --image raspios.img.xz /dev/sdb  an image as it is
  cardpress flash --resume swarm.toml worker1=/dev/sdb

With --node nothing is said of devices: each card is waited for, and written when it is put in, one after another.

With image.grow = \"card\" in the profile the root filesystem fills its card at once, and the first boot does not have to.

Exit status: 0 done; 1 failed, card untouched; 2 usage or a faulty profile; 3 refused as unsafe; 4 failed, card left \
incomplete and without a partition table.";

#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = HELP,
    override_usage = "cardpress flash [OPTIONS] <PROFILE> <NODE=DEVICE>...\n       \
        cardpress flash [OPTIONS] <PROFILE> --node <NAME>...\n       \
        cardpress flash [OPTIONS] --image <FILE> <DEVICE>..."
)]
pub(super) struct Flash {
    /// A profile, and which node goes onto which card; with --image only the cards.
    #[arg(required = true, value_name = "PROFILE NODE=DEVICE|DEVICE")]
    pub(super) words: Vec<String>,

    /// Wait for a card to be put in, and write this node onto it; may be repeated.
    #[arg(long = "node", value_name = "NAME")]
    pub(super) nodes: Vec<String>,

    /// Write this image, raw or packed, as it is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "base", "locked"])]
    pub(super) image: Option<PathBuf>,

    /// Use this base image instead of the one the profile names: .img, .img.xz, .img.gz, .img.zst or .zip.
    #[arg(long, value_name = "FILE")]
    pub(super) base: Option<PathBuf>,

    /// Use the image in cardpress.lock beside the profile, and no other; refuse what is not in it.
    #[arg(long, conflicts_with = "base")]
    pub(super) locked: bool,

    /// Take the seed of all secrets from this file [default: .cardpress/seed beside the profile, made when
    /// missing].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE")]
    pub(super) seed_file: Option<PathBuf>,

    /// Do not ask.
    #[arg(long, short)]
    pub(super) yes: bool,

    /// Do not read back what was written.
    #[arg(long)]
    pub(super) no_verify: bool,

    /// Read first, and leave what is right already: what a flash that was cut off has written.
    #[arg(long)]
    pub(super) resume: bool,

    /// Take a disk that cannot be taken out, too: not on USB, not in a slot for cards.
    #[arg(long)]
    pub(super) allow_fixed_disk: bool,
}

pub(super) fn run(args: &Flash, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let session = Session { args, ui, epoch_seconds: source_date_epoch()?, is_json: global.json };
    let told = match &args.image {
        Some(image) => session.flash_image(image, global)?,
        None => session.flash_profile(global)?,
    };
    if global.json {
        ui::print(&format!("{}\n", Value::Array(told.iter().map(Told::to_json).collect())))?;
    }
    // The weightiest is told last and decides the exit status.
    let mut failed: Vec<Told> = told.into_iter().filter(|told| told.result.is_err()).collect();
    failed.sort_by_key(Told::status);
    let last = failed.pop();
    for told in failed {
        if let Some(error) = told.into_error() {
            report::tell(&error, global.json);
        }
    }
    last.and_then(Told::into_error).map_or(Ok(()), |error| Err(Failure::Other(error)))
}

/// Writes the one node of a profile that `open` opens onto `device`, which is looked at first.
pub(super) fn flash_one(
    args: &Flash,
    node: &str,
    device: &Path,
    open: impl FnOnce() -> Result<Opening, Failure>,
    ui: &Ui,
) -> Result<(Opening, NodePlan), Failure> {
    let session = Session { args, ui, epoch_seconds: source_date_epoch()?, is_json: false };
    let chosen = session.look_at(vec![(node.to_owned(), device.to_owned())])?;
    let base = open()?;
    let (told, plans) = session.flash_nodes(&base, chosen)?;
    if let Some(error) = told.into_iter().find_map(Told::into_error) {
        return Err(Failure::Other(error));
    }
    let plan = plans.into_iter().next().ok_or_else(|| anyhow!("there is nothing to do"))?;
    Ok((base, plan))
}

/// Takes a card whose content is to change, and stay otherwise.
pub(super) fn take_to_change(args: &Flash, device: &Path, ui: &Ui) -> Result<Card, Failure> {
    let session = Session { args, ui, epoch_seconds: None, is_json: false };
    let chosen = session.look_at(vec![(String::new(), device.to_owned())])?;
    for Chosen { disk, .. } in &chosen {
        ui.say(&format!("changing {disk}"));
    }
    session.confirm_with(&chosen, "Pulled out half-way it has to be flashed anew.")?;
    let taken = session.take(chosen, |_| 0)?.into_iter().next();
    Ok(taken.ok_or_else(|| anyhow!("there is nothing to do"))?.0)
}

/// One call of the verb.
struct Session<'s> {
    args: &'s Flash,
    ui: &'s Ui,
    epoch_seconds: Option<i64>,
    /// With `--json`.
    is_json: bool,
}

/// A card that was looked at, and what it is to become, in a word.
struct Chosen {
    disk: Disk,
    /// The node, or the file.
    name: String,
}

/// What became of one card.
struct Told {
    device: PathBuf,
    name: String,
    seconds: f64,
    result: Result<Flashed, build::Error>,
}

impl Session<'_> {
    fn flash_image(&self, image: &Path, global: &Global) -> Result<Vec<Told>, Failure> {
        if !self.args.nodes.is_empty() {
            return Err(usage("--node chooses from a profile, and --image has none: name the devices"));
        }
        if let Some(word) = self.args.words.iter().find(|word| word.contains('=')) {
            return Err(usage(&format!("found `{word}`, wanted a device: every card gets the same image")));
        }
        let name = image.file_name().unwrap_or(image.as_os_str()).to_string_lossy().into_owned();
        let words = self.args.words.iter().map(|word| (name.clone(), PathBuf::from(word))).collect();
        let chosen = self.look_at(words)?;
        let cache = Cache::at(cache_folder(global)?);
        let finished = Finished::open(image, &cache, self.ui, &self.ui.interrupt)?;
        self.confirm(&chosen)?;
        let cards = self.take(chosen, |_| finished.len_bytes())?;
        Ok(self.write(cards, |_| What::Image(&finished)))
    }

    fn flash_profile(&self, global: &Global) -> Result<Vec<Told>, Failure> {
        let Some((profile, words)) = self.args.words.split_first() else {
            return Err(usage("found no profile, wanted PROFILE NODE=DEVICE…, or --image FILE DEVICE…"));
        };
        let pairs = words.iter().map(|word| pair(word)).collect::<Result<Vec<_>, _>>()?;
        if pairs.is_empty() == self.args.nodes.is_empty() {
            return Err(usage(
                "after the profile wanted either NODE=DEVICE, such as worker1=/dev/sdb, or --node NAME to wait for its card",
            ));
        }
        let profile = Path::new(profile);
        let cluster = read_profile(profile, self.ui)?;
        for name in pairs.iter().map(|(name, _)| name).chain(&self.args.nodes) {
            build::check_name(&cluster, name)?;
        }
        // Before a long download: is this a card at all?
        let chosen = self.look_at(pairs)?;
        // Its --image is no base.
        let Flash { base, locked, seed_file, .. } = self.args.clone();
        let inputs = Inputs { image: base, locked, seed_file };
        let subject = Subject { profile: profile.to_owned(), nodes: Vec::new(), inputs };
        let base = open_base(&subject, cluster, false, global, self.ui)?;
        if self.args.nodes.is_empty() {
            return Ok(self.flash_nodes(&base, chosen)?.0);
        }
        let mut told = Vec::new();
        for name in &self.args.nodes {
            let chosen = self.wait_for(name)?;
            let result = self.flash_nodes(&base, vec![chosen]);
            // What was done before is not lost from sight when the next one is refused.
            match result {
                Ok((more, _)) => told.extend(more),
                Err(failure) if told.is_empty() => return Err(failure),
                Err(failure) => {
                    report::report(&failure, self.is_json);
                    break;
                }
            }
        }
        Ok(told)
    }

    fn flash_nodes(
        &self,
        base: &Opening,
        chosen: Vec<Chosen>,
    ) -> Result<(Vec<Told>, Vec<NodePlan>), Failure> {
        let Opening { laid, seed, opened } = base;
        let cards: Vec<(&str, u64)> =
            chosen.iter().map(|chosen| (chosen.name.as_str(), chosen.disk.len_bytes)).collect();
        let plans = flash::plan_for_cards(&laid.cluster, opened, seed, &cards)?;
        self.confirm(&chosen)?;
        let cards = self.take(chosen, |index| plans.get(index).map_or(0, |plan| opened.image_len(plan)))?;
        let Some(first) = plans.first() else { return Ok((Vec::new(), plans)) };
        let told = self.write(cards, |index| What::Node(opened, plans.get(index).unwrap_or(first)));
        Ok((told, plans))
    }

    /// Looks what the devices are; refuses early what must not be written to.
    fn look_at(&self, words: Vec<(String, PathBuf)>) -> Result<Vec<Chosen>, Failure> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for (name, path) in words {
            let disk = disks::find(&path).map_err(|error| Failure::Other(error.into()))?;
            if let Some(other) = chosen.iter().find(|other| other.disk.number == disk.number) {
                let (one, other) = (disk.path.display(), &other.name);
                return Err(usage(&format!("{one} is named twice, for `{other}` and for `{name}`")));
            }
            if self.args.image.is_none() && chosen.iter().any(|other| other.name == name) {
                return Err(usage(&format!(
                    "`{name}` is to be on two cards, and there can be only one of each node"
                )));
            }
            self.refuse(&disk)?;
            chosen.push(Chosen { disk, name });
        }
        Ok(chosen)
    }

    fn refuse(&self, disk: &Disk) -> Result<(), Failure> {
        let obstacles = disk.obstacles(self.args.allow_fixed_disk);
        if obstacles.is_empty() {
            return Ok(());
        }
        let refused = card::Error::Refused { path: disk.path.clone(), obstacles };
        Err(Failure::Other(refused.into()))
    }

    /// The card of a node, when it is put in.
    fn wait_for(&self, name: &str) -> Result<Chosen, Failure> {
        let known = disks::list().map_err(|error| Failure::Other(error.into()))?;
        self.ui.say(&format!("{name}: waiting for its card; put it in now (Ctrl-C stops)"));
        let disk =
            disks::wait_for_new(&known, &self.ui.interrupt).map_err(|error| Failure::Other(error.into()))?;
        self.refuse(&disk)?;
        Ok(Chosen { disk, name: name.to_owned() })
    }

    /// Shows what will be lost, and has the names of the devices typed.
    fn confirm(&self, chosen: &[Chosen]) -> Result<(), Failure> {
        for Chosen { disk, name } in chosen {
            self.ui.say(&format!("{name} goes onto {disk}"));
        }
        let what = if chosen.len() == 1 { "What is on it" } else { "What is on them" };
        self.confirm_with(chosen, &format!("{what} will be lost."))
    }

    fn confirm_with(&self, chosen: &[Chosen], warning: &str) -> Result<(), Failure> {
        if self.args.yes {
            return Ok(());
        }
        let names: Vec<&str> = chosen.iter().map(|chosen| chosen.disk.name.as_str()).collect();
        let wanted = names.join(" ");
        let question = format!("{warning} Type `{wanted}` to go on:");
        let answer = self.ui.ask(&question).map_err(|error| Failure::Other(error.into()))?;
        if answer.split_whitespace().eq(names.iter().copied()) {
            return Ok(());
        }
        Err(Failure::Refused(anyhow!(
            "found `{}`, wanted `{wanted}`: nothing was written",
            answer.escape_debug()
        )))
    }

    /// Takes all cards, or none.
    fn take(
        &self,
        chosen: Vec<Chosen>,
        needed_bytes: impl Fn(usize) -> u64,
    ) -> Result<Vec<(Card, String)>, Failure> {
        let mut cards = Vec::new();
        for (index, Chosen { disk, name }) in chosen.into_iter().enumerate() {
            let allow_fixed_disk = self.args.allow_fixed_disk;
            let options = card::Options { allow_fixed_disk, needed_bytes: needed_bytes(index) };
            let card = Card::take(&disk, options).map_err(|error| Failure::Other(error.into()))?;
            cards.push((card, name));
        }
        Ok(cards)
    }

    fn write<'w>(&self, cards: Vec<(Card, String)>, what: impl Fn(usize) -> What<'w>) -> Vec<Told> {
        let began = Instant::now();
        let lanes: Vec<Lane> = cards
            .iter()
            .map(|(card, name)| self.ui.lane(&format!("{name} on {}", card.disk().name)))
            .collect();
        let jobs: Vec<Job<'_>> = cards
            .iter()
            .zip(&lanes)
            .enumerate()
            .map(|(index, ((card, _), lane))| Job { medium: card, what: what(index), progress: lane })
            .collect();
        let onto = Onto {
            verify: !self.args.no_verify,
            resume: self.args.resume,
            epoch_seconds: self.epoch_seconds,
            interrupt: &self.ui.interrupt,
        };
        let results = flash::flash_all(&jobs, onto);
        let seconds = began.elapsed().as_secs_f64();
        drop(jobs);
        let told = cards.into_iter().zip(results).map(|((card, name), result)| {
            let device = card.disk().path.clone();
            Told { device, name, seconds, result }
        });
        told.inspect(|told| told.say(self.ui)).collect()
    }
}

impl Told {
    /// What the program's status would be for this card alone.
    fn status(&self) -> u8 {
        self.result.as_ref().err().map_or(0, |error| report::status_of(error))
    }

    fn say(&self, ui: &Ui) {
        let Ok(flashed) = &self.result else { return };
        let mut line = format!(
            "{} is on {}: {} written",
            self.name,
            self.device.display(),
            ByteLen(flashed.written_bytes)
        );
        if flashed.skipped_bytes > 0 {
            line += &format!(", {} were right already", ByteLen(flashed.skipped_bytes));
        }
        if flashed.verified_bytes > 0 {
            line += &format!(", {} read back and right", ByteLen(flashed.verified_bytes));
        }
        if !flashed.rewritten.is_empty() {
            let count = flashed.rewritten.len();
            line +=
                &format!(", {count} bad {} written again: this card is wearing out", plural(count, "place"));
        }
        ui.say(&format!("{line}, {:.1} s", self.seconds));
    }

    fn to_json(&self) -> Value {
        let (flashed, error) = match &self.result {
            Ok(flashed) => (Some(flashed), None),
            Err(error) => (None, Some(report::in_one_line(error))),
        };
        json!({
            "name": self.name,
            "device": self.device.to_string_lossy(),
            "seconds": self.seconds,
            "written_bytes": flashed.map(|flashed| flashed.written_bytes),
            "skipped_bytes": flashed.map(|flashed| flashed.skipped_bytes),
            "verified_bytes": flashed.map(|flashed| flashed.verified_bytes),
            "rewritten": flashed.map(|flashed| {
                let extents = flashed.rewritten.iter();
                extents.map(|at| json!({ "offset": at.offset, "len_bytes": at.len_bytes })).collect::<Vec<_>>()
            }),
            "error": error,
        })
    }

    fn into_error(self) -> Option<anyhow::Error> {
        let place = format!("{} on {} failed", self.name, self.device.display());
        self.result.context(place).err()
    }
}

/// `NODE=DEVICE`
fn pair(word: &str) -> Result<(String, PathBuf), Failure> {
    match word.split_once('=') {
        Some((name, device)) if !name.is_empty() && !device.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(device)))
        }
        _ => Err(usage(&format!("found `{word}`, wanted NODE=DEVICE such as worker1=/dev/sdb"))),
    }
}

fn usage(text: &str) -> Failure {
    Failure::Usage(anyhow!("{text}"))
}
