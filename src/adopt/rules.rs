//! Why a field of a replica may differ from its original's. Each rule looks at both values: that hardening touches a
//! field does not explain whatever stands there.

use std::collections::BTreeSet;

use super::config::{exposed_ports, variables};
use super::{COMPOSE_IMAGE, Examined, Value, Verdict, labels};

/// A field of both containers.
pub(super) struct Pair<'a> {
    pub(super) old: &'a Examined,
    pub(super) new: &'a Examined,
    pub(super) before: &'a Value,
    pub(super) after: &'a Value,
}

/// What the engine gives to each container anew, and what is its state.
const ENGINE_MADE: [&str; 21] = [
    "AppArmorProfile",
    "Created",
    "Driver",
    "ExecIDs",
    "GraphDriver",
    "HostnamePath",
    "HostsPath",
    "Id",
    "ImageManifestDescriptor",
    "LogPath",
    "MountLabel",
    "ProcessLabel",
    "ResolvConfPath",
    "RestartCount",
    "SizeRootFs",
    "SizeRw",
    "State",
    "Storage",
    // Paths that the engine hides in every container; that they are hidden at all is asked for elsewhere.
    "HostConfig.MaskedPaths",
    "HostConfig.ReadonlyPaths",
    "HostConfig.ConsoleSize",
];
/// What only matters to the client that makes the container (Docker Engine API 1.51, `ContainerConfig`).
const OF_THE_CLIENT: [&str; 4] = [
    "Config.AttachStdin",
    "Config.AttachStdout",
    "Config.AttachStderr",
    "HostConfig.ContainerIDFile",
];
/// The image's own where the container says nothing; `Path` and `Args` follow from them.
const OF_THE_IMAGE: [&str; 12] = [
    "Config.ArgsEscaped",
    "Config.Cmd",
    "Config.Entrypoint",
    "Config.Healthcheck",
    "Config.OnBuild",
    "Config.Shell",
    "Config.StopSignal",
    "Config.User",
    "Config.WorkingDir",
    "Config.Image",
    "Path",
    "Args",
];

/// Why a field that differs does so.
pub(super) fn explain(name: &str, pair: &Pair<'_>) -> Verdict {
    let rules = [
        engine, handed_on, hardened, limits, supervised, image, otherwise,
    ];
    let found = rules.iter().find_map(|rule| rule(name, pair));
    found.unwrap_or(Verdict::Unexplained)
}

impl Pair<'_> {
    fn numbers(&self) -> (i64, i64) {
        let number = |value: &Value| value.as_number().unwrap_or(0);
        (number(self.before), number(self.after))
    }

    /// The texts of lists on both sides.
    fn sets(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let set = |value: &Value| value.texts().into_iter().collect();
        (set(self.before), set(self.after))
    }

    fn host(&self) -> (&Value, &Value) {
        let of = |examined| host_config(examined);
        (of(self.old), of(self.new))
    }
}

fn host_config(examined: &Examined) -> &Value {
    examined.inspect.at(&["HostConfig"])
}

fn engine(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    let is_own_name = |examined: &Examined, value: &Value| {
        let id = examined.inspect.at(&["Id"]).as_text().unwrap_or_default();
        value
            .as_text()
            .is_some_and(|name| name.len() == 12 && id.starts_with(name))
    };
    let made = ENGINE_MADE.contains(&name)
        || (name == "Config.Hostname"
            && is_own_name(pair.old, pair.before)
            && is_own_name(pair.new, pair.after));
    made.then_some(Verdict::EngineMade)
}

fn handed_on(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    let label = name
        .strip_prefix("Config.Labels[")
        .and_then(|rest| rest.strip_suffix(']'));
    let is_own_label = label.is_some_and(labels::is_own) && pair.before.is_unset();
    // The replica bears its serial's name until the original is gone, and then the original's.
    let is_name = name == "Name" && pair.new.marks.at(&["name"]).as_text() == own_name(pair.before);
    (is_own_label || is_name).then_some(Verdict::HandedOn)
}

fn own_name(name: &Value) -> Option<&str> {
    name.as_text().map(|name| name.trim_start_matches('/'))
}

/// Walls and namespaces.
fn hardened(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    let after = pair.after;
    let (old, new) = pair.sets();
    let is_set = |value: &Value| !value.is_unset();
    let (holds, rule) = match name {
        "HostConfig.ReadonlyRootfs" => (after.as_bool() == Some(true), "read-only root"),
        "HostConfig.CapDrop" => (new.contains("ALL"), "no capabilities"),
        "HostConfig.CapAdd" => (new.is_subset(&old), "no capabilities"),
        "HostConfig.SecurityOpt" => {
            let only_more = new
                .difference(&old)
                .all(|option| option == "no-new-privileges:true");
            let said = [
                "no-new-privileges",
                "no-new-privileges=true",
                "no-new-privileges:false",
            ];
            let only_less = old
                .difference(&new)
                .all(|option| said.contains(&option.as_str()));
            (only_more && only_less, "no new privileges")
        }
        "HostConfig.IpcMode" => (
            !is_set(pair.before) && after.as_text() == Some("private"),
            "own namespaces",
        ),
        "HostConfig.CgroupnsMode" => (after.as_text() == Some("private"), "own namespaces"),
        "HostConfig.Init" => (
            pair.before.as_bool().is_none() && after.as_bool() == Some(true),
            "Docker's init",
        ),
        "Config.Healthcheck" => (
            after.at(&["Test"]).texts() == ["NONE"],
            "the health check is off, phoenixd probes from outside",
        ),
        _ => {
            let is_tmpfs = name.starts_with("tmpfs[") && is_set(pair.before) | is_set(after);
            (
                is_tmpfs && tmpfs_is_hardened(&old, &new),
                "tmpfs mounts noexec, nosuid, nodev, with a size",
            )
        }
    };
    holds.then_some(Verdict::Hardened(rule))
}

