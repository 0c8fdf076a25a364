//! A merged layer as the settings of one node.

use std::collections::BTreeMap;

use super::super::cluster::{ConfigTxt, FirstBootScript, Network, Settings, Sudo, User, Wifi};
use super::super::needs::bad_needs;
use super::layer::{ConfigSetting, ConfigValue, Layer, UserLayer, WifiLayer};
use super::reader::{List, Reader};
use super::value::{At, Place};

/// The settings; `wifi` is handed in, because its address depends on the node.
pub(super) fn of_layer(reader: &mut Reader<'_>, layer: Layer, wifi: Option<Wifi>) -> Settings {
    one_thing_at_each_path(reader, &layer);
    one_user_for_each_uid(reader, &layer.users);
    no_sudo_means_no_group(reader, &layer.users);
    let mut sysctl = values(layer.sysctl);
    sysctl.sort();
    Settings {
        timezone: value(layer.timezone),
        locale: value(layer.locale),
        keyboard: value(layer.keyboard),
        ssh_enable: value(layer.ssh_enable),
        ssh_password_login: value(layer.ssh_password_login),
        cmdline_add: plain(layer.cmdline_add),
        cmdline_remove: plain(layer.cmdline_remove),
        config_txt: layer.config_txt.into_iter().flat_map(|setting| config_txt(setting.value)).collect(),
        users: layer.users.into_iter().map(|user| self::user(user.value)).collect(),
        network: Network {
            interface: value(layer.interface),
            gateways: values(layer.gateways.unwrap_or_default()),
            dns: plain(layer.dns),
            search: plain(layer.search),
        },
        wifi,
        hosts: plain(layer.hosts),
        files: plain(layer.files),
        directories: plain(layer.directories),
        symlinks: plain(layer.symlinks),
        removals: plain(layer.removals),
        fstab: plain(layer.fstab),
        units_enable: plain(layer.units_enable),
        units_disable: plain(layer.units_disable),
        units_mask: plain(layer.units_mask),
        sysctl,
        modules: plain(layer.modules),
        downloads: plain(layer.downloads),
        apt: plain(layer.apt),
        packages: plain(layer.packages),
        first_boot: plain(layer.first_boot),
    }
}

fn value<T>(at: Option<At<T>>) -> Option<T> {
    at.map(|at| at.value)
}

fn values<T>(items: Vec<At<T>>) -> Vec<T> {
    items.into_iter().map(|at| at.value).collect()
}

fn plain<T>(list: List<T>) -> Vec<T> {
    values(list.items)
}

fn config_txt(setting: ConfigSetting) -> Vec<ConfigTxt> {
    let ConfigSetting { filter, key, value } = setting;
    let line = |value| ConfigTxt { filter: filter.clone(), key: key.clone(), value };
    match value {
        ConfigValue::Remove => vec![line(None)],
        ConfigValue::These(values) | ConfigValue::More(values) => {
            values.into_iter().map(|value| line(Some(value))).collect()
        }
    }
}

fn user(user: UserLayer) -> User {
    User {
        name: user.name,
        password: value(user.password),
        ssh_keys: plain(user.ssh_keys),
        groups: plain(user.groups),
        shell: value(user.shell),
        sudo: value(user.sudo),
        uid: value(user.uid),
        full_name: value(user.full_name),
    }
}

/// A net needs a name and a country; `addresses` are those of this node.
pub(super) fn wifi(
    reader: &mut Reader<'_>,
    wifi: &At<WifiLayer>,
    addresses: Vec<ipnet::IpNet>,
) -> Option<Wifi> {
    let At { value: wifi, place } = wifi;
    if wifi.ssid.is_none() {
        reader.fault(place, "found no `ssid` in `wifi`");
    }
    if wifi.country.is_none() {
        reader
            .fault(place, "found no `country` in `wifi`")
            .help("without it the radio stays off: `country = \"GB\"`");
    }
    Some(Wifi {
        ssid: wifi.ssid.clone()?.value,
        passphrase: wifi.key.clone().map(|key| key.value),
        hidden: wifi.hidden.as_ref().is_some_and(|hidden| hidden.value),
        country: wifi.country.clone()?.value,
        addresses,
    })
}

/// A path is a file, a directory, a link, a download, or gone: not two of them.
fn one_thing_at_each_path(reader: &mut Reader<'_>, layer: &Layer) {
    let files = layer.files.items.iter().map(|item| (&item.value.path, &item.place, "a file"));
    let directories =
        layer.directories.items.iter().map(|item| (&item.value.path, &item.place, "a directory"));
    let symlinks = layer.symlinks.items.iter().map(|item| (&item.value.path, &item.place, "a symlink"));
    let downloads = layer.downloads.items.iter().map(|item| (&item.value.path, &item.place, "a download"));
    let removals = layer.removals.items.iter().map(|item| (&item.value, &item.place, "removed"));
    let mut seen = BTreeMap::new();
    let mut clashes: Vec<(Place, String)> = Vec::new();
    for (path, place, what) in files.chain(directories).chain(symlinks).chain(downloads).chain(removals) {
        match seen.get(path) {
            Some(other) if *other != what => {
                clashes.push((place.clone(), format!("`{path}` is to be both {other} and {what}")));
            }
            _ => {
                seen.insert(path, what);
            }
        }
    }
    for (place, message) in clashes {
        reader.fault(&place, message);
    }
}

fn no_sudo_means_no_group(reader: &mut Reader<'_>, users: &[At<UserLayer>]) {
    for At { value: user, .. } in users {
        let group = user.groups.items.iter().find(|group| group.value == "sudo");
        let refused = user.sudo.as_ref().filter(|sudo| sudo.value == Sudo::No);
        if let (Some(group), Some(_)) = (group, refused) {
            let message = format!("`{}` is in group `sudo`, but `sudo = false`", user.name);
            reader.fault(&group.place, message);
        }
    }
}

fn one_user_for_each_uid(reader: &mut Reader<'_>, users: &[At<UserLayer>]) {
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    for At { value: user, .. } in users {
        let Some(uid) = &user.uid else { continue };
        match seen.get(&uid.value) {
            Some(other) => {
                let message = format!("uid {} of `{}` is that of `{other}` too", uid.value, user.name);
                reader.fault(&uid.place, message);
            }
            None => {
                seen.insert(uid.value, &user.name);
            }
        }
    }
}

/// What scripts need is there, and nothing waits for itself. To be asked when all layers are in, recipes too.
pub(super) fn every_need_can_be_met(reader: &mut Reader<'_>, layer: &Layer) {
    let scripts = &layer.first_boot.items;
    let plain: Vec<FirstBootScript> = scripts.iter().map(|script| script.value.clone()).collect();
    for (name, bad) in bad_needs(&plain) {
        if let Some(script) = scripts.iter().find(|script| script.value.name == name) {
            reader.fault(&script.place, bad.to_string());
        }
    }
}
