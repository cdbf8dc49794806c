//! The guard's memory around the policy: the key, the nonces that were used, the execs that were made.
//!
//! Bounded: nonces by their age, execs by number. Without any I/O. Not here: the rules (`policy`), files (`store`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::json::Json;
use super::managed::{Hold, Managed};
use super::policy::{self, ExecOwner, Resolve, Site, Verdict, View};
use super::request::{Answered, Authority, Refusal, Request};
use super::routes::{self, Body, Route};
use super::target::Target;
use crate::sign::{self, Key};
use crate::spec::ContainerId;

/// How old a signature may be.
const OLDEST: Duration = Duration::from_secs(30);
/// How far ahead of the guard's clock the signer's may be: it is the same clock, read a moment earlier or later.
const AHEAD: Duration = Duration::from_secs(1);
/// Execs that are remembered: more than any host has open.
const EXECS: usize = 65_536;
/// What a probe of `phoenixd guard status` asks to be paused; no container has this name.
pub const PROBE: &str = "phoenixd-guard-probe-";

/// What is asked for each request.
#[derive(Debug)]
pub struct Judge {
    key: Key,
    site: Site,
    used: BTreeSet<crate::sign::Nonce>,
    execs: BTreeMap<String, ExecOwner>,
    order: VecDeque<String>,
}

/// What is to be remembered of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lesson {
    /// A container of phoenixd's own was made, or got this name: id, name.
    Container(String, String),
    /// A network of phoenixd's own was made: id, name.
    Network(String, String),
    /// A container is gone.
    Gone(String),
}

impl Judge {
    /// A guard that has seen nothing yet.
    pub fn new(key: Key, site: Site) -> Self {
        Self {
            key,
            site,
            used: BTreeSet::new(),
            execs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Decides on a request. `now` is boot time; `resolve` says where a path leads.
    pub fn request(
        &mut self,
        request: &Request,
        managed: &Managed,
        now: Duration,
        resolve: &Resolve<'_>,
    ) -> Verdict {
        if let Some(why) = self.probe(request, managed) {
            return Verdict::Deny { why };
        }
        let authority = self.authority(request, now);
        let execs = &self.execs;
        let view = View {
            managed,
            authority: &authority,
            now,
            site: self.site,
            exec: &|id| execs.get(id).cloned(),
            resolve,
        };
        policy::decide(request, &view)
    }

    /// The answer to a probe: that this guard, with this key, was asked.
    fn probe(&self, request: &Request, managed: &Managed) -> Option<String> {
        if request.method != "POST" {
            return None;
        }
        let target = Target::parse(&request.uri).ok()?;
        let matched = routes::find(&request.method, &target)?;
        let asked = matched.name.strip_prefix(PROBE)?;
        let containers = managed
            .projects
            .values()
            .map(|project| project.replicas.len());
        let state = format!(
            "projects={} replicas={} unreadable={}",
            managed.projects.len(),
            containers.sum::<usize>(),
            managed.unreadable.len()
        );
        let proof = self.key.proof(&format!("{asked} {state}"));
        Some(format!("phoenixd guard: {state} proof={proof}"))
    }

    /// Whose request it is; a signature is used up by asking.
    fn authority(&mut self, request: &Request, now: Duration) -> Authority {
        match self.verify(request) {
            None => Authority::Unsigned,
            Some(Err(refusal)) => Authority::Refused(refusal),
            Some(Ok(nonce)) => {
                if nonce.made > now + AHEAD {
                    return Authority::Refused(Refusal::Future);
                }
                if nonce.made + OLDEST < now {
                    return Authority::Refused(Refusal::Old);
                }
                while self
                    .used
                    .first()
                    .is_some_and(|first| first.made + OLDEST + AHEAD < now)
                {
                    self.used.pop_first();
                }
                if !self.used.insert(nonce.clone()) {
                    return Authority::Refused(Refusal::Used);
                }
                Authority::Signed(nonce)
            }
        }
    }

    fn verify(&self, request: &Request) -> Option<Result<crate::sign::Nonce, Refusal>> {
        let value = request.header(sign::HEADER)?;
        let is_shown = request.content_type().as_deref() == Some("application/json");
        let is_stream = Target::parse(&request.uri).is_ok_and(|target| {
            let matched = routes::find(&request.method, &target);
            matched.is_some_and(|matched| matched.body == Body::Stream)
        });
        let body = if is_stream && !is_shown {
            sign::UNSEEN.to_owned()
        } else {
            sign::body_hash(&request.body)
        };
        let verified = self.key.verify(&request.method, &request.uri, &body, value);
        Some(verified.map_err(Refusal::Unverified))
    }

    /// Whether something can be learnt from an answer: of what is made, renamed, and removed.
    pub fn may_teach(answered: &Answered) -> bool {
        let is_done = (200..300).contains(&answered.status);
        let changes = matches!(answered.method.as_str(), "POST" | "DELETE");
        let target = (is_done && changes).then(|| Target::parse(&answered.uri).ok());
        let matched = target.flatten();
        let matched = matched.and_then(|target| routes::find(&answered.method, &target));
        let is_removal = answered.method == "DELETE";
        matched.is_some_and(|matched| {
            let route = matched.route;
            (route == Route::ContainerLife && is_removal)
                || matches!(
                    route,
                    Route::ExecCreate
                        | Route::ContainerCreate
                        | Route::ContainerRename
                        | Route::NetworkCreate
                )
        })
    }

    /// Learns from an answer. Only what this guard let through has one, but dockerd shows answers of failed requests, too.
    pub fn response(&mut self, request: &Request, managed: &Managed) -> Option<Lesson> {
        if !(200..300).contains(&request.status) {
            return None;
        }
        let target = Target::parse(&request.uri).ok()?;
        let matched = routes::find(&request.method, &target)?;
        let id = || {
            let answer = Json::parse(&request.answer).ok()?;
            let id = answer.field("Id").text()?;
            ContainerId::is_whole(id.as_bytes()).then(|| id.to_owned())
        };
        if matched.route == Route::ExecCreate {
            let owner = match managed.container(&matched.name) {
                Hold::Free => ExecOwner::Other,
                Hold::Glass { id, .. } => ExecOwner::Glass(id),
                Hold::Held(_) | Hold::Joining => return None,
            };
            self.remember(id()?, owner);
            return None;
        }
        // Only what was signed, and whose signature was accepted before, is phoenixd's own.
        let nonce = self.verify(request)?.ok()?;
        if !self.used.contains(&nonce) {
            return None;
        }
        if matched.route == Route::ContainerCreate {
            let name = target.query.one("name").ok()?;
            return Some(Lesson::Container(id()?, name.to_owned()));
        }
        if matched.route == Route::ContainerRename {
            // phoenixd names the container by its id. The name is to be held from now on, whatever becomes of phoenixd.
            let name = target.query.one("name").ok()?;
            let is_id = ContainerId::is_whole(matched.name.as_bytes());
            return is_id.then(|| Lesson::Container(matched.name, name.to_owned()));
        }
        if matched.route == Route::NetworkCreate {
            let body = Json::parse(&request.body).ok()?;
            return Some(Lesson::Network(
                id()?,
                body.field("Name").text()?.to_owned(),
            ));
        }
        let is_removal = matched.route == Route::ContainerLife && request.method == "DELETE";
        is_removal.then_some(Lesson::Gone(matched.name))
    }

    fn remember(&mut self, id: String, owner: ExecOwner) {
        if self.execs.insert(id.clone(), owner).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > EXECS
            && let Some(oldest) = self.order.pop_front()
        {
            self.execs.remove(&oldest);
        }
    }
}
