//! Requests to recycle: which replicas have to go, and how it ended. An end is final.

use std::collections::BTreeSet;

use super::replica::Replica;
use super::service::Service;
use super::world::replicas_of;
use super::{Reason, RequestId, RequestState, World};
use crate::spec::{ContainerId, PodPart, ReplicaName, ServiceName};

/// How many ended requests are remembered for whoever still asks.
const ENDED_KEPT: usize = 32;

/// A request to recycle.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) services: BTreeSet<ServiceName>,
    /// The replicas that have to go.
    pub(super) targets: BTreeSet<ContainerId>,
    /// It was asked for before the first listing: what is meant is not known yet.
    pub(super) early: bool,
    /// The replica that is to be broken open.
    pub(super) glass: Option<ReplicaName>,
    /// How it ended; final.
    pub(super) ended: Option<Result<(), String>>,
}

impl Request {
    /// One about nothing yet.
    pub(super) fn new() -> Self {
        Self {
            services: BTreeSet::new(),
            targets: BTreeSet::new(),
            early: false,
            glass: None,
            ended: None,
        }
    }
}

/// A request has come to nothing: who was to go for it alone, and is not on its way, stays.
pub(super) fn pardon<'a>(replicas: impl Iterator<Item = &'a mut Replica>, number: RequestId) {
    let commanded = Reason::Commanded(number);
    let is_meant = |it: &Reason| *it == commanded || it.is_glass(number);
    for replica in replicas.filter(|replica| replica.draining.is_none()) {
        if replica.condemned.as_ref().is_some_and(is_meant) {
            replica.condemned = None;
        }
    }
}

fn unwritten(error: &str) -> String {
    format!("the journal cannot be written, and nothing is replaced until it can: {error}")
}

impl World {
    pub(super) fn recycle(&mut self, number: RequestId, services: &BTreeSet<ServiceName>) {
        if let Some(error) = &self.journal_error {
            let mut refused = Request::new();
            refused.ended = Some(Err(unwritten(error)));
            self.requests.insert(number, refused);
            return;
        }
        // A service of docker compose means all of its containers.
        let is_meant = |name: &ServiceName| {
            // Nothing is gained by another one, and the address would be lost.
            if name.is_pod(PodPart::Pause) {
                return false;
            }
            // Whoever means the services does not mean the connections that their edges keep: an edge has its own life.
            if name.is_pod(PodPart::Edge) {
                return services.contains(name);
            }
            let of = self
                .services
                .get(name)
                .and_then(|service| service.desired.adopted.as_ref());
            services.is_empty()
                || services.contains(name)
                || of.is_some_and(|adopted| services.contains(&adopted.service))
        };
        let mut request = Request {
            services: self
                .services
                .keys()
                .filter(|name| is_meant(name))
                .cloned()
                .collect(),
            targets: BTreeSet::new(),
            early: !self.listed,
            glass: None,
            ended: None,
        };
        for replica in self
            .replicas
            .values_mut()
            .filter(|replica| request.services.contains(&replica.name.service))
        {
            if replica.is_live() && replica.condemned.is_none() {
                replica.condemned = Some(Reason::Commanded(number));
            }
            request.targets.extend(replica.id().cloned());
        }
        for (name, service) in &mut self.services {
            if request.services.contains(name) {
                service.forgive();
                service.objection = None;
            }
        }
        self.requests.insert(number, request);
    }

    /// Whether the journal can be written; `false` when that is nothing new.
    pub(super) fn journal_is(&mut self, error: Option<String>) -> bool {
        if self.journal_error == error {
            return false;
        }
        if let Some(error) = &error {
            self.refuse_requests(error);
        }
        self.journal_error = error;
        true
    }

    /// The journal cannot be written any more: nobody waits for what is not begun until it can. Opening says so itself.
    fn refuse_requests(&mut self, error: &str) {
        for (number, request) in &mut self.requests {
            if request.ended.is_some() || request.glass.is_some() {
                continue;
            }
            request.ended = Some(Err(unwritten(error)));
            pardon(self.replicas.values_mut(), *number);
        }
    }

    /// What was asked for before the first listing is about what that shows.
    pub(super) fn settle_early_requests(&mut self) {
        let early: Vec<(RequestId, BTreeSet<ServiceName>)> = self
            .requests
            .iter()
            .filter(|(_, request)| request.early)
            .map(|(number, request)| (*number, request.services.clone()))
            .collect();
        for (number, services) in early {
            self.recycle(number, &services);
        }
    }

    /// Notes which requests are done, and forgets the oldest ended ones.
    pub(super) fn settle_requests(&mut self) {
        let done: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| self.is_done(request))
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            if let Some(request) = self.requests.get_mut(&number) {
                request.ended = Some(Ok(()));
            }
        }
        let ended: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.ended.is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in ended.iter().take(ended.len().saturating_sub(ENDED_KEPT)) {
            self.requests.remove(number);
        }
    }

    fn is_done(&self, request: &Request) -> bool {
        request.ended.is_none()
            && !request.early
            && request.glass.is_none()
            && self.left_of(request) == 0
            && request.services.iter().all(|name| {
                self.services
                    .get(name)
                    .is_none_or(|s| self.is_whole(name, s))
            })
    }

    fn left_of(&self, request: &Request) -> usize {
        self.replicas
            .values()
            .filter(|r| r.id().is_some_and(|id| request.targets.contains(id)))
            // Its place is taken by another one.
            .filter(|r| !r.is_behind_glass())
            .count()
    }

    pub(super) fn request_state(&self, request: &Request) -> RequestState {
        match &request.ended {
            Some(Ok(())) => RequestState::Done,
            Some(Err(why)) => RequestState::Failed(why.clone()),
            None => RequestState::Pending(self.left_of(request)),
        }
    }

    /// As many as are wanted get traffic.
    fn is_whole(&self, name: &ServiceName, service: &Service) -> bool {
        let desired = &service.desired;
        let of = replicas_of(&self.replicas, name);
        let ready = of.filter(|replica| replica.is_in_rotation(desired)).count();
        ready >= usize::try_from(desired.replicas).unwrap_or(usize::MAX)
    }
}
