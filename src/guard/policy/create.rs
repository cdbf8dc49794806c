//! Create: what a container that is not phoenixd's may not be given, because it would lead to one that is.

use super::super::json::Json;
use super::super::managed::Hold;
use super::decide::View;
use super::{Asked, mount};

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
const HOST: [&str; 3] = ["NetworkMode", "PidMode", "UsernsMode"];
/// Fields that must be as they are by default.
const FORBIDDEN: [&str; 4] = ["Privileged", "Devices", "DeviceCgroupRules", "CgroupParent"];
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
        let endpoints = self.json.field("NetworkingConfig").field("EndpointsConfig");
        let endpoints = endpoints.pairs().ok_or("`EndpointsConfig` is no map")?;
        for (network, endpoint) in endpoints {
            is_foreign_network(self.view, network)?;
            let id = endpoint.field("NetworkID").text();
            is_foreign_network(self.view, id.ok_or("`NetworkID` is no text")?)?;
            for link in texts(endpoint, "Links")? {
                is_foreign(self.view, before_colon(link))?;
            }
        }
        Ok(())
    }
}

/// One `HostConfig`.
fn leads_nowhere(view: &View<'_>, host: &Json) -> Result<(), String> {
    stays_alone(host)?;
    joins_nobody(view, host)?;
    for bind in texts(host, "Binds")? {
        mount::bind(view, bind)?;
    }
    let mounts = host.field("Mounts").items().ok_or("`Mounts` is no list")?;
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
        let mode = host.field(field).text().ok_or("a namespace is no text")?;
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
    for option in texts(host, "SecurityOpt")? {
        let option = option.to_ascii_lowercase();
        let is_loose = ["unconfined", "label=disable", "label:disable"];
        if is_loose.iter().any(|loose| option.contains(loose)) {
            return refused("SecurityOpt");
        }
    }
    Ok(())
}

/// No namespace, volume or link of a managed container, and none of its networks.
fn joins_nobody(view: &View<'_>, host: &Json) -> Result<(), String> {
    for field in JOINS {
        let mode = host.field(field).text().ok_or("a namespace is no text")?;
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

fn is_foreign(view: &View<'_>, reference: &str) -> Result<(), String> {
    let reference = reference.strip_prefix('/').unwrap_or(reference);
    match view.managed.container(reference) {
        Hold::Free => Ok(()),
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

fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

/// A list of texts.
fn texts<'j>(object: &'j Json, field: &str) -> Result<Vec<&'j str>, String> {
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
