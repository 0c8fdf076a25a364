//! Templates: text with places to be filled in from the whole cluster (minijinja, which is Jinja2's language).
//!
//! Strict: an undefined name is an error with its place. What a template can see:
//!
//! | name            | what it is |
//! |-----------------|------------|
//! | `cluster`       | `name`, `domain`, `subnets`, `gateways`, `dns`; lists of text |
//! | `nodes`         | every node in the order of the profile, each as `node` |
//! | `node`          | the node that is made: `name`, `role`, `host`, `fqdn`, `address`, `addresses`, `index` (from 0), `recipes`, `params`, `host_key` |
//! | `param`         | the parameters of the recipe, `-` written `_` |
//! | `part`          | the part of the recipe, or none |
//! | `os`            | `codename`, `version`, `arch`, `id`, `boot`, `first_user`: what the image says of itself |
//!
//! and call: `nodes_with("slurm/compute")`, `fail("…")`, `secret_hex(label, bytes)`, `secret_base64(label, bytes)`,
//! `secret_token(label, length)`, `ssh_key(label).public` and `.private`, `uuid(label)`, `ca(label, common_name)` (a
//! certificate authority: `.cert` and `.key` in PEM, `.hash` as `kubeadm join` wants it, and
//! `.client(label, common_name, organization)` with a `.cert` and a `.key` of its own), and the filters `sh` (quoted for
//! a shell), `base64`, `sha256` (hexadecimal) and `tojson`.
//!
//! A text that has seen a secret is one: see [`Rendered::is_secret`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64ct::{Base64, Encoding as _};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::authority::{Authority, Identity};
use super::recipe::{Files, ParamValue, Params, RecipeUse};
use super::resolve::{Key, static_addresses};
use super::{Cluster, Content, Node, OsFacts, Seed, host_keys};
use crate::base::{Secret, Sha256Digest, hex};

/// Steps of the template engine that one text may take: a loop over ten thousand nodes has room.
const FUEL: u64 = 20_000_000;
/// What a generated secret may be long, in bytes or letters.
const LONGEST_SECRET: usize = 256;

/// Fills in templates for one cluster.
pub(super) struct Renderer {
    seed: Seed,
    cluster: Value,
    /// Shared by every text: each would copy them otherwise.
    nodes: Arc<[(Value, Vec<RecipeUse>)]>,
    all_nodes: Value,
    os: Value,
}

/// Whose template it is, and for which node.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// As errors show it.
    pub(super) name: &'a str,
    /// The recipe, whose secrets are its own; empty for the profile's own templates.
    pub(super) recipe: &'a str,
    pub(super) part: Option<&'a str>,
    pub(super) params: Option<&'a Params>,
    /// What `include` and `import` may name.
    pub(super) files: Option<&'a Arc<Files>>,
    /// The place of the node in the cluster; `None` for a file of the whole cluster.
    pub(super) node: Option<usize>,
}

/// A template, filled in.
pub(super) struct Rendered {
    pub(super) text: String,
    /// A secret has gone into it.
    pub(super) is_secret: bool,
}

impl Rendered {
    pub(super) fn into_content(self) -> Content {
        if self.is_secret { Content::secret(self.text) } else { Content::text(self.text) }
    }
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TemplateError {
    /// The template, as its recipe or the profile names it.
    pub name: String,
    /// From 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` line {line}: {}", self.name, self.what),
            None => write!(f, "`{}`: {}", self.name, self.what),
        }
    }
}

impl Renderer {
    pub(super) fn new(cluster: &Cluster, facts: Option<&OsFacts>, seed: &Seed) -> Self {
        let host_keys: BTreeMap<String, String> = host_keys(cluster, seed).into_iter().collect();
        let nodes = cluster.nodes.iter().enumerate().map(|(index, node)| {
            let key = host_keys.get(&node.name).map(String::as_str).unwrap_or_default();
            (node_value(cluster, node, index, key), node.recipes.uses.clone())
        });
        let nodes: Arc<[_]> = nodes.collect();
        Self {
            seed: seed.clone(),
            all_nodes: nodes.iter().map(|(node, _)| node.clone()).collect(),
            nodes,
            cluster: Value::from_pairs([
                ("name", Value::from(&cluster.name)),
                ("domain", Value::from(cluster.domain.clone())),
                ("subnets", texts(&cluster.subnets)),
                ("gateways", texts(&cluster.gateways)),
                ("dns", texts(&cluster.dns)),
            ]),
            os: facts.map_or(Value::UNDEFINED, os_value),
        }
    }

