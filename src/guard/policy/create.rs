//! Create: what a container that is not phoenixd's may not be given, because it would lead to one that is.

use super::super::json::Json;
use super::super::managed::Hold;
use super::decide::View;
use super::{Asked, mount, network};

/// Labels that phoenixd puts on what it makes; whoever puts them on something else makes it look like phoenixd's.
const OWN_LABELS: [&str; 6] = [
    "phoenixd.project",
    "phoenixd.service",
    "phoenixd.serial",
    "phoenixd.generation",
    "phoenixd.spec-hash",
    "phoenixd.version",
];

/// Docker's default capabilities (moby v28.5.2, `oci/caps/defaults.go`; the same in 20.10).
const DEFAULT_CAPS: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Fields that join another container's namespaces.
const JOINS: [&str; 5] = ["NetworkMode", "PidMode", "IpcMode", "UTSMode", "Cgroup"];
/// Fields in which `host` leads to the host.
const HOST: [&str; 4] = ["NetworkMode", "PidMode", "IpcMode", "UsernsMode"];
/// Fields that must be as they are by default.
const FORBIDDEN: [&str; 4] = ["Privileged", "Devices", "DeviceCgroupRules", "CgroupParent"];
/// What a seccomp profile of one's own does with calls that it does not name. An empty one, and one without this, is none at
/// all (runc v1.1, `libcontainer/specconv`, `SetupSeccomp`).
const SHUT: [&str; 5] = [
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
];
/// Mounts of one container that are looked at.
const MOUNTS: usize = 64;
/// Lists that replace the paths hidden from the container; empty ones, too.
const HIDDEN_PATHS: [&str; 2] = ["MaskedPaths", "ReadonlyPaths"];

/// Whether labels make something look like phoenixd's.
pub(super) fn own_label(labels: &Json) -> Result<bool, String> {
    let pairs = labels.pairs().ok_or("the labels are no map")?;
    Ok(pairs
        .iter()
        .any(|(name, _)| OWN_LABELS.contains(&name.as_str())))
}

impl Asked<'_> {
    pub(super) fn create(&self) -> Result<(), String> {
        let name = self.query("name")?;
        let is_named = !name.is_empty() && self.view.managed.is_taken(name);
        if is_named || own_label(self.json.field("Labels"))? {
            let what = format!("`{name}` would be, or look like, a replica");
            return self.view.signed_only(&what);
        }
        if self.view.is_signed() {
            return Ok(());
        }
        let host = self.json.field("HostConfig");
        host.pairs().ok_or("`HostConfig` is no object")?;
        // Where there is no `HostConfig`, dockerd takes its fields from the top (moby 20.10, `runconfig/config_unix.go`).
        for host in [host, self.json] {
            leads_nowhere(self.view, host)?;
        }
        self.create_on_networks(name)
    }

    /// The networks that it begins on, and the names that it has there: dockerd knows it by its own name, by its host name
    /// (since 25) and by its aliases, and takes these for each network that it is on by this request.
    fn create_on_networks(&self, name: &str) -> Result<(), String> {
        let endpoints = self.json.field("NetworkingConfig").field("EndpointsConfig");
        let endpoints = endpoints.pairs().ok_or("`EndpointsConfig` is no map")?;
        let mut names = vec![name, text(self.json, "Hostname")?];
        let mut networks = vec![
            text(self.json.field("HostConfig"), "NetworkMode")?,
            text(self.json, "NetworkMode")?,
        ];
        for (network, endpoint) in endpoints {
            networks.extend([network, text(endpoint, "NetworkID")?]);
            names.extend(network::names(self.view, endpoint)?);
        }
        for network in networks {
            is_foreign_network(self.view, network)?;
            network::has_no_name_of_ours(self.view, network, &names)?;
        }
        Ok(())
    }
}

/// One `HostConfig`.
fn leads_nowhere(view: &View<'_>, host: &Json) -> Result<(), String> {
    stays_alone(host)?;
    joins_nobody(view, host)?;
    let binds = texts(host, "Binds")?;
    let mounts = host.field("Mounts").items().ok_or("`Mounts` is no list")?;
    if binds.len() + mounts.len() > MOUNTS {
        return Err(format!("more than {MOUNTS} mounts are not looked at"));
    }
    for bind in binds {
        mount::bind(view, bind)?;
    }
    for one in mounts {
        mount::mount(view, one)?;
    }
    Ok(())
}

