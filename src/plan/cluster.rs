//! A cluster as its profile means it: layers merged, ranges spelled out, references read, every value checked.
//! No trace of TOML is left here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::edit::Content;
use super::profile::Layer;
use super::recipe::RecipeUse;
use crate::base::{ByteLen, ImagePath, Secret, Sha256Digest};

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `cluster.name`; names the output folder.
    pub name: String,
    /// `cluster.domain`, such as `lan`.
    pub domain: Option<String>,
    /// `cluster.subnet`: at most one per address family.
    pub subnets: Vec<IpNet>,
    /// `cluster.gateway`: at most one per address family.
    pub gateways: Vec<IpAddr>,
    /// `cluster.dns`.
    pub dns: Vec<IpAddr>,
    /// `cluster.ssh-between-nodes`.
    pub ssh_between_nodes: bool,
    /// `[image]`.
    pub image: ImageChoice,
    /// The nodes in the order of the profile, ranges spelled out. Names are unique, and so are addresses.
    pub nodes: Vec<Node>,
    /// The files it was read from, for faults that show later.
    pub(super) origin: Origin,
}

/// The files of a profile: where they are and what they hold, secrets blotted out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin(pub(super) Arc<[(PathBuf, Arc<str>)]>);

/// `[image]`: the base of every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChoice {
    /// Where it comes from.
    pub source: ImageSource,
    /// What the archive (or the raw file) must hash to.
    pub sha256: Option<Sha256Digest>,
    /// `image.signed-by`: the OpenPGP key that must have signed the archive; absolute like [`ImageSource::Path`].
    pub signed_by: Option<PathBuf>,
    /// `image.grow`: what becomes of the root filesystem before the first boot. `None` leaves it to that.
    pub grow: Option<Growth>,
}

/// `image.grow`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It grows until the image is this long.
    To(ByteLen),
    /// It fills its card. Only flashing knows how long that is, and says it as [`Self::To`]: an image that is not for
    /// one card yet is left as if nothing were said.
    Card,
}

/// Where a base image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// `image.path`, made absolute against the folder of the profile.
    Path(PathBuf),
    /// `image.url`.
    Url(String),
    /// `image.os`: a name of the catalogue, perhaps with the date of a release: `raspios-lite-arm64@2026-06-18`.
    Os(String),
}

/// One Pi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its host name: letters, digits and hyphens, at most 63.
    pub name: String,
    /// Its `[role.NAME]`.
    pub role: Option<String>,
    /// Its static addresses, with prefix; at most one per address family. None: DHCP.
    pub addresses: Vec<IpNet>,
    /// Everything else, merged from defaults, role and node; and from recipes, once they are laid.
    pub settings: Settings,
    /// The recipes it uses.
    pub recipes: Recipes,
}

/// What is to be laid under the settings of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipes {
    /// The recipes, each after those it needs.
    pub uses: Vec<RecipeUse>,
    /// What the profile says of the node: goes over the recipes.
    pub(super) layer: Option<Arc<Layer>>,
}

// No layer holds a float.
impl Eq for Recipes {}

/// What can be set at every layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `timezone`, `Area/City`.
    pub timezone: Option<String>,
    /// `locale`, such as `en_GB.UTF-8`.
    pub locale: Option<String>,
    /// `keyboard`.
    pub keyboard: Option<Keyboard>,
    /// `ssh.enable`.
    pub ssh_enable: Option<bool>,
    /// `ssh.password-login`.
    pub ssh_password_login: Option<bool>,
    /// `cmdline.add`: tokens; one with a `key=` takes the place of every token with that key.
    pub cmdline_add: Vec<String>,
    /// `cmdline.remove`: whole tokens, or bare keys, which take every `key=…` with them.
    pub cmdline_remove: Vec<String>,
    /// `[config-txt]`.
    pub config_txt: Vec<ConfigTxt>,
    /// `[user.NAME]`, in the order of first mention.
    pub users: Vec<User>,
    /// `interface`, `gateway`, `dns`, `search` of the wired interface.
    pub network: Network,
    /// `[wifi]`.
    pub wifi: Option<Wifi>,
    /// `[[hosts]]`: more lines for `/etc/hosts`.
    pub hosts: Vec<HostsLine>,
    /// `[[file]]`.
    pub files: Vec<FileSetting>,
    /// `[[directory]]`.
    pub directories: Vec<DirectorySetting>,
    /// `[[symlink]]`.
    pub symlinks: Vec<SymlinkSetting>,
    /// `remove`.
    pub removals: Vec<ImagePath>,
    /// `[[fstab]]`.
    pub fstab: Vec<FstabLine>,
    /// `service.enable`: unit names, with suffix.
    pub units_enable: Vec<String>,
    /// `service.disable`.
    pub units_disable: Vec<String>,
    /// `service.mask`.
    pub units_mask: Vec<String>,
    /// `[sysctl]`, sorted by key.
    pub sysctl: Vec<(String, String)>,
    /// `module`: kernel modules to load at boot.
    pub modules: Vec<String>,
    /// `[[download]]`: files that the node fetches at first boot.
    pub downloads: Vec<Download>,
    /// `[[apt]]`: package sources.
    pub apt: Vec<AptSource>,
    /// `package`: Debian packages to install at first boot.
    pub packages: Vec<String>,
    /// `[[first-boot]]`.
    pub first_boot: Vec<FirstBootScript>,
}

/// `keyboard = "gb"` or `keyboard = { layout, model, variant, options }`: XKB's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyboard {
    /// `XKBLAYOUT`.
    pub layout: String,
    /// `XKBMODEL`; `None` keeps the image's.
    pub model: Option<String>,
    /// `XKBVARIANT`.
    pub variant: String,
    /// `XKBOPTIONS`.
    pub options: String,
}

