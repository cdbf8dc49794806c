//! The status for people: every replica with its stage and what it waits for, every service with what it lacks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replica::{Replica, Verified};
use super::service::Service;
use super::world::replicas_of;
use super::{
    GlassStatus, Health, Meddling, RequestId, Stage, Time, Touched, Verdict, WaitingOn, World,
    schedule,
};
use crate::spec::{ContainerId, Generation, ReplicaName, ServiceName};

/// The status of a project. Ages and what is left of a life follow from the instants.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// Every replica, in the order of service and serial.
    pub replicas: Vec<ReplicaStatus>,
    /// Every service that the file wants.
    pub services: BTreeMap<ServiceName, ServiceStatus>,
    /// Every request that was made of this supervisor.
    pub requests: BTreeMap<RequestId, RequestState>,
    /// Why the engine does not answer, if it does not.
    pub engine_error: Option<String>,
    /// Why the journal cannot be written, if it cannot.
    pub journal_error: Option<String>,
    /// What somebody else stopped or removed in the last minutes, the oldest first.
    pub outside: Vec<Meddling>,
    /// What was done to replicas in the last minutes, the oldest first.
    pub touched: Vec<Touched>,
    /// What a finished `down` could not remove, and why.
    pub left: Vec<String>,
    /// Containers of docker compose that are left as they are, by unit, and why.
    pub refused: BTreeMap<ServiceName, String>,
}

/// One replica.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaName,
    /// Its container, where there is one already.
    pub container_id: Option<ContainerId>,
    /// The name that its container has now.
    pub container_name: Option<String>,
    /// Where it is in its life.
    pub stage: Stage,
    /// Traffic goes to it.
    pub ready: bool,
    /// When its process began.
    pub born_at: Option<Time>,
    /// When it must be gone.
    pub deadline: Option<Time>,
    /// It is past that.
    pub overdue: bool,
    /// The revision that it was born from.
    pub generation: Generation,
    /// The kernel confirmed its hardening; `None` where the kernel cannot be asked.
    pub verified: Option<bool>,
    /// What it waits for.
    pub waiting_on: Option<WaitingOn>,
    /// Docker's own health status.
    pub health: Health,
    /// What was done to it, where that is a taint; fit to be shown.
    pub tainted: Option<String>,
    /// It is broken open, or was.
    pub glass: Option<GlassStatus>,
}

impl ReplicaStatus {
    /// It serves, and the kernel could not be asked about its hardening. One that is only starting may just have ended
    /// between two looks.
    pub fn is_unverified(&self) -> bool {
        self.verified.is_none() && self.ready
    }
}

/// One service.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceStatus {
    /// How many replicas are wanted.
    pub wanted: u32,
    /// How many get traffic.
    pub ready: u32,
    /// How many of the wanted ones do not even exist.
    pub missing: u32,
    /// The wanted revision, once it is known.
    pub generation: Option<Generation>,
    /// Failures in a row.
    pub failures: u32,
    /// The last one.
    pub last_failure: Option<String>,
    /// What the next birth waits for, where one is needed.
    pub waiting_on: Option<WaitingOn>,
    /// The service of docker compose that it is a container of, in labels mode.
    pub of: Option<ServiceName>,
}

/// How a request went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestState {
    /// So many of its replicas are still there.
    Pending(usize),
    /// All of them are replaced.
    Done,
    /// It came to nothing.
    Failed(String),
}

