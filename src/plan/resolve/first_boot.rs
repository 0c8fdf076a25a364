//! What can only be done on the node: packages, a locale to compile, the profile's scripts.

use super::Context;
use super::draft::Draft;

/// Paths that planning looks at.
pub(super) const PATHS: [&str; 0] = [];

pub(super) fn apply(_context: &Context, _draft: &mut Draft) {}
