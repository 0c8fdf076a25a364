//! `/etc/passwd` and its companions, edited line by line so that everything unrelated stays as it is.
//!
//! | file            | fields | spec |
//! |-----------------|--------|------|
//! | passwd          | name:x:uid:gid:gecos:home:shell | passwd(5) |
//! | shadow          | name:hash:changed:min:max:warn:inactive:expires:reserved | shadow(5) |
//! | group           | name:x:gid:members | group(5) |
//! | gshadow         | name:hash:admins:members | gshadow(5) |
//! | subuid, subgid  | name:first:count | subuid(5) |

use super::draft::Draft;
use crate::base::ImagePath;
use crate::plan::{Content, Owner};

const ETC: [&str; 6] =
    ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// Ordinary accounts lie here (`UID_MIN`, `UID_MAX` of login.defs(5) as Debian ships it).
const ORDINARY: std::ops::Range<u32> = 1000..60_000;
/// System groups made by us count down from here, as `addgroup --system` does.
const SYSTEM: std::ops::Range<u32> = 100..1000;

/// The six files.
#[derive(Clone, Default)]
pub(super) struct Accounts {
    passwd: Table,
    shadow: Table,
    group: Table,
    gshadow: Table,
    subuid: Table,
    subgid: Table,
}

/// One account, as passwd has it.
pub(super) struct Account {
    pub(super) owner: Owner,
    pub(super) home: String,
    pub(super) shell: String,
}

/// A new account.
pub(super) struct NewAccount<'a> {
    pub(super) name: &'a str,
    pub(super) owner: Owner,
    pub(super) home: &'a str,
    pub(super) shell: &'a str,
}

impl Accounts {
    /// What the image has.
    pub(super) fn read(draft: &mut Draft) -> Self {
        let [passwd, shadow, group, gshadow, subuid, subgid] =
            ETC.map(|path| Table::parse(draft.text(path).as_deref()));
        Self { passwd, shadow, group, gshadow, subuid, subgid }
    }

    /// Writes back what changed.
    pub(super) fn write(self, draft: &mut Draft) {
        let tables = [self.passwd, self.shadow, self.group, self.gshadow, self.subuid, self.subgid];
        for (path, table) in ETC.into_iter().zip(tables) {
            if !table.present {
                continue;
            }
            let secret = matches!(path, "/etc/shadow" | "/etc/gshadow");
            let text = table.text();
            let content = if secret { Content::secret(text) } else { Content::text(text) };
            draft.write_with(path, content, None, None);
        }
    }

    pub(super) fn has_passwd(&self) -> bool {
        self.passwd.present
    }

    pub(super) fn user(&self, name: &str) -> Option<Account> {
        let row = self.passwd.row(name)?;
        let owner = Owner { uid: field(row, 2).parse().ok()?, gid: field(row, 3).parse().ok()? };
        Some(Account { owner, home: field(row, 5).to_owned(), shell: field(row, 6).to_owned() })
    }

    pub(super) fn user_with_uid(&self, uid: u32) -> Option<&str> {
        self.passwd.rows().find(|row| field(row, 2).parse() == Ok(uid)).map(|row| field(row, 0))
    }

    /// The home of an ordinary account that `path` is in, the innermost where one is in another, and whose it is.
    pub(super) fn home_around(&self, path: &ImagePath) -> Option<(ImagePath, Owner)> {
        let home = |row: &Vec<String>| {
            let uid = field(row, 2).parse().ok().filter(|uid| ORDINARY.contains(uid))?;
            let home: ImagePath = field(row, 5).parse().ok().filter(|home| *home != ImagePath::root())?;
            path.below(&home)?;
            Some((home, Owner { uid, gid: field(row, 3).parse().ok()? }))
        };
        self.passwd.rows().filter_map(home).max_by_key(|(home, _)| home.as_str().len())
    }

    pub(super) fn group_id(&self, name: &str) -> Option<u32> {
        field(self.group.row(name)?, 2).parse().ok()
    }

    pub(super) fn group_names(&self) -> Vec<String> {
        self.group.rows().map(|row| field(row, 0).to_owned()).collect()
    }

    pub(super) fn user_names(&self) -> Vec<String> {
        self.passwd.rows().map(|row| field(row, 0).to_owned()).collect()
    }

