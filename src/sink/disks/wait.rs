//! Waiting for a card: the disks are listed once a second, without reading them, until one more is there.

use std::time::{Duration, Instant};

use super::{Disk, Error, System};
use crate::base::Interrupt;

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at the interrupt.
const BLINK: Duration = Duration::from_millis(50);

pub(super) fn wait(
    system: &dyn System,
    known: &[Disk],
    interrupt: &Interrupt,
    pause: Duration,
) -> Result<Disk, Error> {
    let mut known: Vec<Disk> = known.to_vec();
    let mut seen: Vec<Disk> = Vec::new();
    loop {
        let now = system.list(false)?;
        // A card that is pulled and put back is new.
        known.retain(|disk| now.iter().any(|other| other.is_same(disk)));
        let new: Vec<Disk> = now.into_iter().filter(|disk| is_new(disk, &known)).collect();
        // Seen twice, so that it is no bounce of a contact, and its partitions have been found.
        let stays: Vec<&Disk> =
            new.iter().filter(|disk| seen.iter().any(|other| other.is_same(disk))).collect();
        match stays.as_slice() {
            [] => {}
            [disk] if new.len() == 1 => return system.find(&disk.path),
            _ => return Err(Error::Several(new.into_iter().map(|disk| disk.path).collect())),
        }
        seen = new;
        let began = Instant::now();
        while began.elapsed() < pause {
            interrupt.check()?;
            std::thread::sleep(BLINK.min(pause));
        }
        interrupt.check()?;
    }
}

fn is_new(disk: &Disk, known: &[Disk]) -> bool {
    let is_card = disk.len_bytes > 0 && disk.is_card_like();
    let is_disk = !disk.found.iter().any(super::is_another_thing);
    is_card && is_disk && !known.iter().any(|other| other.is_same(disk))
}
