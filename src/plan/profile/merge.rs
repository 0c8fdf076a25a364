//! Lays a later layer over an earlier one.

use super::layer::{ConfigSetting, ConfigValue, Layer, UserLayer, WifiLayer, removes};
use super::reader::List;
use super::tree::mount_key;
use super::value::At;

impl Layer {
    /// This layer with `later` over it: later wins, lists append.
    pub(super) fn under(self, later: &Self) -> Self {
        let mut cmdline_add = self.cmdline_add;
        let mut cmdline_remove = self.cmdline_remove;
        cmdline_add.items.retain(|token| {
            !later.cmdline_remove.items.iter().any(|removed| removes(&removed.value, &token.value))
        });
        cmdline_remove.items.retain(|removed| {
            !later.cmdline_add.items.iter().any(|token| removes(&removed.value, &token.value))
        });
        let mut units_enable = self.units_enable;
        let mut units_disable = self.units_disable;
        let mut units_mask = self.units_mask;
        forget(&mut units_enable, &later.units_disable);
        forget(&mut units_enable, &later.units_mask);
        forget(&mut units_disable, &later.units_enable);
        forget(&mut units_mask, &later.units_enable);
        Self {
            recipes: appended(self.recipes, &later.recipes),
            params: by_name(self.params, &later.params, |param| {
                (param.recipe.value.clone(), param.name.clone())
            }),
            timezone: newer(self.timezone, &later.timezone),
            locale: newer(self.locale, &later.locale),
            keyboard: newer(self.keyboard, &later.keyboard),
            ssh_enable: newer(self.ssh_enable, &later.ssh_enable),
            ssh_password_login: newer(self.ssh_password_login, &later.ssh_password_login),
            cmdline_add: appended(cmdline_add, &later.cmdline_add),
            cmdline_remove: appended(cmdline_remove, &later.cmdline_remove),
            config_txt: config_txt(self.config_txt, &later.config_txt),
            users: users(self.users, &later.users),
            interface: newer(self.interface, &later.interface),
            gateways: newer(self.gateways, &later.gateways),
            dns: appended(self.dns, &later.dns),
            search: appended(self.search, &later.search),
            wifi: wifi(self.wifi, &later.wifi),
            hosts: appended(self.hosts, &later.hosts),
            files: keyed(self.files, &later.files, |file| file.path.clone()),
            directories: keyed(self.directories, &later.directories, |directory| directory.path.clone()),
            symlinks: keyed(self.symlinks, &later.symlinks, |symlink| symlink.path.clone()),
            removals: appended(self.removals, &later.removals),
            fstab: keyed(self.fstab, &later.fstab, mount_key),
            units_enable: appended(units_enable, &later.units_enable),
            units_disable: appended(units_disable, &later.units_disable),
            units_mask: appended(units_mask, &later.units_mask),
            sysctl: by_name(self.sysctl, &later.sysctl, |(key, _)| key.clone()),
            modules: appended(self.modules, &later.modules),
            downloads: keyed(self.downloads, &later.downloads, |download| download.path.clone()),
            apt: keyed(self.apt, &later.apt, |source| source.name.clone()),
            packages: appended(self.packages, &later.packages),
            first_boot: keyed(self.first_boot, &later.first_boot, |script| script.name.clone()),
        }
    }
}

pub(super) fn newer<T: Clone>(earlier: Option<T>, later: &Option<T>) -> Option<T> {
    later.clone().or(earlier)
}

/// Both lists, or the later one where it replaces; what is there already is not added again.
pub(super) fn appended<T: Clone + PartialEq>(earlier: List<T>, later: &List<T>) -> List<T> {
    let mut all = if later.replace { List { replace: true, items: Vec::new() } } else { earlier };
    for item in &later.items {
        if !all.items.contains(item) {
            all.items.push(item.clone());
        }
    }
    all
}

/// Both lists; an item takes the place of an earlier one with the same key.
fn keyed<T: Clone, K: PartialEq>(earlier: List<T>, later: &List<T>, key: impl Fn(&T) -> K) -> List<T> {
    if later.replace {
        return later.clone();
    }
    List { replace: earlier.replace, items: by_name(earlier.items, &later.items, key) }
}

fn by_name<T: Clone, K: PartialEq>(
    mut all: Vec<At<T>>,
    later: &[At<T>],
    key: impl Fn(&T) -> K,
) -> Vec<At<T>> {
    for item in later {
        match all.iter_mut().find(|earlier| key(&earlier.value) == key(&item.value)) {
            Some(earlier) => *earlier = item.clone(),
            None => all.push(item.clone()),
        }
    }
    all
}

fn forget(units: &mut List<String>, later: &List<String>) {
    units.items.retain(|unit| !later.items.contains(unit));
}

fn config_txt(mut all: Vec<At<ConfigSetting>>, later: &[At<ConfigSetting>]) -> Vec<At<ConfigSetting>> {
    for item in later {
        if !matches!(item.value.value, ConfigValue::More(_)) {
            all.retain(|earlier| {
                (&earlier.value.filter, &earlier.value.key) != (&item.value.filter, &item.value.key)
            });
        }
        all.push(item.clone());
    }
    all
}

fn users(mut all: Vec<At<UserLayer>>, later: &[At<UserLayer>]) -> Vec<At<UserLayer>> {
    for item in later {
        match all.iter_mut().find(|earlier| earlier.value.name == item.value.name) {
            Some(earlier) => {
                let under = std::mem::take(&mut earlier.value);
                earlier.value = user(under, &item.value);
            }
            None => all.push(item.clone()),
        }
    }
    all
}

fn user(earlier: UserLayer, later: &UserLayer) -> UserLayer {
    UserLayer {
        name: earlier.name,
        password: newer(earlier.password, &later.password),
        ssh_keys: appended(earlier.ssh_keys, &later.ssh_keys),
        groups: appended(earlier.groups, &later.groups),
        shell: newer(earlier.shell, &later.shell),
        sudo: newer(earlier.sudo, &later.sudo),
        uid: newer(earlier.uid, &later.uid),
        full_name: newer(earlier.full_name, &later.full_name),
    }
}

/// Another net needs another key: a layer that names an `ssid` forgets the earlier key.
fn wifi(earlier: Option<At<WifiLayer>>, later: &Option<At<WifiLayer>>) -> Option<At<WifiLayer>> {
    let (Some(under), Some(over)) = (&earlier, later) else { return newer(earlier, later) };
    let (under, value) = (under.value.clone(), &over.value);
    let key = if value.ssid.is_some() { value.key.clone() } else { newer(under.key, &value.key) };
    let wifi = WifiLayer {
        ssid: newer(under.ssid, &value.ssid),
        key,
        hidden: newer(under.hidden, &value.hidden),
        country: newer(under.country, &value.country),
        address: newer(under.address, &value.address),
    };
    Some(At { value: wifi, place: over.place.clone() })
}
