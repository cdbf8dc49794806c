//! Whether what was done to a replica is a taint, and what is done about a tainted one: out of rotation at once, frozen,
//! recorded, removed by force. It never comes back.
//!
//! A pause is the mark that Docker keeps of it: a paused replica that this supervisor did not freeze was frozen by somebody
//! else, or by a supervisor before it, and is tainted all the same. What was judged and not frozen yet when its supervisor
//! was killed stands in the journal, and is told at start (`Event::Remembered`).
//!
//! Not here: noticing touches (`daemon`, the witnesses), and the replacement, which is born like every other (`births`).

use std::collections::VecDeque;
use std::time::Duration;

use super::glass::Glass;
use super::judge::judge;
use super::plan::Planner;
use super::replica::{Replica, Routed};
use super::service::Service;
use super::touch::shown;
use super::{
    Action, ContainerState, Door, Entry, Failure, FailureKind, HealthExec, Outcome, Reason,
    Subject, Time, Touch, Verdict, WaitingOn, World,
};
use crate::spec::{ContainerId, OnTaint, ReplicaName};

/// What is remembered of the touches of one replica, and of all that are still to be told. More that taints nobody is not
/// told; for what taints, the oldest is forgotten.
const REMEMBERED: usize = 64;
/// How many are kept of containers that were not seen yet: at start all that the engine remembers comes before the listing,
/// 256 events (moby v28.5.2, `daemon/events`), each of which is one touch at most, and two where its process is asked about.
const EARLY: usize = 1024;
/// The same of one that is broken open, where each is somebody's work.
const REMEMBERED_OPEN: usize = 4096;
/// How long a touch is told in the status.
const TOLD: Duration = Duration::from_mins(10);
/// How often a freeze or a capture is tried while the engine does not answer.
const ATTEMPTS: u32 = 3;
/// How long the freeze waits for the edge to take over the table without the replica: what is frozen answers nobody.
const FREEZE_WAITS: Duration = Duration::from_millis(250);
/// How long after a process was started in it through the engine a container is not frozen. One that is frozen while that
/// process only begins blocks the engine: no call about it is answered any more, its removal included (20.10.24, measured:
/// `runc init` stands still in the frozen cgroup, and `runc exec` waits for it with the container's lock held). A start takes
/// 50 to 100 ms.
const EXEC_BEGINS: Duration = Duration::from_secs(1);
/// How long the freeze waits for that in all: whoever goes on starting processes is captured as it runs.
const FREEZE_GIVES_UP: Duration = Duration::from_secs(3);
/// Between two looks at a container that the engine is removing.
const PACE_REMOVING: Duration = Duration::from_secs(1);

/// Something that was done to a replica, and what phoenixd makes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// 1, 2, 3 … in this supervisor.
    pub number: u64,
    /// When it was noticed.
    pub at: Time,
    /// To whom.
    pub replica: ReplicaName,
    /// Its container.
    pub id: ContainerId,
    /// What. Its texts are hostile; `words` is fit to be shown.
    pub touch: Touch,
    /// What it is.
    pub judged: Judged,
}

/// What a touch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    /// The replica is not what was started any more.
    Taint,
    /// It is only recorded.
    Report,
}

impl Judged {
    /// Its name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Taint => "tainted",
            Self::Report => "reported",
        }
    }
}

/// How far a tainted replica is on its way out.
#[derive(Clone, Debug)]
pub(super) struct Taint {
    pub(super) at: Time,
    pub(super) touch: Touch,
    freezes: u32,
    freeze_over: bool,
    captures: u32,
    capture_over: bool,
}

impl Taint {
    pub(super) fn new(at: Time, touch: Touch) -> Self {
        Self {
            at,
            touch,
            freezes: 0,
            freeze_over: false,
            captures: 0,
            capture_over: false,
        }
    }
}

impl Touch {
    /// In words that can be shown: what is not printable is escaped, and what is long is cut.
    pub fn words(&self) -> String {
        shown(&self.to_string())
    }

    /// Whether another witness told of the same.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exec(one), Self::Exec(other)) => one.id == other.id,
            (Self::Intruder(one), Self::Intruder(other)) => one.pid == other.pid,
            (Self::Program(one), Self::Program(other)) => {
                (one.origin, &one.path) == (other.origin, &other.path)
            }
            // The engine tells it again.
            (Self::Recorded(words), other) => *words == other.words(),
            _ => self == other,
        }
    }

    /// Whether it is what the engine tells of an exec that was known without.
    fn adds_to(&self, known: &Self) -> bool {
        let (Self::Exec(told), Self::Exec(known)) = (self, known) else {
            return false;
        };
        told.id == known.id && told.facts.is_some() && known.facts.is_none()
    }
}

