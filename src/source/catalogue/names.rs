//! The names that images go by here: ours for Raspberry Pi OS, the list's own for the others, each of them once.
//!
//! What an image is, its URL says: `…/PRODUCT/images/PRODUCT-DATE/FILE`, where `PRODUCT` is `raspios_lite_arm64` and the
//! like and `FILE` is `DATE-raspios-CODENAME-ARCH[-VARIANT].img.xz`. Names to be shown change; these have not since 2020.
//! The two dates of a URL often differ by a day. That of the file is the one that the image says of itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::list::{Image, is_date, web_url};
use super::{Arch, Entry, Variant};

/// Names of ours: nothing else may begin so.
pub(super) const RESERVED: &str = "raspios";
const NAME_LEN_MAX: usize = 60;

/// An image, and whether the list it stands in may speak for Raspberry Pi OS.
pub(super) struct Listed {
    pub(super) image: Image,
    pub(super) is_trusted: bool,
}

/// What a URL says of an image of Raspberry Pi OS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RaspiOs {
    pub(super) arch: Arch,
    pub(super) variant: Variant,
    pub(super) is_oldstable: bool,
    pub(super) codename: Option<String>,
    /// The date of the file.
    pub(super) date: Option<String>,
}

/// Names every image. Sorted: Raspberry Pi OS first, newest first within a name.
pub(super) fn name(listed: Vec<Listed>) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for Listed { image, is_trusted } in listed {
        // The list shows some images in two places.
        if !seen.insert(image.url.clone()) {
            continue;
        }
        let raspios = if is_trusted { of_url(&image.url) } else { None };
        let plain = raspios.as_ref().map_or_else(|| plain_name(&image), RaspiOs::plain_name);
        groups.entry(plain).or_default().push(entry(image, raspios));
    }
    let mut taken: BTreeSet<String> = groups.keys().cloned().collect();
    let mut entries = Vec::new();
    for (plain, group) in groups {
        entries.extend(name_group(&plain, group, &mut taken));
    }
    entries.sort_by_cached_key(|entry| {
        let arch = entry.architecture.filter(|_| entry.is_raspios);
        let rank = (!entry.is_raspios, entry.is_oldstable, entry.variant, Reverse(arch));
        (rank, entry.plain_id().to_owned(), Reverse(entry.release_date.clone()), entry.id.clone())
    });
    entries
}

/// The newest gets the plain name, the others a dated one; two of one day are told apart by a number.
fn name_group(plain: &str, mut group: Vec<Entry>, taken: &mut BTreeSet<String>) -> Vec<Entry> {
    let is_raspios = group.iter().any(|entry| entry.is_raspios);
    if !is_raspios {
        // Whatever the order of the list.
        group.sort_by(|one, other| one.url.cmp(&other.url));
    }
    group.sort_by_key(|entry| Reverse(entry.release_date.clone()));
    let mut dates = BTreeSet::new();
    let mut named = Vec::new();
    for (index, mut entry) in group.into_iter().enumerate() {
        let is_first_of_day = dates.insert(entry.release_date.clone());
        entry.id = match (&entry.release_date, index) {
            (_, 0) => plain.to_owned(),
            (Some(date), _) if is_first_of_day => format!("{plain}@{date}"),
            // One product has one image a day; the list named it twice.
            _ if is_raspios => continue,
            _ => numbered(plain, taken),
        };
        named.push(entry);
    }
    named
}

fn numbered(plain: &str, taken: &mut BTreeSet<String>) -> String {
    let mut number = 2_usize;
    loop {
        let suffix = format!("-{number}");
        let stem = plain.get(..NAME_LEN_MAX - suffix.len()).unwrap_or(plain).trim_end_matches('-');
        let name = stem.to_owned() + &suffix;
        if taken.insert(name.clone()) {
            return name;
        }
        number += 1;
    }
}

