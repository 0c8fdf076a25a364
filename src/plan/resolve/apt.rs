//! `[[apt]]`: package sources besides the image's own, each good for what its one key has signed.
//!
//! ```text
//! /etc/apt/sources.list.d/NAME.sources          deb822; apt 1.1 and later
//! /etc/apt/keyrings/cardpress-NAME.asc, .gpg    the key, as apt tells armored ones from binary ones
//! /etc/apt/keyrings/cardpress-NAME.key          a key that the node fetches, from which it makes the .asc
//! ```

use super::draft::Draft;
use super::{Context, Problem};
use crate::plan::{AptKey, AptSource, Content, Owner};

/// The first line of what we write: a file without it is somebody else's.
const MARK: &str = "# Of the cardpress profile.";

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    for source in &context.settings().apt {
        let path = sources_path(&source.name);
        if let Some(text) = draft.text(&path).filter(|text| !text.starts_with(MARK)) {
            let by =
                format!("the image has {} lines in {path}; call it something else", text.lines().count());
            draft.fault(Problem::Taken { what: "apt", name: source.name.clone(), by });
            continue;
        }
        let stem = key_stem(&source.name);
        let keyring = match &source.key {
            AptKey::Armored(_) | AptKey::Download { .. } => format!("{stem}.asc"),
            AptKey::Binary(_) => format!("{stem}.gpg"),
        };
        if let AptKey::Armored(bytes) | AptKey::Binary(bytes) = &source.key {
            draft.write_with(&keyring, Content::Plain(bytes.clone()), Some(0o644), Some(Owner::ROOT));
        }
        let text = Content::text(text(source, &keyring));
        draft.write_with(&path, text, Some(0o644), Some(Owner::ROOT));
    }
}

pub(super) fn sources_path(name: &str) -> String {
    format!("/etc/apt/sources.list.d/{name}.sources")
}

/// Where the key is, but for the ending.
pub(super) fn key_stem(name: &str) -> String {
    format!("/etc/apt/keyrings/cardpress-{name}")
}

/// sources.list(5), the form of deb822(5).
fn text(source: &AptSource, keyring: &str) -> String {
    let mut lines = format!("{MARK}\nTypes: deb\nURIs: {}\nSuites: {}\n", source.url, source.suite);
    for (field, words) in [("Components", &source.components), ("Architectures", &source.architectures)] {
        if !words.is_empty() {
            lines.push_str(&format!("{field}: {}\n", words.join(" ")));
        }
    }
    lines.push_str(&format!("Signed-By: {keyring}\n"));
    lines
}
