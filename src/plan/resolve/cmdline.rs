//! `cmdline.txt`: the kernel's command line, one line of tokens.
//!
//! Written back with single spaces and a line break at the end, because the image's own scripts edit it with
//! line-wise `sed`. A token with quotes may hold spaces (kernel `lib/cmdline.c`).

use super::draft::Draft;
use super::{Context, Problem};
use crate::plan::Arch;

/// Keys that are meant to be there several times: each says one more thing.
const REPEATING: [&str; 12] = [
    "console",
    "cgroup_enable",
    "cgroup_disable",
    "earlycon",
    "dtoverlay",
    "dtparam",
    "modules-load",
    "module_blacklist",
    "modprobe.blacklist",
    "systemd.mask",
    "systemd.wants",
    "systemd.setenv",
];

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let settings = context.settings();
    let mut add = settings.cmdline_add.clone();
    if let Some(wifi) = &settings.wifi {
        // raspi-config's do_wifi_country does the same; harmless where another place counts.
        add.push(format!("cfg80211.ieee80211_regdom={}", wifi.country));
    }
    let path = context.boot_path("cmdline.txt");
    let Some(text) = draft.text(&path) else {
        if !add.is_empty() || !settings.cmdline_remove.is_empty() {
            draft.fault(Problem::NoFile { path, needed_for: "the kernel command line" });
        }
        return;
    };
    let mut line = Cmdline::parse(&text);
    for token in &settings.cmdline_remove {
        line.remove(token);
    }
    for token in &add {
        if is_one_token(token) {
            line.add(token);
        } else {
            let why = "a token has no spaces outside quotes and no line breaks";
            let value = token.escape_debug().to_string();
            draft.fault(Problem::BadValue { value, place: "cmdline.txt", why });
        }
    }
    let text = line.text();
    let (limit, arch) = match context.facts.arch {
        Arch::Armhf => (1024, "armhf"),
        Arch::Arm64 => (2048, "arm64"),
    };
    if text.len() > limit {
        let len = text.len();
        draft.warn(format!(
            "cmdline.txt has {len} bytes; a kernel for {arch} keeps {limit} (COMMAND_LINE_SIZE)"
        ));
    }
    draft.write(&path, text);
}

fn is_one_token(token: &str) -> bool {
    !token.contains(char::is_control) && Cmdline::parse(token).tokens.len() == 1
}

/// The tokens, in order.
pub(super) struct Cmdline {
    tokens: Vec<String>,
}

impl Cmdline {
    pub(super) fn parse(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut token = String::new();
        let mut quoted = false;
        for c in text.chars() {
            if c == '"' {
                quoted = !quoted;
            }
            if c.is_whitespace() && !quoted {
                tokens.push(std::mem::take(&mut token));
            } else {
                token.push(c);
            }
        }
        tokens.push(token);
        tokens.retain(|token| !token.is_empty());
        Self { tokens }
    }

    pub(super) fn text(&self) -> String {
        format!("{}\n", self.tokens.join(" "))
    }

    pub(super) fn has(&self, token: &str) -> bool {
        self.tokens.iter().any(|other| other == token)
    }

    /// A whole token, or a bare key with every value it has.
    pub(super) fn remove(&mut self, token: &str) {
        self.tokens.retain(|other| other != token && key_of(other) != Some(token));
    }

    /// In place of what has the same key; else at the end, but before a `systemd.run` group: Imager's script
    /// cuts everything behind that off the line when it is done.
    pub(super) fn add(&mut self, token: &str) {
        if token == "cgroup_enable=memory" {
            self.remove("cgroup_disable=memory");
        }
        if self.has(token) && key_of(token).is_none_or(|key| REPEATING.contains(&key)) {
            return;
        }
        let same_key = |other: &String| match key_of(token) {
            Some(key) if !REPEATING.contains(&key) => key_of(other) == Some(key),
            _ => false,
        };
        let place = self.tokens.iter().position(same_key).unwrap_or_else(|| {
            let run = |other: &String| other.starts_with("systemd.run=");
            self.tokens.iter().position(run).unwrap_or(self.tokens.len())
        });
        self.tokens.retain(|other| !same_key(other));
        // Everything with that key stood at `place` or later.
        self.tokens.insert(place.min(self.tokens.len()), token.to_owned());
    }
}

fn key_of(token: &str) -> Option<&str> {
    token.split_once('=').map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, add: &[&str], remove: &[&str]) -> String {
        let mut line = Cmdline::parse(text);
        remove.iter().for_each(|token| line.remove(token));
        add.iter().for_each(|token| line.add(token));
        line.text()
    }

    #[test]
    fn a_key_is_replaced_where_it_stood_and_new_ones_go_to_the_end() {
        let before = "console=tty1 root=a quiet root=b\n";
        assert_eq!(edited(before, &["root=c", "splash"], &["quiet"]), "console=tty1 root=c splash\n");
    }

    #[test]
    fn keys_that_may_repeat_lose_only_exact_doubles() {
        let wanted = "console=tty1 console=serial0,115200 cgroup_enable=cpuset cgroup_enable=memory\n";
        let add = ["console=tty1", "console=serial0,115200", "cgroup_enable=cpuset", "cgroup_enable=memory"];
        assert_eq!(edited("console=tty1", &add, &[]), wanted);
    }

    #[test]
    fn enabling_the_memory_controller_drops_what_disables_it() {
        assert_eq!(
            edited("a cgroup_disable=memory b", &["cgroup_enable=memory"], &[]),
            "a b cgroup_enable=memory\n"
        );
    }

    #[test]
    fn several_lines_become_one_and_a_systemd_run_group_stays_last() {
        let before = "console=tty1\nrootwait systemd.run=/boot/firstrun.sh systemd.unit=x.target\r\n";
        let after = "console=tty1 rootwait a=1 systemd.run=/boot/firstrun.sh systemd.unit=x.target\n";
        assert_eq!(edited(before, &["a=1"], &[]), after);
    }

    #[test]
    fn quotes_keep_a_token_together() {
        assert!(is_one_token("dyndbg=\"file a +p\""));
        assert!(!is_one_token("a b"));
        assert!(!is_one_token(""));
    }
}
