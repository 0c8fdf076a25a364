//! gpg makes keys and signatures; gpgv says what it thinks of them.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use pgp::packet::SubpacketData;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::base::Silent;

/// 2024-06-01. What is signed without a date is signed a year before.
const NOW: u64 = 1_717_200_000;
const DATA: &[u8] = b"not really an image\r\n";

/// A world of gpg's own, with the signed file in it.
struct Gpg(TempDir);

impl Gpg {
    /// `None`, announced, where there is no gpg. Missing is a failure where oracles are required.
    fn new() -> Option<Self> {
        for program in ["gpg", "gpgv"] {
            match Command::new(program).arg("--version").output() {
                Ok(_) => {}
                Err(error)
                    if std::env::var_os("CARDPRESS_ORACLES").is_some_and(|value| value == "require") =>
                {
                    panic!("{program}: {error}")
                }
                Err(error) => {
                    println!("{program} is not here ({error}): not checked");
                    return None;
                }
            }
        }
        let gpg = Self(tempfile::Builder::new().prefix("gpg").tempdir().unwrap());
        fs::write(gpg.path("data"), DATA).unwrap();
        Some(gpg)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path())
            .env("GNUPGHOME", self.0.path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Standard output of gpg on that day, fed with `input`.
    fn at(&self, day: &str, args: &[&str], input: &str) -> Vec<u8> {
        let mut command = self.command("gpg");
        command.args(["--no-tty", "--quiet", "--status-fd=1", "--command-fd=0", "--pinentry-mode=loopback"]);
        command.args(["--passphrase=", "--trust-model=always", "--ignore-time-conflict"]);
        command.arg(format!("--faked-system-time={day}T000000!")).args(args).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The fingerprint of a key that was made with `args` at the beginning of 2023.
    fn make(&self, args: &[&str]) -> String {
        let said = String::from_utf8(self.at("20230101", &[&["--batch"], args].concat(), "")).unwrap();
        let made = said.lines().find(|line| line.contains("KEY_CREATED")).unwrap();
        made.split(' ').nth(3).unwrap().to_owned()
    }

    fn key(&self, owner: &str, kind: &str) -> String {
        self.make(&["--quick-generate-key", owner, kind, "sign,cert", "never"])
    }

    fn export(&self, keys: &[&str], more: &[&str]) -> Vec<u8> {
        let args = [&["--batch", "--yes", "--output=exported"], more, &["--export"], keys].concat();
        self.at("20230601", &args, "");
        fs::read(self.path("exported")).unwrap()
    }

    fn sign_at(&self, day: &str, key: &str, more: &[&str]) -> Vec<u8> {
        let user = format!("--local-user={key}!");
        let args =
            [&["--batch", "--yes", "--output=signed", &user], more, &["--detach-sign", "data"]].concat();
        self.at(day, &args, "");
        fs::read(self.path("signed")).unwrap()
    }

    fn sign(&self, key: &str, more: &[&str]) -> Vec<u8> {
        self.sign_at("20230601", key, more)
    }

    fn revoke(&self, key: &str) {
        let file = format!("openpgp-revocs.d/{key}.rev");
        // A colon keeps it from being imported by accident.
        let text = fs::read_to_string(self.path(&file)).unwrap().replace(":-----BEGIN", "-----BEGIN");
        fs::write(self.path(&file), text).unwrap();
        self.at("20230601", &["--batch", "--import", &file], "");
    }

    /// What gpgv calls a signature of the file; binary keys only.
    fn gpgv(&self, keys: &[u8], signature: &[u8]) -> &'static str {
        fs::write(self.path("keyring"), keys).unwrap();
        fs::write(self.path("sig"), signature).unwrap();
        let mut command = self.command("gpgv");
        command.args(["--status-fd=1", "--keyring"]).arg(self.path("keyring")).args(["sig", "data"]);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        ["GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG"]
            .into_iter()
            .find(|word| said.contains(&format!("[GNUPG:] {word} ")))
            .unwrap_or("nothing")
    }

    fn ours(&self, keys: &[u8], signature: &[u8]) -> Result<String, Error> {
        verify(keys, signature, &File::open(self.path("data")).unwrap())
    }
}

/// Ends gpg's agent, which would outlive its folder.
impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "all"]).output();
    }
}

