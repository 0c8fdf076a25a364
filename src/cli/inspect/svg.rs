//! The disk map as a picture that stands alone: legible on a phone, in light and dark.
//!
//! Lengths across are in percent and letters in pixels, so the letters stay as they are whatever the width.

use std::fmt::Write as _;

use super::bar::{spread, used};
use crate::base::ByteLen;
use crate::build::inspect::{Inspected, Part, Told, stretches};
use crate::cli::fs::visible;

/// Pixels, fewer where there is less room. Without a width of its own a picture in a page has 300.
const PAGE_WIDTH: usize = 760;
/// The width of the bar in parts; percent with one digit behind the point.
const WIDTH: usize = 1000;
/// A partition is at least so wide that its number fits in on a phone.
const FLOOR: usize = 40;
/// Room that no partition has is at least so wide that it is seen.
const GAP: usize = 8;
const BAR_TOP: usize = 44;
const BAR_HEIGHT: usize = 56;
const LEGEND_TOP: usize = BAR_TOP + BAR_HEIGHT + 34;
const ENTRY_HEIGHT: usize = 46;

/// The picture. `name` is what the image is called.
pub(super) fn draw(name: &str, inspected: &Inspected) -> String {
    let stretches = stretches(&inspected.partitions, inspected.len_bytes);
    let widths = spread(&stretches, WIDTH, FLOOR, GAP);
    let whole: usize = widths.iter().sum::<usize>().max(1);
    let percent = |parts: usize| {
        let tenths = parts * 1000 / whole;
        format!("{}.{}%", tenths / 10, tenths % 10)
    };
    let mut bar = String::new();
    let mut at = 0;
    for (stretch, width) in stretches.iter().zip(&widths) {
        let (x, w) = (percent(at), percent(*width));
        match stretch.part.and_then(|index| inspected.partitions.get(index).map(|part| (index, part))) {
            None => {
                let title = format!("{} in no partition", ByteLen(stretch.len_bytes));
                let _ = writeln!(
                    bar,
                    r#"<rect class="nobody" x="{x}" y="{BAR_TOP}" width="{w}" height="{BAR_HEIGHT}"><title>{}</title></rect>"#,
                    escaped(&title)
                );
            }
            Some((index, part)) => {
                let full = percent(width * usize::try_from(used(part)).unwrap_or(1000) / 1000);
                let middle = percent(at + width / 2);
                let (colour, label_at) = (index % 6, BAR_TOP + BAR_HEIGHT / 2 + 6);
                let _ = writeln!(
                    bar,
                    "<g class=\"c{colour}\"><title>{}</title>\
                     <rect class=\"part\" x=\"{x}\" y=\"{BAR_TOP}\" width=\"{w}\" height=\"{BAR_HEIGHT}\"/>\
                     <rect class=\"used\" x=\"{x}\" y=\"{BAR_TOP}\" width=\"{full}\" height=\"{BAR_HEIGHT}\"/>\
                     <rect class=\"edge\" x=\"{x}\" y=\"{BAR_TOP}\" width=\"{w}\" height=\"{BAR_HEIGHT}\"/>\
                     <text class=\"number\" x=\"{middle}\" y=\"{label_at}\">{}</text></g>",
                    escaped(&heading(part)),
                    escaped(&part.number.map_or_else(|| "all".to_owned(), |number| number.to_string())),
                );
            }
        }
        at += width;
    }
    let mut legend = String::new();
    let mut y = LEGEND_TOP;
    for (index, part) in inspected.partitions.iter().enumerate() {
        entry(&mut legend, y, &format!("c{}", index % 6), "used", &heading(part), &details(part));
        y += ENTRY_HEIGHT;
    }
    let unused: u64 = inspected.free.iter().map(|range| range.len_bytes).sum();
    if unused > 0 {
        entry(&mut legend, y, "", "nobody", "in no partition", &ByteLen(unused).to_string());
        y += ENTRY_HEIGHT;
    }
    let title = cut(&format!("{name}: {}", ByteLen(inspected.len_bytes)));
    let about = about(inspected);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{PAGE_WIDTH}\" height=\"{y}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">{title}</title>\n<desc id=\"desc\">{about}</desc>\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
         <svg x=\"3%\" y=\"0\" width=\"94%\" height=\"{y}\" overflow=\"visible\">\n\
         <text class=\"title\" x=\"0\" y=\"28\">{title}</text>\n{bar}{legend}</svg>\n</svg>\n",
        title = escaped(&title),
        about = escaped(&about),
    )
}

