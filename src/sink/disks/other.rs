//! Systems whose disks cannot be told from each other yet without guessing: every question is answered by an error.

use std::path::Path;

use super::{Disk, Error, System};

/// A system that is not built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Other;

impl System for Other {
    fn list(&self, _look_into: bool) -> Result<Vec<Disk>, Error> {
        Err(Error::NotBuilt("list disks"))
    }

    fn find(&self, _path: &Path) -> Result<Disk, Error> {
        Err(Error::NotBuilt("look at a disk"))
    }
}