fn verify(keys: &[u8], bytes: &[u8], file: &File) -> Result<String, Error> {
    let keys = Keys::parse(Path::new("key.asc"), keys)?;
    let signature = Detached { name: "data.sig", bytes };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    keys.verify(file, signature, now, &Interrupt::default(), &Silent).map(|key| key.to_string())
}

/// A key with an ed25519 primary key that only certifies, and a subkey that signs.
fn with_subkey(gpg: &Gpg) -> (String, String) {
    let key = gpg.make(&["--quick-generate-key", "subkey@example.org", "ed25519", "cert", "never"]);
    let subkey = gpg.make(&["--quick-add-key", &key, "ed25519", "sign", "never"]);
    (key, subkey)
}

fn written(packets: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|raw| raw.parse().unwrap().to_writer(&mut bytes).unwrap());
    bytes
}

/// The packets of a key, each one altered or left as it is.
fn altered(key: &[u8], mut alter: impl FnMut(&mut Packet)) -> Vec<u8> {
    let mut bytes = Vec::new();
    for raw in packets::split(key).unwrap() {
        let mut packet = raw.parse().unwrap();
        alter(&mut packet);
        packet.to_writer(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn what_gpg_signs_and_gpgv_takes_is_taken_and_names_the_primary_key() {
    let Some(gpg) = Gpg::new() else { return };
    for kind in ["ed25519", "rsa3072", "nistp256"] {
        let key = gpg.key(kind, kind);
        let (keys, armored) = (gpg.export(&[&key], &[]), gpg.export(&[&key], &["--armor"]));
        for hash in ["SHA256", "SHA384", "SHA512"] {
            let hash = format!("--digest-algo={hash}");
            let signature = gpg.sign(&key, &[&hash]);
            assert_eq!(gpg.gpgv(&keys, &signature), "GOODSIG");
            assert_eq!(gpg.ours(&keys, &signature).unwrap(), key);
        }
        let signature = gpg.sign(&key, &["--armor"]);
        assert_eq!(gpg.ours(&armored, &signature).unwrap(), key);
        assert_eq!(gpg.ours(&[b"A key:\n".as_slice(), &armored].concat(), &signature).unwrap(), key);
    }
    let (key, subkey) = with_subkey(&gpg);
    let keys = gpg.export(&[&key], &[]);
    let signature = gpg.sign(&subkey, &[]);
    assert_eq!(gpg.gpgv(&keys, &signature), "GOODSIG");
    assert_eq!(gpg.ours(&keys, &signature).unwrap(), key);
    // The last of all keys in one file, or in armored blocks behind each other.
    assert_eq!(gpg.ours(&gpg.export(&[], &[]), &signature).unwrap(), key);
    let blocks = [gpg.export(&["rsa3072"], &["--armor"]), gpg.export(&[&key], &["--armor"])].concat();
    assert_eq!(gpg.ours(&blocks, &signature).unwrap(), key);
}

#[test]
fn signatures_that_should_not_count_are_refused_even_where_gpgv_is_kinder() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let rsa = gpg.key("rsa", "rsa2048");
    let short = gpg.key("short", "rsa1024");
    let dsa = gpg.key("dsa", "dsa2048");
    let keys = gpg.export(&[], &[]);
    fs::write(gpg.path("data"), b"another file").unwrap();
    let other_file = gpg.sign(&key, &[]);
    fs::write(gpg.path("data"), DATA).unwrap();
    // The signature, what we say, what gpgv says. It runs at today's date, not at ours, and minds neither dates in the
    // future nor weak hashes and keys.
    for (signature, said, gpgv) in [
        (gpg.sign(&rsa, &["--digest-algo=SHA1"]), "uses the hash SHA1", "GOODSIG"),
        (gpg.sign(&rsa, &["--digest-algo=RIPEMD160"]), "uses the hash RIPEMD160", "GOODSIG"),
        (gpg.sign(&rsa, &["--digest-algo=SHA224"]), "uses the hash SHA224", "GOODSIG"),
        (gpg.sign(&key, &["--textmode"]), "type 0x01", "GOODSIG"),
        (gpg.sign(&key, &["--default-sig-expire=20230701T000000"]), "until 2023-07-01", "EXPSIG"),
        (gpg.sign_at("20240602", &key, &[]), "dated 2024-06-02 00:00:00, and now is 2024-06-01", "GOODSIG"),
        (gpg.sign_at("20221231", &key, &[]), "before its key", "ERRSIG"),
        (gpg.sign(&short, &[]), "too weak", "GOODSIG"),
        (gpg.sign(&dsa, &[]), "too weak", "GOODSIG"),
        (gpg.sign(&key, &["--sig-notation=!limit@example.org=x"]), "Notation must be understood", "BADSIG"),
        (other_file, "was changed", "BADSIG"),
    ] {
        assert_eq!(gpg.gpgv(&keys, &signature), gpgv, "{said}");
        let error = gpg.ours(&keys, &signature).unwrap_err();
        assert!(error.to_string().contains(said), "{error}: {said}");
    }
    // What is only said, not demanded, does not matter.
    let signature = gpg.sign(&key, &["--sig-notation=hint@example.org=x"]);
    assert_eq!(gpg.ours(&keys, &signature).unwrap(), key);
}

#[test]
fn a_key_counts_as_long_as_its_owner_says() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let signature = gpg.sign(&key, &[]);
    let born = gpg.export(&[&key], &[]);
    let expire = |day, until| gpg.at(day, &["--batch", "--quick-set-expire", &key, until], "");

    expire("20230201", "20230501T000000");
    let expired = gpg.export(&[&key], &[]);
    let error = gpg.ours(&expired, &signature).unwrap_err();
    assert!(error.to_string().contains("was good until 2023-05-01 00:00:00"), "{error}");
    assert_eq!(gpg.gpgv(&expired, &signature), "EXPKEYSIG");
    // It expired since, and was alive when it signed.
    let early = gpg.sign_at("20230301", &key, &[]);
    assert_eq!(gpg.gpgv(&expired, &early), "EXPKEYSIG");
    assert_eq!(gpg.ours(&expired, &early).unwrap(), key);

    // The owner gave it more time; the old word is still there, as key servers keep it.
    expire("20230401", "20230901T000000");
    let extended = gpg.export(&[&key], &[]);
    assert_eq!(gpg.ours(&extended, &signature).unwrap(), key);
    let self_signatures = |keys: &[u8]| {
        let packets = packets::split(keys).unwrap();
        packets
            .iter()
            .filter(|raw| raw.tag() == Tag::Signature)
            .map(|raw| raw.body.to_vec())
            .collect::<Vec<_>>()
    };
    let newest = self_signatures(&extended).pop().unwrap();
    let head = [0xc2, u8::try_from(newest.len()).unwrap()];
    let both = [expired.as_slice(), &head, &newest].concat();
    assert!(self_signatures(&both).len() > 1);
    assert_eq!(gpg.ours(&both, &signature).unwrap(), key);

    expire("20230402", "0");
    gpg.revoke(&key);
    let revoked = gpg.export(&[&key], &[]);
    assert_eq!(gpg.gpgv(&revoked, &early), "REVKEYSIG");
    let error = gpg.ours(&revoked, &early).unwrap_err();
    assert!(error.to_string().contains(&format!("{key} is revoked")), "{error}");
    // Twice in one file, once without the revocation: a trap.
    let error = gpg.ours(&[born, revoked].concat(), &early).unwrap_err();
    assert!(matches!(&error, Error::BrokenKey { reason, .. } if reason.contains("twice")), "{error}");
}

#[test]
fn a_primary_key_that_no_longer_signs_files_does_not_count() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let signature = gpg.sign(&key, &[]);
    gpg.at("20230201", &["--expert", "--edit-key", &key], "change-usage\nS\nQ\nsave\n");
    let keys = gpg.export(&[&key], &[]);
    assert_eq!(gpg.gpgv(&keys, &signature), "ERRSIG");
    let error = gpg.ours(&keys, &signature).unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Refusal::NotForSigning(_), .. }), "{error}");
}

