//! Break glass: one replica of a service is taken out of rotation, start-first as in a recycle, and kept for a bounded time
//! in which somebody may execute programs in it. At the end it is recorded and destroyed like a tainted one; it never
//! returns.
//!
//! Its name is the mark that Docker keeps of it: `PROJECT-SERVICE-N.break-glass-MS`, with the end of its time in milliseconds
//! of boot time. Labels cannot be changed after create; a rename can be made at any time, and is (moby v20.10.24 to
//! v28.5.2). It is given before anybody is let in and never taken back, so whichever supervisor finds it knows both.
//! After a boot of the host its process is gone, and what is left of it is removed.
//!
//! Not here: the freeze, the capture and the removal (`taint`), who is let in (`guard`, which is told by `daemon`).

use std::time::Duration;

use super::cut::{self, Ending};
use super::plan::Planner;
use super::replica::Replica;
use super::requests::Request;
use super::taint::Taint;
use super::touch::shown;
use super::{
    Action, ContainerState, Door, Failure, FailureKind, Judged, Observed, Outcome, Reason,
    RequestId, Subject, Time, Touch, Verdict, WaitingOn, World,
};
use crate::spec::{ContainerId, ReplicaName, ServiceName};

/// What stands in a container's name between the replica's own and the end of its time.
const MARK: &str = ReplicaName::BROKEN_OPEN;

/// Why one is over that somebody ended.
const ENDED: &str = "it was ended before its time";

/// Somebody wants to get into a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakGlass {
    /// Of which service; in labels mode also by docker compose's name of it.
    pub service: ServiceName,
    /// Which replica, by its own name or its container's; the oldest that gets traffic where none is named.
    pub replica: Option<String>,
    /// For how long, from the moment in which it is open.
    pub length: Duration,
    /// Why. Hostile text.
    pub reason: String,
}

impl BreakGlass {
    /// The longest time that can be asked for.
    pub const LONGEST: Duration = Duration::from_hours(4);
    /// The longest reason, in characters.
    pub const REASON: usize = 300;
}

/// A replica that is, or was, broken open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlassStatus {
    /// The end of its time.
    pub until: Time,
    /// Somebody may execute programs in it now.
    pub open: bool,
    /// Why, fit to be shown; `None` where a supervisor before this one was told.
    pub reason: Option<String>,
}

/// The same as the world remembers it, from the begin of its rename.
#[derive(Clone, Debug)]
pub(super) struct Glass {
    /// The name that its container has, or is being given.
    name: String,
    until: Time,
    reason: Option<String>,
    request: Option<RequestId>,
    /// It ended then, before its time, and why.
    over: Option<(Time, String)>,
}

impl Glass {
    /// Since when it is to be taken down, as far as that is known.
    pub(super) fn ends(&self) -> Time {
        self.over.as_ref().map_or(self.until, |(at, _)| *at)
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        self.ends() <= now
    }

    /// Why it is taken down.
    pub(super) fn because(&self) -> Reason {
        let why = self.over.as_ref().map(|(_, why)| why.clone());
        Reason::GlassOver {
            why: why.unwrap_or_else(|| "its time is over".to_owned()),
        }
    }
}

