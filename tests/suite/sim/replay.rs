//! The engine's memory of what happened, as moby has it: the last 256 events of all containers of the host, until it is
//! restarted. Whoever subscribes is told those of them again that are not older than was asked for; and the checker of what
//! was done while nobody listened.
//!
//! Not here: what is told at once (`outside`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use phoenixd::docker::Hint;
use phoenixd::reconcile::{Door, Event, Time, Touch};
use phoenixd::spec::ContainerId;

use super::container::Container;
use super::engine::Shared;
use super::host::Host;
use super::invariants::Judge;
use super::mutants::Mutant;
use super::run::{Ev, Sim};

/// As moby v20.10.24 to v28.5.2 (`daemon/events/events.go`, `eventsLimit`).
const REMEMBERED: usize = 256;
/// As in `daemon::watch`.
const OVERLAP: Duration = Duration::from_secs(2);

/// What the engine remembers has reached the supervisor so long after its first listing.
const TOLD: Duration = Duration::from_secs(10);

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Said {
    at: Time,
    id: ContainerId,
    /// Of whatever carries the project's label.
    ours: bool,
    what: What,
}

/// What it tells.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// By its name, with the name that the container has by then.
    Action(&'static str, String),
    /// Somebody got in.
    Touch(Touch),
}

/// The engine's memory.
#[derive(Debug, Default)]
pub(super) struct Memory(VecDeque<Said>);

/// Containers that somebody got into while nobody listened.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard {
    /// Not told to anybody yet.
    missed: BTreeSet<ContainerId>,
    /// The engine remembered it when this supervisor subscribed, then.
    owed: BTreeMap<ContainerId, Time>,
}

impl Unheard {
    pub(super) fn missed(&mut self, id: &ContainerId) {
        self.missed.insert(id.clone());
    }

    pub(super) fn heard(&mut self, id: &ContainerId) {
        self.missed.remove(id);
        self.owed.remove(id);
    }

    /// For the next supervisor.
    pub(super) fn next(&self) -> Self {
        Self {
            missed: self.missed.clone(),
            owed: BTreeMap::new(),
        }
    }
}

impl Memory {
    fn remember(&mut self, said: Said) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(said);
    }

    pub(super) fn since(&self, at: Time) -> Vec<Said> {
        self.0
            .iter()
            .filter(|said| said.at >= at)
            .cloned()
            .collect()
    }

    /// It does not outlive the engine.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn touched(&self) -> impl Iterator<Item = &ContainerId> {
        let is_touch = |said: &&Said| matches!(said.what, What::Touch(_));
        self.0.iter().filter(is_touch).map(|said| &said.id)
    }
}

impl Said {
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// As the adapter hands it on to a subscriber of `now`.
    pub(super) fn hint(&self, now: Time) -> Hint {
        let (action, name) = match &self.what {
            What::Action(action, name) => (*action, name.clone()),
            What::Touch(_) => ("attach", String::new()),
        };
        Hint {
            id: self.id.clone(),
            action: action.to_owned(),
            exec: None,
            exit_code: None,
            name,
            before: self.at < since(now, Duration::ZERO),
        }
    }
}

/// As in `docker::events`: whole seconds of the engine's clock.
pub(super) fn since(now: Time, back: Duration) -> Time {
    let back = back.as_secs() + u64::from(back.subsec_nanos() > 0);
    let seconds = now.since_boot().as_secs().saturating_sub(back);
    Time::from_boot(Duration::from_secs(seconds))
}

impl What {
    /// It happened just now.
    pub(super) fn of(action: &'static str, host: &Host, id: &ContainerId) -> Self {
        let name = (host.containers.get(id)).map(|container| container.name.clone());
        Self::Action(action, name.unwrap_or_default())
    }

    /// What a supervisor makes of it, as `daemon::touched` does; nothing of what is only looked at.
    pub(super) fn touch(&self) -> Option<Touch> {
        match self {
            Self::Touch(touch) => Some(touch.clone()),
            Self::Action("rename", name) => Some(Touch::Renamed(name.clone())),
            Self::Action("pause" | "unpause", _) => Some(Touch::Door(Door::Pause)),
            Self::Action(..) => None,
        }
    }
}

impl Shared {
    /// Something happened to a container.
    pub(super) fn remember(&mut self, id: &ContainerId, what: What) {
        let container = self.host.containers.get(id);
        let is_of_compose = self.host.of_compose.contains(id);
        let said = Said {
            at: self.host.now,
            id: id.clone(),
            ours: !is_of_compose && container.is_none_or(|container| container.labelled),
            what,
        };
        self.memory.remember(said);
    }

    /// Others of the host are busy.
    pub(super) fn others_are_busy(&mut self, events: u64) {
        for number in 0..events {
            let said = Said {
                at: self.host.now,
                id: ContainerId::new(format!("other{number}")),
                ours: false,
                what: What::Action("start", String::new()),
            };
            self.memory.remember(said);
        }
    }
}

impl Sim {
    /// What a subscription of now is told of the past.
    pub(super) fn told_again(&self) -> Vec<Said> {
        let heard = self.shell.as_ref().and_then(|shell| shell.heard);
        let mut back = heard.map_or(Duration::ZERO, |at| self.now.since(at) + OVERLAP);
        if self.mutant == Some(Mutant::SinceNow) {
            back = Duration::ZERO;
        }
        let all = self.engine.lock().memory.since(since(self.now, back));
        all.into_iter().filter(Said::is_ours).collect()
    }

    /// The subscription tells of the past, before the listing.
    pub(super) fn tell_again(&mut self, way: Duration) {
        let Some(shell) = self.shell.as_mut() else {
            return;
        };
        let again = std::mem::take(&mut shell.told_again);
        {
            let shared = self.engine.lock();
            let unheard = &mut self.judge.unheard;
            for id in shared
                .memory
                .touched()
                .filter(|id| unheard.missed.contains(*id))
            {
                unheard.owed.entry(id.clone()).or_insert(self.now);
            }
        }
        for said in again {
            if let Some(touch) = said.what.touch() {
                let touch = self.mistake(touch);
                let (incarnation, id) = (self.incarnation, said.id);
                let event = Event::Touched { id, touch };
                self.at(way, Ev::Deliver(incarnation, Box::new(event)));
            }
        }
    }

    fn mistake(&self, touch: Touch) -> Touch {
        match (self.mutant, touch) {
            (Some(Mutant::ForgetWhoRenamed), Touch::Renamed(_)) => Touch::Renamed("x".to_owned()),
            (_, touch) => touch,
        }
    }
}

impl Judge {
    /// I4: what the engine remembers was told, and with that it is tainted.
    pub(super) fn check_unheard(&mut self, now: Time, container: &Container) {
        let owed = self.unheard.owed.get(&container.id).copied();
        if owed.is_some_and(|at| now.since(at) > TOLD) {
            let text = format!(
                "somebody got into {} while nobody listened, and it lives on",
                container.name
            );
            self.fail(now, "I4", text);
        }
    }
}

/// phoenixd itself does such a thing, to such a container.
pub(super) fn is_phoenixd_s(container: &Container, touch: &Touch) -> bool {
    match touch {
        Touch::Renamed(name) => {
            container.marked.as_ref() == Some(name) || name.contains(".break-glass-")
        }
        Touch::Door(Door::Pause) => container.frozen_at.is_some(),
        _ => false,
    }
}
