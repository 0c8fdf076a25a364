//! What a layer writes into the root filesystem: files, directories, links, mounts, first-boot scripts.

use super::super::cluster::{
    DirectorySetting, FileSetting, FirstBootScript, FstabLine, SymlinkSetting, Template,
};
use super::super::edit::Content;
use super::layer::{Layer, distinct, words};
use super::reader::{Fields, Reader};
use super::value::{At, Kind, Value};
use super::word::{self, Wrong};
use crate::base::ImagePath;

/// `file`, `directory`, `symlink`, `remove` and `fstab`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, layer: &mut Layer) {
    if let Some(value) = fields.get("file") {
        layer.files = reader.list(value, file);
        distinct(reader, &layer.files.items, |file| file.path.to_string());
    }
    if let Some(value) = fields.get("directory") {
        layer.directories = reader.list(value, directory);
        distinct(reader, &layer.directories.items, |directory| directory.path.to_string());
    }
    if let Some(value) = fields.get("symlink") {
        layer.symlinks = reader.list(value, symlink);
        distinct(reader, &layer.symlinks.items, |symlink| symlink.path.to_string());
    }
    layer.removals = words(reader, fields.get("remove"), word::image_path);
    if let Some(value) = fields.get("fstab") {
        layer.fstab = reader.list(value, fstab_line);
        distinct(reader, &layer.fstab.items, mount_key);
    }
}

/// What makes two lines of fstab the same: the mount point, or the device where that is `none`.
pub(super) fn mount_key(line: &FstabLine) -> String {
    if line.mount == "none" { line.device.clone() } else { line.mount.clone() }
}