impl World {
    /// Begins what was asked for, or says why not.
    pub(super) fn break_glass(&mut self, number: RequestId, asked: BreakGlass) {
        let mut request = Request::new();
        match self.choose_for_glass(&asked) {
            Ok(name) => {
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.condemned = Some(Reason::BreakGlass {
                        request: number,
                        length: asked.length.min(BreakGlass::LONGEST),
                        reason: asked.reason,
                    });
                    request.targets.extend(replica.id().cloned());
                }
                request.services.insert(name.service.clone());
                request.glass = Some(name);
            }
            Err(why) => request.ended = Some(Err(why)),
        }
        self.requests.insert(number, request);
    }

    /// Ends it before its time, or before it was open.
    pub(super) fn end_glass(&mut self, now: Time, number: RequestId, service: &ServiceName) {
        let units = self.units_of(service);
        let mut request = Request::new();
        let is_pending = |request: &Request| {
            let name = request.glass.as_ref().filter(|_| request.ended.is_none());
            name.is_some_and(|name| units.contains(&name.service))
        };
        let pending: Vec<RequestId> = (self.requests.iter())
            .filter(|(_, request)| is_pending(request))
            .map(|(number, _)| *number)
            .collect();
        for asked in &pending {
            self.refuse_glass(*asked, "it was ended before it was open".to_owned());
        }
        let mut ended = Vec::new();
        for replica in self.replicas.values_mut() {
            let id = replica.id().cloned();
            if let Some(glass) = &mut replica.glass
                && units.contains(&replica.name.service)
            {
                if glass.over.is_none() {
                    glass.over = Some((now, ENDED.to_owned()));
                    ended.extend(id.clone().map(|id| (replica.name.clone(), id)));
                }
                request.targets.extend(id);
            }
        }
        // The name still tells the end that it would have had: the next supervisor has this one from the journal.
        for (name, id) in ended {
            let end = Touch::Door(Door::GlassEnd);
            self.remember_touch(now, &name, &id, &end, Judged::Taint);
        }
        if request.targets.is_empty() {
            request.ended = Some(if pending.is_empty() {
                Err(format!("no break-glass is open for `{service}`"))
            } else {
                Ok(())
            });
        }
        self.requests.insert(number, request);
    }

    /// The rename has begun: from now on it never gets traffic again, whatever comes of it.
    pub(super) fn glass_began(&mut self, now: Time, action: &Action, reason: &Reason) {
        let reason = reason.behind_drain();
        let (
            Action::Rename { replica, name, .. },
            Reason::BreakGlass {
                request,
                length,
                reason,
            },
        ) = (action, reason)
        else {
            return;
        };
        let until = until_of(name).unwrap_or(now + *length);
        if let Some(replica) = self.replicas.get_mut(replica) {
            replica.glass.get_or_insert_with(|| Glass {
                name: name.clone(),
                until,
                reason: Some(reason.clone()),
                request: Some(*request),
                over: None,
            });
            let taint = || Taint::new(now, Touch::Door(Door::Glass));
            replica.taint.get_or_insert_with(taint);
        }
    }

    /// What could not be marked is not opened, and does not come back either.
    pub(super) fn glass_renamed(&mut self, now: Time, action: &Action, failed: Option<&Failure>) {
        let Some(failure) = failed.filter(|it| it.kind != FailureKind::Unavailable) else {
            return;
        };
        let (Action::Rename { .. }, Some(name)) = (action, action.replica()) else {
            return;
        };
        if let Some(replica) = self.replicas.get_mut(name)
            && !replica.is_marked()
            && let Some(glass) = &mut replica.glass
        {
            let why = || (now, format!("it could not be marked: {}", failure.message));
            glass.over.get_or_insert_with(why);
        }
    }

    /// One that a supervisor before this one broke open, known by its name.
    pub(super) fn find_glass(&mut self, now: Time, name: &ReplicaName, observed: &Observed) {
        let own = name.container_name(&self.project);
        let mark = observed.name.strip_prefix(&own);
        let is_marked = mark.is_some_and(|mark| mark.starts_with(MARK));
        let Some(until) = until_of(&observed.name).filter(|_| is_marked && !name.is_original())
        else {
            return;
        };
        if let Some(replica) = self.replicas.get_mut(name) {
            let is_frozen = observed.state == ContainerState::Paused;
            replica.glass = Some(Glass {
                name: observed.name.clone(),
                // Whoever else may rename does not keep it for ever.
                until: until.min(now + BreakGlass::LONGEST),
                reason: None,
                request: None,
                over: is_frozen.then(|| (now, "it is frozen already".to_owned())),
            });
            replica.taint = Some(Taint::new(now, Touch::Door(Door::Glass)));
        }
    }

    /// The journal says of one that is open that it was ended: that is the only taint that is recorded of it.
    pub(super) fn glass_ended_before(&mut self, now: Time, name: &ReplicaName) {
        if let Some(replica) = self.replicas.get_mut(name)
            && let Some(glass) = &mut replica.glass
        {
            glass.over.get_or_insert_with(|| (now, ENDED.to_owned()));
        }
    }

    /// Ends what cannot go on, and tells how far what was asked for is.
    pub(super) fn settle_glass(&mut self, now: Time) {
        let over: Vec<(ReplicaName, String)> = (self.replicas.values())
            .filter(|replica| replica.glass.as_ref().is_some_and(|it| it.over.is_none()))
            .filter_map(|replica| Some((replica.name.clone(), self.why_over(replica)?)))
            .collect();
        for (name, why) in over {
            if let Some(glass) = self
                .replicas
                .get_mut(&name)
                .and_then(|it| it.glass.as_mut())
            {
                glass.over = Some((now, why));
            }
        }
        let ended: Vec<(RequestId, Result<(), String>)> = (self.requests.iter())
            .filter(|(_, request)| request.ended.is_none())
            .filter_map(|(number, request)| {
                let name = request.glass.as_ref()?;
                Some((*number, self.glass_end(now, *number, name, request)?))
            })
            .collect();
        for (number, end) in ended {
            match end {
                Ok(()) => {
                    if let Some(request) = self.requests.get_mut(&number) {
                        request.ended = Some(Ok(()));
                    }
                }
                Err(why) => self.refuse_glass(number, why),
            }
        }
    }

    /// What ends one before its time.
    fn why_over(&self, replica: &Replica) -> Option<String> {
        let why = match self.services.get(&replica.name.service) {
            _ if self.down.is_some() => "`phoenixd down`",
            _ if !replica.has_process() => "its process ended",
            None => "its service is not in the file any more",
            Some(service) if service.desired.phoenix.surge == 0 => {
                "only one container of the service may be there at a time now"
            }
            // To docker compose it would be one too many.
            Some(service) if service.desired.adopted.is_some() && self.leaving => {
                "the supervisor ends"
            }
            Some(_) => return None,
        };
        Some(why.to_owned())
    }

    /// How a request that is pending has ended just now, if it has.
    fn glass_end(
        &self,
        now: Time,
        number: RequestId,
        name: &ReplicaName,
        request: &Request,
    ) -> Option<Result<(), String>> {
        let is_it =
            |replica: &&Replica| replica.id().is_some_and(|id| request.targets.contains(id));
        let Some(replica) = self.replicas.get(name).filter(is_it) else {
            return Some(Err(format!("{name} is gone")));
        };
        if let Some(glass) = &replica.glass {
            if let Some((_, why)) = &glass.over {
                return Some(Err(format!("{name}: {why}")));
            }
            let is_open = replica.is_marked() || glass.is_over(now);
            return is_open.then_some(Ok(()));
        }
        if let Some(because) = replica.tainted_because() {
            return Some(Err(format!("{name} is being destroyed: {because}")));
        }
        if let Some(ended) = replica.how_it_ended() {
            return Some(Err(format!("{name}: {ended}")));
        }
        if self.down.is_some() || self.leaving {
            return Some(Err("the supervisor was asked to end".to_owned()));
        }
        match &replica.draining {
            Some((_, because)) if !because.is_glass(number) => {
                Some(Err(format!("{name} had to leave: {because}")))
            }
            None if replica.stop_asked => Some(Err(format!("{name} had to be stopped"))),
            Some(_) if matches!(self.ending_of(now, replica), Ending::Unconfirmed) => {
                Some(Err(format!("{name}: {}", cut::unconfirmed())))
            }
            Some(_) | None => None,
        }
    }

    /// It comes to nothing. What still gets traffic goes on.
    fn refuse_glass(&mut self, number: RequestId, why: String) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.ended = Some(Err(why));
        }
        for replica in self.replicas.values_mut() {
            let is_meant = replica
                .condemned
                .as_ref()
                .is_some_and(|it| it.is_glass(number));
            if is_meant && replica.draining.is_none() {
                replica.condemned = None;
            }
        }
    }
}