const STYLE: &str = "
:root{color-scheme:light dark;max-width:100%}
.page{fill:#fff}
text{font:14px/1.4 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:#1d2129}
.title{font-size:17px;font-weight:600}
.name{font-weight:600}
.small{font-size:12.5px;fill:#4d5563}
.number{text-anchor:middle;font-size:16px;font-weight:600;fill:#10131a;paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}
.nobody{fill:#e3e6eb}
.part{fill-opacity:.28}
.edge{fill:none;stroke:#fff;stroke-width:2}
.c0{fill:#c2255c}.c1{fill:#2f7d32}.c2{fill:#1764b5}.c3{fill:#b35c00}.c4{fill:#6a3fb0}.c5{fill:#00797d}
@media (prefers-color-scheme:dark){
.page{fill:#14171c}
text{fill:#e8eaee}
.small{fill:#aab2bf}
.number{fill:#fff;stroke:#14171c}
.nobody{fill:#333a45}
.part{fill-opacity:.38}
.edge{stroke:#14171c}
.c0{fill:#e0558a}.c1{fill:#4fa552}.c2{fill:#4b93e0}.c3{fill:#d9822b}.c4{fill:#9a76d8}.c5{fill:#2ba5a9}
}
";

/// Two lines beside a patch of the colour.
fn entry(legend: &mut String, y: usize, group: &str, patch: &str, name: &str, small: &str) {
    let _ = writeln!(
        legend,
        "<g class=\"{group}\"><rect class=\"{patch}\" x=\"0\" y=\"{}\" width=\"14\" height=\"14\" rx=\"3\"/>\
         <text class=\"name\" x=\"24\" y=\"{y}\">{}</text><text class=\"small\" x=\"24\" y=\"{}\">{}</text></g>",
        y - 12,
        escaped(&cut(name)),
        y + 18,
        escaped(small),
    );
}

/// `2 rootfs (ext4), root`
fn heading(part: &Part) -> String {
    let mut text = part.number.map_or_else(String::new, |number| format!("{number} "));
    text += &match &part.holds {
        Told::Known(Some(known)) => match &known.label {
            Some(label) => format!("{label} ({})", known.kind),
            None => known.kind.clone(),
        },
        Told::Known(None) => "unknown".to_owned(),
        Told::Unread { .. } => "not read".to_owned(),
    };
    text + &part.role.map_or_else(String::new, |role| format!(", {role}"))
}

/// `1.7 GiB from 520 MiB, 314.4 MiB free`
fn details(part: &Part) -> String {
    let mut text = format!("{} from {}", ByteLen(part.len_bytes), ByteLen(part.start_bytes));
    let known = part.holds.known().and_then(Option::as_ref);
    if let Some(free) = known.and_then(|known| known.free_bytes) {
        let _ = write!(text, ", {} free", ByteLen(free));
    }
    text
}

fn about(inspected: &Inspected) -> String {
    let parts = inspected.partitions.iter().map(|part| format!("{}: {}", heading(part), details(part)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        "Nothing that is known is on it.".to_owned()
    } else {
        format!("{}.", parts.join("; "))
    }
}

/// What is long does not fit on a phone.
fn cut(text: &str) -> String {
    const MOST: usize = 44;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Text that steers nothing, as XML has it.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in visible(text.as_bytes()).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML 1.0 §2.2 has no such characters.
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_text_in_the_picture() {
        assert_eq!(escaped("a<b>&\"c'\u{1b}\u{ffff}"), "a&lt;b&gt;&amp;&quot;c&#39;\\u{1b}\u{fffd}");
        assert_eq!(cut(&"ä".repeat(60)).chars().count(), 45);
    }
}
