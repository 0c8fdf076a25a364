//! The catalogue as every verb that needs one gets it: the place that was named, the cache, the network.

use std::time::SystemTime;

use crate::source::catalogue::{self, Catalogue, Online, Options, Place, Scope};

use super::args::Global;
use super::report::Failure;
use super::subject::{cache_folder, client};
use super::ui::Ui;

/// Loads it, and says what there is to say about it.
pub(super) fn load(global: &Global, ui: &Ui, scope: Scope, refresh: bool) -> Result<Catalogue, Failure> {
    let options = Options {
        place: &place(global)?,
        cache_dir: &cache_folder(global)?,
        scope,
        refresh,
        offline: global.offline,
        now: SystemTime::now(),
    };
    let client = client(global)?;
    let web = Online { client: &client, progress: ui, interrupt: &ui.interrupt };
    let loaded = catalogue::load(&options, &web, &ui.interrupt);
    let catalogue = loaded.map_err(|error| Failure::Other(error.into()))?;
    for note in &catalogue.notes {
        ui.say(&format!("warning: {note}"));
    }
    Ok(catalogue)
}

/// The command line and the environment first, then the user's `config.toml`, then the published one.
pub(super) fn place(global: &Global) -> Result<Place, Failure> {
    let parse = |text: &str| Place::parse(text).map_err(|error| Failure::Usage(error.into()));
    if let Some(text) = &global.catalogue {
        return parse(text);
    }
    match global.config.catalogue.as_deref().map(parse).transpose()? {
        None => Ok(Place::Published),
        Some(Place::File(file)) => Ok(Place::File(global.config.local(&file))),
        Some(place) => Ok(place),
    }
}