impl Replica {
    /// It carries the name of what is broken open.
    pub(super) fn is_marked(&self) -> bool {
        let own = self.observed.as_ref().map(|observed| &observed.name);
        self.glass
            .as_ref()
            .is_some_and(|glass| Some(&glass.name) == own)
    }

    /// It is kept for whoever is let in: it holds nobody up.
    pub(super) fn is_behind_glass(&self) -> bool {
        self.glass
            .as_ref()
            .is_some_and(|glass| glass.over.is_none())
    }

    /// The name that it was given when it was broken open.
    pub(super) fn glass_name(&self) -> Option<&str> {
        self.glass.as_ref().map(|glass| glass.name.as_str())
    }

    pub(super) fn glass_status(&self, now: Time) -> Option<GlassStatus> {
        let glass = self.glass.as_ref()?;
        Some(GlassStatus {
            until: glass.until,
            open: self.is_marked() && !glass.is_over(now) && self.is_running(),
            reason: glass.reason.as_deref().map(shown),
        })
    }
}

impl Reason {
    /// In words that can be shown.
    pub(super) fn of_glass(&self) -> Option<String> {
        if let Some(words) = self.of_cut() {
            return Some(words);
        }
        if let Self::BreakGlass { length, reason, .. } = self {
            let length = humantime::format_duration(super::status::whole_ms(*length));
            return Some(format!("break-glass for {length}: {}", shown(reason)));
        }
        if let Self::GlassOver { why } = self {
            return Some(format!("break-glass is over: {why}"));
        }
        None
    }

