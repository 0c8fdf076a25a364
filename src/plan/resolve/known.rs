//! What the image itself knows by name: time zones, locales, keyboard layouts, countries. Lists come from the image, so none
//! is kept here; where it has no list, nothing is called wrong.
//!
//! | list | package | a line |
//! |---|---|---|
//! | `zoneinfo/zone.tab` | tzdata | `GB⇥+513030-0000731⇥Europe/London` |
//! | `zoneinfo/iso3166.tab` | tzdata | `GB⇥Britain (UK)` |
//! | `i18n/SUPPORTED` | locales | `en_GB.UTF-8 UTF-8` |
//! | `xkb/rules/base.lst` | xkb-data | `  gb              English (UK)`, under `! layout` |
//!
//! An image may hold anything: names that are long or not plain are passed over, and so is what comes after many.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::fault::nearest;
use super::locale::{LOCALE_GEN, ZONES};
use crate::plan::{FileFact, Settings, Tree};

const SUPPORTED: &str = "/usr/share/i18n/SUPPORTED";
const SYMBOLS: &str = "/usr/share/X11/xkb/symbols";
const LAYOUTS: &str = "/usr/share/X11/xkb/rules/base.lst";

/// Names of one list that are looked at; base.lst has the most, some 700.
const NAMES_MAX: usize = 4096;
/// Of one name or title.
const NAME_LEN_MAX: usize = 64;

/// What tells whether the settings can be.
pub(super) fn wanted(settings: &Settings) -> impl Iterator<Item = String> {
    let zone = settings.timezone.iter().map(|zone| format!("{ZONES}/{zone}"));
    let keyboard = settings.keyboard.iter().flat_map(|keyboard| keyboard.layout.split(','));
    let country = settings.wifi.iter().map(|_| countries());
    zone.chain(keyboard.map(|layout| format!("{SYMBOLS}/{layout}"))).chain(country)
}

/// What is needed besides, to tell what was meant with one that cannot.
pub(super) fn more(settings: &Settings, tree: &Tree, paths: &mut BTreeSet<String>) {
    let is_file = |path: &str| {
        let found = tree.get(path).and_then(|found| found.target.as_ref());
        found.is_some_and(|target| !matches!(target, FileFact::Directory { .. }))
    };
    if let Some(zone) = settings.timezone.as_ref().filter(|zone| !is_file(&format!("{ZONES}/{zone}"))) {
        paths.insert(zone_tab());
        paths.extend(zone.rsplit_once('/').map(|(area, _)| format!("{ZONES}/{area}")));
    }
    let listed = tree.text(LOCALE_GEN).unwrap_or_default();
    if settings.locale.as_ref().is_some_and(|locale| !names_in_gen(listed).any(|name| name == locale)) {
        paths.insert(SUPPORTED.to_owned());
    }
    let mut layouts = settings.keyboard.iter().flat_map(|keyboard| keyboard.layout.split(','));
    if layouts.any(|layout| !is_file(&format!("{SYMBOLS}/{layout}"))) {
        paths.insert(LAYOUTS.to_owned());
    }
}

/// A name that the image does not know, and perhaps the one that was meant.
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) nearest: Option<String>,
}

/// Is it no file of the zones? By the name of its city, or what looks most like it.
pub(super) fn unknown_zone(zone: &str, draft: &Draft) -> Option<Unknown> {
    let path = format!("{ZONES}/{zone}");
    if draft.in_image(&path) && !draft.is_directory(&path) {
        return None;
    }
    let text = text(&zone_tab(), draft);
    let listed = text.lines().filter_map(|line| line.split('\t').nth(2)).map(str::to_owned);
    let area = zone.rsplit_once('/').map(|(area, _)| area);
    let beside = area.map(|area| draft.names(&format!("{ZONES}/{area}"))).unwrap_or_default();
    let beside = beside.iter().filter_map(|name| Some(format!("{}/{name}", area?)));
    // A folder of zones is in the list of its own folder.
    let zones = listed.chain(beside).filter(|name| is_plain(name) && name != zone);
    let zones: Vec<String> = zones.take(NAMES_MAX).collect();
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let namesake = zones.iter().find(|other| city(other) == city(zone)).cloned();
    let nearest = namesake.or_else(|| nearest(zone, zones.iter().map(String::as_str)));
    Some(Unknown { name: zone.to_owned(), nearest })
}

