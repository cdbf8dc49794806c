//! Whether a replica is equal to the container whose place it takes: every field of both inspections, side by side.
//!
//! Nothing is taken on trust: a field that differs and that no [rule](super::rules) explains stops the adoption, also one
//! that nobody here has heard of. The values of variables are never told.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{exposed_ports, variables};
use super::{Examined, Value, labels, layer, mounts, networks, rules, settings};
use crate::spec::{ContainerSpec, ImageRef, Mount, MountSource, Recursive};

/// What a value is shown as where it may be a secret.
const HIDDEN: &str = "(not shown)";
/// How much of a value is shown.
const SHOWN_BYTES: usize = 160;

/// Two containers, field by field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// How many fields were compared.
    pub fields: usize,
    /// Those that differ, by name.
    pub differences: Vec<Difference>,
}

/// A field that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which: `HostConfig.Memory`, `Config.Env[TOKEN]`, `mount[/data]`.
    pub field: String,
    /// The original's, for people.
    pub old: String,
    /// The replica's, for people.
    pub new: String,
    /// Why it differs.
    pub verdict: Verdict,
}

/// Why a field differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A rule of hardening, by its name in `phoenixd check`.
    Hardened(&'static str),
    /// The supervisor does it instead of the engine.
    Supervised(&'static str),
    /// Both have their image's default, and the images differ.
    ImageDefault,
    /// The engine gives it anew to each container.
    EngineMade,
    /// It is handed on when the original is gone, or is phoenixd's own mark.
    HandedOn,
    /// The same thing, said in another way.
    SaidOtherwise(&'static str),
    /// Nobody knows: the adoption stops.
    Unexplained,
}

impl Verdict {
    /// Its name in the journal, with the rule.
    pub fn describe(self) -> String {
        match self {
            Self::Hardened(rule) => format!("hardened: {rule}"),
            Self::Supervised(what) => format!("supervised: {what}"),
            Self::ImageDefault => "the image's default".to_owned(),
            Self::EngineMade => "made by the engine".to_owned(),
            Self::HandedOn => "handed on".to_owned(),
            Self::SaidOtherwise(how) => format!("said otherwise: {how}"),
            Self::Unexplained => "unexplained".to_owned(),
        }
    }
}

impl Comparison {
    /// The differences that nobody can explain.
    pub fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        let is = |difference: &&Difference| difference.verdict == Verdict::Unexplained;
        self.differences.iter().filter(is)
    }

    /// Why the adoption must stop, if it must.
    pub fn objection(&self) -> Option<String> {
        let all: Vec<String> = self
            .unexplained()
            .map(|one| format!("{} ({} -> {})", one.field, one.old, one.new))
            .collect();
        (!all.is_empty())
            .then(|| format!("the replacement would differ from it: {}", all.join("; ")))
    }
}

/// Compares a container with the one that is to take its place.
///
/// What the old one has in its own root file system is a difference too, unless its label says that it may go.
pub fn compare(old: &Examined, new: &Examined) -> Comparison {
    let (old_fields, new_fields) = (fields(old), fields(new));
    let mut differences = Vec::new();
    let names: BTreeSet<&String> = old_fields.keys().chain(new_fields.keys()).collect();
    let count = names.len();
    for name in names {
        let of = |fields: &BTreeMap<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (before, after) = (of(&old_fields), of(&new_fields));
        // A swappiness of 0 is a setting; everywhere else the engine writes nothing in many ways.
        let are_unset =
            before.is_unset() && after.is_unset() && name != "HostConfig.MemorySwappiness";
        if before == after || are_unset {
            continue;
        }
        let pair = rules::Pair {
            old,
            new,
            before: &before,
            after: &after,
        };
        let verdict = rules::explain(name, &pair);
        let show = |value: &Value| {
            if may_be_secret(name) && !value.is_unset() {
                HIDDEN.to_owned()
            } else {
                clipped(value.to_string())
            }
        };
        differences.push(Difference {
            field: name.clone(),
            old: show(&before),
            new: show(&after),
            verdict,
        });
    }
    differences.extend(in_its_layer(old));
    Comparison {
        fields: count,
        differences,
    }
}

/// Where passwords and tokens are found: variables, commands, options of log drivers, and what is called so.
fn may_be_secret(field: &str) -> bool {
    let words = ["secret", "token", "passw", "key", "credential"];
    let lower = field.to_ascii_lowercase();
    field.starts_with("Config.Env[")
        || [
            "Args",
            "Path",
            "Config.Cmd",
            "Config.Entrypoint",
            "Config.Healthcheck",
        ]
        .contains(&field)
        || field == "HostConfig.LogConfig"
        || words.iter().any(|word| lower.contains(word))
}

/// A long value is of use to nobody, and the journal is bounded.
fn clipped(mut text: String) -> String {
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push('…');
    }
    text
}

fn in_its_layer(old: &Examined) -> Option<Difference> {
    let labels = old.inspect.at(&["Config", "Labels"]).text_fields();
    let discard = settings::read(&labels, labels::is_own, &mut Vec::new()).discard_layer;
    let found = mounts::read(&old.inspect, &mut Vec::new());
    let container = ContainerSpec {
        mounts: found.mounts,
        tmpfs: found.tmpfs,
        ..ContainerSpec::of_image(ImageRef::new(""))
    };
    let left = layer::left_in(old, &container);
    (!left.is_empty()).then(|| Difference {
        field: "root file system".to_owned(),
        old: left.join(", "),
        new: Value::Null.to_string(),
        verdict: if discard {
            Verdict::SaidOtherwise("its label phoenixd.discard_layer lets it go")
        } else {
            Verdict::Unexplained
        },
    })
}

