//! Spells ranges out, merges the layers of each node, and checks the nodes against the cluster and each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::cluster::{Cluster, ImageChoice, ImageSource, Node, Recipes};
use super::document::{ClusterLayer, Document, ImageLayer, NodeEntry};
use super::layer::Layer;
use super::network::{AddressWords, written_address};
use super::reader::{Reader, nearest};
use super::recipe::Shelf;
use super::value::{At, Place};
use super::word;
use super::{settings, uses};

/// More nodes than this in a profile is a slip of the finger, and memory.
const MOST_NODES: usize = 4096;

/// The cluster that the profile means; `None` only where a fault was noted.
pub(super) fn cluster(reader: &mut Reader<'_>, document: Document) -> Option<Cluster> {
    let Document { image, cluster, defaults, roles, nodes, has_nodes } = document;
    let start = Place { file: 0, span: 0..0 };
    let image = image_choice(reader, image, &start);
    if !cluster.is_named && !reader.incomplete {
        let place = cluster.place.as_ref().unwrap_or(&start);
        reader.fault(place, "found no name of the cluster").help("write `[cluster]` and `name = \"…\"`");
    }
    if !has_nodes && !reader.incomplete {
        reader
            .fault(&start, "found no node, wanted at least one `[[node]]`")
            .help("write `[[node]]` and `name = \"pi1\"`");
    }
    gateways_in_subnets(reader, &cluster);
    ssh_for_ssh_between_nodes(reader, &cluster, &defaults);
    unused_roles(reader, &roles, &nodes);

    let mut expansion =
        Expansion { reader, cluster: &cluster, names: BTreeMap::new(), addresses: BTreeMap::new() };
    let mut shelf = Shelf::default();
    let mut expanded = Vec::new();
    let mut layers = Vec::new();
    for entry in &nodes {
        let layer = Arc::new(expansion.merged(&defaults, &roles, entry));
        let uses = uses::of_layer(expansion.reader, &mut shelf, &layer);
        let recipes = Recipes { uses, layer: Some(Arc::clone(&layer)) };
        let room = MOST_NODES.saturating_sub(expanded.len());
        expanded.extend(expansion.nodes(entry, &layer, &recipes, room));
        layers.push(layer);
    }
    let layers: Vec<&Layer> = layers.iter().map(Arc::as_ref).collect();
    let uses = expanded.iter().map(|node: &Node| node.recipes.uses.as_slice());
    uses::check_cluster(reader, &shelf, uses, &layers);
    Some(Cluster {
        name: cluster.name?.value,
        domain: cluster.domain.map(|domain| domain.value),
        subnets: values(cluster.subnets),
        gateways: values(cluster.gateways),
        dns: values(Some(cluster.dns.items)),
        ssh_between_nodes: cluster.ssh_between_nodes.is_some_and(|flag| flag.value),
        image: image?,
        nodes: expanded,
        origin: reader.origin(),
    })
}

fn values<T>(items: Option<Vec<At<T>>>) -> Vec<T> {
    items.unwrap_or_default().into_iter().map(|item| item.value).collect()
}

fn image_choice(reader: &mut Reader<'_>, image: ImageLayer, start: &Place) -> Option<ImageChoice> {
    if !image.is_named && !reader.incomplete {
        let place = image.place.as_ref().unwrap_or(start);
        reader
            .fault(place, "found no image, wanted one of `os`, `url`, `path` in `[image]`")
            .help("write `[image]` and `path = \"raspios.img.xz\"`");
    }
    let source = image.source?;
    if let (ImageSource::Url(url), None, None) = (&source.value, &image.sha256, &image.signed_by)
        && url.starts_with("http://")
    {
        reader
            .warn(&source.place, "the image comes over plain http, and nothing says what it must be")
            .help("add its `sha256` or `signed-by`, or write `https://`");
    }
    Some(ImageChoice {
        source: source.value,
        sha256: image.sha256.map(|digest| digest.value),
        signed_by: image.signed_by.map(|key| key.value),
        grow: image.grow.map(|grow| grow.value),
    })
}