    /// `wanted`, or the first ordinary number that is neither a user's nor a group's.
    pub(super) fn free_owner(&self, wanted: Option<u32>) -> Option<Owner> {
        let used = |id: u32, table: &Table| table.rows().any(|row| field(row, 2).parse() == Ok(id));
        let uid = wanted.or_else(|| {
            ORDINARY.into_iter().find(|id| !used(*id, &self.passwd) && !used(*id, &self.group))
        })?;
        let gid = if used(uid, &self.group) {
            ORDINARY.into_iter().find(|id| !used(*id, &self.group))?
        } else {
            uid
        };
        Some(Owner { uid, gid })
    }

    /// The account, a group of its own, and a range of subordinate ids where the image has such files.
    pub(super) fn add_user(&mut self, new: &NewAccount) {
        let NewAccount { name, owner: Owner { uid, gid }, home, shell } = *new;
        self.passwd.push(&[name, "x", &uid.to_string(), &gid.to_string(), "", home, shell]);
        let changed = self.shadow.row("root").map(|row| field(row, 2).to_owned()).unwrap_or_default();
        self.shadow.push(&[name, "!", &changed, "0", "99999", "7", "", "", ""]);
        self.group.push(&[name, "x", &gid.to_string(), ""]);
        self.gshadow.push(&[name, "!", "", ""]);
        for table in [&mut self.subuid, &mut self.subgid] {
            // SUB_UID_MIN and SUB_UID_COUNT of login.defs(5).
            let end = |row: &Vec<String>| {
                Some(field(row, 1).parse::<u32>().ok()?.saturating_add(field(row, 2).parse::<u32>().ok()?))
            };
            let first = table.rows().filter_map(end).max().unwrap_or(100_000).max(100_000);
            table.push(&[name, &first.to_string(), "65536"]);
        }
    }

    /// A group without members, with the highest free system number.
    pub(super) fn add_system_group(&mut self, name: &str) -> Option<u32> {
        let used = |id: u32| self.group.rows().any(|row| field(row, 2).parse() == Ok(id));
        let gid = SYSTEM.rev().find(|id| !used(*id))?;
        self.group.push(&[name, "x", &gid.to_string(), ""]);
        self.gshadow.push(&[name, "!", "", ""]);
        Some(gid)
    }

    /// Another name for a user, its own group of the same name, and everywhere either is mentioned.
    pub(super) fn rename_user(&mut self, old: &str, new: &str) {
        for table in [&mut self.passwd, &mut self.shadow, &mut self.subuid, &mut self.subgid] {
            table.set(old, 0, new);
        }
        for table in [&mut self.group, &mut self.gshadow] {
            table.set(old, 0, new);
            table.rename_members(old, new);
        }
    }

    /// Takes an account and its own group out of every file.
    pub(super) fn remove_user(&mut self, name: &str) {
        for table in [&mut self.passwd, &mut self.shadow, &mut self.subuid, &mut self.subgid] {
            table.remove(name);
        }
        for table in [&mut self.group, &mut self.gshadow] {
            table.remove(name);
            table.remove_member_everywhere(name);
        }
    }

    pub(super) fn set_home(&mut self, name: &str, home: &str) {
        self.passwd.set(name, 5, home);
    }

    pub(super) fn set_shell(&mut self, name: &str, shell: &str) {
        self.passwd.set(name, 6, shell);
    }

    /// The first part of GECOS; rooms and telephones stay.
    pub(super) fn set_full_name(&mut self, name: &str, full_name: &str) {
        let Some(row) = self.passwd.row(name) else { return };
        let rest = field(row, 4).split_once(',').map(|(_, rest)| format!(",{rest}")).unwrap_or_default();
        self.passwd.set(name, 4, &format!("{full_name}{rest}"));
    }

    pub(super) fn set_hash(&mut self, name: &str, hash: &str) {
        self.shadow.set(name, 1, hash);
    }

    /// Can `name` log in by password as things stand? `None` when shadow does not know it.
    pub(super) fn has_password(&self, name: &str) -> Option<bool> {
        self.shadow.row(name).map(|row| field(row, 1).starts_with('$'))
    }

    pub(super) fn add_member(&mut self, group: &str, user: &str) {
        self.group.add_member(group, user);
        self.gshadow.add_member(group, user);
    }

    pub(super) fn remove_member(&mut self, group: &str, user: &str) {
        self.group.remove_member(group, user);
        self.gshadow.remove_member(group, user);
    }
}

/// One file: rows of fields, in order.
#[derive(Clone, Default)]
struct Table {
    present: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn parse(text: Option<&str>) -> Self {
        let split = |line: &str| line.split(':').map(str::to_owned).collect();
        Self { present: text.is_some(), rows: text.unwrap_or_default().lines().map(split).collect() }
    }

