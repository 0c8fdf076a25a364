//! What `build` and `plan` begin with: profile, seed, cache, base image, plans.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::build::{self, Bases, Opened, lock_file, seed_file};
use crate::plan::profile::{self, Laid, Surroundings};
use crate::plan::{Cluster, NodePlan, Seed};
use crate::source::catalogue::Place;
use crate::source::{Cache, Client, Patience, Tools};

use super::args::Global;
use super::catalogue;
use super::report::Failure;
use super::ui::Ui;

/// What `build` and `plan` share.
#[derive(Clone, Debug, Args)]
pub(super) struct Subject {
    /// The profile.
    pub(super) profile: PathBuf,

    /// Only this node; may be repeated.
    #[arg(long = "node", value_name = "NAME")]
    pub(super) nodes: Vec<String>,

    #[command(flatten)]
    pub(super) inputs: Inputs,
}

/// What an image is made from besides the profile.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Inputs {
    /// Use this base image instead of the one the profile names: .img, .img.xz, .img.gz, .img.zst or .zip.
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,

    /// Use the image in cardpress.lock beside the profile, and no other; refuse what is not in it.
    #[arg(long, conflicts_with = "image")]
    pub(super) locked: bool,

    /// Take the seed of all secrets from this file [default: .cardpress/seed beside the profile, made when
    /// missing].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE")]
    pub(super) seed_file: Option<PathBuf>,
}

/// A profile brought together with its base image.
pub(super) struct Prepared {
    /// The cluster, its recipes laid.
    pub(super) laid: Laid,
    pub(super) seed: Seed,
    pub(super) opened: Opened,
    /// The plans of the nodes that were asked for.
    pub(super) plans: Vec<NodePlan>,
}

/// The same without plans.
pub(super) struct Opening {
    pub(super) laid: Laid,
    pub(super) seed: Seed,
    pub(super) opened: Opened,
}

/// Where the images of a profile come from.
pub(super) struct Source {
    image: Option<PathBuf>,
    cache: Cache,
    client: Client,
    catalogue: Place,
    lock: PathBuf,
    is_locked: bool,
    /// Is the archive of the image of use, too? False unless set.
    pub(super) is_archive_wanted: bool,
}

impl Source {
    pub(super) fn new(
        profile: &Path,
        image: Option<&Path>,
        is_locked: bool,
        global: &Global,
    ) -> Result<Self, Failure> {
        Ok(Self {
            image: image.map(Path::to_owned),
            cache: Cache::at(cache_folder(global)?),
            client: client(global)?,
            catalogue: catalogue::place(global)?,
            lock: lock_file::beside(profile),
            is_locked,
            is_archive_wanted: false,
        })
    }

    pub(super) fn bases<'s>(&'s self, ui: &'s Ui) -> Bases<'s> {
        let (cache, client) = (&self.cache, &self.client);
        Bases {
            image: self.image.as_deref(),
            tools: Tools { cache, client, progress: ui, interrupt: &ui.interrupt },
            catalogue: &self.catalogue,
            lock: &self.lock,
            is_locked: self.is_locked,
            is_archive_wanted: self.is_archive_wanted,
        }
    }
}

/// Reads a profile, and says what there is to say about it.
pub(super) fn read_profile(path: &Path, ui: &Ui) -> Result<Cluster, Failure> {
    let loaded = profile::load(path, &Host).map_err(Failure::Profile)?;
    for warning in &loaded.warnings {
        ui.say(&format!("warning: {warning}"));
    }
    log::info!(
        "profile `{}`: {} nodes, out of {:?}",
        path.display(),
        loaded.cluster.nodes.len(),
        loaded.files
    );
    Ok(loaded.cluster)
}

pub(super) fn prepare(
    subject: &Subject,
    is_archive_wanted: bool,
    global: &Global,
    ui: &Ui,
) -> Result<Prepared, Failure> {
    let cluster = read_profile(&subject.profile, ui)?;
    subject.nodes.iter().try_for_each(|name| build::check_name(&cluster, name))?;
    let Opening { laid, seed, opened } = open_base(subject, cluster, is_archive_wanted, global, ui)?;
    let plans = build::choose(build::plan(&laid.cluster, &opened, &seed)?, &subject.nodes)?;
    Ok(Prepared { laid, seed, opened, plans })
}

