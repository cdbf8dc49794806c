//! From what the engine says of a container to a service: what a phoenix in its place would be born from.
//!
//! The container is either an *original*, made by docker compose, or a replica that once took an original's place and
//! carries its [`marks`]. What equals the image's own default is left out, so that a newer image's default
//! applies. What a phoenix may not have, and what cannot be carried over, is a problem; all of them come at once.
//!
//! Not here: hardening (`spec::resolve`), and whether the container that was made of it is equal (`compare`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::config::{self, Said};
use super::{Value, host_config, labels, layer, marks, mounts, networks, settings};
use crate::spec::{
    ContainerSpec, ImageRef, NetworkMode, Phoenix, ProjectName, Published, PullPolicy, Service,
    ServiceName, Transport,
};

/// Everything that the engine says of a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Examined {
    /// `GET /containers/ID/json`.
    pub inspect: Value,
    /// `Config` of the image that it was made from; [`Value::Null`] when the engine does not have it any more.
    pub image: Value,
    /// What its [`marks`] say; [`Value::Null`] for an original.
    pub marks: Value,
    /// What differs from the image in its own root file system.
    pub changes: Vec<Change>,
}

/// One difference of a container's root file system from its image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where.
    pub path: String,
}

/// What happened to a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ChangeKind {
    /// It changed; of a directory also that something in it did.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// What has to be known of engine and host besides.
pub struct Surroundings<'a> {
    /// The engine's log driver for containers that name none.
    pub log_driver: String,
    /// The engine's runtime for containers that name none.
    pub runtime: String,
    /// Where the engine gives a container the host's cgroup namespace by itself (cgroup version 1).
    pub host_cgroup_by_default: bool,
    /// Why a path of the host may not be mounted, symlinks resolved.
    pub path_refusal: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("log_driver", &self.log_driver)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

/// What comes of a container.
#[derive(Clone, PartialEq, Debug)]
pub struct Derived {
    /// The service that takes its place, before hardening. Its name is the unit's.
    pub service: Service,
    /// The container's name, which is handed on.
    pub name: String,
    /// What its replicas carry, so that this can be told again when the original is gone.
    pub marks: Value,
    /// What is worth saying although it stops nothing.
    pub notes: Vec<String>,
}

/// Which container of docker compose it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unit {
    /// Its project.
    pub project: ProjectName,
    /// Its service in the Compose file.
    pub service: ServiceName,
    /// Its number among the service's containers.
    pub number: u32,
}

impl Unit {
    /// The name under which it is supervised: each container of docker compose is one of its own, because each has its
    /// own name, number and anonymous volumes to hand on. The first one is called as its service.
    pub fn name(&self) -> ServiceName {
        if self.number == 1 {
            self.service.clone()
        } else {
            ServiceName::new(format!("{}.{}", self.service, self.number))
        }
    }
}

/// Derives a service from a container.
///
/// # Errors
/// Everything that stands in the way, in sentences.
pub fn derive(examined: &Examined, around: &Surroundings<'_>) -> Result<Derived, Vec<String>> {
    let mut problems = Vec::new();
    let all_labels = examined.inspect.at(&["Config", "Labels"]).text_fields();
    let Some(unit) = labels::unit(&all_labels) else {
        return Err(vec!["it was not made by docker compose".to_owned()]);
    };
    if examined.image == Value::Null {
        return Err(vec![format!(
            "its image {} is not on the engine any more: which of its fields are the image's own cannot be told",
            examined.inspect.at(&["Image"])
        )]);
    }
    let settings = settings::read(&all_labels, labels::is_own, &mut problems);
    let said = Said::new(examined);
    let mut container = config::container(&said, image_ref(examined, &mut problems), &mut problems);
    host_config::fill(
        &mut container,
        examined.inspect.at(&["HostConfig"]),
        around,
        &settings.phoenix.allow,
        &mut problems,
    );
    let found = mounts::read(&examined.inspect, &mut problems);
    mounts::refuse(&found, around, &mut problems);
    container.mounts = found.mounts;
    container.tmpfs = found.tmpfs;
    let attachments = if is_original(examined) {
        networks::of_inspect(&examined.inspect, &mut problems)
    } else {
        networks::of_marks(&examined.marks)
    };
    let published = published(examined, &all_labels, &mut problems);
    let mut notes = Vec::new();
    let mut phoenix = settings.phoenix;
    stop_first(
        &mut phoenix,
        &attachments,
        settings.surge_given,
        &mut notes,
        &mut problems,
    );
    container.network = match attachments {
        networks::Attached::None => NetworkMode::None,
        networks::Attached::To(list) => NetworkMode::Networks(list),
    };
    // A replica has no layer of its own, or was allowed to write to it.
    if is_original(examined) && !settings.discard_layer {
        layer::refuse(examined, &container, &mut problems);
    }
    let name = name_to_take(examined);
    if !problems.is_empty() {
        return Err(problems);
    }
    let marks = if is_original(examined) {
        marks::write(&name, &said, &container)
    } else {
        examined.marks.clone()
    };
    Ok(Derived {
        service: service(unit.name(), container, phoenix, published),
        name,
        marks,
        notes,
    })
}

