use super::*;

fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    Command::parse(&words)
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

#[test]
fn every_command_of_the_help_is_known() {
    for line in [
        "ls /",
        "ls -l -R /",
        "ls -lR /",
        "cat /a",
        "get /a b",
        "put b /a",
        "append b /a",
        "write-at 4KiB b /a",
        "truncate 0 /a",
        "mkdir -p /a",
        "mkdir /a",
        "rm -r /a",
        "rm /a",
        "mv /a /b",
        "ln /a /b",
        "ln -s ../a /b",
        "chmod 0755 /a",
        "chown 1000:1000 /a",
        "touch /a",
        "touch -d @0 /a",
        "stat /a",
        "stat --json /a",
        "xattr get /a user.b",
        "xattr set /a user.b c",
        "xattr rm /a user.b",
        "chmod -R 755 /a",
        "chown -R 1:1 /a",
        "find /a",
        "find /a -name *.txt -type f,l -newer /b -maxdepth 3 -print0",
        "find /a --json",
        "du /a",
        "du -sh /a",
        "tar-out /a",
        "tar-out /a x.tar",
        "tar-in /a",
        "tar-in x.tar /a",
        "df",
        "df -h",
        "grow 8GiB",
        "set-uuid 1A2B-3C4D",
        "set-label rootfs",
        "mkfs ext4",
        "mkfs fat32",
    ] {
        let command = parse(line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
        let reads = ["ls", "cat", "get", "stat", "df", "xattr get", "find", "du", "tar-out"];
        assert_eq!(command.is_edit(), !reads.iter().any(|read| line.starts_with(read)), "{line}");
    }
}

#[test]
fn words_mean_what_they_say() {
    assert_eq!(
        parse("ls -lR /etc"),
        Ok(Command::Ls { long: true, recursive: true, json: false, path: path("/etc") })
    );
    assert_eq!(
        parse("ln -s -- -odd /a"),
        Ok(Command::Symlink { target: "-odd".to_owned(), path: path("/a") })
    );
    assert_eq!(
        parse("chmod 4755 /a"),
        Ok(Command::Chmod { recursive: false, mode: 0o4755, path: path("/a") })
    );
    assert_eq!(
        parse("touch -d @-1.25 /a"),
        Ok(Command::Touch {
            time: Some(Timestamp { seconds: -2, nanoseconds: 750_000_000 }),
            path: path("/a")
        })
    );
    assert_eq!(
        parse("xattr set /a user.x 0x00ff"),
        Ok(Command::XattrSet { path: path("/a"), name: "user.x".to_owned(), value: vec![0, 255] })
    );
    let tar_in = |local: Option<&str>| Command::TarIn { local: local.map(Into::into), path: path("/a") };
    for (line, wanted, reads) in
        [("tar-in /a", None, true), ("tar-in - /a", None, true), ("tar-in x /a", Some("x"), false)]
    {
        let command = parse(line).unwrap();
        assert_eq!((&command, command.reads_input()), (&tar_in(wanted), reads));
    }
    let Ok(Command::Find { tests, .. }) = parse("find -type f /a -maxdepth 0") else { panic!("no find") };
    assert_eq!((tests.kinds, tests.depth_max), (vec![vec![FileKind::Regular]], Some(0)));
    assert_eq!(parse("set-label -x"), Ok(Command::SetLabel { label: "-x".to_owned() }));
}

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    for (line, word) in [
        ("lss /", "did you mean `ls`"),
        ("frobnicate", "--help"),
        ("ls", "ls [-l] [-R] PATH"),
        ("ls -x /", "no option `-x`"),
        ("ls etc", "begins with `/`"),
        ("cat /a /b", "found 2 operands, wanted 1"),
        ("cat -n /a", "no option `-n`"),
        ("rm /a/../b", "`..`"),
        ("chmod 888 /a", "octal"),
        ("chmod 10000 /a", "octal"),
        ("chmod +x /a", "octal"),
        ("chown root:root /a", "1000:1000"),
        ("chown 1 /a", "1000:1000"),
        ("touch -d 5 /a", "@1700000000"),
        ("touch -d", "needs a value"),
        ("truncate 5G /a", "8GiB"),
        ("xattr list /a", "get|set|rm"),
        ("xattr set /a user.x 0xf", "hexadecimal"),
        ("find", "find PATH [-name GLOB]"),
        ("find /a /b", "found 2 operands, wanted 1"),
        ("find /a -iname x", "no option `-iname`"),
        ("find /a -name", "`-name` needs a pattern"),
        ("find /a -type x", "f, d, l, b, c, p or s"),
        ("find /a -maxdepth x", "how many names deep"),
        ("fnid /a", "did you mean `find`"),
        ("tar-im /a", "did you mean `tar-in`"),
        ("du", "du [-s] [-h]"),
        ("tar-out", "tar-out PATH [LOCAL]"),
        ("tar-out x.tar /a", "begins with `/`"),
        ("tar-in a b c", "found 3 operands"),
        ("mkfs btrfs", "ext4 or fat32"),
        ("df /", "found 1 operands"),
    ] {
        let reason = parse(line).unwrap_err();
        assert!(reason.contains(word), "{line}: {reason}");
    }
}
