//! `/etc/hostname`: one line (hostname(5)). The `127.0.1.1` line is in [`super::hosts`].

use super::Context;
use super::draft::Draft;

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    draft.write("/etc/hostname", format!("{}\n", context.node.name));
}