#[test]
fn naming_a_revoker_says_nothing_of_use_and_life_but_who_may_revoke() {
    let Some(gpg) = Gpg::new() else { return };
    let (ada, eve, bob) = (gpg.key("ada", "ed25519"), gpg.key("eve", "ed25519"), gpg.key("bob", "ed25519"));
    let early = gpg.sign_at("20230401", &eve, &[]);
    let (by_ada, by_eve) = (gpg.sign(&ada, &[]), gpg.sign(&eve, &[]));
    gpg.at("20230201", &["--expert", "--edit-key", &ada], "change-usage\nS\nQ\nsave\n");
    gpg.at("20230201", &["--batch", "--quick-set-expire", &eve, "20230501T000000"], "");
    for (key, signature, said) in
        [(&ada, by_ada, "not meant for signing"), (&eve, by_eve, "was good until 2023-05-01")]
    {
        gpg.at("20230301", &["--edit-key", key], &format!("addrevoker\n{bob}\ny\nsave\n"));
        let error = gpg.ours(&gpg.export(&[key], &[]), &signature).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!(gpg.ours(&gpg.export(&[&eve], &[]), &early).unwrap(), eve);
    gpg.at("20230402", &["--armor", "--output=revocation", "--desig-revoke", &eve], "y\n0\n\ny\n");
    gpg.at("20230402", &["--batch", "--import", "revocation"], "");
    let error = gpg.ours(&gpg.export(&[&eve], &[]), &early).unwrap_err();
    assert!(error.to_string().contains(&format!("{eve} is revoked")), "{error}");
}

#[test]
fn a_key_without_a_sound_self_signature_does_not_count() {
    let Some(gpg) = Gpg::new() else { return };
    let old = "--cert-digest-algo=SHA1 --allow-weak-key-signatures --quick-generate-key old rsa2048 cert,sign never";
    let key = gpg.make(&old.split(' ').collect::<Vec<_>>());
    let signature = gpg.sign(&key, &[]);
    let weak = gpg.export(&[&key], &[]);
    let sound = gpg.key("ada", "ed25519");
    let renamed = altered(&gpg.export(&[&sound], &[]), |packet| {
        if let Packet::UserId(user) = packet {
            *user = pgp::packet::UserId::from_str(Default::default(), "somebody else").unwrap();
        }
    });
    for (keys, signature) in [(weak, signature.clone()), (renamed, gpg.sign(&sound, &[]))] {
        let error = gpg.ours(&keys, &signature).unwrap_err();
        assert!(matches!(error, Error::Refused { refusal: Refusal::NoSelfSignature(_), .. }), "{error}");
    }
    // The owner took back the only user id in the file. The other one comes behind it.
    let two = gpg.key("bob", "ed25519");
    let signature_of_two = gpg.sign(&two, &[]);
    gpg.at("20230201", &["--batch", "--quick-add-uid", &two, "robert"], "");
    gpg.at("20230202", &["--batch", "--quick-revoke-uid", &two, "bob"], "");
    let keys = gpg.export(&[&two], &[]);
    assert_eq!(gpg.ours(&keys, &signature_of_two).unwrap(), two);
    let packets = packets::split(&keys).unwrap();
    let second = packets.iter().rposition(|raw| raw.tag() == Tag::UserId).unwrap();
    let withdrawn = written(&packets[..second]);
    let error = gpg.ours(&withdrawn, &signature_of_two).unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Refusal::NoSelfSignature(_), .. }), "{error}");
    // A revocation counts however it was hashed.
    gpg.revoke(&key);
    let error = gpg.ours(&gpg.export(&[&key], &[]), &signature).unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Refusal::Revoked(_), .. }), "{error}");
}

