//! Whole profiles, read in an invented world.

mod faults;
mod good;
mod kubernetes;
mod layers;
mod noise;
mod recipes;
mod secrets;
mod setting_faults;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Faults, Loaded, Surroundings, load};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd0aIeYmUpWpCrwV5VHP5ooJ+opZW9w9rgxGGHoHlzk me@here";
const ECDSA_KEY: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFAN6dphBWMqUIJUiqmPAt9W7rzeDoOgEHVTNckz716+0ynS+aisxeMCe0bd4cCWE++IEkDgOsmes7kdgOAQvcc= work";
const RSA_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC1v8h/sU6Iu4HX6dIy+akunog3xuauh95tptfxClgM3c5VdnOvdh8EF1iW/tklumRxWp7y4h6zr6HeBED/SQrwvJ6zR5wowhYgyVUz0e2q21SYh3OvtIo2eB2eXqr4szRKYHzrekURsOR30Zo70YTfZ6dW3g5JcSvaWc1a872xf3M8k8JNfikI5IA5z4YRQFsCfwU8xjWZMyf7m3OMzaO33gRgy8qxRX/yw7r+nvd8kGxi/wpq5HBp/50mOgMjXBBfl7XutrH3kksxQv1O5hx6m1ExlQCxzb66eDaZLfzzXupXQnVIppKeaL7oCthcO+6abdmIOiRI+GS20L3ee/oJ old";
/// `hunter2` by `openssl passwd -6 -salt saltsalt`.
const HASH: &str =
    "$6$saltsalt$8iYtNHxjWRl.NF6oNZ5tF.iKFlQREaXBLlSmZKP6dy9l5z3vsooWNW0/GZ6Nej73/TFug6pIPSqbJoCT6dfnj.";

/// Files, variables and a home folder that exist only here.
#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, Vec<u8>>,
    env: BTreeMap<String, String>,
}

impl World {
    fn with(profile: &str) -> Self {
        Self::default().file("/p/cluster.toml", profile)
    }

    fn file(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.files.insert(PathBuf::from(path), text.as_ref().to_vec());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Reads it. What the reader takes, the schema must take: every profile of these tests says so.
    #[track_caller]
    fn load(&self) -> Result<Loaded, Faults> {
        let loaded = load(Path::new("/p/cluster.toml"), self);
        let text =
            self.files.get(Path::new("/p/cluster.toml")).and_then(|text| std::str::from_utf8(text).ok());
        if let (Ok(_), Some(Ok(value))) = (&loaded, text.map(toml::from_str::<serde_json::Value>)) {
            assert_eq!(super::schema::tests::judge(&value), Ok(()), "{}", text.unwrap_or_default());
        }
        loaded
    }

    #[track_caller]
    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    #[track_caller]
    fn faults(&self) -> Vec<Fault> {
        let faults = self.load().map(|_| ()).expect_err("the profile was taken");
        assert!(!faults.as_slice().is_empty());
        faults.into_iter().collect()
    }
}

impl Surroundings for World {
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        self.files.get(path).cloned().ok_or_else(missing)
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut names = BTreeMap::new();
        for inside in self.files.keys().filter_map(|path| path.strip_prefix(folder).ok()) {
            let mut parts = inside.iter();
            let first = parts.next().unwrap_or_default().to_string_lossy().into_owned();
            names.insert(first, parts.next().is_some());
        }
        match names.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "no such folder")),
            false => Ok(names.into_iter().collect()),
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn home(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/home/me"))
    }
}

/// A sound profile of one node, with `more` at its end: settings of that node.
fn one_node(more: &str) -> String {
    format!(
        "schema = 1\n[image]\npath = \"base.img\"\n[cluster]\nname = \"swarm\"\nsubnet = \"192.168.1.0/24\"\n\
         [[node]]\nname = \"pi1\"\n{more}\n"
    )
}
