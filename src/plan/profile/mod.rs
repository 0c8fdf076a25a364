//! The profile: a TOML file, and all it extends, read into a [`Cluster`].
//!
//! ```text
//! files ─▶ document (values with spans) ─▶ layers ─▶ merge ─▶ expand ─▶ Cluster, or every Fault
//! ```
//!
//! **Layers.** `extends` files → `[defaults]` → `[role.NAME]` → `[[node]]`. A file is laid over those it extends
//! section by section: its `[defaults]` over their `[defaults]`, its `[role.NAME]` over theirs; its nodes come after
//! theirs. So a role of an extended file still wins over `[defaults]` of the file that extends it.
//!
//! - A single value of a later layer wins. `gateway`, `subnet` and `address` are single values even where they hold
//!   one for each address family; so is `keyboard`.
//! - Lists append; a word that is there already is not added again. `key = { replace = […] }` forgets what earlier
//!   layers put there (`[[defaults.file.replace]]` for lists of tables).
//! - In lists of things with a name, a later thing takes the place of the earlier one of that name: `file`,
//!   `directory`, `symlink` and `download` by path, `fstab` by mount point, `apt` and `first-boot` by name. The same name twice in one
//!   layer is a fault.
//! - `user.NAME` and `wifi` merge key by key; a later `ssid` forgets the earlier key.
//! - A later layer may take back: `cmdline.remove` an earlier `add` and the other way round, `service.disable` or
//!   `mask` an earlier `enable` and the other way round. Within one layer that is a contradiction, and a fault.
//!
//! **config.txt.** `[defaults.config-txt]` holds filters, and filters hold keys: `all = { gpu_mem = 16 }`,
//! `pi5 = { dtparam = ["pciex1", "pciex1_gen=3"] }`. A string, an integer or a boolean (`1`, `0`) takes the place of
//! what earlier layers say of this key; a list adds lines to it; `{ remove = true }` takes every line of the key out,
//! the image's too.
//!
//! **Ranges.** `name = "worker[1-7]"` is seven nodes; each `address` with a range must count as many. `[01-10]` pads
//! with zeros.
//!
//! **Secrets** are named by `{ file = … }` or `{ env = … }`, or hashed already. They are wrapped as they are read, and
//! what could be one is blotted out of every text that a fault shows.
//!
//! **Faults.** All of them are found in one run, each with its span. A fault in one key does not hide those of others.
//!
//! **Recipes** are the lowest layers of the nodes that use them. They and the templates of `[[file]]` depend on the base
//! image, so they come in a second step: [`lay()`].

mod account;
mod apt;
mod document;
mod expand;
mod fault;
mod lay;
mod layer;
mod merge;
mod network;
mod range;
mod reader;
mod recipe;
mod schema;
mod settings;
mod tree;
mod uses;
mod value;
mod word;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use document::tidy;
pub use fault::{Alone, Fault, Faults};
pub use lay::{Laid, lay, lay_outside};
pub(super) use layer::Layer;
pub use range::fold;
pub use reader::nearest;
pub use schema::{reference, schema};

use super::cluster::Cluster;
use super::recipe::Recipe;

/// The world around a profile: the files and variables it names.
pub trait Surroundings {
    /// All of a file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_file(&self, path: &Path) -> std::io::Result<Vec<u8>>;

    /// The names in a folder, and which of them are folders.
    ///
    /// # Errors
    /// Whatever the system says.
    fn names_in(&self, folder: &Path) -> std::io::Result<Vec<(String, bool)>>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// The home folder of whoever runs this.
    fn home(&self) -> Option<PathBuf>;
}

/// A profile without faults.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub cluster: Cluster,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Fault>,
    /// Every file that was read for it, the profile first.
    pub files: Vec<PathBuf>,
}

/// Reads the profile at `path`. Relative paths in a file begin at the folder of that file.
///
/// # Errors
/// Every fault of the profile, the files it extends and the files it names.
pub fn load(path: &Path, around: &dyn Surroundings) -> Result<Loaded, Faults> {
    let mut reader = reader::Reader::new(around);
    let document = document::read(&mut reader, path);
    let cluster = expand::cluster(&mut reader, document);
    let (faults, warnings, files) = reader.finish();
    match cluster {
        Some(cluster) if faults.is_empty() => Ok(Loaded { cluster, warnings, files }),
        _ => Err(Faults(faults)),
    }
}

/// The recipes that the program carries, and those in the folder `recipes` in `folder`, which win, sorted by name.
///
/// # Errors
/// Every fault of every recipe.
pub fn recipes(folder: Option<&Path>, around: &dyn Surroundings) -> Result<Vec<Recipe>, Faults> {
    let mut reader = reader::Reader::new(around);
    let recipes = recipe::all(&mut reader, folder);
    let (faults, _, _) = reader.finish();
    if faults.is_empty() { Ok(recipes) } else { Err(Faults(faults)) }
}