#[test]
fn a_subkey_counts_only_when_both_keys_want_it_and_for_as_long() {
    let Some(gpg) = Gpg::new() else { return };
    let (key, subkey) = with_subkey(&gpg);
    let signature = gpg.sign(&subkey, &[]);
    let keys = gpg.export(&[&key], &[]);
    assert_eq!(gpg.ours(&keys, &signature).unwrap(), key);
    let refused = |keys: &[u8], gpgv: &str, said: &str| {
        assert_eq!(gpg.gpgv(keys, &signature), gpgv, "{said}");
        let error = gpg.ours(keys, &signature).unwrap_err();
        assert!(error.to_string().contains(said), "{error}: {said}");
    };

    let mut cut = 0;
    let one_sided = altered(&keys, |packet| {
        if let Packet::Signature(signature) = packet {
            let unhashed = signature.config().unwrap().unhashed_subpackets();
            let embedded: Vec<usize> = unhashed
                .enumerate()
                .filter(|(_, subpacket)| matches!(subpacket.data, SubpacketData::EmbeddedSignature(_)))
                .map(|(at, _)| at)
                .collect();
            for at in embedded {
                signature.unhashed_subpacket_remove(at).unwrap();
                cut += 1;
            }
        }
    });
    assert_eq!(cut, 1);
    refused(&one_sided, "ERRSIG", "is not bound to the key");

    // Somebody takes the subkey for his own, signature and all.
    let other = gpg.key("mallory", "ed25519");
    let packets = packets::split(&keys).unwrap();
    let stolen = [gpg.export(&[&other], &[]), written(&packets[packets.len() - 2..])].concat();
    refused(&stolen, "ERRSIG", "is not bound to the key");

    gpg.at("20230201", &["--batch", "--quick-set-expire", &key, "20230501T000000", &subkey], "");
    refused(&gpg.export(&[&key], &[]), "EXPKEYSIG", "was good until 2023-05-01");
    gpg.at("20230202", &["--batch", "--quick-set-expire", &key, "0", &subkey], "");
    assert_eq!(gpg.ours(&gpg.export(&[&key], &[]), &signature).unwrap(), key);

    gpg.at("20230203", &["--expert", "--edit-key", &key], "key 1\nchange-usage\nS\nA\nQ\nsave\n");
    refused(&gpg.export(&[&key], &[]), "ERRSIG", "not meant for signing");
    gpg.at("20230204", &["--expert", "--edit-key", &key], "key 1\nchange-usage\nS\nA\nQ\nsave\n");
    assert_eq!(gpg.ours(&gpg.export(&[&key], &[]), &signature).unwrap(), key);

    gpg.at("20230205", &["--edit-key", &key], "key 1\nrevkey\ny\n0\n\ny\nsave\n");
    refused(&gpg.export(&[&key], &[]), "REVKEYSIG", &format!("{subkey} is revoked"));
}