/// Is it neither in the list of what can be compiled nor in that of what is?
pub(super) fn unknown_locale(locale: &str, draft: &Draft) -> Option<Unknown> {
    let (supported, listed) = (text(SUPPORTED, draft), text(LOCALE_GEN, draft));
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let names: Vec<String> =
        supported.lines().filter_map(first).filter(|name| is_plain(name)).take(NAMES_MAX).collect();
    let is_known = |name: &str| name == locale;
    if names.is_empty() || names.iter().any(|name| is_known(name)) || names_in_gen(&listed).any(is_known) {
        return None;
    }
    // `en_GB.utf8`, as `locale -a` writes it.
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "");
    let alike = names.iter().find(|name| plain(name) == plain(locale)).cloned();
    let nearest = alike.or_else(|| nearest(locale, names.iter().map(String::as_str)));
    Some(Unknown { name: locale.to_owned(), nearest })
}

/// The first of some layouts for which there are no symbols, although there are for others.
pub(super) fn unknown_layout(layouts: &str, draft: &Draft) -> Option<Unknown> {
    let text = text(LAYOUTS, draft);
    let section = text.lines().skip_while(|line| line.trim_end() != "! layout").skip(1);
    let lines = section.take_while(|line| !line.starts_with('!'));
    let known = titled(lines.filter_map(|line| line.trim_start().split_once(char::is_whitespace)));
    let is_known = |layout: &str| {
        draft.in_image(&format!("{SYMBOLS}/{layout}")) || known.iter().any(|(name, _)| name == layout)
    };
    let layout = layouts.split(',').find(|layout| !known.is_empty() && !is_known(layout))?;
    Some(Unknown { name: layout.to_owned(), nearest: meant(layout, &known) })
}

/// Is it not in the list of countries?
pub(super) fn unknown_country(country: &str, draft: &Draft) -> Option<Unknown> {
    let text = text(&countries(), draft);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let known = titled(lines.filter_map(|line| line.split_once('\t')));
    if known.is_empty() || known.iter().any(|(name, _)| name == country) {
        return None;
    }
    Some(Unknown { name: country.to_owned(), nearest: meant(country, &known) })
}

/// The name whose title is the word, or has it in brackets, or begins with it; else what looks most like it. Two letters look
/// like too many others.
fn meant(word: &str, known: &[(String, String)]) -> Option<String> {
    let word = word.to_lowercase();
    let titles = || known.iter().map(|(name, title)| (name, title.to_lowercase()));
    let named = titles().find(|(_, title)| *title == word || title.contains(&format!("({word})")));
    let mut begun = titles().filter(|(_, title)| title.starts_with(&word)).map(|(name, _)| name);
    let begun = match (begun.next(), begun.next()) {
        (Some(only), None) => Some(only),
        (Some(first), Some(_)) if word.len() > 3 => Some(first),
        _ => None,
    };
    if let Some(name) = named.map(|(name, _)| name).or(begun) {
        return Some(name.clone());
    }
    if word.len() < 3 {
        return None;
    }
    let found = nearest(&word, known.iter().map(|(name, _)| name.as_str()));
    found.or_else(|| {
        let title =
            nearest(&word, titles().map(|(_, title)| title).collect::<Vec<_>>().iter().map(String::as_str))?;
        titles().find(|(_, other)| *other == title).map(|(name, _)| name.clone())
    })
}

fn titled<'l>(lines: impl Iterator<Item = (&'l str, &'l str)>) -> Vec<(String, String)> {
    let lines = lines.map(|(name, title)| (name.to_owned(), title.trim().to_owned()));
    lines.filter(|(name, title)| is_plain(name) && title.len() <= NAME_LEN_MAX).take(NAMES_MAX).collect()
}

/// The locales of /etc/locale.gen, also those that are commented out.
fn names_in_gen(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_whitespace().next())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LEN_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn text(path: &str, draft: &Draft) -> String {
    String::from_utf8_lossy(&draft.bytes(path).unwrap_or_default()).into_owned()
}

fn zone_tab() -> String {
    format!("{ZONES}/zone.tab")
}

fn countries() -> String {
    format!("{ZONES}/iso3166.tab")
}