/// What is run; the originals say the rest already.
fn service(
    name: ServiceName,
    container: ContainerSpec,
    phoenix: Phoenix,
    published: Vec<Published>,
) -> Service {
    Service {
        name,
        replicas: 1,
        container,
        build: None,
        phoenix,
        published,
        // docker compose has started the originals in their order, and a replacement waits for nobody.
        depends_on: BTreeMap::new(),
        // The image is there: a container was made from it.
        pull: PullPolicy::Missing,
        // Its labels say it already.
        compose_hash: None,
        places: BTreeMap::new(),
    }
}

fn image_ref(examined: &Examined, problems: &mut Vec<String>) -> ImageRef {
    let image = examined.inspect.at(&["Config", "Image"]);
    if image.as_text().is_none() {
        problems.push("it does not say which image it was made from".to_owned());
    }
    ImageRef::new(image.as_text().unwrap_or_default())
}

/// docker compose made it; a replica has marks.
fn is_original(examined: &Examined) -> bool {
    examined.marks == Value::Null
}

/// The name that its replacement takes: for a replica, that of the original.
fn name_to_take(examined: &Examined) -> String {
    let own = examined.inspect.at(&["Name"]).as_text().unwrap_or_default();
    let marked = examined.marks.at(&["name"]).as_text();
    marked.unwrap_or(own.trim_start_matches('/')).to_owned()
}

/// The ports that the edge takes over.
fn published(
    examined: &Examined,
    all_labels: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) -> Vec<Published> {
    if !is_original(examined) {
        let ports = all_labels
            .get(labels::PORTS)
            .map(String::as_str)
            .unwrap_or_default();
        return ports
            .split_whitespace()
            .filter_map(|port| port.parse().ok())
            .collect();
    }
    let bindings = examined.inspect.at(&["HostConfig", "PortBindings"]);
    let mut published = BTreeSet::new();
    for (port, hosts) in bindings.each() {
        for host in hosts.items() {
            match binding(port, host) {
                Ok(port) => drop(published.insert(port)),
                Err(why) => problems.push(format!("it publishes port {port}, {why}")),
            }
        }
    }
    published.into_iter().collect()
}

fn binding(port: &str, host: &Value) -> Result<Published, String> {
    let (target, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let transport = match protocol {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        other => {
            return Err(format!(
                "and phoenixd forwards TCP and UDP only, not {other}"
            ));
        }
    };
    let host_port = host.at(&["HostPort"]).as_text().unwrap_or_default();
    let host_port = host_port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(
        "and leaves the host's port to the engine: give it a port of its own, which phoenixd can hold",
    )?;
    let host_ip = match host.at(&["HostIp"]).as_text() {
        None => None,
        Some(ip) => Some(
            ip.parse()
                .map_err(|_| format!("at `{ip}`, which is no address"))?,
        ),
    };
    Ok(Published {
        host_ip,
        host_port,
        target: target.parse().map_err(|_| "which is no port".to_owned())?,
        transport,
    })
}

/// What only one container can hold at a time makes the service stop-first.
fn stop_first(
    phoenix: &mut Phoenix,
    attached: &networks::Attached,
    surge_given: bool,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) {
    let networks::Attached::To(list) = attached else {
        return;
    };
    for attachment in list {
        let ips = [
            attachment.ipv4.map(|ip| ip.to_string()),
            attachment.ipv6.map(|ip| ip.to_string()),
        ];
        for ip in ips.into_iter().flatten() {
            let why = format!("it has the static address {ip} on {}", attachment.network);
            if surge_given && phoenix.surge > 0 {
                problems.push(format!(
                    "{why}, and two containers cannot hold it: remove `phoenixd.surge`"
                ));
            }
            phoenix.surge = 0;
            notes.push(format!(
                "stop-first: {why}, and two containers cannot hold it"
            ));
        }
    }
}