#[test]
fn one_good_signature_of_several_suffices() {
    let Some(gpg) = Gpg::new() else { return };
    let (ada, bob) = (gpg.key("ada", "ed25519"), gpg.key("bob", "ed25519"));
    let keys = gpg.export(&[&ada], &[]);
    let (good, unknown) = (gpg.sign(&ada, &[]), gpg.sign(&bob, &[]));
    let text = gpg.sign(&ada, &["--textmode"]);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for one in [&unknown, &text, &bad] {
        for both in [[one.as_slice(), &good].concat(), [&good, one.as_slice()].concat()] {
            assert_eq!(gpg.ours(&keys, &both).unwrap(), ada);
        }
        assert!(gpg.ours(&keys, &[one.as_slice(), &unknown].concat()).is_err());
    }
    assert_eq!(gpg.gpgv(&keys, &[unknown.as_slice(), &good].concat()), "GOODSIG");
    let blocks = [gpg.sign(&bob, &["--armor"]), gpg.sign(&ada, &["--armor"])].concat();
    assert_eq!(gpg.ours(&keys, &blocks).unwrap(), ada);

    let error = gpg.ours(&keys, &unknown).unwrap_err();
    let said = format!("`data.sig` was made with the key {bob}, wanted one of `key.asc`: {ada}");
    assert_eq!(error.to_string(), said);
    let error = gpg.ours(&keys, &good.repeat(SIGNATURES_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("found 17 signatures in it, wanted 16 at most"), "{error}");
}

#[test]
fn a_spoilt_signature_never_verifies_unless_in_a_part_that_nobody_signed() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let (keys, signature) = (gpg.export(&[&key], &[]), gpg.sign(&key, &[]));
    let raw = packets::split(&signature).unwrap()[0];
    let word = |at: usize| usize::from(u16::from_be_bytes([raw.body[at], raw.body[at + 1]]));
    let unsigned_at = signature.len() - raw.body.len() + 6 + word(4) + 2;
    let unsigned = unsigned_at..unsigned_at + word(6 + word(4));
    let mut taken = 0;
    for at in 0..signature.len() {
        for bit in 0..8 {
            let mut spoilt = signature.clone();
            spoilt[at] ^= 1 << bit;
            if gpg.ours(&keys, &spoilt).is_ok() {
                taken += 1;
                assert!(unsigned.contains(&at), "byte {at} bit {bit}");
                // The key id there: gpgv would look for another key.
                assert!(["GOODSIG", "ERRSIG"].contains(&gpg.gpgv(&keys, &spoilt)), "byte {at} bit {bit}");
            }
        }
        assert!(gpg.ours(&keys, &signature[..at]).is_err(), "{at} bytes");
    }
    assert!(taken < 100, "{taken}");
    let armored = gpg.sign(&key, &["--armor"]);
    for len in 0..armored.len() - 40 {
        assert!(gpg.ours(&keys, &armored[..len]).is_err(), "{len} bytes");
    }
    for at in 0..armored.len() {
        let mut spoilt = armored.clone();
        spoilt[at] ^= 4;
        // Labels and checksum are no part of it; only a panic would be wrong.
        let _ = gpg.ours(&keys, &spoilt);
    }
}

