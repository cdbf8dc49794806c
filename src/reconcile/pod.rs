//! The pod of a service: a *pause* container that owns the network namespace, and *edges* in it, one after the other.
//!
//! Both are supervised as services of their own (`web/pause`, `web/edge`), so that they are born, verified, told of, aged
//! and removed like every replica. Four things are different. An edge joins the pause that runs, and is nothing without
//! it. It is ready when it says so itself: it listens, by the newest table. Who listens is a view: the newest edge that
//! is as hard as asked takes the sockets over from the one that has them. And a pause is never replaced for its age or its
//! image, since the address goes with it.
//!
//! Not here: how an edge is spoken with (`daemon`), and what it does (`edge`).

use std::time::Duration;

use super::plan::Planner;
use super::replica::{Replica, Verified};
use super::world::replicas_of;
use super::{
    Asks, Desired, EdgeOrder, EdgeReport, EdgeSaid, EdgeStage, Edges, Reason, Time, World,
};
use crate::spec::{ContainerId, PodPart, ServiceName};

/// An edge that is to ask and of which nothing is heard for so long hangs: probes are asked every few seconds.
const HUNG: Duration = Duration::from_secs(20);

impl World {
    /// The pause whose network an edge that is made now joins.
    pub(super) fn pause_of(&self, edge: &ServiceName) -> Option<&ContainerId> {
        let (service, part) = edge.pod_part()?;
        if part != PodPart::Edge {
            return None;
        }
        let holds =
            |pause: &&Replica| pause.is_running() && !pause.is_leaving() && !pause.is_tainted();
        replicas_of(&self.replicas, &service.pod(PodPart::Pause))
            .find(holds)
            .and_then(Replica::id)
    }

    /// The edge of this process speaks. Counts matter only to who drains.
    pub(super) fn edge_reported(&mut self, report: EdgeReport) -> bool {
        self.edge = report;
        let mut all = self.replicas.values();
        all.any(|replica| replica.draining.is_some())
    }

    /// An edge speaks, or does not answer. `false` when that changes nothing that a plan looks at.
    pub(super) fn edge_said(
        &mut self,
        now: Time,
        id: &ContainerId,
        said: Result<EdgeSaid, String>,
    ) -> bool {
        let Some(edge) = self.replica_of(id) else {
            return false;
        };
        if !edge.is_running() || !edge.name.service.is_pod(PodPart::Edge) {
            return false;
        }
        let name = edge.name.clone();
        let hangs = |said: &EdgeSaid| {
            let Asks { every, silent } = said.asks;
            let is_over = !every.is_zero() && silent > HUNG.max(every * 3);
            is_over.then(|| format!("nothing was heard of it for {} s", silent.as_secs()))
        };
        let said = said.and_then(|said| hangs(&said).map_or(Ok(said), Err));
        let said = match said {
            // How long it was quiet is of no further use.
            Ok(said) => EdgeSaid {
                asks: Asks::default(),
                ..said
            },
            Err(why) => {
                self.mute.insert(id.clone());
                return self.judge(now, &name, Err(why));
            }
        };
        self.mute.remove(id);
        let has_table = said.report.epoch >= self.published.unwrap_or(0);
        let result = match &said.stage {
            EdgeStage::Serving if has_table => Some(Ok(())),
            EdgeStage::Partial { why } => Some(Err(why.clone())),
            EdgeStage::Idle | EdgeStage::Serving | EdgeStage::Spent => None,
        };
        let drains = || self.replicas.values().any(|one| one.draining.is_some());
        let before = self.edges.get(id);
        // Counts matter only to who drains.
        let is_same = |before: &EdgeSaid| {
            (&before.stage, before.report.epoch) == (&said.stage, said.report.epoch)
        };
        let is_news = !before.is_some_and(is_same) || (before != Some(&said) && drains());
        let is_spent = said.stage == EdgeStage::Spent;
        self.edges.insert(id.clone(), said);
        if is_spent && let Some(edge) = self.replicas.get_mut(&name) {
            edge.probe.ready_since = None;
        }
        let judged = result.is_some_and(|result| self.judge(now, &name, result));
        is_news || judged
    }

    /// Whether no edge sends anything to the replica any more by a table before this one.
    pub(super) fn edges_have(&self, replica: &Replica, epoch: u64) -> bool {
        // One that was made here and never spoke was never given a table.
        let has = |edge: &Replica| match edge.id().and_then(|id| self.edges.get(id)) {
            Some(said) => said.stage == EdgeStage::Idle || said.report.epoch >= epoch,
            None => edge.made_here,
        };
        self.edge.epoch >= epoch && self.edges_of(&replica.name.service).all(has)
    }

    /// The connections that a replica has; of an edge those that go through it.
    pub(super) fn open_through(&self, replica: &Replica) -> u64 {
        let Some(id) = replica.id() else { return 0 };
        if replica.name.service.is_pod(PodPart::Edge) {
            let said = self.edges.get(id);
            return said.map_or(0, |said| said.report.open.values().sum());
        }
        let edges = self.edges_of(&replica.name.service);
        let said = edges.filter_map(|edge| self.edges.get(edge.id()?));
        let reports = said.map(|said| &said.report).chain([&self.edge]);
        reports.filter_map(|report| report.open.get(id)).sum()
    }