fn unused_roles(reader: &mut Reader<'_>, roles: &[(At<String>, Layer)], nodes: &[NodeEntry]) {
    let used: BTreeSet<&str> =
        nodes.iter().filter_map(|node| node.role.as_ref()).map(|role| role.value.as_str()).collect();
    for (name, _) in roles.iter().filter(|(name, _)| !used.contains(name.value.as_str())) {
        reader.warn(&name.place, format!("no node has the role `{}`", name.value));
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Link-local gateways are the rule with IPv6, and lie in no subnet.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn gateways_in_subnets(reader: &mut Reader<'_>, cluster: &ClusterLayer) {
    for gateway in cluster.gateways.iter().flatten() {
        let subnet = subnet_of(cluster, gateway.value);
        if let Some(subnet) = subnet
            && !subnet.value.contains(&gateway.value)
            && !is_link_local(gateway.value)
        {
            let message = format!("gateway {} is outside the subnet {}", gateway.value, subnet.value);
            reader.fault(&gateway.place, message);
        }
    }
}

fn ssh_for_ssh_between_nodes(reader: &mut Reader<'_>, cluster: &ClusterLayer, defaults: &Layer) {
    if let (Some(wanted), Some(ssh)) = (&cluster.ssh_between_nodes, &defaults.ssh_enable)
        && wanted.value
        && !ssh.value
    {
        reader.warn(&ssh.place, "ssh is off, but `cluster.ssh-between-nodes` is on");
    }
}

fn subnet_of(cluster: &ClusterLayer, address: IpAddr) -> Option<&At<IpNet>> {
    cluster.subnets.iter().flatten().find(|subnet| subnet.value.addr().is_ipv4() == address.is_ipv4())
}

/// The interface an address is for.
#[derive(Clone, Copy)]
struct Interface<'e> {
    own_gateways: Option<&'e [At<IpAddr>]>,
    is_wired: bool,
}

/// The nodes on their way from entries to addresses.
struct Expansion<'e, 'r> {
    reader: &'e mut Reader<'r>,
    cluster: &'e ClusterLayer,
    /// Lower-case names.
    names: BTreeMap<String, String>,
    /// Who has which address.
    addresses: BTreeMap<IpAddr, String>,
}

impl Expansion<'_, '_> {
    /// `[defaults]`, the role and the node in one.
    fn merged(&mut self, defaults: &Layer, roles: &[(At<String>, Layer)], entry: &NodeEntry) -> Layer {
        let mut layer = defaults.clone();
        if let Some(role) = &entry.role {
            match roles.iter().find(|(name, _)| name.value == role.value) {
                Some((_, settings)) => layer = layer.under(settings),
                None => self.unknown_role(role, roles),
            }
        }
        layer.under(&entry.settings)
    }

    fn unknown_role(&mut self, role: &At<String>, roles: &[(At<String>, Layer)]) {
        let help = match nearest(&role.value, roles.iter().map(|(name, _)| name.value.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("define it with `[role.{}]`", role.value),
        };
        let message = format!("role `{}` is not defined", role.value.escape_debug());
        self.reader.fault(&role.place, message).help(help);
    }

    /// Every node of an entry.
    fn nodes(&mut self, entry: &NodeEntry, layer: &Layer, recipes: &Recipes, room: usize) -> Vec<Node> {
        let Some(name) = &entry.name else { return Vec::new() };
        let count = name.value.count();
        if usize::try_from(count.unwrap_or(1)).is_ok_and(|count| count > room) {
            let message = format!("found more nodes than {MOST_NODES}, wanted fewer in one profile");
            self.reader.fault(&name.place, message);
            return Vec::new();
        }
        let counted =
            [entry.address.as_ref(), layer.wifi.as_ref().and_then(|wifi| wifi.value.address.as_ref())];
        for words in counted.into_iter().flatten() {
            if !self.counts_agree(words, count) {
                return Vec::new();
            }
        }
        if recipes.uses.is_empty() {
            settings::every_need_can_be_met(self.reader, layer);
        }
        let mut nodes = Vec::new();
        for index in 0..count.unwrap_or(1) {
            nodes.extend(self.node(entry, layer, recipes, name, index));
            if self.reader.has_fault_at(&name.place) {
                break;
            }
        }
        nodes
    }

    /// A range of nodes needs a range of addresses, as long.
    fn counts_agree(&mut self, words: &AddressWords, nodes: Option<u32>) -> bool {
        let mut agree = true;
        for word in &words.words {
            let addresses = word.value.count();
            if addresses.unwrap_or(1) == nodes.unwrap_or(1) {
                continue;
            }
            agree = false;
            let of = |count: u32, one: &str, many: &str| match count {
                1 => format!("1 {one}"),
                count => format!("{count} {many}"),
            };
            let message = format!(
                "found {} for {}",
                of(addresses.unwrap_or(1), "address", "addresses"),
                of(nodes.unwrap_or(1), "node", "nodes"),
            );
            self.reader
                .fault(&word.place, message)
                .help("a range of names and a range of addresses count alike: `[1-7]` and `[201-207]`");
        }
        agree
    }

    fn node(
        &mut self,
        entry: &NodeEntry,
        layer: &Layer,
        recipes: &Recipes,
        name: &At<super::range::Pattern>,
        index: u32,
    ) -> Option<Node> {
        let word = name.value.word(index);
        let name = self.reader.judge(&name.place, word::host_label(&word))?;
        self.take_name(&name);
        let wired = Interface { own_gateways: layer.gateways.as_deref(), is_wired: true };
        let addresses = entry.address.as_ref().map(|words| self.addresses(words, wired, &name, index));
        let wifi = layer.wifi.as_ref().and_then(|wifi| {
            let words = wifi.value.address.as_ref();
            let radio = Interface { own_gateways: None, is_wired: false };
            let addresses = words.map(|words| self.addresses(words, radio, &name, index));
            settings::wifi(self.reader, wifi, addresses.unwrap_or_default())
        });
        Some(Node {
            role: entry.role.as_ref().map(|role| role.value.clone()),
            addresses: addresses.unwrap_or_default(),
            settings: settings::of_layer(self.reader, layer.clone(), wifi),
            recipes: recipes.clone(),
            name: name.value,
        })
    }

    fn take_name(&mut self, name: &At<String>) {
        let lower = name.value.to_lowercase();
        if lower != name.value {
            self.reader
                .warn(
                    &name.place,
                    format!("`{}` has capitals, which the network does not tell apart", name.value),
                )
                .help(format!("write `{lower}`"));
        }
        if let Some(other) = self.names.get(&lower) {
            let message = match *other == name.value {
                true => format!("found a second node `{}`", name.value),
                false => format!("found a second node `{}`, beside `{other}`", name.value),
            };
            self.reader
                .fault(&name.place, message)
                .label("taken")
                .help("host names do not tell capitals apart");
        } else {
            self.names.insert(lower, name.value.clone());
        }
    }

    /// The addresses of one node, each checked.
    fn addresses(
        &mut self,
        words: &AddressWords,
        interface: Interface<'_>,
        node: &At<String>,
        index: u32,
    ) -> Vec<IpNet> {
        words
            .words
            .iter()
            .filter_map(|word| {
                if self.reader.has_fault_at(&word.place) {
                    return None;
                }
                let text = word.value.word(index);
                let written = self.reader.judge(&word.place, written_address(&text))?;
                let net = self.with_prefix(&written, interface)?;
                self.check_host_part(&word.place, net)?;
                self.check_gateway(&word.place, interface, net);
                self.take_address(&word.place, net.addr(), node);
                Some(net)
            })
            .collect()
    }

    /// An address without prefix gets that of the subnet; one with prefix must be in the subnet all the same,
    /// unless it is the radio's, whose net may be another.
    fn with_prefix(&mut self, written: &At<(IpAddr, Option<u8>)>, interface: Interface<'_>) -> Option<IpNet> {
        let (address, prefix) = written.value;
        if let (Some(prefix), false) = (prefix, interface.is_wired) {
            return IpNet::new(address, prefix).ok();
        }
        let Some(subnet) = subnet_of(self.cluster, address) else {
            if prefix.is_none() {
                let message = format!("found {address} without prefix");
                let prefix = if address.is_ipv4() { "24" } else { "64" };
                let help = format!("write the prefix: `{address}/{prefix}`");
                self.reader
                    .fault(&written.place, format!("{message}, and no {} `cluster.subnet`", family(address)))
                    .help(format!("set `cluster.subnet`, or {help}"))
                    .alone(message, Some(help));
            }
            return IpNet::new(address, prefix?).ok();
        };
        let subnet = subnet.value;
        if !subnet.contains(&address) {
            self.reader
                .fault(&written.place, format!("address {address} is outside the subnet {subnet}"))
                .help("for nodes in several nets leave `cluster.subnet` out and write each address with its prefix");
            return None;
        }
        if let Some(prefix) = prefix.filter(|prefix| *prefix != subnet.prefix_len()) {
            let message = format!("found prefix /{prefix}, but the subnet is {subnet}");
            self.reader.warn(&written.place, message);
        }
        IpNet::new(address, prefix.unwrap_or(subnet.prefix_len())).ok()
    }

    /// The ends of a subnet are no machine's, nor are addresses for many or for none.
    fn check_host_part(&mut self, place: &Place, net: IpNet) -> Option<()> {
        let address = net.addr();
        let ends = match net {
            IpNet::V4(net) => net.prefix_len() <= 30,
            IpNet::V6(net) => net.prefix_len() <= 126,
        };
        let what = if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            "the address of no single machine".to_owned()
        } else if ends && address == net.network() {
            format!("the network itself, {}", net.trunc())
        } else if ends && address.is_ipv4() && address == net.broadcast() {
            format!("the broadcast address of {}", net.trunc())
        } else {
            return Some(());
        };
        self.reader.fault(place, format!("{address} is {what}"));
        None
    }

    /// The gateway that this node will use: its own, or else the cluster's.
    fn check_gateway(&mut self, place: &Place, interface: Interface<'_>, net: IpNet) {
        let own = interface.own_gateways.filter(|gateways| !gateways.is_empty());
        let gateways = own.or(self.cluster.gateways.as_deref()).into_iter().flatten();
        for gateway in gateways.filter(|gateway| gateway.value.is_ipv4() == net.addr().is_ipv4()) {
            if gateway.value == net.addr() {
                let message = format!("{} is the address of the gateway", gateway.value);
                self.reader.fault(place, message);
                continue;
            }
            if net.contains(&gateway.value) || is_link_local(gateway.value) || !interface.is_wired {
                continue;
            }
            if own.is_some() {
                let message =
                    format!("gateway {} is outside {}, the net of the node", gateway.value, net.trunc());
                self.reader.fault(&gateway.place, message);
            } else if subnet_of(self.cluster, gateway.value).is_none() {
                let message = format!("address {net} does not reach the gateway {}", gateway.value);
                self.reader.fault(place, message).help("give the node a `gateway` of its own");
            }
        }
    }

    fn take_address(&mut self, place: &Place, address: IpAddr, node: &At<String>) {
        match self.addresses.get(&address) {
            Some(other) => {
                let message = match *other == node.value {
                    true => format!("`{other}` has the address {address} twice"),
                    false => format!("address {address} of `{}` is that of `{other}` too", node.value),
                };
                self.reader.fault(place, message).label("taken");
            }
            None => {
                self.addresses.insert(address, node.value.clone());
            }
        }
    }
}
