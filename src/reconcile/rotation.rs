//! Who gets traffic and who is probed: the two views that follow from the replicas alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replica::{Replica, Verified};
use super::{Backend, Desired, Listener, Routes, Target, Targets, Time, World};
use crate::spec::{ContainerId, Edge, Probe, Published, ServiceName};

/// How often a replica is probed from outside while it was never ready, and until when after its start. Each pause is
/// time that a replacement takes longer; a probe that is refused costs 0.1 ms. Later the file's interval is good enough.
const PACES_STARTING: [(Duration, Duration); 3] = [
    (Duration::from_millis(500), Duration::from_millis(5)),
    (Duration::from_secs(2), Duration::from_millis(20)),
    (Duration::from_secs(15), Duration::from_millis(100)),
];

/// How often one that was ready is asked once it has failed, until it is known what is the matter.
const PACE_IN_DOUBT: Duration = Duration::from_secs(1);

/// How long the edge keeps an earlier supervisor's table while the replicas in it are probed anew. Enough for three
/// probes that time out.
pub(super) const ADOPTING: Duration = Duration::from_secs(5);

/// Whether the table sends anything to the container.
pub(super) fn contains(routes: &Routes, id: &ContainerId) -> bool {
    routes.backends().any(|backend| backend.container_id == *id)
}

/// How often a running replica is asked, and until when that pace holds.
pub(super) fn pace(replica: &Replica, desired: &Desired, now: Time) -> (Duration, Option<Time>) {
    let interval = desired.phoenix.probe.interval;
    let Some(since) = replica.probed_since().filter(|_| !replica.probe.was_ready) else {
        let is_steady = replica.probe.ready_since.is_some() && replica.probe.failures == 0;
        return (
            if is_steady {
                interval
            } else {
                interval.min(PACE_IN_DOUBT)
            },
            None,
        );
    };
    let age = now.since(since);
    match PACES_STARTING.iter().find(|(until, _)| age < *until) {
        Some((until, pace)) => (interval.min(*pace), Some(since + *until)),
        None => (interval, None),
    }
}

/// The ports by which a service is reached: those of its pod where it has one, else those of the host.
fn ports(desired: &Desired) -> impl Iterator<Item = Published> {
    let of_pod = desired.pod.iter().map(|port| Published {
        host_ip: None,
        host_port: port.port,
        target: port.port,
        transport: port.transport,
    });
    let of_host = desired.published.iter().copied();
    of_pod.chain(of_host.filter(|_| desired.pod.is_empty()))
}

/// The listeners among which those of the service are.
fn listeners<'r>(
    routes: &'r mut Routes,
    name: &ServiceName,
    desired: &Desired,
) -> &'r mut BTreeMap<Published, Listener> {
    if desired.pod.is_empty() {
        &mut routes.listeners
    } else {
        routes.pods.entry(name.clone()).or_default()
    }
}

/// The port of the replica that a listener leads to: as the replica was born for.
fn target(replica: &Replica, desired: &Desired, port: &Published) -> Option<u16> {
    if desired.pod.is_empty() {
        return replica.target_of(port);
    }
    let published = desired
        .published
        .iter()
        .find(|one| (one.target, one.transport) == (port.target, port.transport));
    published.map_or(Some(port.target), |published| replica.target_of(published))
}

impl World {
    /// Nothing is known yet, or replicas of an earlier supervisor have not been probed yet: a table made now would take
    /// traffic from replicas that serve it.
    pub(super) fn is_adopting(&self, now: Time) -> bool {
        !self.listed
            || self
                .replicas
                .values()
                .any(|replica| self.is_unproven(now, replica))
    }

    /// It was there before this supervisor, which has not heard of it for long enough to know whether it is ready.
    pub(super) fn is_unproven(&self, now: Time, replica: &Replica) -> bool {
        let failures = self
            .services
            .get(&replica.name.service)
            .map(|s| s.desired.phoenix.probe.failures);
        !replica.made_here
            && replica.is_running()
            && !replica.is_tainted()
            && !replica.probe.was_ready
            && failures.is_some_and(|failures| replica.probe.failures < failures)
            && now.since(replica.known_at) < ADOPTING
    }

    /// Which replicas traffic may go to now (invariant I2).
    pub(super) fn routes(&self, now: Time) -> Routes {
        let mut routes = Routes::default();
        for (name, service) in &self.services {
            // Its ports are the original's until that has ended.
            if self.original(name).is_some_and(Replica::is_live) {
                continue;
            }
            let Edge::Forward(forwarding) = service.desired.phoenix.edge else {
                continue;
            };
            let listener = |port| {
                let backends = Vec::new();
                (
                    port,
                    Listener {
                        forwarding,
                        backends,
                    },
                )
            };
            let ports = ports(&service.desired).map(listener);
            listeners(&mut routes, name, &service.desired).extend(ports);
        }
        for replica in self.replicas.values() {
            let Some(id) = replica.id() else { continue };
            // Also where nobody wants its service any more.
            if self.is_to_be_cut(now, replica) {
                routes.draining.insert(id.clone());
                routes.cut.insert(id.clone());
                continue;
            }
            let name = &replica.name.service;
            let Some(service) = self.services.get(name) else {
                continue;
            };
            let desired = &service.desired;
            if !replica.is_in_rotation(desired) {
                if replica.draining.is_some() || replica.stop_asked || replica.is_tainted() {
                    routes.draining.insert(id.clone());
                }
                continue;
            }
            let listeners = listeners(&mut routes, name, desired);
            for (port, listener) in listeners.iter_mut() {
                if !desired.pod.is_empty() || desired.published.contains(port) {
                    let address = |target| replica.address(desired, target);
                    if let Some(address) = target(replica, desired, port).and_then(address) {
                        listener.backends.push(Backend {
                            replica: replica.name.clone(),
                            container_id: id.clone(),
                            address,
                        });
                    }
                }
            }
        }
        // A pod without ports would be no pod.
        routes.pods.retain(|_, listeners| !listeners.is_empty());
        routes
    }

    /// Which replicas are probed from outside now. Until the hardening is known to be in force none is: what cannot
    /// stay need not be asked.
    pub(super) fn targets(&self, now: Time) -> Targets {
        let mut targets = Targets::new();
        for replica in self
            .replicas
            .values()
            .filter(|replica| replica.is_running() && !replica.stop_asked && !replica.is_tainted())
        {
            let Some(service) = self.services.get(&replica.name.service) else {
                continue;
            };
            let desired = &service.desired;
            let probe = replica.probe_asked(desired);
            let port = match probe {
                Probe::Http { port, .. } | Probe::Tcp { port } => *port,
                Probe::Docker | Probe::Running | Probe::Edge => continue,
            };
            if matches!(replica.verified(desired), Verified::Weak(_)) {
                continue;
            }
            if let (Some(id), Some(address)) = (replica.id(), replica.address(desired, port)) {
                let target = Target {
                    replica: replica.name.clone(),
                    address,
                    probe: probe.clone(),
                    interval: pace(replica, desired, now).0,
                    timeout: desired.phoenix.probe.timeout,
                };
                targets.insert(id.clone(), target);
            }
        }
        targets
    }
}