pub(super) fn path(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<At<ImagePath>> {
    fields.need(reader, "path").and_then(|value| reader.word(value, word::image_path))
}

fn file(reader: &mut Reader<'_>, value: &Value) -> Option<At<FileSetting>> {
    let mut fields = reader.table(value)?;
    let path = path(reader, &mut fields);
    let secret = fields.get("secret").and_then(|value| reader.flag(value)).is_some_and(|flag| flag.value);
    let mode = fields.get("mode").and_then(|value| mode(reader, value));
    let owner = fields.get("owner").and_then(|value| reader.word(value, word::owner));
    let mut template = None;
    let content = match fields.need_one_of(reader, &["content", "source", "template"]) {
        Some(entry) if entry.key.value == "content" => {
            reader.text(&entry.value).map(|text| Content::text(text.value))
        }
        Some(entry) if entry.key.value == "source" => {
            let path = reader.text(&entry.value);
            path.and_then(|path| reader.local_file(&path)).map(|bytes| Content::Plain(bytes.into()))
        }
        Some(entry) => {
            let name = reader.text(&entry.value);
            let (content, later) = name.map(|name| self::template(reader, &name)).unwrap_or_default();
            template = later;
            content
        }
        None => None,
    };
    fields.finish(reader);
    let content = content.map(|content| match content {
        Content::Plain(bytes) if secret => Content::secret(bytes.to_vec()),
        content => content,
    });
    let path = path?;
    Some(At {
        value: FileSetting {
            path: path.value,
            content: content?,
            template,
            mode,
            owner: owner.map(|owner| owner.value),
        },
        place: path.place,
    })
}

/// A template of a recipe is filled in at once. One of the profile is read now, and filled in when the base image is known.
fn template(reader: &mut Reader<'_>, name: &At<String>) -> (Option<Content>, Option<Template>) {
    if let Some(filler) = reader.filler {
        let filled = filler.fill(&name.value);
        return (reader.judge(&name.place, filled.map_err(Wrong::new)).map(|content| content.value), None);
    }
    let Some(path) = reader.local_path(name) else { return (None, None) };
    let Some(bytes) = reader.local_file(name) else { return (None, None) };
    match String::from_utf8(bytes) {
        Ok(text) => (Some(Content::text("")), Some(Template { path, text: text.into() })),
        Err(_) => {
            reader.fault(&name.place, format!("`{}` is no template: it is not UTF-8 text", path.display()));
            (None, None)
        }
    }
}

pub(super) fn mode(reader: &mut Reader<'_>, value: &Value) -> Option<u16> {
    if let Kind::Integer(Some(number)) = value.kind {
        let message = format!("found an integer for `{}`, wanted an octal string", value.key);
        reader.fault(&value.place, message).help(format!("write `{} = \"{number:04}\"`", value.key));
        return None;
    }
    reader.word(value, word::mode).map(|mode| mode.value)
}

fn directory(reader: &mut Reader<'_>, value: &Value) -> Option<At<DirectorySetting>> {
    let mut fields = reader.table(value)?;
    let path = path(reader, &mut fields);
    let mode = fields.get("mode").and_then(|value| mode(reader, value));
    let owner = fields.get("owner").and_then(|value| reader.word(value, word::owner));
    fields.finish(reader);
    let owner = owner.map(|owner| owner.value);
    path.map(|path| path.map(|path| DirectorySetting { path, mode, owner }))
}

fn symlink(reader: &mut Reader<'_>, value: &Value) -> Option<At<SymlinkSetting>> {
    let mut fields = reader.table(value)?;
    let path = path(reader, &mut fields);
    let target = fields.need(reader, "target").and_then(|value| reader.word(value, word::line));
    fields.finish(reader);
    let target = target?;
    // PATH_MAX less the NUL (Linux limits.h).
    if !(1..=4095).contains(&target.value.len()) {
        let message = format!("found a target of {} bytes, wanted 1 to 4095", target.value.len());
        reader.fault(&target.place, message);
    }
    path.map(|path| path.map(|path| SymlinkSetting { path, target: target.value }))
}

fn fstab_line(reader: &mut Reader<'_>, value: &Value) -> Option<At<FstabLine>> {
    let mut fields = reader.table(value)?;
    let device = fields.need(reader, "device").and_then(|value| reader.word(value, word::fstab_field));
    let mount = fields.need(reader, "mount").and_then(|value| reader.word(value, word::fstab_mount));
    let fs_type = fields.need(reader, "type").and_then(|value| reader.word(value, word::fstab_field));
    let options = match fields.get("options") {
        Some(value) => reader.word(value, word::fstab_field).map(|options| options.value),
        None => Some(String::from("defaults")),
    };
    let dump = small_number(reader, fields.get("dump"), 1);
    let pass = small_number(reader, fields.get("pass"), 2);
    fields.finish(reader);
    let mount = mount?;
    if mount.value == "/" {
        reader
            .fault(&mount.place, "found `/`, which the image mounts already")
            .help("the line for the root filesystem is kept in step with its new identity");
    }
    Some(At {
        value: FstabLine {
            device: device?.value,
            mount: mount.value,
            fs_type: fs_type?.value,
            options: options?,
            dump,
            pass,
        },
        place: mount.place,
    })
}

/// Fields 5 and 6 of fstab(5); absent is 0.
fn small_number(reader: &mut Reader<'_>, value: Option<&Value>, most: i64) -> u8 {
    let number = value.and_then(|value| reader.integer(value, 0..=most));
    number.and_then(|number| u8::try_from(number.value).ok()).unwrap_or(0)
}

/// One item of `first-boot`.
pub(super) fn first_boot(reader: &mut Reader<'_>, value: &Value) -> Option<At<FirstBootScript>> {
    let mut fields = reader.table(value)?;
    let name = fields.need(reader, "name").and_then(|value| reader.word(value, word::plain_name));
    let needs_network =
        fields.get("needs-network").and_then(|value| reader.flag(value)).is_some_and(|flag| flag.value);
    let needs = fields.get("needs").map(|value| needs(reader, value));
    let entry = fields.need_one_of(reader, &["script", "file", "template"]);
    fields.finish(reader);
    let entry = entry?;
    let text = reader.text(&entry.value)?;
    let script = match entry.key.value.as_str() {
        // A profile written on Windows; the kernel would look for an interpreter `/bin/sh\r`.
        "script" => Content::text(text.value.replace("\r\n", "\n")),
        "file" => Content::Plain(reader.local_file(&text)?.into()),
        _ => match reader.filler {
            Some(filler) => {
                let filled = filler.fill(&text.value);
                reader.judge(&text.place, filled.map_err(Wrong::new))?.value
            }
            None => {
                reader
                    .fault(&entry.key.place, "`template` of a `first-boot` script is for recipes")
                    .help("name a finished script with `file`, or write a recipe beside the profile");
                return None;
            }
        },
    };
    if !script.bytes().starts_with(b"#!/") {
        reader
            .fault(&entry.value.place, "found a script without interpreter, wanted `#!/…` as its first line")
            .help("begin it with `#!/bin/sh`");
        return None;
    }
    if script.bytes().split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r")) {
        reader
            .fault(
                &entry.value.place,
                "found a script whose lines end in carriage returns, wanted Unix line breaks",
            )
            .help("no interpreter is found by such a first line; save it with Unix line breaks");
        return None;
    }
    Some(name?.map(|name| FirstBootScript { name, script, needs_network, needs }))
}

/// Names of steps; whether there are such is known once the layers are merged.
fn needs(reader: &mut Reader<'_>, value: &Value) -> Vec<String> {
    let Kind::Array(items) = &value.kind else {
        reader
            .wrong_kind(value, "an array of the names of steps")
            .help("leave `needs` out for a script that needs all before it");
        return Vec::new();
    };
    let names = items.iter().filter_map(|item| reader.word(item, word::plain_name));
    names.map(|name| name.value).collect()
}