/// One line of config.txt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTxt {
    /// The filter without brackets: `all`, `pi5`, `cm4`, …
    pub filter: String,
    /// The key: `gpu_mem`, `dtparam`, `dtoverlay`, …
    pub key: String,
    /// The value. `None` removes every line of the key under this filter.
    pub value: Option<String>,
}

/// `[user.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// How it logs in by password; `None` keeps what the image has (a new account has none).
    pub password: Option<Password>,
    /// Public keys, one line each as in `authorized_keys`, checked.
    pub ssh_keys: Vec<String>,
    /// Supplementary groups to be in, besides those the account has.
    pub groups: Vec<String>,
    /// The login shell; `None` keeps the image's, or `/bin/bash` where that is no shell.
    pub shell: Option<String>,
    /// `sudo = "password" | "nopasswd" | false`.
    pub sudo: Option<Sudo>,
    /// The number; `None` lets the first user take over uid 1000, and others the next free ones.
    pub uid: Option<u32>,
    /// The full name (GECOS).
    pub full_name: Option<String>,
}

/// A password, never a literal in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// A crypt(3) hash: `$6$…`, `$5$…`, `$y$…`.
    Hash(Secret<String>),
    /// The password itself, from a file or the environment; planning hashes it.
    Plain(Secret<String>),
    /// `password = { locked = true }`: no login by password.
    Locked,
}

/// What sudo asks of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// Not in group sudo.
    No,
    /// In group sudo; its password is asked.
    Password,
    /// In group sudo; nothing is asked.
    NoPassword,
}

/// The wired interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `interface`; `None` is `eth0`.
    pub interface: Option<String>,
    /// The node's own gateways; when empty, the cluster's.
    pub gateways: Vec<IpAddr>,
    /// The node's own name servers; when empty, the cluster's.
    pub dns: Vec<IpAddr>,
    /// Search domains; when empty, the cluster's domain.
    pub search: Vec<String>,
}

/// `[wifi]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wifi {
    /// The name of the net, 1 to 32 bytes.
    pub ssid: String,
    /// `None` for an open net.
    pub passphrase: Option<WifiKey>,
    /// The net does not announce itself.
    pub hidden: bool,
    /// Two upper-case letters (ISO 3166-1).
    pub country: String,
    /// A static address on `wlan0`; none: DHCP.
    pub addresses: Vec<IpNet>,
}

/// How a node gets into a WPA net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WifiKey {
    /// 8 to 63 printable characters; planning stores only what is derived from it.
    Passphrase(Secret<String>),
    /// The 256-bit key itself, as 64 hex digits.
    Psk(Secret<String>),
}

/// One address and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsLine {
    /// The address.
    pub address: IpAddr,
    /// The names, the canonical one first.
    pub names: Vec<String>,
}

/// `[[file]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSetting {
    /// Where.
    pub path: ImagePath,
    /// What.
    pub content: Content,
    /// What the content is to be made from; gone once the recipes are laid.
    pub template: Option<Template>,
    /// Permission bits.
    pub mode: Option<u16>,
    /// Who, as `user:group`, by name or number.
    pub owner: Option<OwnerName>,
}

/// A text with places to fill in: `template` of a `[[file]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its file.
    pub path: PathBuf,
    /// The text.
    pub text: Arc<str>,
}

/// `user:group` before the image has been asked what their numbers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerName {
    /// A name, or a number in decimal.
    pub user: String,
    /// A name, or a number in decimal.
    pub group: String,
}

/// `[[directory]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySetting {
    /// Where.
    pub path: ImagePath,
    /// Permission bits; `None` is 0755.
    pub mode: Option<u16>,
    /// Who.
    pub owner: Option<OwnerName>,
}

/// `[[symlink]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymlinkSetting {
    /// Where.
    pub path: ImagePath,
    /// The text of the link.
    pub target: String,
}

/// One line of fstab; a line for the same mount point is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FstabLine {
    /// `UUID=…`, `server:/export`, `tmpfs`, …
    pub device: String,
    /// Where it is mounted, or `none` for swap.
    pub mount: String,
    /// The filesystem type.
    pub fs_type: String,
    /// Comma-separated options.
    pub options: String,
    /// Field 5.
    pub dump: u8,
    /// Field 6.
    pub pass: u8,
}

/// `[[first-boot]]`: run once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBootScript {
    /// Letters, digits, `-`, `_` and `.`: part of a file name.
    pub name: String,
    /// The script, first line `#!…`.
    pub script: Content,
    /// Wait until the network is up.
    pub needs_network: bool,
    /// The steps that must be done before: names of other scripts, or `locale`, `downloads`, `packages`, `services`,
    /// which need not be there. `None`: all before it.
    pub needs: Option<Vec<String>>,
}

/// `[[download]]`: a file that the node fetches at first boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// `http://` or `https://`.
    pub url: String,
    /// What it must hash to.
    pub sha256: Sha256Digest,
    /// Where it goes.
    pub path: ImagePath,
    /// Permission bits; `None` is 0644.
    pub mode: Option<u16>,
}

/// `[[apt]]`: a package source, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptSource {
    /// Names its files: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// `http://` or `https://`.
    pub url: String,
    /// A codename, or a folder that ends in `/` and has no components.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// `arm64`, …; none: those of the image.
    pub architectures: Vec<String>,
    /// Who signs it.
    pub key: AptKey,
}

/// The OpenPGP public key of a package source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AptKey {
    /// As text.
    Armored(Arc<[u8]>),
    /// As packets.
    Binary(Arc<[u8]>),
    /// Fetched by the node at first boot, in either form.
    Download {
        /// `http://` or `https://`.
        url: String,
        /// What it must hash to.
        sha256: Sha256Digest,
    },
}
