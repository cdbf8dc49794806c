//! The labels by which phoenixd knows what it made. Immutable once made, so they are the state.
//!
//! Not here: what is decided from them (`reconcile`).

use std::collections::BTreeMap;

use bollard::models::ContainerConfig;

use super::{Birth, read_value};
use crate::adopt;
use crate::reconcile::Identity;
use crate::spec::{
    BornAfter, Generation, Policy, Probe, ProjectName, Reach, ReplicaName, Serial, ServiceName,
    SpecHash,
};

/// The project, on everything that phoenixd makes.
pub const PROJECT: &str = "phoenixd.project";
/// The service of a replica.
pub const SERVICE: &str = "phoenixd.service";
/// What a container of a pod is there for: `pause` or `edge`.
pub const ROLE: &str = "phoenixd.role";
/// The number of a replica.
pub const SERIAL: &str = "phoenixd.serial";
/// The revision of the service's definition.
pub const GENERATION: &str = "phoenixd.generation";
/// What the replica was born from.
pub const SPEC_HASH: &str = "phoenixd.spec-hash";
/// What the replica's probe asks: `http:8080:/path`, `tcp:8080`, `docker`, `running` or `edge`.
pub const PROBE: &str = "phoenixd.probe";
/// The published ports that lead to the replica, with a space between two.
pub const PORTS: &str = "phoenixd.ports";
/// The walls that the replica was born with: `caps=0 no-new-privs non-root read-only limited`, without those that an
/// exception of the file took away.
pub const POLICY: &str = "phoenixd.policy";
/// Which one of each of its dependencies the replica was born after: `api=phoenix:HASH db=compose:ID`.
pub const BORN_AFTER: &str = "phoenixd.born-after";
/// The phoenixd that made it.
pub const VERSION: &str = "phoenixd.version";

/// The version of this phoenixd.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// docker compose's label for the project (2.40.3, `pkg/api/labels.go`, as the next two).
pub(super) const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// The service.
pub(super) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// `True` on what `docker compose run` made.
pub(super) const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";

/// The filter that the engine lists and hints by.
pub(super) fn project_filter(project: &ProjectName) -> String {
    format!("{PROJECT}={project}")
}

/// The filter for what docker compose made of the project.
pub(super) fn compose_filter(project: &ProjectName) -> String {
    format!("{COMPOSE_PROJECT}={project}")
}

