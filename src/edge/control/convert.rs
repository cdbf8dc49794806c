//! Between the wire's types and the domain's. Every field is named, so that a new one is not forgotten here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, Key, Stamp};
use crate::probe::Probed;
use crate::reconcile::{Backend, EdgeReport, Listener, Routes, Target, Targets, Time};
use crate::spec::{ContainerId, Probe, Published, ReplicaName, Serial, ServiceName, Transport};

/// Which addresses are bound for a port, where they are not the published ones: in a network namespace of its own a port of
/// the host has another address, and may have another number.
pub type Binds = BTreeMap<Published, Vec<SocketAddr>>;

/// The addresses of a port that is bound as it is published.
fn as_published(published: &Published) -> Vec<SocketAddr> {
    let ips = match published.host_ip {
        Some(ip) => vec![ip],
        None => vec![
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ],
    };
    let address = |ip| SocketAddr::new(ip, published.host_port);
    ips.into_iter().map(address).collect()
}

/// A table that an edge holds.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Held {
    pub(in crate::edge) stamp: Stamp,
    pub(in crate::edge) routes: Arc<Routes>,
    /// Of every listener.
    pub(in crate::edge) binds: Binds,
}

impl Held {
    /// The supervisor's table: `binds` has the ports that are not bound as they are published.
    pub(super) fn of(stamp: Stamp, routes: Arc<Routes>, binds: &Binds) -> Self {
        let bind = |key: &Published| binds.get(key).cloned();
        let binds = routes
            .listeners
            .keys()
            .map(|key| (*key, bind(key).unwrap_or_else(|| as_published(key))))
            .collect();
        Self {
            stamp,
            routes,
            binds,
        }
    }

