//! Intent as values: what each node of a cluster will be, decided before any image is opened for writing.
//!
//! ```text
//! profile.toml ─▶ profile::load ─▶ Cluster ─┐
//! base image ─▶ build::facts ─▶ OsFacts ────┼─▶ profile::lay ─┬─▶ resolve ─▶ NodePlan { edits: Vec<Edit> }
//! seed ─────────────────────────────────────┘   (recipes)     └─▶ host_files ─▶ [HostFile]
//! ```
//!
//! Pure: the same profile, facts and seed give the same plan. No disk, no network, no clock, no randomness; the
//! few files a profile names are read through [`profile::Surroundings`], which the caller provides.

mod authority;
mod cluster;
mod edit;
mod facts;
mod host;
mod needs;
pub mod profile;
mod recipe;
mod resolve;
mod seed;
mod template;

pub use crate::base::{Arch, Variant};
pub use cluster::*;
pub use edit::{Action, Content, Edit, NodePlan, Owner, grown_len};
pub use facts::{
    FileFact, FirstBoot, FirstUser, Found, NetworkStack, OsFacts, PartitionFact, PartitionUse, Release, Tree,
};
pub use host::{HostFile, Service, host_files};
pub use needs::BadNeeds;
pub use recipe::{Count, Param, ParamKind, ParamValue, Params, Part, Recipe, RecipeUse};
pub use resolve::crypt::is_hash_of;
pub use resolve::first_boot::is_own_program;
pub use resolve::hosts::{BEGIN as HOSTS_BEGIN, END as HOSTS_END};
pub use resolve::{Fault, Faults, Marker, Problem, host_keys, more_paths, resolve, wanted_paths};
pub use seed::Seed;