#[test]
fn a_spoilt_file_or_key_never_verifies() {
    let Some(gpg) = Gpg::new() else { return };
    let (key, subkey) = with_subkey(&gpg);
    let (keys, signature) = (gpg.export(&[&key], &[]), gpg.sign(&subkey, &[]));
    for at in 0..DATA.len() {
        let mut spoilt = DATA.to_vec();
        spoilt[at] ^= 1;
        fs::write(gpg.path("data"), &spoilt).unwrap();
        assert!(matches!(gpg.ours(&keys, &signature), Err(Error::Bad { .. })), "byte {at}");
    }
    fs::write(gpg.path("data"), DATA).unwrap();
    let mut taken = 0;
    for at in 0..keys.len() {
        let mut spoilt = keys.clone();
        spoilt[at] ^= 1 << (at % 8);
        match gpg.ours(&spoilt, &signature) {
            Ok(found) => {
                assert_eq!(found, key, "byte {at}");
                taken += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert!(gpg.ours(&keys[..at], &signature).is_err(), "{at} bytes");
    }
    // Key ids outside of what is signed.
    assert!(taken < 40, "{taken}");
}

#[test]
fn the_whole_file_is_read_wherever_its_cursor_is_unless_interrupted() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let len = 2 * PIECE_LEN + 7;
    fs::write(gpg.path("data"), vec![0x5a; len]).unwrap();
    let (keys, signature) = (gpg.export(&[&key], &[]), gpg.sign(&key, &[]));
    let mut file = File::open(gpg.path("data")).unwrap();
    file.seek(SeekFrom::Start(99)).unwrap();
    assert_eq!(verify(&keys, &signature, &file).unwrap(), key);

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn start(&self, what: &str, total_bytes: Option<u64>) {
            self.0.lock().unwrap().push(format!("{what} {total_bytes:?}"));
        }
        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().push(bytes.to_string());
        }
        fn finish(&self) {
            self.0.lock().unwrap().push("done".to_owned());
        }
    }
    let keys = Keys::parse(Path::new("key.asc"), &keys).unwrap();
    let signature = Detached { name: "data.sig", bytes: &signature };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let (heard, interrupt) = (Heard::default(), Interrupt::default());
    keys.verify(&file, signature, now, &interrupt, &heard).unwrap();
    let start = format!("check the signature Some({len})");
    assert_eq!(*heard.0.lock().unwrap(), [start.as_str(), "1048576", "1048576", "7", "done"]);
    interrupt.raise();
    let error = keys.verify(&file, signature, now, &interrupt, &Silent).unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error}");
}