/// Nothing that leads to the host, and from there everywhere.
fn stays_alone(host: &Json) -> Result<(), String> {
    let refused = |what: &str| {
        Err(format!(
            "`{what}` leads to the host, and from there into every managed container"
        ))
    };
    for field in FORBIDDEN {
        if !host.field(field).is_nothing() {
            return refused(field);
        }
    }
    for field in HOST {
        let mode = text(host, field)?;
        if mode.eq_ignore_ascii_case("host") {
            return refused(field);
        }
    }
    for field in HIDDEN_PATHS {
        if *host.field(field) != Json::Null {
            return refused(field);
        }
    }
    for cap in texts(host, "CapAdd")? {
        let cap = cap.to_ascii_uppercase();
        let cap = cap.strip_prefix("CAP_").unwrap_or(&cap);
        if !DEFAULT_CAPS.contains(&cap) {
            return refused(&format!("CapAdd {cap}"));
        }
    }
    let devices = host.field("DeviceRequests").items();
    let devices = devices.ok_or("`DeviceRequests` is no list")?;
    if !devices.iter().all(is_gpu) {
        return refused("DeviceRequests");
    }
    for option in texts(host, "SecurityOpt")? {
        if !is_shut(option) {
            return refused("SecurityOpt seccomp");
        }
        let option = option.to_ascii_lowercase();
        // `writable-cgroups` is docker 28's: with it a container raises its own limits, and those below it.
        let is_loose = [
            "unconfined",
            "label=disable",
            "label:disable",
            "writable-cgroups=true",
            // SELinux's type for containers that are not confined.
            "spc_t",
        ];
        if is_loose.iter().any(|loose| option.contains(loose)) {
            return refused("SecurityOpt");
        }
    }
    Ok(())
}

/// Whether an option leaves the filter of system calls as shut as it is, or shuts others by default. What a profile lets
/// through by name is not weighed: the calls that lead out ask for capabilities.
fn is_shut(option: &str) -> bool {
    let value = option.strip_prefix("seccomp");
    let Some(profile) = value.and_then(|value| value.strip_prefix(['=', ':'])) else {
        return true;
    };
    if profile == "builtin" {
        return true;
    }
    let profile = Json::parse(profile.as_bytes()).ok();
    let default = profile
        .as_ref()
        .and_then(|it| it.field("defaultAction").text());
    default.is_some_and(|action| SHUT.contains(&action))
}

/// Whether a request for devices is for graphics cards. What CDI calls a device may be any path or program of the host.
fn is_gpu(request: &Json) -> bool {
    let driver = request.field("Driver").text();
    let ids = texts(request, "DeviceIDs");
    let kinds = request.field("Capabilities").items().unwrap_or_default();
    let is_cdi = |kind: &Json| {
        kind.items()
            .is_none_or(|all| all.iter().any(|one| one.text() == Some("cdi")))
    };
    driver.is_some_and(|driver| matches!(driver, "" | "nvidia"))
        && ids.is_ok_and(|ids| !ids.iter().any(|id| id.contains('=')))
        && !kinds.iter().any(is_cdi)
}

/// No namespace, volume or link of a managed container, and none of its networks.
fn joins_nobody(view: &View<'_>, host: &Json) -> Result<(), String> {
    for field in JOINS {
        let mode = text(host, field)?;
        let lower = mode.to_ascii_lowercase();
        if lower.starts_with("container:") {
            is_foreign(view, mode.get("container:".len()..).unwrap_or_default())?;
        } else if field == "NetworkMode" {
            is_foreign_network(view, mode)?;
        }
    }
    for field in ["VolumesFrom", "Links"] {
        for text in texts(host, field)? {
            is_foreign(view, before_colon(text))?;
        }
    }
    Ok(())
}

pub(super) fn is_foreign(view: &View<'_>, reference: &str) -> Result<(), String> {
    let reference = reference.strip_prefix('/').unwrap_or(reference);
    match view.managed.container(reference) {
        Hold::Free => Ok(()),
        Hold::Joining => Err(format!(
            "nobody joins `{reference}`: it was made to be in a managed container, or with its volumes"
        )),
        Hold::Held(why) => Err(format!("nobody joins `{reference}`: {why}")),
        Hold::Glass { .. } => Err(format!(
            "nobody joins `{reference}`: it is managed by phoenixd"
        )),
    }
}

fn is_foreign_network(view: &View<'_>, reference: &str) -> Result<(), String> {
    if view.managed.is_network(reference) {
        return Err(format!("`{reference}` is a network of phoenixes alone"));
    }
    Ok(())
}

pub(super) fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

/// A text, empty where there is none.
pub(super) fn text<'j>(object: &'j Json, field: &str) -> Result<&'j str, String> {
    let odd = || format!("`{field}` is no text");
    object.field(field).text().ok_or_else(odd)
}

/// A list of texts.
pub(super) fn texts<'j>(object: &'j Json, field: &str) -> Result<Vec<&'j str>, String> {
    // dockerd takes one text for a list in places (`strslice.StrSlice`).
    let value = object.field(field);
    if let Json::Text(text) = value {
        return Ok(vec![text]);
    }
    let odd = || format!("`{field}` is no list of texts");
    let items = value.items().ok_or_else(odd)?;
    items
        .iter()
        .map(|item| item.text().ok_or_else(odd))
        .collect()
}