fn entry(image: Image, raspios: Option<RaspiOs>) -> Entry {
    let Image { name, description, url, release_date, archive_len, extract_len, .. } = image;
    let by_devices = arch_of_devices(&image.devices);
    let architecture = raspios.as_ref().map(|os| os.arch).or(image.architecture).or(by_devices);
    Entry {
        id: String::new(),
        name,
        description,
        url,
        release_date: raspios.as_ref().and_then(|os| os.date.clone()).or(release_date),
        archive_len,
        extract_len,
        archive_sha256: image.archive_sha256,
        image_sha256: image.image_sha256,
        architecture,
        variant: raspios.as_ref().map(|os| os.variant),
        is_raspios: raspios.is_some(),
        is_oldstable: raspios.as_ref().is_some_and(|os| os.is_oldstable),
        release: raspios.and_then(|os| os.codename),
        devices: image.devices,
        init_format: image.init_format,
    }
}

/// Tags end in `-32bit` or `-64bit`.
fn arch_of_devices(devices: &[String]) -> Option<Arch> {
    let all = |suffix| !devices.is_empty() && devices.iter().all(|tag| tag.ends_with(suffix));
    if all("-64bit") {
        Some(Arch::Arm64)
    } else if all("-32bit") {
        Some(Arch::Armhf)
    } else {
        None
    }
}

impl RaspiOs {
    /// `raspios-oldstable-lite-arm64`
    fn plain_name(&self) -> String {
        let oldstable = if self.is_oldstable { "-oldstable" } else { "" };
        let variant = match self.variant {
            Variant::Desktop => "",
            Variant::Lite => "-lite",
            Variant::Full => "-full",
        };
        format!("{RESERVED}{oldstable}{variant}-{}", self.arch.name())
    }
}

/// What `url` says, if it is one of Raspberry Pi OS.
pub(super) fn of_url(url: &str) -> Option<RaspiOs> {
    let url = web_url(url)?;
    let segments: Vec<&str> = url.path_segments()?.collect();
    let (file, folders) = segments.split_last()?;
    // The folder nearest to the file: a mirror may have any above.
    let (product, rest) = folders
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, name)| Some((product(name)?, folders.get(at + 1..)?)))?;
    let mut os = match rest {
        ["images", _] => product,
        _ => return None,
    };
    let stem = file.split_once('.').map_or(*file, |(stem, _)| stem);
    if let Some((date, rest)) = stem.get(..10).zip(stem.get(10..)).filter(|(date, _)| is_date(date)) {
        os.date = Some(date.to_owned());
        os.codename = rest.strip_prefix("-raspios-").and_then(codename);
    }
    Some(os)
}

/// The first word: `trixie` of `trixie-arm64-lite`.
fn codename(rest: &str) -> Option<String> {
    let (word, _) = rest.split_once('-')?;
    let fits = (3..=20).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
    fits.then(|| word.to_owned())
}

/// `raspios_[oldstable_][lite_|full_]armhf|arm64`
fn product(folder: &str) -> Option<RaspiOs> {
    let rest = folder.strip_prefix("raspios_")?;
    let (is_oldstable, rest) = match rest.strip_prefix("oldstable_") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (variant, arch) = match rest.split_once('_') {
        Some(("lite", arch)) => (Variant::Lite, arch),
        Some(("full", arch)) => (Variant::Full, arch),
        Some(_) => return None,
        None => (Variant::Desktop, rest),
    };
    let arch = [Arch::Armhf, Arch::Arm64].into_iter().find(|known| known.name() == arch)?;
    Some(RaspiOs { arch, variant, is_oldstable, codename: None, date: None })
}

/// A name made from the one that is shown, or else from the file's.
fn plain_name(image: &Image) -> String {
    let file = || image.url.rsplit('/').next().and_then(|file| file.split('.').next()).map(hyphenated);
    let name =
        Some(hyphenated(&image.name)).filter(|name| !name.is_empty()).or_else(file).unwrap_or_default();
    let name = match name.as_str() {
        "" => "image".to_owned(),
        name if name.starts_with(RESERVED) => format!("other-{name}"),
        name => name.to_owned(),
    };
    name.get(..NAME_LEN_MAX).unwrap_or(&name).trim_end_matches('-').to_owned()
}

/// Letters and digits in lower case, a hyphen for all that stands between.
fn hyphenated(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