/// A replica's labels.
pub(super) fn of_birth(birth: &Birth) -> Vec<(String, String)> {
    let part = birth.replica.service.pod_part();
    let role = part.map(|(_, part)| (ROLE, part.name().to_owned()));
    let all = [
        (PROJECT, birth.project.to_string()),
        (SERVICE, birth.replica.service.to_string()),
        (SERIAL, birth.replica.serial.to_string()),
        (GENERATION, birth.generation.to_string()),
        (SPEC_HASH, birth.spec_hash.to_string()),
        (VERSION, OWN_VERSION.to_owned()),
    ];
    let all = all.into_iter().chain(role);
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The labels of a network or volume.
pub(super) fn of_resource(project: &ProjectName) -> [(String, String); 2] {
    [(PROJECT, project.as_str()), (VERSION, OWN_VERSION)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// What a container's labels say; `None` when one is missing or is not what phoenixd writes.
pub(super) fn identity(config: &ContainerConfig) -> Option<Identity> {
    let labels = config.labels.as_ref()?;
    let all: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if adopt::is_original(&all) {
        let definition = SpecHash::new(adopt::definition(&all));
        return Some(Identity::of_original(adopt::unit(&all)?.name(), definition));
    }
    let text = |key: &str| labels.get(key).filter(|value| !value.is_empty());
    let number = |key: &str| {
        let value = text(key)?;
        // `+1` and `01` are numbers to Rust, but nothing that phoenixd writes.
        value
            .parse::<u64>()
            .ok()
            .filter(|number| *number > 0 && number.to_string() == *value)
    };
    text(PROJECT)?;
    Some(Identity {
        replica: ReplicaName::new(ServiceName::new(text(SERVICE)?), Serial(number(SERIAL)?)),
        generation: Generation(number(GENERATION)?),
        spec_hash: SpecHash::new(text(SPEC_HASH)?),
        reach: reach(labels),
        adopted: text(adopt::ADOPTED).map(|marks| handed_on(marks)),
        born_after: text(BORN_AFTER)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    })
}

/// The name that the marks of an adopted one say it takes over.
fn handed_on(marks: &str) -> String {
    let marks = read_value(marks);
    let name = marks.at(&["name"]).as_text();
    name.unwrap_or_default().to_owned()
}

/// The label that tells of dependencies; none where there are none.
pub(super) fn of_dependencies(born_after: &BornAfter) -> Option<(String, String)> {
    (!born_after.0.is_empty()).then(|| (BORN_AFTER.to_owned(), born_after.to_string()))
}

/// The service of docker compose that a container was made for; `None` for what phoenixd made, which has compose's
/// labels too, and for what `docker compose run` did.
pub(super) fn compose_service<'l>(
    label: impl Fn(&str) -> Option<&'l String>,
) -> Option<ServiceName> {
    if label(PROJECT).is_some() || label(COMPOSE_ONE_OFF).is_some_and(|is| is == "True") {
        return None;
    }
    label(COMPOSE_SERVICE).map(ServiceName::new)
}

/// The labels that say how a replica is reached.
pub(super) fn of_reach(reach: &Reach) -> [(String, String); 3] {
    let probe = match &reach.probe {
        Probe::Http { path, port } => format!("http:{port}:{path}"),
        Probe::Tcp { port } => format!("tcp:{port}"),
        Probe::Docker => "docker".to_owned(),
        Probe::Running => "running".to_owned(),
        Probe::Edge => "edge".to_owned(),
    };
    let ports: Vec<String> = reach.published.iter().map(ToString::to_string).collect();
    [
        (PROBE.to_owned(), probe),
        (PORTS.to_owned(), ports.join(" ")),
        (POLICY.to_owned(), of_policy(reach.policy)),
    ]
}

#[expect(
    clippy::disallowed_types,
    reason = "the engine's model has its labels in one"
)]
fn reach(labels: &std::collections::HashMap<String, String>) -> Option<Reach> {
    let (probe, ports) = (labels.get(PROBE)?, labels.get(PORTS)?);
    let policy = policy(labels.get(POLICY)?)?;
    let probe = match probe.split_once(':') {
        None if probe == "docker" => Probe::Docker,
        None if probe == "running" => Probe::Running,
        None if probe == "edge" => Probe::Edge,
        Some(("tcp", port)) => Probe::Tcp {
            port: port.parse().ok()?,
        },
        Some(("http", rest)) => {
            let (port, path) = rest.split_once(':')?;
            Probe::Http {
                path: path.to_owned(),
                port: port.parse().ok()?,
            }
        }
        None | Some(_) => return None,
    };
    let published = ports
        .split_whitespace()
        .map(|port| port.parse().ok())
        .collect::<Option<_>>()?;
    Some(Reach {
        probe,
        published,
        policy,
    })
}

fn of_policy(policy: Policy) -> String {
    let walls = [
        (policy.no_new_privs, "no-new-privs"),
        (policy.non_root, "non-root"),
        (policy.read_only, "read-only"),
        (policy.limited, "limited"),
    ];
    let walls = walls
        .iter()
        .filter(|(stands, _)| *stands)
        .map(|(_, name)| format!(" {name}"));
    std::iter::once(format!("caps={:x}", policy.caps_allowed))
        .chain(walls)
        .collect()
}

fn policy(text: &str) -> Option<Policy> {
    let mut words = text.split(' ');
    let caps = words.next()?.strip_prefix("caps=")?;
    let walls: Vec<&str> = words.collect();
    let stands = |name| walls.contains(&name);
    Some(Policy {
        caps_allowed: u64::from_str_radix(caps, 16).ok()?,
        no_new_privs: stands("no-new-privs"),
        non_root: stands("non-root"),
        read_only: stands("read-only"),
        limited: stands("limited"),
    })
}
