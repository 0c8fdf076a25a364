//! Who may have a device for himself: asked when the kernel says that it is busy, for a better message.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::super::{Disk, clean};
use super::stack::Stack;
use super::{Linux, mounts};

/// Told at most.
const USERS_MAX: usize = 5;

/// Processes that see it mounted or have it open; as many as can be seen with our rights.
pub(super) fn users(linux: &Linux, disk: &Disk) -> Vec<String> {
    let numbers = match Stack::read(linux) {
        Ok(stack) => stack.numbers(disk),
        Err(_) => vec![disk.number],
    };
    let mut users: Vec<String> = Vec::new();
    let mut mounts_told: Vec<String> = Vec::new();
    let processes = std::fs::read_dir(&linux.proc).into_iter().flatten().flatten();
    for process in
        processes.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
    {
        let (dir, id) = (process.path(), process.file_name().display().to_string());
        let name = std::fs::read(dir.join("comm")).map(|name| clean(&name)).unwrap_or_default();
        // Whole families of processes see the same mounts.
        for mount in mounts::mounts(&dir.join("mountinfo")).unwrap_or_default() {
            let on = mount.on.display().to_string();
            if numbers.contains(&mount.number) && !mounts_told.contains(&on) {
                users.push(format!("mounted on {} as process {id} ({name}) sees it", clean(on.as_bytes())));
                mounts_told.push(on);
            }
        }
        if has_open(&dir, &numbers) {
            users.push(format!("open in process {id} ({name})"));
        }
        if users.len() >= USERS_MAX {
            break;
        }
    }
    users
}

fn has_open(process: &Path, numbers: &[(u32, u32)]) -> bool {
    let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| file.path().metadata().ok()).any(|file| {
        let number = (rustix::fs::major(file.rdev()), rustix::fs::minor(file.rdev()));
        file.file_type().is_block_device() && numbers.contains(&number)
    })
}

/// Whose rights open a device, in words.
pub(in super::super) fn access_to(path: &Path) -> String {
    let group = path.metadata().ok().filter(|node| node.mode() & 0o060 == 0o060).map(|node| node.gid());
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let named = |gid: u32| {
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(gid)).then(|| clean(name.as_bytes()))
        })
    };
    match group.filter(|gid| *gid != 0).and_then(named) {
        Some(group) => format!("root (`sudo cardpress …`) or a member of group `{group}`"),
        None => "root (`sudo cardpress …`)".to_owned(),
    }
}