impl World {
    pub(super) fn status(
        &self,
        now: Time,
        verdicts: &BTreeMap<ReplicaName, Verdict>,
        births: &BTreeMap<ServiceName, Verdict>,
    ) -> Status {
        let replicas = self
            .replicas
            .values()
            .map(|replica| self.replica_status(now, replica, waiting(verdicts.get(&replica.name))))
            .collect();
        let services = self
            .services
            .iter()
            .map(|(name, service)| {
                let status = self.service_status(name, service, waiting(births.get(name)));
                (name.clone(), status)
            })
            .collect();
        let requests = self
            .requests
            .iter()
            .map(|(number, request)| (*number, self.request_state(request)))
            .collect();
        let engine_error = match &self.engine {
            super::world::EngineState::Unreachable(error) => Some(error.clone()),
            super::world::EngineState::Unlisted | super::world::EngineState::Reachable => None,
        };
        Status {
            replicas,
            services,
            requests,
            engine_error,
            journal_error: self.journal_error.clone(),
            outside: self.recent_meddling(now),
            touched: self.recent_touches(now),
            left: Vec::new(),
            refused: self.refused.clone(),
        }
    }

    fn replica_status(
        &self,
        now: Time,
        replica: &Replica,
        waiting_on: Option<WaitingOn>,
    ) -> ReplicaStatus {
        let desired = self
            .services
            .get(&replica.name.service)
            .map(|service| &service.desired);
        let glass = replica.glass_status(now);
        let deadline = match &glass {
            Some(glass) => Some(glass.until),
            None => self.deadline(replica),
        };
        ReplicaStatus {
            replica: replica.name.clone(),
            container_id: replica.id().cloned(),
            container_name: (replica.observed.as_ref()).map(|observed| observed.name.clone()),
            stage: replica.stage(),
            ready: desired.is_some_and(|desired| replica.is_in_rotation(desired)),
            born_at: replica.born_at(),
            deadline,
            overdue: deadline.is_some_and(|deadline| now > deadline)
                && replica.is_live()
                && replica.glass.is_none(),
            generation: replica.generation,
            verified: desired.and_then(|desired| match replica.verified(desired) {
                Verified::Strong => Some(true),
                Verified::Pending | Verified::Weak(_) => Some(false),
                Verified::Unavailable => None,
            }),
            waiting_on,
            health: replica
                .observed
                .as_ref()
                .map_or(Health::None, |observed| observed.health),
            tainted: (replica.taint.as_ref())
                .filter(|_| replica.glass.is_none())
                .map(|taint| taint.touch.words()),
            glass,
        }
    }

    fn service_status(
        &self,
        name: &ServiceName,
        service: &Service,
        waiting_on: Option<WaitingOn>,
    ) -> ServiceStatus {
        let desired = &service.desired;
        let count = |is: &dyn Fn(&Replica) -> bool| {
            let of = replicas_of(&self.replicas, name);
            let number = of.filter(|replica| is(replica)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        ServiceStatus {
            wanted: desired.replicas,
            ready: count(&|replica| replica.is_in_rotation(desired)),
            missing: desired.replicas.saturating_sub(count(&|replica| {
                replica.is_live() && replica.glass.is_none()
            })),
            generation: service
                .generation
                .as_ref()
                .map(|(_, generation)| *generation),
            failures: service.failures().map_or(0, |(failures, _, _)| failures),
            last_failure: service.failures().map(|(_, _, why)| why.to_owned()),
            waiting_on,
            of: desired
                .adopted
                .as_ref()
                .map(|adopted| adopted.service.clone()),
        }
    }

    /// When a running replica must be gone.
    pub(super) fn deadline(&self, replica: &Replica) -> Option<Time> {
        let service = self.services.get(&replica.name.service)?;
        let life = schedule::lifetime(
            &self.project,
            &replica.name,
            service.desired.phoenix.lifetime(),
        );
        let deadline = replica.born_at()? + life;
        Some(Self::deadline_of_original(replica, service, deadline))
    }
}

fn waiting(verdict: Option<&Verdict>) -> Option<WaitingOn> {
    match verdict {
        Some(Verdict::Wait(on)) => Some(on.clone()),
        Some(Verdict::Act(action, _)) => Some(WaitingOn::Call(action.name())),
        Some(Verdict::Keep) | None => None,
    }
}

/// Without what is finer than a millisecond, for people.
pub(super) fn whole_ms(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
