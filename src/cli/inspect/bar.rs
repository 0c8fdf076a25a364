//! The disk in one line, to scale, as far as small partitions allow.

use crate::build::inspect::{Inspected, Part, Stretch, stretches};

/// Cells of the whole bar, its ends not counted.
const WIDTH: usize = 74;
/// What a partition has at the least: its number and a rest.
const FLOOR: usize = 3;
/// What any other stretch has at the least.
const GAP: usize = 1;

/// How the bar is drawn.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    pub(super) used: char,
    pub(super) free: char,
    /// Room that no partition has.
    pub(super) nobody: char,
}

pub(super) const PLAIN: Marks = Marks { used: '#', free: '-', nobody: '.' };
pub(super) const BLOCKS: Marks = Marks { used: '█', free: '░', nobody: '·' };

/// `[...|1#####-----|2#########---]`
pub(super) fn draw(inspected: &Inspected, marks: Marks) -> String {
    let stretches = stretches(&inspected.partitions, inspected.len_bytes);
    // Between any two a line is drawn.
    let lines = stretches.len().saturating_sub(1);
    let cells = spread(&stretches, WIDTH.saturating_sub(lines), FLOOR, GAP);
    let drawn = stretches.iter().zip(cells).map(|(Stretch { part, .. }, cells)| {
        let part = part.and_then(|at| inspected.partitions.get(at));
        part.map_or_else(|| marks.nobody.to_string().repeat(cells), |part| cell(part, cells, marks))
    });
    format!("[{}]", drawn.collect::<Vec<_>>().join("|"))
}

/// The number, then what is used, then what is free.
fn cell(part: &Part, cells: usize, marks: Marks) -> String {
    let name = part.number.map_or_else(String::new, |number| number.to_string());
    let rest = cells.saturating_sub(name.len());
    let used = share(used(part), u64::try_from(rest).unwrap_or(0));
    let used = usize::try_from(used).unwrap_or(0).min(rest);
    name + &marks.used.to_string().repeat(used) + &marks.free.to_string().repeat(rest - used)
}

/// How much of a part is in use, in 1/1000. All of it where nobody knows.
pub(super) fn used(part: &Part) -> u64 {
    let known = part.holds.known().and_then(Option::as_ref);
    match known.and_then(|known| Some((known.len_bytes?, known.free_bytes?))) {
        Some((len, free)) if len > 0 => {
            let thousandths = u128::from(len.saturating_sub(free)) * 1000 / u128::from(len);
            u64::try_from(thousandths).unwrap_or(1000).min(1000)
        }
        _ => 1000,
    }
}

/// So many thousandths of `of`, rounded.
fn share(thousandths: u64, of: u64) -> u64 {
    (thousandths.saturating_mul(of) + 500) / 1000
}

/// Shares `width` out by length, no partition getting less than `floor` and nothing else less than `gap`; more than
/// `width` in all when so many are that small.
pub(super) fn spread(stretches: &[Stretch], width: usize, floor: usize, gap: usize) -> Vec<usize> {
    let total = stretches.iter().map(|stretch| u128::from(stretch.len_bytes)).sum::<u128>().max(1);
    let scaled = |stretch: &Stretch| {
        let share = (u128::from(stretch.len_bytes) * width as u128 + total / 2) / total;
        let least = if stretch.part.is_some() { floor } else { gap };
        usize::try_from(share).unwrap_or(width).max(least)
    };
    let mut cells: Vec<usize> = stretches.iter().map(scaled).collect();
    // The longest give what the shortest were lent; the last of equals, so that it is always the same.
    loop {
        let sum: usize = cells.iter().sum();
        let Some(longest) = cells.iter_mut().max() else { return cells };
        match sum.cmp(&width) {
            std::cmp::Ordering::Greater if *longest > floor => *longest -= 1,
            std::cmp::Ordering::Less => *longest += 1,
            _ => return cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_shared_out_by_length_and_small_parts_stay_visible() {
        for (lens, wanted) in [
            (&[][..], &[][..]),
            (&[5], &[20]),
            (&[1, 1], &[10, 10]),
            (&[1, 3], &[5, 15]),
            (&[1, 1000, u64::MAX], &[3, 3, 14]),
            (&[u64::MAX, u64::MAX], &[10, 10]),
            (&[0, 0], &[3, 17]),
            // No room for all of them: it gets longer.
            (&[1; 8], &[3; 8]),
        ] {
            let stretch = |len: &u64| Stretch { len_bytes: *len, part: Some(0) };
            let stretches: Vec<Stretch> = lens.iter().map(stretch).collect();
            assert_eq!(spread(&stretches, 20, 3, 1), wanted, "{lens:?}");
        }
        let gap = Stretch { len_bytes: 1, part: None };
        assert_eq!(spread(&[gap, Stretch { len_bytes: 1000, part: Some(0) }], 20, 3, 1), [1, 19]);
    }
}