impl World {
    /// Something was done to a container. `false` when that changes nothing.
    pub(super) fn touched(&mut self, now: Time, id: &ContainerId, touch: Touch) -> bool {
        let Some(replica) = self.replica_of(id) else {
            // A stray serves nobody and is removed in any case. Of a create whose answer is still to come nothing is
            // known yet.
            if !self.strays.contains_key(id) && !self.tombstones.contains_key(id) {
                if self.early.len() == EARLY {
                    self.early.pop_front();
                }
                self.early.push_back((id.clone(), touch));
            }
            return false;
        };
        if replica.is_past_being_touched(&touch) {
            return false;
        }
        if is_start_of_process(&touch) && !replica.is_known_intruder(&touch) {
            replica.exec_at = Some(now);
        }
        if replica.is_held_back(now, &touch) {
            return true;
        }
        let name = replica.name.clone();
        // Of a program in what is broken open each thing that becomes known is recorded.
        let is_open = replica.glass.is_some();
        let adds = replica.touches.iter().any(|known| touch.adds_to(known));
        let same = |known: &Touch| *known == touch || !is_open && !adds && known.is_same(&touch);
        let remembered = if is_open { REMEMBERED_OPEN } else { REMEMBERED };
        if replica.touches.iter().any(same) {
            return false;
        }
        let is_full = replica.touches.len() >= remembered;
        // Of what was judged already this only tells more.
        let judged = self.judge_touch(&name, &touch);
        let Some(judged) = judged.map(|judged| if adds { Judged::Report } else { judged }) else {
            return false;
        };
        if is_full {
            if !self.is_grave(&name, &touch) {
                return false;
            }
            self.forget_oldest_touch(&name);
        }
        self.remember_touch(now, &name, id, &touch, judged);
        // Births go on with the image that was resolved: by its id, since its name leads elsewhere.
        if let (Touch::ImageMoved(_), Some(service)) =
            (&touch, self.services.get_mut(&name.service))
        {
            service.image_moved = true;
        }
        if judged == Judged::Taint {
            self.taint(now, &name, touch);
        }
        true
    }

    /// It is seen for the first time by this supervisor, and one before has judged it tainted.
    pub(super) fn tainted_before(&mut self, now: Time, id: &ContainerId) {
        if let Some(words) = self.remembered.remove(id) {
            if let Some(name) = self.replica_of(id).map(|replica| replica.name.clone()) {
                self.glass_ended_before(now, &name);
            }
            self.touched(now, id, Touch::Recorded(words));
        }
    }