    pub(super) fn is_glass(&self, number: RequestId) -> bool {
        matches!(self, Self::BreakGlass { request, .. } if *request == number)
    }
}

impl Planner<'_> {
    /// What comes after the drain of a replica that is to be broken open, instead of its stop: connections that outlast the
    /// drain are cut first.
    pub(super) fn breaks_open(&self, replica: &Replica, because: &Reason) -> Option<Verdict> {
        let Reason::BreakGlass {
            request, length, ..
        } = because
        else {
            return None;
        };
        let asked = self.world.requests.get(request)?;
        if asked.ended.is_some() {
            return None;
        }
        if self.is_named(replica) {
            return None;
        }
        let cut = match self.ending(replica) {
            Ending::Over { cut } => cut,
            Ending::Under(on) => return Some(Verdict::Wait(on)),
            Ending::Unconfirmed => return None,
        };
        let own = replica.name.container_name(&self.world.project);
        let until = (self.now + *length).since_boot().as_millis();
        let because = Box::new(because.clone());
        let because = match cut {
            0 => *because,
            connections => Reason::Cut {
                connections,
                because,
            },
        };
        Some(self.mark(
            replica,
            replica.id()?,
            format!("{own}{MARK}{until}"),
            because,
        ))
    }

    /// What is to be done about one whose time is not over; `None` once it is.
    pub(super) fn behind_glass(&self, replica: &Replica, subject: &Subject) -> Option<Verdict> {
        let glass = replica.glass.as_ref().filter(|it| !it.is_over(self.now))?;
        if replica.is_marked() {
            return Some(Verdict::Wait(WaitingOn::Glass {
                until: glass.until,
                reason: glass.reason.as_deref().map(shown),
            }));
        }
        let because = Reason::BreakGlass {
            request: glass.request?,
            length: glass.until.since(self.now),
            reason: glass.reason.clone()?,
        };
        Some(self.mark(replica, &subject.id, glass.name.clone(), because))
    }

    /// The name first: whoever supervises from then on knows what it is.
    fn mark(&self, replica: &Replica, id: &ContainerId, name: String, because: Reason) -> Verdict {
        if let Some(error) = &self.world.journal_error {
            let error = error.clone();
            return Verdict::Wait(WaitingOn::Journal { error });
        }
        let action = Action::Rename {
            replica: replica.name.clone(),
            id: id.clone(),
            name,
        };
        Verdict::Act(action, because)
    }
}

/// The end of the time that a name tells.
fn until_of(name: &str) -> Option<Time> {
    let (_, digits) = name.rsplit_once(MARK)?;
    let until = digits.parse().ok()?;
    Some(Time::from_boot(Duration::from_millis(until)))
}

/// Whether this is the name of a container that was broken open, and is left so until its end.
pub fn is_broken_open(container: &str) -> bool {
    until_of(container).is_some()
}

/// Why an outcome is none.
pub(super) fn failure_of(outcome: &Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Failed { failure, .. } => Some(failure.clone()),
        Outcome::Done(_) | Outcome::Unknown { .. } => None,
    }
}
