//! Flags as the profile that says the same: one node, one `[[node]]`.
//!
//! Whatever a profile can say is checked where profiles are checked; only the words of a fault are put in terms of flags
//! again, by the place in the text that each flag wrote.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Customize;
use crate::plan::profile::{Fault, tidy};

/// The name of a node for which there is none.
const HOSTNAME: &str = "raspberrypi";

/// A profile, and which part of it which flag has written.
pub(super) struct Written {
    /// Where it would be, and from where its relative paths begin.
    pub(super) path: PathBuf,
    pub(super) text: String,
    flags: Vec<(Range<usize>, &'static str)>,
}

impl Written {
    /// The flag that a fault of the profile is about.
    pub(super) fn flag_of(&self, fault: &Fault) -> Option<&'static str> {
        let start = fault.span.as_ref().filter(|_| fault.file == self.path)?.start;
        self.flags.iter().rev().find(|(range, _)| range.contains(&start)).map(|(_, flag)| *flag)
    }
}

/// Where the base image comes from.
pub(super) enum Base<'b> {
    Path(&'b Path),
    Url(&'b str),
    Os(&'b str),
}

/// The profile at `path`, an absolute one. `here` is where relative paths of flags begin.
///
/// # Errors
/// A flag that means nothing.
pub(super) fn write(args: &Customize, base: &Base<'_>, path: &Path, here: &Path) -> Result<Written, String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut pen = Pen { text: String::new(), flags: Vec::new(), folder, here };
    pen.line(
        "# What `cardpress customize` was told. `cardpress build` with this file presses the same image.",
    );
    pen.line("schema = 1");
    if let Some(settings) = &args.extends {
        let settings = pen.path(settings)?;
        pen.key("--extends", "extends", &array(&[settings]));
    }

    pen.line("\n[image]");
    match base {
        Base::Path(file) => {
            let file = pen.path(file)?;
            pen.key("IMAGE", "path", &quoted(&file));
        }
        Base::Url(url) => pen.key("IMAGE", "url", &quoted(url)),
        Base::Os(name) => pen.key("IMAGE", "os", &quoted(name)),
    }
    if let Some(size) = &args.grow {
        pen.key("--grow", "grow", &quoted(size));
    }

    let name = args.hostname.as_deref().unwrap_or(HOSTNAME);
    pen.line("\n[cluster]");
    pen.key("--hostname", "name", &quoted(name));
    if let Some(domain) = &args.domain {
        pen.key("--domain", "domain", &quoted(domain));
    }

    pen.line("\n[[node]]");
    pen.key("--hostname", "name", &quoted(name));
    pen.network(args)?;
    pen.system(args);
    pen.config_txt(&args.config_txt)?;
    pen.sysctl(&args.sysctl)?;
    for setting in &args.set {
        let (key, value) = split(setting, "--set", "KEY=VALUE")?;
        pen.key("--set", key, value);
    }
    pen.user(args)?;
    for file in &args.files {
        pen.file(file)?;
    }
    pen.first_boot(args)?;
    let Pen { text, flags, .. } = pen;
    Ok(Written { path: path.to_owned(), text, flags })
}

struct Pen<'p> {
    text: String,
    flags: Vec<(Range<usize>, &'static str)>,
    folder: &'p Path,
    here: &'p Path,
}

impl Pen<'_> {
    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    /// `key = value`, as `flag` wants it.
    fn key(&mut self, flag: &'static str, key: &str, value: &str) {
        let start = self.text.len();
        self.line(&format!("{key} = {value}"));
        self.flags.push((start..self.text.len(), flag));
    }

    fn list(&mut self, flag: &'static str, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.key(flag, key, &array(values));
        }
    }

    /// A path of a flag as the profile has to name it: from its folder where it is below, else from the root.
    fn path(&self, path: &Path) -> Result<String, String> {
        let whole = tidy(&self.here.join(path));
        let named = whole.strip_prefix(self.folder).unwrap_or(&whole);
        let text = named.to_str().ok_or_else(|| format!("`{}` is not UTF-8", path.display()))?;
        Ok(text.to_owned())
    }

    fn network(&mut self, args: &Customize) -> Result<(), String> {
        self.list("--address", "address", &args.addresses);
        self.list("--gateway", "gateway", &args.gateways);
        self.list("--dns", "dns", &args.dns);
        if let Some(interface) = &args.interface {
            self.key("--interface", "interface", &quoted(interface));
        }
        let Some(ssid) = &args.wifi else { return Ok(()) };
        self.key("--wifi", "wifi.ssid", &quoted(ssid));
        if let Some(file) = &args.wifi_password_file {
            let file = self.path(file)?;
            self.key("--wifi-password-file", "wifi.passphrase", &format!("{{ file = {} }}", quoted(&file)));
        }
        if let Some(country) = &args.country {
            self.key("--country", "wifi.country", &quoted(country));
        }
        if args.wifi_hidden {
            self.key("--wifi-hidden", "wifi.hidden", "true");
        }
        self.list("--wifi-address", "wifi.address", &args.wifi_addresses);
        Ok(())
    }

    fn system(&mut self, args: &Customize) {
        let words = [
            ("--timezone", "timezone", &args.timezone),
            ("--locale", "locale", &args.locale),
            ("--keyboard", "keyboard", &args.keyboard),
        ];
        for (flag, key, value) in words {
            if let Some(value) = value {
                self.key(flag, key, &quoted(value));
            }
        }
        let has_keys = !args.ssh_keys.is_empty();
        if args.ssh || has_keys {
            self.key(if args.ssh { "--ssh" } else { "--ssh-key" }, "ssh.enable", "true");
        }
        if args.ssh_password_login {
            self.key("--ssh-password-login", "ssh.password-login", "true");
        } else if has_keys {
            self.key("--ssh-key", "ssh.password-login", "false");
        }
        let lists = [
            ("--cmdline-add", "cmdline.add", &args.cmdline_add),
            ("--cmdline-remove", "cmdline.remove", &args.cmdline_remove),
            ("--module", "module", &args.modules),
            ("--package", "package", &args.packages),
            ("--enable", "service.enable", &args.enable),
            ("--disable", "service.disable", &args.disable),
            ("--mask", "service.mask", &args.mask),
            ("--recipe", "recipes", &args.recipes),
            ("--remove", "remove", &args.removals),
        ];
        for (flag, key, values) in lists {
            self.list(flag, key, values);
        }
    }

    fn user(&mut self, args: &Customize) -> Result<(), String> {
        let Some(name) = &args.user else { return Ok(()) };
        let start = self.text.len();
        self.line(&format!("\n[node.user.{}]", key(name)));
        self.flags.push((start..self.text.len(), "--user"));
        if let Some(file) = &args.password_file {
            let file = self.path(file)?;
            self.key("--password-file", "password", &format!("{{ file = {} }}", quoted(&file)));
        }
        let keys = args.ssh_keys.iter().map(|word| self.ssh_key(word)).collect::<Result<Vec<_>, _>>()?;
        self.list("--ssh-key", "ssh-keys", &keys);
        self.list("--group", "groups", &args.groups);
        match args.sudo {
            Some(sudo) => self.key("--sudo", "sudo", sudo.in_profile()),
            // Nobody could become root otherwise: the account has no password that sudo could ask for.
            None if args.password_file.is_none() => self.key("--user", "sudo", "\"nopasswd\""),
            None => {}
        }
        Ok(())
    }

    /// The line of a key, or a file of them.
    fn ssh_key(&self, word: &str) -> Result<String, String> {
        if word.contains(' ') {
            return Ok(word.to_owned());
        }
        // A shell expands `~` only at the start of a word, not behind `=`.
        if word.starts_with("~/") {
            return Ok(format!("file:{word}"));
        }
        Ok(format!("file:{}", self.path(Path::new(word))?))
    }

    /// `KEY=VALUE` or `[FILTER]KEY=VALUE`; a key that is given several times is so many lines.
    fn config_txt(&mut self, settings: &[String]) -> Result<(), String> {
        let mut found: Vec<((&str, &str), Vec<String>)> = Vec::new();
        for setting in settings {
            let wanted = || format!("--config-txt: found `{setting}`, wanted KEY=VALUE or [FILTER]KEY=VALUE");
            let (filter, rest) = match setting.strip_prefix('[') {
                Some(rest) => rest.split_once(']').ok_or_else(wanted)?,
                None => ("all", setting.as_str()),
            };
            let (key, value) = rest.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(wanted)?;
            match found.iter_mut().find(|(known, _)| *known == (filter, key)) {
                Some((_, values)) => values.push(value.to_owned()),
                None => found.push(((filter, key), vec![value.to_owned()])),
            }
        }
        for ((filter, key), values) in found {
            let value = match values.as_slice() {
                [one] => quoted(one),
                several => array(several),
            };
            self.key("--config-txt", &format!("config-txt.{}.{}", self::key(filter), self::key(key)), &value);
        }
        Ok(())
    }

    fn sysctl(&mut self, settings: &[String]) -> Result<(), String> {
        for setting in settings {
            let (key, value) = split(setting, "--sysctl", "KEY=VALUE")?;
            self.key("--sysctl", &format!("sysctl.{}", self::key(key)), &quoted(value));
        }
        Ok(())
    }

    /// `SRC:DST[:MODE[:OWNER]]`: DST begins with a slash, so SRC may hold colons.
    fn file(&mut self, word: &str) -> Result<(), String> {
        let wanted = || format!("--file: found `{word}`, wanted SRC:/DST[:MODE[:OWNER]]");
        let at = word.find(":/").filter(|at| *at > 0).ok_or_else(wanted)?;
        let (source, rest) = (&word[..at], &word[at + 1..]);
        // The owner has a colon, too: `user:group`.
        let mut parts = rest.splitn(3, ':');
        let path = parts.next().unwrap_or_default();
        let source = self.path(Path::new(source))?;
        self.line("\n[[node.file]]");
        self.key("--file", "source", &quoted(&source));
        self.key("--file", "path", &quoted(path));
        if let Some(mode) = parts.next().filter(|mode| !mode.is_empty()) {
            self.key("--file", "mode", &quoted(mode));
        }
        if let Some(owner) = parts.next() {
            self.key("--file", "owner", &quoted(owner));
        }
        Ok(())
    }

    /// Each script is called what its file is called.
    fn first_boot(&mut self, args: &Customize) -> Result<(), String> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for script in &args.first_boot {
            let name = step_name(script);
            let count = names.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count == 1 { name } else { format!("{name}-{count}") };
            let file = self.path(script)?;
            self.line("\n[[node.first-boot]]");
            self.key("--first-boot", "name", &quoted(&name));
            self.key("--first-boot", "file", &quoted(&file));
            if args.first_boot_network {
                self.key("--first-boot-network", "needs-network", "true");
            }
        }
        Ok(())
    }
}

/// The stem of a file, in letters, digits and hyphens.
fn step_name(script: &Path) -> String {
    let stem = script.file_stem().unwrap_or_default().to_string_lossy();
    let words: Vec<&str> =
        stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::from("script") } else { words.join("-").to_ascii_lowercase() }
}

fn split<'w>(word: &'w str, flag: &str, wanted: &str) -> Result<(&'w str, &'w str), String> {
    word.split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| format!("{flag}: found `{word}`, wanted {wanted}"))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key of TOML, bare where it may be.
fn key(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(is_bare) { text.to_owned() } else { quoted(text) }
}

fn array(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", quoted.join(", "))
}