    /// What came before the container itself was seen.
    pub(super) fn touched_early(&mut self, now: Time, id: &ContainerId) {
        let (of_it, others) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|(of, _)| of == id);
        self.early = others;
        let of_it: VecDeque<(ContainerId, Touch)> = of_it;
        for (id, touch) in of_it {
            self.touched(now, &id, touch);
        }
    }

    pub(super) fn remember_touch(
        &mut self,
        now: Time,
        name: &ReplicaName,
        id: &ContainerId,
        touch: &Touch,
        judged: Judged,
    ) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.touches.push(touch.clone());
        }
        self.touches.retain(|earlier| now.since(earlier.at) < TOLD);
        if self.touches.len() == REMEMBERED {
            self.touches.pop_front();
        }
        self.touch_number += 1;
        self.touches.push_back(Touched {
            number: self.touch_number,
            at: now,
            replica: name.clone(),
            id: id.clone(),
            touch: touch.clone(),
            judged,
        });
    }

    /// Whether it taints wherever taints are not only reported. Of this nothing is ever left out: whoever got in could have
    /// told enough of the rest before.
    fn is_grave(&self, name: &ReplicaName, touch: &Touch) -> bool {
        let desired = self.services.get(&name.service).map(|it| &it.desired);
        let judge = |replica| judge(replica, desired, &self.project, touch);
        self.replicas.get(name).and_then(judge) == Some(Judged::Taint)
    }

    /// Whoever tells it again is believed again.
    fn forget_oldest_touch(&mut self, name: &ReplicaName) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.touches.remove(0);
        }
    }

    /// What a touch is; `None` for what is as it should be.
    fn judge_touch(&self, name: &ReplicaName, touch: &Touch) -> Option<Judged> {
        let replica = self.replicas.get(name)?;
        let desired = self.services.get(&name.service).map(|it| &it.desired);
        let judged = judge(replica, desired, &self.project, touch)?;
        let on_taint = desired.map_or(OnTaint::Replace, |desired| desired.phoenix.on_taint);
        // What docker compose made is held to nothing that it was not made with.
        // What was judged stays so, whatever the file says since.
        let is_reported = on_taint == OnTaint::Report || replica.glass.is_some();
        if name.is_original() || is_reported && !matches!(touch, Touch::Recorded(_)) {
            return Some(Judged::Report);
        }
        Some(judged)
    }

    /// It is no longer what was started. One that had not proven itself is a failed birth, so that whoever taints each
    /// newborn meets the backoff and the budget.
    fn taint(&mut self, now: Time, name: &ReplicaName, touch: Touch) {
        let words = touch.words();
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        if replica.taint.is_some() {
            return;
        }
        let reason = Reason::Tainted {
            touch: touch.clone(),
        };
        replica.condemned = Some(reason);
        replica.retry = None;
        replica.taint = Some(Taint::new(now, touch));
        let was_leaving = replica.is_leaving();
        // One that a supervisor before this one made is no newborn.
        let proven = !replica.made_here
            || (self.services.get(&name.service))
                .is_some_and(|service| replica.is_stable(&service.desired, now));
        if !proven && !was_leaving {
            self.failed(now, name, &format!("tainted: {words}"));
        }
    }

    /// What an inspection shows that nobody of phoenixd did.
    pub(super) fn touches_seen(
        &mut self,
        now: Time,
        name: &ReplicaName,
        ran_on: Option<Vec<crate::spec::NetworkName>>,
    ) {
        let Some(replica) = self.replicas.get(name) else {
            return;
        };
        let Some(observed) = &replica.observed else {
            return;
        };
        let id = observed.id.clone();
        let is_frozen = observed.state == ContainerState::Paused;
        let is_moved = replica.is_running()
            && ran_on.is_some_and(|before| self.is_moved(now, replica, &before));
        // Whether that name is its own is judged as with every other touch.
        let named = Some(Touch::Renamed(observed.name.clone()));
        let frozen = is_frozen.then_some(Touch::Door(Door::Pause));
        let moved = is_moved.then_some(Touch::Door(Door::Network));
        let restarted = observed.second_life.map(|_| Touch::Door(Door::Restart));
        for touch in [named, frozen, moved, restarted].into_iter().flatten() {
            self.touched(now, &id, touch);
        }
    }

    pub(super) fn seizure_began(&mut self, action: &Action) {
        let Some(taint) = self.taint_of(action) else {
            return;
        };
        taint.freezes += u32::from(matches!(action, Action::Freeze { .. }));
        taint.captures += u32::from(matches!(action, Action::Capture { .. }));
    }

    /// A freeze or a capture ended: done, or tried often enough. What an engine refuses once it refuses again.
    pub(super) fn seizure_ended(&mut self, action: &Action, outcome: &Outcome) {
        let Some(taint) = self.taint_of(action) else {
            return;
        };
        let refused = match outcome {
            Outcome::Done(_) => true,
            Outcome::Failed {
                failure: Failure { kind, .. },
                ..
            } => *kind != FailureKind::Unavailable,
            Outcome::Unknown { .. } => false,
        };
        if matches!(action, Action::Freeze { .. }) {
            taint.freeze_over |= refused || taint.freezes >= ATTEMPTS;
        }
        if matches!(action, Action::Capture { .. }) {
            taint.capture_over |= refused || taint.captures >= ATTEMPTS;
        }
    }

    fn taint_of(&mut self, action: &Action) -> Option<&mut Taint> {
        self.replicas.get_mut(action.replica()?)?.taint.as_mut()
    }

    /// What is worth telling now.
    pub(super) fn recent_touches(&self, now: Time) -> Vec<Touched> {
        let recent = |touched: &&Touched| now.since(touched.at) < TOLD;
        self.touches.iter().filter(recent).cloned().collect()
    }
}

impl Replica {
    pub(super) fn is_tainted(&self) -> bool {
        self.taint.is_some()
    }

    /// Why it is to go, where it is tainted.
    pub(super) fn tainted_because(&self) -> Option<Reason> {
        let touch = self.taint.as_ref()?.touch.clone();
        let glass = self.glass.as_ref().map(Glass::because);
        Some(glass.unwrap_or(Reason::Tainted { touch }))
    }

    /// A process that was told before: what is there is told again and again.
    fn is_known_intruder(&self, touch: &Touch) -> bool {
        let is_same = |known: &Touch| known.is_same(touch);
        matches!(touch, Touch::Intruder(_)) && self.touches.iter().any(is_same)
    }

    /// Its evidence is there and it is taken down, or its process has ended: what changes in its layer now is that.
    fn is_past_being_touched(&self, touch: &Touch) -> bool {
        let runs = self.observed.as_ref().is_some_and(|observed| {
            matches!(
                observed.state,
                ContainerState::Running | ContainerState::Paused
            )
        });
        // What the pause before was for.
        let is_why = matches!(touch, Touch::Door(Door::Commit));
        self.is_captured() && !is_why || (!runs && matches!(touch, Touch::Changed(_)))
    }

    /// Its evidence is there, or cannot be had.
    pub(super) fn is_captured(&self) -> bool {
        self.taint.as_ref().is_some_and(|taint| taint.capture_over)
    }