#[test]
fn what_is_no_signature_is_named() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let keys = gpg.export(&[&key], &[]);
    gpg.at("20230601", &["--batch", "--armor", "--output=clear", "--clear-sign", "data"], "");
    gpg.at("20230601", &["--batch", "--output=message", "--sign", "data"], "");
    for (bytes, said) in [
        (Vec::new(), "`data.sig` is empty, wanted a detached OpenPGP signature"),
        (b"<!DOCTYPE html>\n".to_vec(), "is a web page"),
        (b"Not Found\nreally".to_vec(), "is text that begins with `Not Found`"),
        (vec![0x50, 0x4b, 3, 4, 0], "is data that begins with 50 4b 03 04"),
        (fs::read(gpg.path("clear")).unwrap(), "is a `PGP SIGNED MESSAGE`"),
        (fs::read(gpg.path("message")).unwrap(), "with a packet of type CompressedData"),
        (keys.clone(), "with a packet of type PublicKey"),
        (gpg.export(&[&key], &["--armor"]), "is a `PGP PUBLIC KEY BLOCK`"),
        (vec![b'x'; SIGNATURE_LEN_MAX + 1], "is longer than 64 KiB"),
    ] {
        let error = gpg.ours(&keys, &bytes).unwrap_err();
        assert!(error.to_string().contains(said), "{error}: {said}");
    }
}

#[test]
fn what_is_no_public_key_is_named() {
    let Some(gpg) = Gpg::new() else { return };
    let key = gpg.key("ada", "ed25519");
    let secret = |more: &[&str]| {
        let args = [&["--batch", "--yes", "--output=secret"], more, &["--export-secret-keys"]].concat();
        gpg.at("20230601", &args, "");
        fs::read(gpg.path("secret")).unwrap()
    };
    let keys = gpg.export(&[&key], &[]);
    let ssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbg==\n-----END OPENSSH PRIVATE KEY-----\n".to_vec();
    for (bytes, said) in [
        (Vec::new(), "is empty, wanted an OpenPGP public key of version 4"),
        (b"ssh-ed25519 AAAA ada@here\n".to_vec(), "is text that begins with `ssh-ed25519 AAAA ada@here`"),
        (secret(&[]), "holds a private key, wanted a public one"),
        (secret(&["--armor"]), "holds a private key, wanted a public one"),
        (ssh, "is a `OPENSSH PRIVATE KEY`"),
        (gpg.sign(&key, &[]), "is an OpenPGP signature"),
        (keys[..keys.len() - 1].to_vec(), "cannot be read: found"),
        (vec![b'x'; 1 + (1 << 20)], "is longer than 1 MiB"),
    ] {
        let path = gpg.path("key");
        fs::write(&path, bytes).unwrap();
        let error = Keys::read(&path).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(path.to_str().unwrap()), "{error}: {said}");
    }
    fs::write(gpg.path("key"), &keys).unwrap();
    assert_eq!(Keys::read(&gpg.path("key")).unwrap().certificates[0].fingerprint().to_string(), key);
    assert!(matches!(Keys::read(gpg.0.path()), Err(Error::NoKey { .. })));
    assert!(matches!(Keys::read(&gpg.path("absent")), Err(Error::KeyFile { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn noise_is_neither_key_nor_signature(
        start in prop::sample::select(vec![
            &b""[..], b"\xc2\x20\x04\x00\x16\x08", b"\x89\x00\x40\x04\x00\x01\x08\x00\x06\x05\x02",
            b"\xc6\x33\x04\x00\x00\x00\x00\x16", b"-----BEGIN PGP SIGNATURE-----\n\n",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
        ]),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [start, &noise].concat();
        // May by chance be a key, of a kind that cannot verify anything.
        let _ = Keys::parse(Path::new("key"), &bytes);
        let detached = Detached { name: "sig", bytes: &bytes };
        let keys = Keys { path: PathBuf::new(), certificates: Vec::new() };
        let read = detached.content().and_then(|content| {
            keys.candidates(&detached.packets(&content)?, "sig", NOW).map(|found| found.len())
        });
        prop_assert!(read.is_err());
    }
}