/// All fields of an inspection by name. What the engine tells in several places, or in no fixed order, is one field with a
/// name of its own.
fn fields(examined: &Examined) -> BTreeMap<String, Value> {
    let inspect = &examined.inspect;
    let mut fields = BTreeMap::new();
    for (key, value) in inspect.each() {
        match key {
            "Config" | "HostConfig" => {
                for (inner, value) in value.each() {
                    if !is_said_elsewhere(key, inner) {
                        fields.insert(format!("{key}.{inner}"), in_order(key, inner, value));
                    }
                }
            }
            // Told as `mount[…]` and `network[…]`.
            "Mounts" | "NetworkSettings" => {}
            _ => drop(fields.insert(key.to_owned(), value.clone())),
        }
    }
    let config = inspect.at(&["Config"]);
    for (name, value) in variables(config) {
        fields.insert(format!("Config.Env[{name}]"), Value::Text(value));
    }
    for (name, value) in config.at(&["Labels"]).text_fields() {
        fields.insert(format!("Config.Labels[{name}]"), Value::Text(value));
    }
    for port in exposed_ports(config) {
        fields.insert(format!("Config.ExposedPorts[{port}]"), Value::Bool(true));
    }
    add_mounts(inspect, &mut fields);
    add_networks(inspect, &mut fields);
    fields
}

fn is_said_elsewhere(parent: &str, key: &str) -> bool {
    match parent {
        "Config" => ["Env", "Labels", "ExposedPorts", "Volumes"].contains(&key),
        _ => ["Binds", "Mounts", "Tmpfs"].contains(&key),
    }
}

/// Lists whose order means nothing.
fn in_order(parent: &str, key: &str, value: &Value) -> Value {
    let is_set = parent == "HostConfig" && ["CapAdd", "CapDrop", "SecurityOpt"].contains(&key);
    if !is_set {
        return value.clone();
    }
    let mut texts: Vec<String> = value
        .texts()
        .into_iter()
        // One spelling: 20.10 and 28 echo what they were given.
        .map(|text| {
            text.strip_prefix("CAP_")
                .map_or(text.clone(), str::to_owned)
        })
        .collect();
    texts.sort_unstable();
    Value::texts_of(texts)
}

fn add_mounts(inspect: &Value, fields: &mut BTreeMap<String, Value>) {
    let mut problems = Vec::new();
    let found = mounts::read(inspect, &mut problems);
    for mount in found.mounts {
        fields.insert(
            format!("mount[{}]", mount.target),
            Value::Text(shown(&mount)),
        );
    }
    for mount in found.tmpfs {
        fields.insert(
            format!("tmpfs[{}]", mount.target),
            Value::texts_of(mount.options),
        );
    }
    for (number, problem) in problems.into_iter().enumerate() {
        fields.insert(
            format!("mount {number} that cannot be read"),
            Value::Text(problem),
        );
    }
}

/// What is mounted, without the propagation, which hardening forces.
fn shown(mount: &Mount) -> String {
    let mode = if mount.read_only { "ro" } else { "rw" };
    match &mount.source {
        MountSource::Bind {
            path,
            selinux,
            recursive,
            ..
        } => {
            let selinux = selinux
                .as_ref()
                .map(|mode| format!(",{mode}"))
                .unwrap_or_default();
            let recursive = match recursive {
                Recursive::Enabled => "",
                Recursive::Disabled => ",non-recursive",
                Recursive::Writable => ",read-only-non-recursive",
                Recursive::Readonly => ",read-only-recursive",
            };
            format!("bind {path} {mode}{selinux}{recursive}")
        }
        MountSource::Volume {
            name,
            nocopy,
            subpath,
            labels: _,
        } => {
            let nocopy = if *nocopy { ",nocopy" } else { "" };
            let subpath = subpath
                .as_ref()
                .map(|path| format!(",subpath={path}"))
                .unwrap_or_default();
            format!("volume {name} {mode}{nocopy}{subpath}")
        }
        MountSource::Anonymous { .. } => format!("volume {mode}"),
        MountSource::Image { image, subpath, .. } => {
            let subpath = subpath
                .as_ref()
                .map(|path| format!(",subpath={path}"))
                .unwrap_or_default();
            format!("image {image} {mode}{subpath}")
        }
    }
}

/// What was asked for on each network; addresses that the engine gave are not part of that.
fn add_networks(inspect: &Value, fields: &mut BTreeMap<String, Value>) {
    for (name, endpoint) in inspect.at(&["NetworkSettings", "Networks"]).each() {
        let mut add = |key: &str, value: Value| {
            fields.insert(format!("network[{name}].{key}"), value);
        };
        add("attached", Value::Bool(true));
        let mut aliases = networks::aliases(endpoint, inspect);
        aliases.sort_unstable();
        aliases.dedup();
        add("Aliases", Value::texts_of(aliases));
        for key in ["IPv4Address", "IPv6Address", "LinkLocalIPs"] {
            add(key, endpoint.at(&["IPAMConfig", key]).clone());
        }
        for key in ["Links", "DriverOpts", "GwPriority"] {
            add(key, endpoint.at(&[key]).clone());
        }
    }
}