    pub(super) fn render(&self, text: &str, scope: &Scope<'_>) -> Result<Rendered, TemplateError> {
        let taint = Arc::new(AtomicBool::new(false));
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL));
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
        let syntax = syntax.build().map_err(|error| wrong(scope, &error))?;
        env.set_syntax(syntax);
        // What is written is no HTML.
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        if let Some(files) = scope.files {
            let files = Arc::clone(files);
            env.set_loader(move |name| Ok(files.text(name).map(str::to_owned)));
        }
        self.add_functions(&mut env, scope, &taint);
        self.add_authorities(&mut env, scope, &taint);
        env.add_filter("sh", |text: &str| shell_word(text));
        env.add_filter("base64", |text: &str| base64(text.as_bytes()));
        env.add_filter("sha256", |text: &str| Sha256Digest::of(text.as_bytes()).to_string());
        let context = Value::from_pairs([
            ("cluster", self.cluster.clone()),
            ("nodes", self.all_nodes.clone()),
            (
                "node",
                scope.node.and_then(|index| self.nodes.get(index)).map_or(Value::UNDEFINED, |n| n.0.clone()),
            ),
            ("os", self.os.clone()),
            ("part", Value::from(scope.part)),
            ("param", scope.params.map_or(Value::UNDEFINED, |params| own_params(params, &taint))),
        ]);
        let text = env.render_named_str(scope.name, text, context).map_err(|error| wrong(scope, &error))?;
        Ok(Rendered { text, is_secret: taint.load(Ordering::Relaxed) })
    }

    fn add_functions(&self, env: &mut Environment<'_>, scope: &Scope<'_>, taint: &Arc<AtomicBool>) {
        let nodes = Arc::clone(&self.nodes);
        env.add_function("nodes_with", move |word: &str| -> Value {
            let has = |uses: &[RecipeUse]| uses.iter().any(|used| used.is(word));
            nodes.iter().filter(|(_, uses)| has(uses)).map(|(node, _)| node.clone()).collect()
        });
        env.add_function("fail", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{FAIL}{message}")))
        });
        let secret = |write: fn(&[u8], usize) -> String| {
            let (seed, recipe, taint) = (self.seed.clone(), scope.recipe.to_owned(), Arc::clone(taint));
            move |label: &str, len: usize| -> Result<String, Error> {
                if !(1..=LONGEST_SECRET).contains(&len) {
                    let what = format!("a secret of {len}, wanted 1 to {LONGEST_SECRET}");
                    return Err(Error::new(ErrorKind::InvalidOperation, what));
                }
                taint.store(true, Ordering::Relaxed);
                Ok(write(&seed.derive::<{ 8 * LONGEST_SECRET }>(&format!("recipe {recipe} {label}")), len))
            }
        };
        env.add_function("secret_hex", secret(|bytes, len| hex(bytes.get(..len).unwrap_or_default())));
        env.add_function("secret_base64", secret(|bytes, len| base64(bytes.get(..len).unwrap_or_default())));
        env.add_function("secret_token", secret(token));
        let (seed, recipe) = (self.seed.clone(), scope.recipe.to_owned());
        env.add_function("uuid", move |label: &str| {
            seed.derive_uuid(&format!("recipe {recipe} uuid {label}")).to_string()
        });
        let (seed, recipe, taint) = (self.seed.clone(), scope.recipe.to_owned(), Arc::clone(taint));
        env.add_function("ssh_key", move |label: &str| -> Result<Value, Error> {
            let key = Key::derive(&seed, &format!("recipe {recipe} ssh {label}"), label).map_err(invalid)?;
            let (public, private) = (key.public, key.private);
            Ok(Value::from_object(KeyPair { public, private, taint: Arc::clone(&taint) }))
        });
    }

    fn add_authorities(&self, env: &mut Environment<'_>, scope: &Scope<'_>, taint: &Arc<AtomicBool>) {
        let (seed, recipe, taint) = (self.seed.clone(), scope.recipe.to_owned(), Arc::clone(taint));
        env.add_function("ca", move |label: &str, name: &str| -> Result<Value, Error> {
            let label = format!("recipe {recipe} ca {label}");
            let authority = Authority::derive(&seed, &label, name).map_err(invalid)?;
            Ok(Value::from_object(Ca { authority, label, seed: seed.clone(), taint: Arc::clone(&taint) }))
        });
    }
}

/// Marks the message of `fail`, which is shown as it stands.
const FAIL: &str = "\u{1}";

fn wrong(scope: &Scope<'_>, error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    let what = match detail.split_once(FAIL) {
        Some((_, message)) => message.to_owned(),
        None if detail.is_empty() => error.kind().to_string(),
        None => format!("{}: {detail}", error.kind()),
    };
    // An error in an included template names that one.
    let name = error.name().unwrap_or(scope.name).to_owned();
    TemplateError { name, line: error.line(), what }
}

fn invalid(error: impl std::error::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

/// A pair of keys: the private half is a secret, the public half is none.
#[derive(Debug)]
struct KeyPair {
    public: String,
    private: Secret<String>,
    taint: Arc<AtomicBool>,
}

impl Object for KeyPair {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "public" => Some(Value::from(&self.public)),
            "private" => {
                self.taint.store(true, Ordering::Relaxed);
                Some(Value::from(self.private.expose()))
            }
            _ => None,
        }
    }
}

