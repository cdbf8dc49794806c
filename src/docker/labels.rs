//! The labels by which phoenixd knows what it made. Immutable once made, so they are the state.
//!
//! Not here: what is decided from them (`reconcile`).

use bollard::models::ContainerConfig;

use super::Birth;
use crate::reconcile::Identity;
use crate::spec::{
    Generation, Probe, ProjectName, Reach, ReplicaName, Serial, ServiceName, SpecHash,
};

/// The project, on everything that phoenixd makes.
pub const PROJECT: &str = "phoenixd.project";
/// The service of a replica.
pub const SERVICE: &str = "phoenixd.service";
/// The number of a replica.
pub const SERIAL: &str = "phoenixd.serial";
/// The revision of the service's definition.
pub const GENERATION: &str = "phoenixd.generation";
/// What the replica was born from.
pub const SPEC_HASH: &str = "phoenixd.spec-hash";
/// What the replica's probe asks: `http:8080:/path`, `tcp:8080`, `docker` or `running`.
pub const PROBE: &str = "phoenixd.probe";
/// The published ports that lead to the replica, with a space between two.
pub const PORTS: &str = "phoenixd.ports";
/// The phoenixd that made it.
pub const VERSION: &str = "phoenixd.version";

/// The version of this phoenixd.
pub(super) const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");
/// What phoenixd calls itself to Docker Compose, which wants a version on the networks and volumes that it adopts.
pub(super) const COMPOSE_VERSION: &str = concat!("phoenixd-", env!("CARGO_PKG_VERSION"));

/// The filter that the engine lists and hints by.
pub(super) fn project_filter(project: &ProjectName) -> String {
    format!("{PROJECT}={project}")
}

/// A replica's labels.
pub(super) fn of_birth(birth: &Birth) -> [(String, String); 6] {
    [
        (PROJECT, birth.project.to_string()),
        (SERVICE, birth.replica.service.to_string()),
        (SERIAL, birth.replica.serial.to_string()),
        (GENERATION, birth.generation.to_string()),
        (SPEC_HASH, birth.spec_hash.to_string()),
        (VERSION, OWN_VERSION.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
}

/// What a container's labels say; `None` when one is missing or is not what phoenixd writes.
pub(super) fn identity(config: &ContainerConfig) -> Option<Identity> {
    let labels = config.labels.as_ref()?;
    let text = |key: &str| labels.get(key).filter(|value| !value.is_empty());
    let number = |key: &str| {
        let value = text(key)?;
        // `+1` and `01` are numbers to Rust, but nothing that phoenixd writes.
        value
            .parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == *value)
    };
    text(PROJECT)?;
    Some(Identity {
        replica: ReplicaName::new(ServiceName::new(text(SERVICE)?), Serial(number(SERIAL)?)),
        generation: Generation(number(GENERATION)?),
        spec_hash: SpecHash::new(text(SPEC_HASH)?),
        reach: labels
            .get(PROBE)
            .and_then(|probe| reach(probe, labels.get(PORTS)?)),
    })
}

/// The labels that say how a replica is reached.
pub(super) fn of_reach(reach: &Reach) -> [(String, String); 2] {
    let probe = match &reach.probe {
        Probe::Http { path, port } => format!("http:{port}:{path}"),
        Probe::Tcp { port } => format!("tcp:{port}"),
        Probe::Docker => "docker".to_owned(),
        Probe::Running => "running".to_owned(),
    };
    let ports: Vec<String> = reach.published.iter().map(ToString::to_string).collect();
    [
        (PROBE.to_owned(), probe),
        (PORTS.to_owned(), ports.join(" ")),
    ]
}

fn reach(probe: &str, ports: &str) -> Option<Reach> {
    let probe = match probe.split_once(':') {
        None if probe == "docker" => Probe::Docker,
        None if probe == "running" => Probe::Running,
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
    Some(Reach { probe, published })
}
