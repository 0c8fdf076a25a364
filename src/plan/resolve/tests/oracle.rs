//! What programs we did not write say of what we make, and what spoilt images do to planning.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// The output of a program; `None`, announced, when it is not here. Missing is a failure where oracles are required.
fn ask(program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).env("LC_ALL", "C").output() {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) if std::env::var_os("CARDPRESS_ORACLES").is_some_and(|value| value == "require") => {
            panic!("{program}: {error}")
        }
        Err(error) => {
            println!("{program} is not here ({error}): not checked");
            None
        }
    }
}

#[test]
fn ssh_keygen_reads_our_keys_and_finds_our_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let plan = plan(&busy(), &trixie());
    for (key, comment) in
        [("/etc/ssh/ssh_host_ed25519_key", "root@one"), ("/home/ada/.ssh/id_ed25519", "cardpress@one")]
    {
        fs::write(path("key"), plan.text(key)).unwrap();
        fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        let Some(public) = ask("ssh-keygen", &["-y", "-f", &path("key")]) else { return };
        assert_eq!(public, plan.text(&format!("{key}.pub")));
        assert!(public.trim_end().ends_with(comment));
    }
    fs::write(path("hosts"), plan.text("/etc/ssh/ssh_known_hosts")).unwrap();
    for name in ["two", "two.local", "two.lan", "192.0.2.12"] {
        let found = ask("ssh-keygen", &["-F", name, "-f", &path("hosts")]).unwrap();
        assert!(found.contains(&host_keys(&busy(), &seed())[1].1), "{name}: {found}");
    }
}

#[test]
fn openssl_makes_the_same_hash_of_the_same_password() {
    let plan = plan(&busy(), &trixie());
    let hash = plan.line("/etc/shadow", "ada:").split(':').nth(1).unwrap();
    let salt = hash.split('$').nth(2).unwrap();
    assert_eq!(salt.len(), 16);
    let Some(theirs) = ask("openssl", &["passwd", "-6", "-salt", salt, "hunter2hunter2"]) else { return };
    assert_eq!(theirs.trim_end(), hash);
}

#[test]
fn systemd_accepts_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cardpress-first-boot.service");
    // The program it starts is on the node, not here.
    let plan = plan(&busy(), &trixie());
    let text = plan.text("/etc/systemd/system/cardpress-first-boot.service");
    fs::write(&path, text.replace("/usr/local/lib/cardpress/first-boot", "/bin/true")).unwrap();
    ask("systemd-analyze", &["verify", "--man=no", path.to_str().unwrap()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any text in any file of the image: a plan or faults, never a panic.
    #[test]
    fn no_image_makes_planning_panic(
        generation in 0_usize..5,
        texts in prop::collection::vec("([a-zé#:=\\[\\] \"'$@,%./\\\\-]{0,12}\n?){0,12}", 1..6),
        step in 1_usize..7,
    ) {
        let image = GENERATIONS[generation]();
        let mut facts = image.facts.clone();
        let files = wanted_paths(&busy()).into_iter().filter(|path| image.facts.tree.text(path.as_str()).is_some());
        for (index, path) in files.enumerate().filter(|(index, _)| index % step == 0) {
            let content = texts[index % texts.len()].clone().into_bytes();
            let target = Some(FileFact::File { content, mode: 0o644, uid: 0, gid: 0 });
            facts.tree.insert(path, Found { link: None, target });
        }
        let _ = resolve(&busy(), &facts, &seed());
    }

    /// Whatever is added and removed, cmdline.txt is one line, and adding again changes nothing.
    #[test]
    fn cmdline_txt_stays_one_line(before in "\\PC{0,80}", add in prop::collection::vec("[a-z]{1,4}(=[a-z0-9,]{1,5})?", 0..5)) {
        let edit = |text: &str| {
            let mut line = cmdline::Cmdline::parse(text);
            add.iter().for_each(|token| line.add(token));
            line.text()
        };
        let after = edit(&before.replace('"', ""));
        prop_assert_eq!(after.matches('\n').count(), 1);
        prop_assert!(after.ends_with('\n'));
        prop_assert_eq!(edit(&after), after);
    }
}