/// Nothing is lost but what hardening forbids, and nothing is there but what it adds.
fn tmpfs_is_hardened(old: &BTreeSet<String>, new: &BTreeSet<String>) -> bool {
    let walls = ["noexec", "nosuid", "nodev"];
    let has_size =
        |options: &BTreeSet<String>| options.iter().any(|option| option.starts_with("size="));
    let more = |option: &String| {
        walls.contains(&option.as_str()) || (option.starts_with("size=") && !has_size(old))
    };
    new.difference(old).all(more) && old.is_subset(new)
}

fn limits(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    const RULE: Verdict = Verdict::Hardened("limits");
    let (before, after) = pair.numbers();
    let added = before <= 0 && after > 0;
    let (old, new) = pair.host();
    let number = |host: &Value, key: &str| host.at(&[key]).as_number().unwrap_or(0);
    let holds = match name {
        "HostConfig.PidsLimit" | "HostConfig.Memory" => added,
        "HostConfig.NanoCpus" => added && number(old, "CpuQuota") == 0,
        // As much swap again is the engine's default; a replica has none above its memory.
        "HostConfig.MemorySwap" => {
            let memory = number(old, "Memory");
            (before == 0 || before == memory.saturating_mul(2)) && after == number(new, "Memory")
        }
        "HostConfig.Ulimits" => {
            let names = |value: &Value| -> BTreeSet<String> {
                let names = value
                    .items()
                    .iter()
                    .filter_map(|item| item.at(&["Name"]).as_text());
                names.map(str::to_owned).collect()
            };
            let old_names = names(pair.before);
            let kept = |item: &Value| pair.after.items().contains(item);
            let more = |name: &String| ["nofile", "core"].contains(&name.as_str());
            pair.before.items().iter().all(kept)
                && names(pair.after).difference(&old_names).all(more)
        }
        _ => false,
    };
    holds.then_some(RULE)
}

/// What the supervisor does instead of the engine.
fn supervised(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    match name {
        "HostConfig.RestartPolicy" => {
            let mode = pair.after.at(&["Name"]).as_text();
            (mode.is_none() || mode == Some("no")).then_some(Verdict::Supervised(
                "phoenixd owns rebirth, the engine never restarts it",
            ))
        }
        "HostConfig.PortBindings" => pair
            .after
            .is_unset()
            .then_some(Verdict::Supervised("the edge holds the published ports")),
        _ => None,
    }
}

/// Both have what their image says.
fn image(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    let is_other = pair.old.inspect.at(&["Image"]) != pair.new.inspect.at(&["Image"]);
    if !is_other {
        return None;
    }
    let of = |examined: &Examined, keys: &[&str]| examined.image.at(keys).clone();
    let is_default = |keys: &[&str]| {
        let same = |a: &Value, b: &Value| a == b || (a.is_unset() && b.is_unset());
        same(pair.before, &of(pair.old, keys)) && same(pair.after, &of(pair.new, keys))
    };
    let inside = |prefix: &str| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(']'))
    };
    let is_image = name == "Image" || inside("Config.Labels[") == Some(COMPOSE_IMAGE);
    let holds = if is_image {
        true
    } else if let Some(variable) = inside("Config.Env[") {
        let of = |examined: &Examined| variables(&examined.image).remove(variable);
        pair.before.as_text().map(str::to_owned) == of(pair.old).filter(|value| !value.is_empty())
            && pair.after.as_text().map(str::to_owned)
                == of(pair.new).filter(|value| !value.is_empty())
    } else if let Some(label) = inside("Config.Labels[") {
        is_default(&["Labels", label])
    } else if let Some(port) = inside("Config.ExposedPorts[") {
        let of = |examined: &Examined| exposed_ports(&examined.image).contains(port);
        pair.before.is_unset() != of(pair.old) && pair.after.is_unset() != of(pair.new)
    } else if let Some(target) = inside("mount[") {
        // A volume that only the newer image declares.
        let of =
            |examined: &Examined| !matches!(examined.image.at(&["Volumes", target]), Value::Null);
        pair.before.is_unset() && !of(pair.old) && of(pair.new)
    } else if name == "Path" || name == "Args" {
        // What runs is told by entrypoint and command, which are compared by themselves.
        true
    } else if OF_THE_IMAGE.contains(&name) {
        name.strip_prefix("Config.")
            .is_some_and(|key| is_default(&[key]))
    } else {
        false
    };
    holds.then_some(Verdict::ImageDefault)
}

/// The same thing in other words.
fn otherwise(name: &str, pair: &Pair<'_>) -> Option<Verdict> {
    let how = match name {
        _ if OF_THE_CLIENT.contains(&name) => {
            "it only matters to the client that makes the container"
        }
        // moby v28.5.2, `container.DefaultStopTimeout`.
        "Config.StopTimeout" if pair.before.is_unset() && pair.after.as_number() == Some(10) => {
            "the engine's own grace, written out"
        }
        "HostConfig.VolumeDriver" if pair.after.is_unset() => "its volumes exist already",
        _ => return None,
    };
    Some(Verdict::SaidOtherwise(how))
}
