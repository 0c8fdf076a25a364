//! cloud-init off, by its own switch, so that it undoes nothing of what was set (hostname, hosts, network, user).

use super::Context;
use super::draft::Draft;

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    if context.facts.cloud_init {
        // Its generator looks whether the file is there, not what it says.
        draft.write("/etc/cloud/cloud-init.disabled", "made by cardpress: this node was set up offline\n");
    }
}