    /// The edges of a service's pod whose processes are there.
    fn edges_of(&self, service: &ServiceName) -> impl Iterator<Item = &Replica> {
        replicas_of(&self.replicas, &service.pod(PodPart::Edge)).filter(|edge| edge.has_process())
    }

    /// Whether the service's name leads somewhere.
    pub(super) fn has_address(&self, name: &ServiceName) -> bool {
        let pause = self.services.get(&name.pod(PodPart::Pause));
        pause.is_none_or(|pause| pause.begun)
    }

    /// Whether what comes by the service's name is forwarded.
    pub(super) fn is_forwarded_to(&self, name: &ServiceName) -> bool {
        let edge = self.services.get(&name.pod(PodPart::Edge));
        edge.is_none_or(|edge| {
            self.edges_of(name)
                .any(|replica| replica.is_in_rotation(&edge.desired))
        })
    }

    /// Who listens in each pod.
    pub(super) fn edge_orders(&self) -> Edges {
        let mut orders = Edges::new();
        for edge in self.replicas.values().filter(|edge| edge.is_running()) {
            let (Some((service, PodPart::Edge)), Some(id)) =
                (edge.name.service.pod_part(), edge.id())
            else {
                continue;
            };
            // Whoever has not spoken yet may have the sockets.
            let is_known = |other: &Replica| {
                let spoke = |id| self.edges.contains_key(id) || self.mute.contains(id);
                other.id() == Some(id) || other.id().is_some_and(spoke)
            };
            let listens = self.listener_of(&service).and_then(Replica::id) == Some(id)
                && self.edges_of(&service).all(is_known);
            let holds = |other: &&Replica| {
                other.id() != Some(id) && joined(other) == joined(edge) && self.holds_sockets(other)
            };
            let holder = self.edges_of(&service).filter(|_| listens).find(holds);
            let order = EdgeOrder {
                listens,
                takes_over: holder.map(|holder| holder.name.serial),
                service,
                serial: edge.name.serial,
            };
            orders.insert(id.clone(), order);
        }
        orders
    }

    /// The edge that is to listen: the newest that stays, or else the newest.
    fn listener_of(&self, service: &ServiceName) -> Option<&Replica> {
        let pause = self.pause_of(&service.pod(PodPart::Edge))?;
        let desired = &self.services.get(&service.pod(PodPart::Edge))?.desired;
        let may = |edge: &&Replica| {
            let is_hard = match edge.verified(desired) {
                Verified::Strong | Verified::Unavailable => true,
                Verified::Pending | Verified::Weak(_) => false,
            };
            edge.is_running()
                && !edge.is_tainted()
                && joined(edge) == Some(pause)
                && is_hard
                && !self.is_spent(edge)
        };
        let edges = self.edges_of(service).filter(may);
        edges.max_by_key(|edge| (!edge.is_leaving(), edge.name.serial))
    }

    /// Another one has taken its sockets, or has begun to.
    pub(super) fn is_spent(&self, edge: &Replica) -> bool {
        self.stage_of(edge) == Some(&EdgeStage::Spent)
    }

    fn stage_of(&self, edge: &Replica) -> Option<&EdgeStage> {
        Some(&self.edges.get(edge.id()?)?.stage)
    }

    /// It has sockets, and answers, so that they can be asked for.
    fn holds_sockets(&self, edge: &Replica) -> bool {
        let holds = match self.stage_of(edge) {
            Some(EdgeStage::Serving | EdgeStage::Partial { .. }) => true,
            Some(EdgeStage::Idle | EdgeStage::Spent) | None => false,
        };
        holds && edge.is_running() && !self.is_mute(edge)
    }

    fn is_mute(&self, edge: &Replica) -> bool {
        edge.id().is_some_and(|id| self.mute.contains(id))
    }
}

impl Planner<'_> {
    /// Why an edge is of no use to anybody: the network that it is in is not the service's.
    pub(super) fn without_pod(&self, replica: &Replica, desired: &Desired) -> Option<Reason> {
        let service = &replica.name.service;
        replica
            .observed
            .as_ref()
            .filter(|_| service.is_pod(PodPart::Edge))?;
        let (service, _) = service.pod_part()?;
        let mut pauses = replicas_of(&self.world.replicas, &service.pod(PodPart::Pause));
        let is_there = pauses.any(|pause| {
            pause.has_process() && pause.id().is_some() && pause.id() == joined(replica)
        });
        if !is_there {
            return Some(Reason::PodGone);
        }
        if !self.world.is_mute(replica) {
            return None;
        }
        // It cannot be asked for its sockets: the next one binds them as soon as it is gone. To this supervisor one that
        // another has made may never have answered.
        let silent = match &replica.condemned {
            Some(reason @ Reason::Unhealthy { .. }) => reason.clone(),
            Some(_) | None if replica.made_here => return None,
            Some(_) | None => self.never_ready(replica, desired)?,
        };
        let next = self.world.listener_of(&service)?;
        (next.name.serial > replica.name.serial).then_some(silent)
    }

    /// Why an edge is to be replaced that has nothing left to listen on.
    pub(super) fn handed_over(&self, replica: &Replica) -> Option<Reason> {
        self.world.is_spent(replica).then_some(Reason::HandedOver)
    }
}

/// The container whose network it joined.
fn joined(replica: &Replica) -> Option<&ContainerId> {
    replica.observed.as_ref()?.joined.as_ref()
}
