//! Making a FAT filesystem, empty: FAT32, or FAT16 where it would have too few clusters.
//!
//! `fatfs` lays it out; what it leaves open (the count of free clusters, the time of the label) is filled in, so that
//! fsck.fat has nothing to say and the bytes follow from the options.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FormatVolumeOptions, TimeProvider as _};

use super::layout::Layout;
use super::{Error, FatTime, count_free};
use crate::block::Device;

const SECTOR_LEN: u64 = 512;
const LABEL_LEN: usize = 11;
const MIB: u64 = 1 << 20;
/// From here on FAT32: it wants 65525 clusters, of one sector at least.
const FAT32_FROM: u64 = 40 * MIB;
/// Below this it would be FAT12.
const LEAST_LEN: u64 = 3 * MIB;
/// Sectors are numbered with 32 bits, and clusters have 32 KiB at most.
const MOST_LEN: u64 = 2 << 40;

/// What a new filesystem is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeOptions {
    /// Up to 11 bytes of ASCII; none of `"*+,./:;<=>?[\]|`. Empty: none.
    pub label: String,
    /// The serial number that `blkid` shows as `UUID="1A2B-3C4D"`.
    pub volume_id: u32,
    /// When the label was made.
    pub time: FatTime,
}

/// Makes a filesystem that fills `device`. What was there is gone.
///
/// # Errors
/// [`Error::Unsupported`] for a length below 3 MiB or from 2 TiB on, [`Error::Name`] for the label, both before
/// anything is written; [`Error::Device`].
pub fn make(device: &dyn Device, options: &MakeOptions) -> Result<(), Error> {
    let len_bytes = device.len_bytes();
    if !(LEAST_LEN..MOST_LEN).contains(&len_bytes) {
        return Err(Error::Unsupported(format!("found {len_bytes} bytes, wanted 3 MiB to 2 TiB")));
    }
    let label = label(&options.label)?;
    let sectors = u32::try_from(len_bytes / SECTOR_LEN).unwrap_or(u32::MAX);
    let mut format = FormatVolumeOptions::new()
        .bytes_per_sector(512)
        .total_sectors(sectors)
        .bytes_per_cluster(cluster_len(len_bytes))
        .volume_id(options.volume_id);
    if let Some(label) = label {
        format = format.volume_label(label);
    }
    fatfs::format_volume(Whole { device, at: 0 }, format).map_err(|source| Error::Io {
        action: "make",
        path: String::from("/"),
        source,
    })?;

    let layout = Layout::read(device)?;
    let root_at = if layout.is_fat32 { layout.cluster_at(layout.root_cluster) } else { layout.root_start };
    if label.is_some() {
        let now = options.time.get_current_date_time();
        let time = now.time.hour << 11 | now.time.min << 5 | (now.time.sec / 2);
        let date = now.date.year.saturating_sub(1980) << 9 | now.date.month << 5 | now.date.day;
        device.write_at(root_at + 22, &[time.to_le_bytes(), date.to_le_bytes()].concat())?;
    }
    if let Some(fs_info_at) = layout.fs_info_at {
        let (free, first) = count_free(device, &layout, 2, u32::MAX)?;
        let words = [free.to_le_bytes(), first.unwrap_or(u32::MAX).to_le_bytes()];
        device.write_at(fs_info_at + 488, &words.concat())?;
    }
    Ok(())
}

/// The label padded with spaces; `None` when it is empty.
fn label(text: &str) -> Result<Option<[u8; LABEL_LEN]>, Error> {
    let is_fine =
        |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"*+,./:;<=>?[\\]|".contains(&byte);
    if text.len() > LABEL_LEN || text.starts_with(' ') || !text.bytes().all(is_fine) {
        let reason = "a label has up to 11 ASCII characters and none of \"*+,./:;<=>?[\\]|";
        return Err(Error::Name { path: text.to_owned(), reason });
    }
    let mut label = [b' '; LABEL_LEN];
    for (place, byte) in label.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    Ok((!text.is_empty()).then_some(label))
}

/// For FAT16 between 4085 and 65524 clusters come of it; for FAT32 it is what Microsoft's table has (FAT 1.03 §3.5).
fn cluster_len(len_bytes: u64) -> u32 {
    match len_bytes {
        len if len < 8 * MIB => 512,
        len if len < 16 * MIB => 1024,
        len if len < FAT32_FROM => 2048,
        len if len <= 260 * MIB => 512,
        len if len <= 8192 * MIB => 4096,
        len if len <= 16_384 * MIB => 8192,
        len if len <= 32_768 * MIB => 16_384,
        _ => 32_768,
    }
}

/// The whole device, as `fatfs` writes it.
struct Whole<'d> {
    device: &'d dyn Device,
    at: u64,
}