/// The base image of a profile that was read, and the seed beside it.
pub(super) fn open_base(
    subject: &Subject,
    cluster: Cluster,
    is_archive_wanted: bool,
    global: &Global,
    ui: &Ui,
) -> Result<Opening, Failure> {
    let Subject { profile, inputs, .. } = subject;
    let seed = seed(profile, inputs.seed_file.as_deref())?;
    let source =
        Source { is_archive_wanted, ..Source::new(profile, inputs.image.as_deref(), inputs.locked, global)? };
    open_with(&source, &cluster, seed, ui)
}

/// The base image of a cluster, its recipes laid.
pub(super) fn open_with(source: &Source, cluster: &Cluster, seed: Seed, ui: &Ui) -> Result<Opening, Failure> {
    let (opened, laid) = match build::open(cluster, &seed, &source.bases(ui)) {
        Err(build::Error::Recipes(faults)) => return Err(Failure::Profile(*faults)),
        opened => opened?,
    };
    Ok(Opening { laid, seed, opened })
}

/// The seed that was handed in, or the one beside the profile.
pub(super) fn seed(profile: &Path, handed_in: Option<&Path>) -> Result<Seed, Failure> {
    let path = handed_in.map_or_else(|| seed_file::beside(profile), Path::to_owned);
    log::debug!("seed in `{}`", path.display());
    Ok(match handed_in {
        Some(path) => seed_file::read(path)?,
        None => seed_file::read_or_make(&path)?,
    })
}

pub(super) fn cache_folder(global: &Global) -> Result<PathBuf, Failure> {
    match global.cache.clone().or_else(|| global.config.cache()) {
        Some(folder) => Ok(folder),
        None => directories::ProjectDirs::from("", "", "cardpress")
            .map(|dirs| dirs.cache_dir().to_owned())
            .ok_or_else(|| {
                Failure::Other(anyhow!("no home directory, so no cache: name one with --cache DIR"))
            }),
    }
}

/// How much is done at a time: as was asked for, as config.toml says, else one thing per processor, at most 8.
pub(super) fn jobs(asked: Option<u16>, global: &Global) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    asked.or(global.config.jobs).map_or_else(processors, usize::from)
}

/// The way to the network; closed with `--offline`.
pub(super) fn client(global: &Global) -> Result<Client, Failure> {
    Client::new(Patience::default(), global.offline).map_err(|error| Failure::Other(error.into()))
}

/// `SOURCE_DATE_EPOCH`, as reproducible-builds.org defines it: seconds since 1970.
pub(super) fn source_date_epoch() -> Result<Option<i64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => text
            .parse::<i64>()
            .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, wanted seconds since 1970"))
            .map(Some)
            .map_err(Failure::Usage),
    }
}

/// The host as a profile may see it: the files and variables it names.
pub(super) struct Host;

impl Surroundings for Host {
    fn read_file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn names_in(&self, folder: &Path) -> std::io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            names.push((entry.file_name().to_string_lossy().into_owned(), entry.path().is_dir()));
        }
        names.sort();
        Ok(names)
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn home(&self) -> Option<PathBuf> {
        directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
    }
}

/// The host with one more file, which is in memory only: a profile that is not written yet.
pub(super) struct WithFile<'f> {
    pub(super) path: &'f Path,
    pub(super) text: &'f str,
}

impl Surroundings for WithFile<'_> {
    fn read_file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text.as_bytes().to_vec()) } else { Host.read_file(path) }
    }

    fn names_in(&self, folder: &Path) -> std::io::Result<Vec<(String, bool)>> {
        Host.names_in(folder)
    }

    fn env(&self, name: &str) -> Option<String> {
        Host.env(name)
    }

    fn home(&self) -> Option<PathBuf> {
        Host.home()
    }
}

/// Does what names an image look like an address?
pub(super) fn is_url(what: &str) -> bool {
    what.starts_with("http://") || what.starts_with("https://")
}