/// A certificate authority. What it signs for a client is a client's, so labels of clients are its own.
struct Ca {
    authority: Authority,
    label: String,
    seed: Seed,
    taint: Arc<AtomicBool>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.label)
    }
}

impl Object for Ca {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "hash" => Some(Value::from(&self.authority.hash)),
            half => self.authority.identity.half(half, &self.taint),
        }
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        if method != "client" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let (label, name, organization): (&str, &str, &str) = from_args(args)?;
        let label = format!("{} client {label}", self.label);
        let identity = self.authority.client(&self.seed, &label, name, organization).map_err(invalid)?;
        Ok(Value::from_object(Certified { identity, taint: Arc::clone(&self.taint) }))
    }
}

/// What an authority has signed.
#[derive(Debug)]
struct Certified {
    identity: Identity,
    taint: Arc<AtomicBool>,
}

impl Object for Certified {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.identity.half(key.as_str()?, &self.taint)
    }
}

impl Identity {
    fn half(&self, name: &str, taint: &AtomicBool) -> Option<Value> {
        match name {
            "cert" => Some(Value::from(&self.cert)),
            "key" => {
                taint.store(true, Ordering::Relaxed);
                Some(Value::from(self.key.expose()))
            }
            _ => None,
        }
    }
}

/// The parameters of the recipe on its own node: who reads a secret one has seen a secret.
#[derive(Debug)]
struct OwnParams {
    params: Params,
    taint: Arc<AtomicBool>,
}

fn own_params(params: &Params, taint: &Arc<AtomicBool>) -> Value {
    Value::from_object(OwnParams { params: params.clone(), taint: Arc::clone(taint) })
}

impl Object for OwnParams {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let (_, value) = self.params.iter().find(|(name, _)| name.replace('-', "_") == key)?;
        match value {
            ParamValue::Secret(secret) => {
                self.taint.store(true, Ordering::Relaxed);
                Some(Value::from(secret.expose()))
            }
            value => Some(param_value(value)),
        }
    }
}

/// A secret one is left undefined.
fn param_value(value: &ParamValue) -> Value {
    match value {
        ParamValue::Text(text) => Value::from(text),
        ParamValue::List(list) => texts(list),
        ParamValue::Integer(number) => Value::from(*number),
        ParamValue::Flag(flag) => Value::from(*flag),
        ParamValue::Secret(_) => Value::UNDEFINED,
    }
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(|item| Value::from(item.to_string())).collect()
}

fn node_value(cluster: &Cluster, node: &Node, index: usize, host_key: &str) -> Value {
    let addresses: Vec<String> = static_addresses(node).map(|address| address.to_string()).collect();
    let recipes: Vec<String> = node.recipes.uses.iter().map(RecipeUse::word).collect();
    let fqdn =
        cluster.domain.as_ref().map_or_else(|| node.name.clone(), |domain| format!("{}.{domain}", node.name));
    // /etc/hosts knows the nodes with an address; the others say their names themselves (mDNS).
    let host = if addresses.is_empty() { format!("{}.local", node.name) } else { node.name.clone() };
    let params = node.recipes.uses.iter().map(|used| {
        let values = used.params.iter().map(|(name, value)| (name.replace('-', "_"), param_value(value)));
        (used.recipe.name.replace('-', "_"), Value::from_pairs(values))
    });
    Value::from_pairs([
        ("name", Value::from(&node.name)),
        ("role", Value::from(node.role.clone())),
        ("host", Value::from(host)),
        ("fqdn", Value::from(fqdn)),
        ("address", Value::from(addresses.first().cloned())),
        ("addresses", texts(&addresses)),
        ("index", Value::from(index)),
        ("recipes", texts(&recipes)),
        ("params", Value::from_pairs(params)),
        ("host_key", Value::from(host_key)),
    ])
}

fn os_value(facts: &OsFacts) -> Value {
    Value::from_pairs([
        ("id", Value::from(&facts.release.id)),
        ("codename", Value::from(&facts.release.codename)),
        ("version", Value::from(facts.release.version)),
        ("arch", Value::from(facts.arch.name())),
        ("boot", Value::from(facts.boot_mount.to_string())),
        ("first_user", Value::from(facts.first_user.as_ref().map(|user| user.name.clone()))),
    ])
}

/// One word of a shell, whatever is in it.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Small letters and digits, evenly: bytes that would favour some are passed over.
fn token(bytes: &[u8], len: usize) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let even = bytes.iter().filter(|byte| **byte < 252);
    even.take(len).map(|byte| char::from(LETTERS[usize::from(*byte) % 36])).collect()
}
