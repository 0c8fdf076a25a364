//! `cardpress export`

use serde_json::json;

use crate::build::{write_host_file, write_host_files};
use crate::plan::profile::lay_outside;
use crate::plan::{Cluster, HostFile};

use super::args::{Export, Global, Subject};
use super::report::{Failure, plural};
use super::subject::{Opening, open_base, read_profile, seed};
use super::ui::{self, Ui};

pub(super) fn run(args: &Export, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let files = files(args, global, ui)?;
    if let Some(folder) = &args.all {
        let written = write_host_files(folder, &files)?;
        ui.say(&format!(
            "wrote {} {} into {}",
            written.len(),
            plural(written.len(), "file"),
            folder.display()
        ));
        if global.json {
            let list: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
            return ui::print(&(json!({ "files": list }).to_string() + "\n"));
        }
        return Ok(());
    }
    let wanted = args.what.map(|what| what.path());
    let Some(file) = files.iter().find(|file| Some(file.path.as_str()) == wanted) else {
        // clap has seen to it that there is a word, and every word has its file.
        return Err(Failure::Usage(anyhow::anyhow!("found nothing to export, wanted a word or --all")));
    };
    match &args.output {
        Some(path) => {
            write_host_file(path, file)?;
            ui.say(&format!("wrote {}", path.display()));
            Ok(())
        }
        None if global.json => {
            let content = String::from_utf8_lossy(file.content.bytes());
            ui::print(&(json!({ "path": file.path, "content": content }).to_string() + "\n"))
        }
        None => ui::print_bytes(file.content.bytes()),
    }
}

fn files(args: &Export, global: &Global, ui: &Ui) -> Result<Vec<HostFile>, Failure> {
    let cluster = read_profile(&args.profile, ui)?;
    if args.with_base || args.image.is_some() || args.locked {
        let subject = Subject {
            profile: args.profile.clone(),
            nodes: Vec::new(),
            image: args.image.clone(),
            locked: args.locked,
            seed_file: args.seed_file.clone(),
        };
        let Opening { laid, seed, opened } = open_base(&subject, cluster, false, global, ui)?;
        return Ok(laid.files(Some(&opened.facts), &seed));
    }
    let seed = seed(&args.profile, args.seed_file.as_deref())?;
    warn_of_unknown_accounts(&cluster, ui);
    let laid = lay_outside(&cluster, &seed).map_err(Failure::Profile)?;
    Ok(laid.files(None, &seed))
}

fn warn_of_unknown_accounts(cluster: &Cluster, ui: &Ui) {
    let nameless = cluster.nodes.iter().filter(|node| node.settings.users.is_empty());
    let names: Vec<&str> = nameless.map(|node| node.name.as_str()).collect();
    if !names.is_empty() {
        ui.say(&format!(
            "warning: {}: the profile names no user, so the account to log in as is left out; --with-base asks the image",
            names.join(", ")
        ));
    }
}
