//! A project: the services that are phoenixes, and the networks and volumes that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use super::{
    Build, ContainerSpec, Dependency, Diagnostic, NetworkName, Phoenix, Place, ProjectName,
    PullPolicy, ServiceName, Transport, VolumeName,
};

/// What a Compose file wants, as far as it is phoenixd's business.
#[derive(Clone, PartialEq, Debug)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// The directory that relative paths start from.
    pub working_dir: PathBuf,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
    /// The phoenixes.
    pub services: BTreeMap<ServiceName, Service>,
    /// Services without `x-phoenix`: left to docker compose, never touched.
    pub foreign: Vec<ServiceName>,
    /// The networks that the phoenixes use.
    pub networks: Vec<NetworkSpec>,
    /// The named volumes that the phoenixes use.
    pub volumes: Vec<VolumeSpec>,
    /// What the services of docker compose in the same files use.
    pub others: Others,
}

/// Networks and volumes that services without `x-phoenix` use, by their names on the engine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Others {
    /// Networks that they are on.
    pub networks: BTreeSet<NetworkName>,
    /// Named volumes that they mount.
    pub volumes: BTreeSet<VolumeName>,
}

/// One phoenix as the file has it, before the image is known and before hardening.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// How many replicas are wanted.
    pub replicas: u32,
    /// The container's definition.
    pub container: ContainerSpec,
    /// How its image is made, where the engine does not have it.
    pub build: Option<Build>,
    /// When the registry is asked for its images.
    pub pull: PullPolicy,
    /// The settings of `x-phoenix`.
    pub phoenix: Phoenix,
    /// The ports that the edge binds for it.
    pub published: Vec<Published>,
    /// What its first start waits for.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// Docker compose's own hash of the service, where it is known: the SHA-256, in hexadecimal digits, of the service as
    /// `docker compose config --format json` has it, in that order of keys, without white space, with `<`, `>` and `&` as
    /// `\u003c`, `\u003e`, `\u0026`, and without `build`, `pull_policy`, `scale`, `deploy.replicas`, `depends_on` and
    /// `profiles` (docker/compose v2.40.3, `pkg/compose/hash.go`; compared with the label that its `up` sets, from which
    /// `config --hash` differs where there is an `env_file`).
    pub compose_hash: Option<String>,
    /// Where its keys stand: `""` is the service itself, `user`, `ports`, `x-phoenix.ttl` its keys.
    pub places: BTreeMap<String, Place>,
}

impl Service {
    /// Where a key of the service stands; the service itself where the key is not written.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.places
            .get(key)
            .or_else(|| self.places.get(""))
            .cloned()
    }

    /// The path of a key in the file: `services.web.user`.
    pub fn path(&self, key: &str) -> String {
        if key.is_empty() {
            format!("services.{}", self.name)
        } else {
            format!("services.{}.{key}", self.name)
        }
    }
}

/// A port of the host that leads to a port of the replicas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Published {
    /// The address that is bound; `None` means every one, IPv6 included, as Compose's `8080:80` does.
    pub host_ip: Option<IpAddr>,
    /// The host's port, 1 to 65535.
    pub host_port: u16,
    /// The replicas' port, 1 to 65535.
    pub target: u16,
    /// Of both.
    pub transport: Transport,
}

impl Published {
    /// Whether both cannot be bound at once: the same port of one transport, and addresses of which one covers the other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        fn is_any(ip: Option<IpAddr>) -> bool {
            ip.is_none_or(|ip| ip.is_unspecified())
        }
        (self.transport, self.host_port) == (other.transport, other.host_port)
            && (self.host_ip == other.host_ip || is_any(self.host_ip) || is_any(other.host_ip))
    }

    /// The address that a person on this host opens.
    pub fn local_address(&self) -> (IpAddr, u16) {
        let ip = self
            .host_ip
            .filter(|ip| !ip.is_unspecified())
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        (ip, self.host_port)
    }
}

impl FromStr for Published {
    type Err = ();

    /// Reads what `Display` writes: `8080:80`, `127.0.0.1:8080:80`, `[::1]:5353:53/udp`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (text, transport) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Transport::Tcp),
            Some((text, "udp")) => (text, Transport::Udp),
            Some(_) => return Err(()),
        };
        let (rest, target) = text.rsplit_once(':').ok_or(())?;
        let (host_ip, host_port) = match rest.rsplit_once(':') {
            Some((ip, port)) => (Some(ip.trim_start_matches('[').trim_end_matches(']')), port),
            None => (None, rest),
        };
        Ok(Self {
            host_ip: host_ip.map(str::parse).transpose().map_err(drop)?,
            host_port: host_port.parse().map_err(drop)?,
            target: target.parse().map_err(drop)?,
            transport,
        })
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => {}
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        write!(f, "{}:{}", self.host_port, self.target)?;
        // As in a Compose file, where TCP goes without saying.
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp => f.write_str("/udp"),
        }
    }
}

/// A network that a phoenix is attached to.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkSpec {
    /// Its key in the file (`default`).
    pub key: String,
    /// Its name on the engine (`project_default`).
    pub name: NetworkName,
    /// Made by somebody else: it must exist, and is never made or removed here.
    pub external: bool,
    /// Driver; the engine's default (`bridge`) where `None`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers outside of a swarm service may attach.
    pub attachable: bool,
    /// IPv4 addresses; the engine's default (yes) where `None`. `false` needs API 1.48.
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses as well; the engine's default where `None`.
    pub enable_ipv6: Option<bool>,
    /// IPAM driver.
    pub ipam_driver: Option<String>,
    /// IPAM pools.
    pub ipam_pools: Vec<IpamPool>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub place: Option<Place>,
}

/// One address pool of a network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpamPool {
    /// `172.28.0.0/16`
    pub subnet: Option<String>,
    /// Addresses for containers come from here.
    pub ip_range: Option<String>,
    /// The gateway's address.
    pub gateway: Option<String>,
    /// Addresses that are taken, by name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A named volume that a phoenix mounts.
#[derive(Clone, PartialEq, Debug)]
pub struct VolumeSpec {
    /// Its key in the file (`data`).
    pub key: String,
    /// Its name on the engine (`project_data`).
    pub name: VolumeName,
    /// Made by somebody else: it must exist.
    pub external: bool,
    /// Driver; `local` where `None`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub place: Option<Place>,
}

impl Project {
    /// Two services, or two entries of one, on one port of the host: one diagnostic for each pair.
    pub fn port_conflicts(&self) -> Vec<Diagnostic> {
        let all: Vec<(&Service, &Published)> = self
            .services
            .values()
            .flat_map(|service| service.published.iter().map(move |p| (service, p)))
            .collect();
        let mut found = Vec::new();
        for (index, (service, published)) in all.iter().enumerate() {
            for (other, taken) in all.iter().take(index) {
                if published.conflicts_with(taken) {
                    let message = format!(
                        "port {published} of `{}` is already taken by {taken} of `{}`",
                        service.name, other.name
                    );
                    found.push(
                        Diagnostic::error(
                            "port-conflict",
                            service.place("ports"),
                            service.path("ports"),
                            message,
                        )
                        .hint("give each service a host port of its own"),
                    );
                }
            }
        }
        found
    }
}