impl Whole<'_> {
    fn left(&self, len: usize) -> usize {
        let left = self.device.len_bytes().saturating_sub(self.at);
        usize::try_from(left).unwrap_or(usize::MAX).min(len)
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.left(buf.len());
        self.device.read_at(self.at, &mut buf[..len]).map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Whole<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.left(buf.len());
        self.device.write_at(self.at, &buf[..len]).map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Whole<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.device.len_bytes().checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::block::{Memory, Overlay, ReadAt as _};
    use crate::image::fat::Fat;

    fn options() -> MakeOptions {
        let time = FatTime::from_epoch_seconds(1_700_000_000);
        MakeOptions { label: String::from("bootfs"), volume_id: 0x1a2b_3c4d, time }
    }

    /// Nothing but zeros, however long.
    struct Zeros(u64);

    impl crate::block::ReadAt for Zeros {
        fn len_bytes(&self) -> u64 {
            self.0
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), crate::block::Error> {
            crate::block::Error::check_bounds(offset, buf.len(), self.0)?;
            buf.fill(0);
            Ok(())
        }
    }

    fn fsck<B: crate::block::ReadAt>(device: &Overlay<B>, what: u64) -> String {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let image = dir.path().join("image");
        let mut file = std::fs::File::create(&image).unwrap();
        file.set_len(device.len_bytes()).unwrap();
        for extent in device.dirty_extents() {
            let mut piece = vec![0; usize::try_from(extent.len_bytes).unwrap()];
            device.read_at(extent.offset, &mut piece).unwrap();
            file.seek(SeekFrom::Start(extent.offset)).unwrap();
            file.write_all(&piece).unwrap();
        }
        let output = Command::new("fsck.fat").args(["-n", "-v"]).arg(&image).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let faults = ["dirty", "wrong", "Wrong", "Reclaim", "differ", "Bad", "uninitialized", "truncat"];
        let sound = output.status.success() && !faults.iter().any(|word| said.contains(word));
        assert!(sound, "{what} bytes: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    #[test]
    fn what_is_made_satisfies_fsck_and_can_be_edited_at_every_length() {
        for (len_bytes, kind) in [
            (3 * MIB, "16 bit entries"),
            (8 * MIB - 1, "16 bit entries"),
            (8 * MIB, "16 bit entries"),
            (16 * MIB + 512, "16 bit entries"),
            (40 * MIB - 512, "16 bit entries"),
            (40 * MIB, "32 bit entries"),
            (260 * MIB, "32 bit entries"),
            (260 * MIB + 512, "32 bit entries"),
            (512 * MIB, "32 bit entries"),
            (9 << 30, "32 bit entries"),
        ] {
            let device = Overlay::new(Zeros(len_bytes));
            make(&device, &options()).unwrap();
            assert!(fsck(&device, len_bytes).contains(kind), "{len_bytes}");
            let fat = Fat::open(&device, options().time).unwrap();
            assert_eq!((fat.label(), fat.volume_id()), (Some("bootfs"), 0x1a2b_3c4d));
            fat.write_file("a long name/config.txt", &[7; 100_000]).unwrap();
            fat.close().unwrap();
            fsck(&device, len_bytes);
        }
    }

    #[test]
    fn the_same_options_give_the_same_bytes_and_no_label_is_possible() {
        let make_in = |fill: u8, options: &MakeOptions| {
            let device = Memory::new(vec![fill; 50 << 20]);
            make(&device, options).unwrap();
            device
        };
        let (one, other) = (make_in(0, &options()).into_bytes(), make_in(0, &options()).into_bytes());
        assert!(one == other);
        // On a used device; all of it counts as written, so that it reaches the checker.
        let used = Overlay::new(Zeros(50 << 20));
        used.write_at(0, &vec![0xe5; 50 << 20]).unwrap();
        let unnamed = MakeOptions { label: String::new(), ..options() };
        make(&used, &unnamed).unwrap();
        let device = used;
        assert_eq!(Fat::open(&device, options().time).unwrap().label(), None);
        fsck(&device, 50 << 20);
    }

    #[test]
    fn lengths_and_labels_that_cannot_be_are_refused_and_nothing_is_written() {
        for (len, label) in
            [(2 << 20, "ok"), (0, "ok"), (8 << 20, "twelve chars"), (8 << 20, "a.b"), (8 << 20, "ü")]
        {
            let device = Memory::new(vec![1; len]);
            let error = make(&device, &MakeOptions { label: label.to_owned(), ..options() }).unwrap_err();
            assert!(matches!(error, Error::Unsupported(_) | Error::Name { .. }), "{error}");
            assert!(device.into_bytes().iter().all(|byte| *byte == 1));
        }
    }
}
