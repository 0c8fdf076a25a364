//! Cards that fail.

use super::*;

/// A mapped byte in the middle of the body, and one in the head.
const IN_BODY: u64 = 2 * MIB + 100_000;
const IN_HEAD: u64 = 10_000;

#[test]
fn every_write_that_fails_once_is_an_error_and_leaves_no_table() {
    let mut count = 0;
    for number in 0..1000 {
        let faults = Faults { writes: number..number + 1, ..Faults::default() };
        let (flashed, card) = Run::default().flash_old(true, faults);
        let Err(failed) = flashed else { break };
        assert!(matches!(failed.error, Error::Write { .. }), "write {number}: {failed:?}");
        let wanted = if number == 0 { Left::Untouched } else { Left::Unbootable };
        assert_eq!(failed.left, wanted, "write {number}");
        check_left(&failed, &card, &old_card(true), &format!("write {number}"));
        count += 1;
    }
    assert!((20..1000).contains(&count), "{count} writes");
}

#[test]
fn a_card_that_takes_no_more_writes_from_some_moment_on_has_no_table_but_perhaps_its_own() {
    for number in 0..1000 {
        let faults = Faults { writes: number..usize::MAX, ..Faults::default() };
        let (flashed, card) = Run::default().flash_old(true, faults);
        let Err(failed) = flashed else { return };
        check_left(&failed, &card, &old_card(true), &format!("from write {number} on"));
        let wanted = if number == 0 { Left::Untouched } else { Left::Unbootable };
        // The last write is of the first block: whether it did something is not known to a card that fails.
        assert!(failed.left == wanted || failed.left == Left::Unknown, "from write {number} on: {failed:?}");
    }
    panic!("it never ends");
}

#[test]
fn every_sync_that_fails_is_an_error_and_leaves_no_table() {
    for until in [|number| number + 1, |_| usize::MAX] {
        let mut count = 0;
        for number in 0..100 {
            let faults = Faults { syncs: number..until(number), ..Faults::default() };
            let (flashed, card) = Run::default().flash_old(true, faults);
            let Err(failed) = flashed else { break };
            assert!(matches!(failed.error, Error::Sync(_)), "sync {number}: {failed:?}");
            check_left(&failed, &card, &old_card(true), &format!("sync {number}"));
            assert!(!has_table(&card), "sync {number}");
            count += 1;
        }
        // The first block zeroed, the marks, the bulk, the head, the first block.
        assert_eq!(count, 5);
    }
}

#[test]
fn no_read_that_fails_once_leaves_a_torn_card() {
    let image = image();
    let clean = Faulty::new(old_card(true), 512, Faults::default());
    Run::default().flash(&clean, &image, &most()).unwrap();
    let (mut rewritten, mut failures) = (0, 0);
    for number in 0..clean.seen().reads {
        let (flashed, card) =
            Run::default().flash_old(true, Faults { reads: number..number + 1, ..Faults::default() });
        match flashed {
            Ok(flashed) => {
                assert_eq!(wrong(&card, &image, &most()), None, "read {number}");
                rewritten += flashed.rewritten.len();
            }
            Err(failed) => {
                check_left(&failed, &card, &old_card(true), &format!("read {number}"));
                assert!(matches!(failed.error, Error::Read { .. }), "read {number}: {failed:?}");
                failures += 1;
            }
        }
    }
    assert_eq!(failures, 3, "the three marks");
    assert!(rewritten > 10, "pieces that could not be read");
}

