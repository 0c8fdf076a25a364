//! The questions to `diskutil`, and the nodes in `/dev`: what needs a Mac.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::super::ask::{PATIENCE, ask};
use super::super::{Disk, Error, Obstacle, System};
use super::{DISKUTIL, disks, names, pick};

/// The macOS that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct MacOs;

impl System for MacOs {
    fn list(&self, _look_into: bool) -> Result<Vec<Disk>, Error> {
        let is_whole =
            |disk: &Disk| !disk.found.iter().any(|found| matches!(found, Obstacle::NotWhole { .. }));
        Ok(all()?.into_iter().filter(is_whole).collect())
    }

    fn find(&self, path: &Path) -> Result<Disk, Error> {
        let failed = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        let real = path.canonicalize().map_err(failed("find"))?;
        let metadata = real.metadata().map_err(failed("look at"))?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            let found = if kind.is_dir() { "a folder" } else { "a file" };
            return Err(Error::NotBlockDevice { path: path.to_owned(), found });
        }
        let name = real.strip_prefix("/dev").ok().and_then(Path::to_str).unwrap_or_default();
        pick(all()?, name).ok_or_else(|| Error::Unknown(path.to_owned()))
    }
}

/// All disks, with the numbers of their raw nodes, which are those that are opened.
fn all() -> Result<Vec<Disk>, Error> {
    let program = Path::new(DISKUTIL);
    let list = ask(program, &["list", "-plist"], PATIENCE)?;
    let mut infos = Vec::new();
    for name in names(&list)? {
        // One that was pulled since the list was made is left out.
        if let Ok(info) = ask(program, &["info", "-plist", &name], PATIENCE) {
            infos.push((name, info));
        }
    }
    let mut all = disks(&list, &infos)?;
    all.retain_mut(|disk| match rustix::fs::stat(raw_node(disk)) {
        Ok(node) => {
            disk.number = (rustix::fs::major(node.st_rdev), rustix::fs::minor(node.st_rdev));
            true
        }
        Err(_) => false,
    });
    Ok(all)
}

/// `/dev/rdisk4`: past the buffer cache.
pub(in crate::sink) fn raw_node(disk: &Disk) -> PathBuf {
    PathBuf::from(format!("/dev/r{}", disk.name))
}
