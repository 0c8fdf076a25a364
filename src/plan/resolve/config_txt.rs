//! `config.txt`: the firmware's settings, `key=value` under `[filter]`s.
//!
//! A key is replaced where it stands under its filter, or added in a new part at the end, which closes with
//! `[all]` so that whatever is appended later still holds for every board. Line ends stay as they are.

use super::draft::Draft;
use super::{Context, Problem};
use crate::plan::ConfigTxt;

/// The firmware reads this many characters of a line (Raspberry Pi documentation, config.txt).
const MAX_LINE: usize = 98;
/// Keys of which each line says one more thing.
const REPEATING: [&str; 4] = ["dtparam", "dtoverlay", "include", "initramfs"];

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let wanted = &context.settings().config_txt;
    if wanted.is_empty() {
        return;
    }
    let path = context.boot_path("config.txt");
    let Some(text) = draft.text(&path) else {
        draft.fault(Problem::NoFile { path, needed_for: "the firmware's configuration" });
        return;
    };
    for ConfigTxt { key, value, .. } in wanted {
        let line = line_of(key, value.as_deref().unwrap_or_default());
        if line.chars().count() > MAX_LINE {
            let len = line.chars().count();
            let line = line.chars().take(32).collect();
            draft.fault(Problem::LineTooLong { line, len, max: MAX_LINE });
        }
        if line.contains(char::is_control) {
            let value = line.escape_debug().to_string();
            draft.fault(Problem::BadValue { value, place: "config.txt", why: "it must stay on one line" });
        }
    }
    draft.write(&path, edit(&text, wanted));
}

fn line_of(key: &str, value: &str) -> String {
    // `initramfs FILE followkernel` and `include FILE` take no `=`.
    let separator = if matches!(key, "initramfs" | "include") { ' ' } else { '=' };
    format!("{key}{separator}{value}")
}

fn edit(text: &str, wanted: &[ConfigTxt]) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
    for (index, setting) in wanted.iter().enumerate() {
        // A key given several times under one filter: the first replaces what the image has, the others add.
        let earlier =
            wanted.iter().take(index).any(|other| other.filter == setting.filter && other.key == setting.key);
        set(&mut lines, setting, earlier);
    }
    lines.iter().map(|line| format!("{line}{end}")).collect()
}

fn set(lines: &mut Vec<String>, setting: &ConfigTxt, earlier: bool) {
    let here = matching(lines, setting);
    let Some(value) = &setting.value else {
        remove_all(lines, &here);
        return;
    };
    let line = line_of(&setting.key, value);
    if here.iter().any(|&at| lines.get(at).is_some_and(|old| old.trim() == line)) {
        return;
    }
    let adds = earlier || REPEATING.contains(&setting.key.as_str());
    match here.split_first() {
        Some((&first, rest)) if !adds => {
            if let Some(old) = lines.get_mut(first) {
                *old = line;
            }
            remove_all(lines, rest);
        }
        _ => append(lines, &setting.filter, line),
    }
}

/// The lines of this key that hold under exactly this filter.
fn matching(lines: &[String], setting: &ConfigTxt) -> Vec<usize> {
    let mut filter = String::from("all");
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = filter_of(line) {
            filter = name;
        } else if filter.eq_ignore_ascii_case(&setting.filter) && key_of(line) == Some(setting.key.as_str()) {
            found.push(at);
        }
    }
    found
}

fn filter_of(line: &str) -> Option<String> {
    Some(line.trim().strip_prefix('[')?.split(']').next()?.trim().to_owned())
}

fn key_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    line.split(['=', ' ']).next().filter(|key| !key.is_empty())
}

fn remove_all(lines: &mut Vec<String>, which: &[usize]) {
    for &at in which.iter().rev() {
        if at < lines.len() {
            lines.remove(at);
        }
    }
}

/// At the end, under its filter; the file always ends under `[all]`.
fn append(lines: &mut Vec<String>, filter: &str, line: String) {
    while lines.last().is_some_and(|last| last.trim().is_empty()) {
        lines.pop();
    }
    let current = lines.iter().rev().find_map(|line| filter_of(line)).unwrap_or_else(|| String::from("all"));
    if filter == "all" {
        if current != "all" {
            lines.push(String::from("[all]"));
        }
        lines.push(line);
        return;
    }
    // Our own part from an earlier key of the same filter: `[pi5] … [all]` at the very end.
    let ends_open = lines.last().is_some_and(|last| last == "[all]");
    let before = lines.iter().rev().skip(1).find_map(|line| filter_of(line));
    if ends_open && before.as_deref() == Some(filter) {
        lines.pop();
    } else {
        if ends_open && lines.len() > 1 {
            lines.pop();
        }
        // A kind of filter that is not reset would go on holding: back to everyone first.
        if lines.iter().rev().find_map(|line| filter_of(line)).is_some_and(|last| last != "all") {
            lines.push(String::from("[all]"));
        }
        lines.push(format!("[{filter}]"));
    }
    lines.push(line);
    lines.push(String::from("[all]"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(filter: &str, key: &str, value: Option<&str>) -> ConfigTxt {
        ConfigTxt { filter: filter.into(), key: key.into(), value: value.map(str::to_owned) }
    }

    const SHIPPED: &str = "# a comment\ndtparam=audio=on\narm_boost=1\n\n[cm5]\ndtoverlay=dwc2\n\n[all]\n";

    #[test]
    fn a_key_is_replaced_under_its_own_filter_only() {
        let text = "gpu_mem=64\n[pi4]\ngpu_mem=128\n[all]\n";
        assert_eq!(
            edit(text, &[setting("all", "gpu_mem", Some("16"))]),
            "gpu_mem=16\n[pi4]\ngpu_mem=128\n[all]\n"
        );
        assert_eq!(
            edit(text, &[setting("pi4", "gpu_mem", Some("16"))]),
            "gpu_mem=64\n[pi4]\ngpu_mem=16\n[all]\n"
        );
    }

    #[test]
    fn new_keys_go_under_their_filter_at_the_end_and_back_to_all() {
        let wanted = [
            setting("all", "gpu_mem", Some("16")),
            setting("pi5", "kernel", Some("kernel8.img")),
            setting("pi5", "usb_max_current_enable", Some("1")),
        ];
        assert_eq!(
            edit(SHIPPED, &wanted),
            "# a comment\ndtparam=audio=on\narm_boost=1\n\n[cm5]\ndtoverlay=dwc2\n\n[all]\ngpu_mem=16\n\
             [pi5]\nkernel=kernel8.img\nusb_max_current_enable=1\n[all]\n"
        );
    }

    #[test]
    fn overlays_add_up_and_are_not_doubled() {
        let wanted =
            [setting("all", "dtparam", Some("audio=on")), setting("all", "dtparam", Some("i2c_arm=on"))];
        assert_eq!(edit(SHIPPED, &wanted), format!("{SHIPPED}dtparam=i2c_arm=on\n"));
    }

    #[test]
    fn no_value_removes_the_key_under_its_filter() {
        assert_eq!(edit("a=1\nb=2\na=3\n[pi4]\na=4\n", &[setting("all", "a", None)]), "b=2\n[pi4]\na=4\n");
    }

    #[test]
    fn line_ends_of_windows_stay() {
        assert_eq!(edit("a=1\r\n", &[setting("all", "a", Some("2"))]), "a=2\r\n");
    }
}