#[test]
fn a_sector_spoilt_on_the_way_is_found_and_written_again() {
    let image = image();
    let mapped = most();
    // One in each mapped range: the first block, the head, across its end, pieces, the last bytes.
    for (number, range) in mapped.iter().enumerate() {
        // The first block is zeroed twice before it is written, the head once.
        let zeroed = 2_usize.saturating_sub(number);
        for times in 1..=usize::try_from(REWRITES).unwrap() {
            let at = range.offset + range.len_bytes / 3;
            let faults = Faults { spoils: Some((at, zeroed..zeroed + times)), ..Faults::default() };
            let (flashed, card) = Run::default().flash_old(false, faults);
            let flashed = flashed.unwrap_or_else(|failed| panic!("{range:?}: {failed:?}"));
            assert_eq!(wrong(&card, &image, &mapped), None, "{range:?}");
            let [rewritten] = flashed.rewritten[..] else { panic!("{range:?}: {flashed:?}") };
            assert!((rewritten.offset..end_of(rewritten)).contains(&at), "{range:?}: {rewritten:?}");
        }
    }
}

#[test]
fn a_sector_that_stays_bad_is_named_and_leaves_no_table() {
    for at in [0, IN_HEAD, IN_BODY, IMAGE_LEN - 1] {
        let faults = Faults { spoils: Some((at, 0..usize::MAX)), ..Faults::default() };
        let (flashed, card) = Run::default().flash_old(true, faults);
        let failed = flashed.unwrap_err();
        assert_eq!(failed.left, Left::Unbootable, "{at}");
        assert!(!has_table(&card), "{at}");
        let Error::Unverified { extents, rewrites } = failed.error else { panic!("{at}: {failed:?}") };
        assert_eq!(rewrites, REWRITES);
        let [bad] = extents[..] else { panic!("{at}: {extents:?}") };
        assert!((bad.offset..end_of(bad)).contains(&at) && bad.len_bytes <= 4096, "{at}: {bad:?}");
    }
}

#[test]
fn a_sector_that_cannot_be_read_until_it_is_written_again_is_written_again() {
    let image = image();
    let faults = Faults { unreadable: Some((IN_BODY, 2)), ..Faults::default() };
    let (flashed, card) = Run::default().flash_old(true, faults);
    assert_eq!(flashed.unwrap().rewritten.len(), 1);
    assert_eq!(wrong(&card, &image, &most()), None);

    let faults = Faults { unreadable: Some((IN_BODY, usize::MAX)), ..Faults::default() };
    let (flashed, card) = Run::default().flash_old(true, faults);
    let failed = flashed.unwrap_err();
    let Error::Unverified { extents, .. } = failed.error else { panic!("{failed:?}") };
    assert_eq!(extents, [extent(IN_BODY - IN_BODY % 4096, 4096)]);
    assert!(!has_table(&card));
}

#[test]
fn a_card_that_ignores_writes_is_called_so() {
    // One that was no disk before may seem to have been zeroed.
    for (bootable, left) in [(true, Left::Untouched), (false, Left::Unbootable)] {
        let faults = Faults { ignores_writes: true, ..Faults::default() };
        let (flashed, card) = Run { verify: false, ..Run::default() }.flash_old(bootable, faults);
        let failed = flashed.unwrap_err();
        assert_eq!(failed.left, left);
        assert!(matches!(failed.error, Error::IgnoresWrites), "{failed:?}");
        assert!(card == old_card(bootable));
    }
}

#[test]
fn a_card_of_which_nothing_can_be_read_back_is_broken_before_long() {
    // Past the marks and the look at the first MiB, every read fails; small pieces, so that there are more of them
    // than anybody would rewrite.
    let shape = Shape { piece_len: 8192, writers: 2 };
    let mapped = [extent(0, IMAGE_LEN)];
    let faults = Faults { reads: 7..usize::MAX, ..Faults::default() };
    let card = Faulty::new(old_card(true), 512, faults);
    let failed = Run { shape, ..Run::default() }.flash(&card, &image(), &mapped).unwrap_err();
    assert!(matches!(&failed.error, Error::Broken { extents } if extents.len() > 256), "{failed:?}");
    assert_eq!(failed.left, Left::Unbootable);
    assert!(!has_table(&card.into_bytes()));
}