    fn text(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.join(":"))).collect()
    }

    /// Rows that are accounts: no comments, no NIS `+` lines, nothing without a colon.
    fn rows(&self) -> impl Iterator<Item = &Vec<String>> {
        self.rows.iter().filter(|row| row.len() > 1 && !field(row, 0).starts_with(['#', '+', '-']))
    }

    fn row(&self, name: &str) -> Option<&Vec<String>> {
        self.rows().find(|row| field(row, 0) == name)
    }

    fn push(&mut self, fields: &[&str]) {
        if self.present {
            self.rows.push(fields.iter().map(|&text| text.to_owned()).collect());
        }
    }

    fn remove(&mut self, name: &str) {
        self.rows.retain(|row| field(row, 0) != name);
    }

    /// In every row of `name`: subuid may have several.
    fn set(&mut self, name: &str, index: usize, value: &str) {
        for row in self.rows.iter_mut().filter(|row| row.first().is_some_and(|first| first == name)) {
            if let Some(field) = row.get_mut(index) {
                value.clone_into(field);
            }
        }
    }

    /// group and gshadow both keep their members in the fourth field.
    fn edit_members(&mut self, group: Option<&str>, edit: impl Fn(&mut Vec<String>)) {
        for row in &mut self.rows {
            if group.is_some_and(|group| row.first().is_none_or(|first| first != group)) {
                continue;
            }
            let Some(members) = row.get_mut(3) else { continue };
            let mut names = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            edit(&mut names);
            *members = names.join(",");
        }
    }

    fn add_member(&mut self, group: &str, user: &str) {
        self.edit_members(Some(group), |names| {
            if !names.iter().any(|name| name == user) {
                names.push(user.to_owned());
            }
        });
    }

    fn remove_member(&mut self, group: &str, user: &str) {
        self.edit_members(Some(group), |names| names.retain(|name| name != user));
    }

    fn remove_member_everywhere(&mut self, user: &str) {
        self.edit_members(None, |names| names.retain(|name| name != user));
    }

    fn rename_members(&mut self, old: &str, new: &str) {
        self.edit_members(None, |names| {
            for name in names.iter_mut().filter(|name| *name == old) {
                new.clone_into(name);
            }
        });
    }
}

fn field(row: &[String], index: usize) -> &str {
    row.get(index).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: Table::parse(Some(
                "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n",
            )),
            shadow: Table::parse(Some("root:*:19700:0:99999:7:::\npi:!:19700:0:99999:7:::\n")),
            group: Table::parse(Some("root:x:0:\nsudo:x:27:pi\ngpio:x:997:pi\npi:x:1000:\n")),
            gshadow: Table::parse(Some("root:*::\nsudo:*::pi\ngpio:!::pi\npi:!::\n")),
            subuid: Table::parse(Some("pi:100000:65536\n")),
            subgid: Table::default(),
        }
    }

    #[test]
    fn a_renamed_user_is_renamed_wherever_it_is_named() {
        let mut accounts = accounts();
        accounts.rename_user("pi", "ada");
        assert!(accounts.user("pi").is_none());
        assert_eq!(accounts.user("ada").unwrap().owner, Owner { uid: 1000, gid: 1000 });
        assert_eq!(accounts.group.text(), "root:x:0:\nsudo:x:27:ada\ngpio:x:997:ada\nada:x:1000:\n");
        assert_eq!(accounts.gshadow.text(), "root:*::\nsudo:*::ada\ngpio:!::ada\nada:!::\n");
        assert_eq!(accounts.subuid.text(), "ada:100000:65536\n");
    }

    #[test]
    fn a_new_user_gets_the_next_free_numbers() {
        let mut accounts = accounts();
        let owner = accounts.free_owner(None).unwrap();
        assert_eq!(owner, Owner { uid: 1001, gid: 1001 });
        accounts.add_user(&NewAccount { name: "bob", owner, home: "/home/bob", shell: "/bin/bash" });
        assert!(accounts.passwd.text().ends_with("bob:x:1001:1001::/home/bob:/bin/bash\n"));
        assert!(accounts.shadow.text().ends_with("bob:!:19700:0:99999:7:::\n"));
        assert!(accounts.subuid.text().ends_with("bob:165536:65536\n"));
        assert_eq!(accounts.subgid.text(), ""); // the image has no such file
    }

    #[test]
    fn a_full_name_leaves_the_rest_of_gecos_alone() {
        let mut accounts = accounts();
        accounts.set_full_name("pi", "Ada L");
        assert!(accounts.passwd.text().contains(":Ada L,,,:"));
    }
}