    pub(in crate::edge) fn to_wire(&self) -> wire::Table {
        let Routes {
            listeners,
            // Of one pod, or of none: that is the edge's whole business.
            pods: _,
            draining,
            cut,
        } = &*self.routes;
        let listener = |(key, listener): (&Published, &Listener)| {
            let Listener {
                forwarding,
                backends,
            } = listener;
            wire::Listener {
                key: to_key(key),
                bind: self.binds.get(key).cloned().unwrap_or_default(),
                forwarding: (*forwarding).into(),
                backends: backends.iter().map(to_backend).collect(),
            }
        };
        wire::Table {
            stamp: self.stamp,
            listeners: listeners.iter().map(listener).collect(),
            draining: draining.iter().map(ToString::to_string).collect(),
            cut: cut.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<wire::Table> for Held {
    fn from(table: wire::Table) -> Self {
        let wire::Table {
            stamp,
            listeners: all,
            draining,
            cut,
        } = table;
        let (mut listeners, mut binds) = (BTreeMap::new(), Binds::new());
        for wire::Listener {
            key,
            bind,
            forwarding,
            backends,
        } in all
        {
            let key = of_key(key);
            binds.insert(key, bind);
            let listener = Listener {
                forwarding: forwarding.into(),
                backends: backends.into_iter().map(of_backend).collect(),
            };
            listeners.insert(key, listener);
        }
        let draining = draining.into_iter().map(ContainerId::new).collect();
        let cut = cut.into_iter().map(ContainerId::new).collect();
        Self {
            stamp,
            routes: Arc::new(Routes {
                pods: BTreeMap::new(),
                listeners,
                draining,
                cut,
            }),
            binds,
        }
    }
}

pub(in crate::edge) fn to_key(published: &Published) -> Key {
    let Published {
        host_ip,
        host_port,
        target,
        transport,
    } = *published;
    Key {
        host_ip,
        host_port,
        target,
        transport: match transport {
            Transport::Tcp => wire::Transport::Tcp,
            Transport::Udp => wire::Transport::Udp,
        },
    }
}

pub(in crate::edge) fn of_key(key: Key) -> Published {
    let Key {
        host_ip,
        host_port,
        target,
        transport,
    } = key;
    Published {
        host_ip,
        host_port,
        target,
        transport: transport.into(),
    }
}

impl From<wire::Transport> for Transport {
    fn from(transport: wire::Transport) -> Self {
        match transport {
            wire::Transport::Tcp => Self::Tcp,
            wire::Transport::Udp => Self::Udp,
        }
    }
}

fn to_backend(backend: &Backend) -> wire::Backend {
    let Backend {
        replica,
        container_id,
        address,
    } = backend;
    wire::Backend {
        service: replica.service.to_string(),
        serial: replica.serial.0,
        container: container_id.to_string(),
        address: *address,
    }
}

fn of_backend(backend: wire::Backend) -> Backend {
    let wire::Backend {
        service,
        serial,
        container,
        address,
    } = backend;
    Backend {
        replica: ReplicaName::new(ServiceName::new(service), Serial(serial)),
        container_id: ContainerId::new(container),
        address,
    }
}

/// Only what is asked from outside; the rest is never a target.
pub(super) fn to_targets(targets: &Targets) -> Vec<wire::Target> {
    let to_target = |(id, target): (&ContainerId, &Target)| {
        let Target {
            replica,
            address,
            probe,
            interval,
            timeout,
        } = target;
        let path = match probe {
            Probe::Http { path, port: _ } => Some(path.clone()),
            Probe::Tcp { port: _ } => None,
            Probe::Docker | Probe::Running | Probe::Edge => return None,
        };
        Some(wire::Target {
            service: replica.service.to_string(),
            serial: replica.serial.0,
            container: id.to_string(),
            address: *address,
            path,
            interval_ms: millis(*interval),
            timeout_ms: millis(*timeout),
        })
    };
    targets.iter().filter_map(to_target).collect()
}

pub(super) fn of_targets(targets: Vec<wire::Target>) -> Targets {
    let of_target = |target: wire::Target| {
        let wire::Target {
            service,
            serial,
            container,
            address,
            path,
            interval_ms,
            timeout_ms,
        } = target;
        let port = address.port();
        let probe = match path {
            Some(path) => Probe::Http { path, port },
            None => Probe::Tcp { port },
        };
        let target = Target {
            replica: ReplicaName::new(ServiceName::new(service), Serial(serial)),
            address,
            probe,
            // A peer must not make it spin.
            interval: Duration::from_millis(interval_ms.max(1)),
            timeout: Duration::from_millis(timeout_ms.max(1)),
        };
        (ContainerId::new(container), target)
    };
    targets.into_iter().map(of_target).collect()
}

pub(super) fn to_probed(probed: &Probed) -> wire::Probed {
    let Probed {
        asked_at,
        id,
        result,
    } = probed;
    let asked_at_us = asked_at.since_boot().as_micros();
    wire::Probed {
        container: id.to_string(),
        asked_at_us: u64::try_from(asked_at_us).unwrap_or(u64::MAX),
        failure: result.as_ref().err().map(|why| brief(why)),
    }
}

pub(super) fn of_probed(probed: wire::Probed) -> Probed {
    let wire::Probed {
        container,
        asked_at_us,
        failure,
    } = probed;
    Probed {
        asked_at: Time::from_boot(Duration::from_micros(asked_at_us)),
        id: ContainerId::new(container),
        result: failure.map_or(Ok(()), Err),
    }
}

/// What the supervisor may count on: nothing of the table, where it is not of this session.
pub(super) fn of_report(report: &wire::Report, session: u64) -> EdgeReport {
    let stamp = report.stamp.filter(|stamp| stamp.session == session);
    let open = report.open.iter();
    EdgeReport {
        epoch: stamp.map_or(0, |stamp| stamp.epoch),
        open: open
            .map(|(id, count)| (ContainerId::new(&**id), *count))
            .collect(),
    }
}

/// Within what the wire takes.
pub(in crate::edge) fn brief(text: &str) -> String {
    text.chars().take(wire::TEXT_BYTES / 4).collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
