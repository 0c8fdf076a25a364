//! The question to PowerShell: what needs Windows.

use std::path::{Path, PathBuf};

use super::super::ask::{PATIENCE, ask};
use super::super::{Disk, Error, Obstacle, System};
use super::{SCRIPT, disks, number};

/// The Windows that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Windows;

impl System for Windows {
    fn list(&self, _look_into: bool) -> Result<Vec<Disk>, Error> {
        let is_whole =
            |disk: &Disk| !disk.found.iter().any(|found| matches!(found, Obstacle::NotWhole { .. }));
        Ok(all()?.into_iter().filter(is_whole).collect())
    }

    fn find(&self, path: &Path) -> Result<Disk, Error> {
        let unknown = || Error::Unknown(path.to_owned());
        let wanted = path.to_str().and_then(number).ok_or_else(unknown)?;
        all()?.into_iter().find(|disk| disk.number == (0, wanted)).ok_or_else(unknown)
    }
}

fn all() -> Result<Vec<Disk>, Error> {
    // By its full name: an administrator's search path may lead elsewhere.
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let program = PathBuf::from(root).join(r"System32\WindowsPowerShell\v1.0\powershell.exe");
    let words = ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command", SCRIPT];
    disks(&ask(&program, &words, PATIENCE)?)
}