    /// It was not frozen yet, and can be. Where Docker starts a health check in it any moment can be the wrong one.
    fn is_to_be_frozen(&self) -> bool {
        let is_before = |taint: &Taint| !taint.freeze_over && taint.captures == 0;
        self.taint.as_ref().is_some_and(is_before) && self.health_exec().is_none()
    }

    /// A process was just started in it through the engine.
    fn may_begin_an_exec(&self, now: Time) -> bool {
        self.exec_at.is_some_and(|at| now.since(at) < EXEC_BEGINS)
    }

    /// Its way out has begun.
    pub(super) fn is_seized(&self) -> bool {
        let began = |taint: &Taint| taint.freezes > 0 || taint.captures > 0;
        self.taint.as_ref().is_some_and(began) || self.stop_asked
    }

    /// phoenixd began to freeze it, or a supervisor before this one has judged it tainted: then it froze it.
    pub(super) fn is_frozen_by_us(&self) -> bool {
        let is_ours =
            |taint: &Taint| taint.freezes > 0 || matches!(taint.touch, Touch::Recorded(_));
        self.taint.as_ref().is_some_and(is_ours)
    }

    pub(super) fn health_exec(&self) -> Option<&HealthExec> {
        self.observed.as_ref()?.health_exec.as_ref()
    }
}

impl Planner<'_> {
    /// The next step of a tainted replica on its way out.
    pub(super) fn seize(
        &self,
        replica: &Replica,
        service: Option<&Service>,
        subject: Subject,
    ) -> Verdict {
        let (Some(taint), Some(observed)) = (&replica.taint, &replica.observed) else {
            return Verdict::Wait(WaitingOn::Listing);
        };
        if let Some(verdict) = self.behind_glass(replica, &subject) {
            return verdict;
        }
        let (name, id) = (replica.name.clone(), subject.id.clone());
        let touch = taint.touch.clone();
        let reason = (replica.tainted_because()).unwrap_or(Reason::Tainted { touch });
        let capture = Action::Capture {
            replica: name.clone(),
            id: id.clone(),
        };
        let action = match observed.state {
            ContainerState::Removing => {
                let until = replica.seen_at + PACE_REMOVING;
                return if until <= self.now {
                    let look = Action::Look { replica: name, id };
                    Verdict::Act(look, Reason::Pace)
                } else {
                    Verdict::Wait(WaitingOn::Retry {
                        until,
                        last: "it is being removed".to_owned(),
                    })
                };
            }
            ContainerState::Running | ContainerState::Restarting if replica.is_to_be_frozen() => {
                match self.before_freeze(replica, taint, service) {
                    Some(on) => return Verdict::Wait(on),
                    None if replica.may_begin_an_exec(self.now) => capture,
                    None => Action::Freeze { replica: name, id },
                }
            }
            ContainerState::Running
            | ContainerState::Paused
            | ContainerState::Restarting
            | ContainerState::Created
            | ContainerState::Exited { .. }
                if !taint.capture_over =>
            {
                capture
            }
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => {
                Action::Destroy { subject }
            }
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Dead => {
                Action::Remove { subject }
            }
        };
        Verdict::Act(action, reason)
    }

    /// What the freeze waits for, for a little while.
    fn before_freeze(
        &self,
        replica: &Replica,
        taint: &Taint,
        service: Option<&Service>,
    ) -> Option<WaitingOn> {
        let since = replica.glass.as_ref().map_or(taint.at, Glass::ends);
        let until = since + FREEZE_WAITS;
        if self.edge_may_send(replica, service) && until > self.now {
            let on = "the edge to confirm the switch";
            return Some(WaitingOn::Freeze { on, until });
        }
        let until = replica.exec_at? + EXEC_BEGINS;
        let on = "a process that was started in it to have begun";
        (until > self.now && until <= since + FREEZE_GIVES_UP)
            .then_some(WaitingOn::Freeze { on, until })
    }

    fn edge_may_send(&self, replica: &Replica, service: Option<&Service>) -> bool {
        match replica.routed {
            Routed::Never => false,
            Routed::In => service.is_some(),
            Routed::Out { epoch } => !self.world.edges_have(replica, epoch),
        }
    }
}

/// Whether a process is just being started through the engine, a health check's included.
fn is_start_of_process(touch: &Touch) -> bool {
    match touch {
        Touch::Exec(exec) => exec.facts.is_none(),
        Touch::Intruder(intruder) => intruder.how == Entry::Shim,
        Touch::Door(_)
        | Touch::Renamed(_)
        | Touch::ExecEnded { .. }
        | Touch::Program(_)
        | Touch::Changed(_)
        | Touch::Listens(_)
        | Touch::Connected(_)
        | Touch::Privileges(_)
        | Touch::OutOfMemory
        | Touch::ImageMoved(_)
        | Touch::Recorded(_) => false,
    }
}
