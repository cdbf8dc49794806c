//! Whether what was done to a replica is a taint, and what is done about a tainted one: out of rotation at once, frozen,
//! recorded, removed by force. It never comes back.
//!
//! A pause is the mark that Docker keeps of it: a paused replica that this supervisor did not freeze was frozen by somebody
//! else, or by a supervisor before it, and is tainted all the same.
//!
//! Not here: noticing touches (`daemon`, the witnesses), and the replacement, which is born like every other (`births`).

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::Planner;
use super::replica::{Replica, Routed};
use super::service::Service;
use super::{
    Action, ContainerState, Desired, Door, Entry, Exec, Failure, FailureKind, HealthExec, Intruder,
    Kernel, Origin, Outcome, Program, Reason, Socket, Subject, Time, Touch, Verdict, WaitingOn,
    World,
};
use crate::spec::{Allow, ContainerId, OnTaint, Probe, ReplicaName};

/// What is remembered of the touches of one replica, and of all that are still to be told.
const REMEMBERED: usize = 64;
/// How long a touch is told in the status.
const TOLD: Duration = Duration::from_mins(10);
/// The longest text of a touch, in characters: a command may be as long as the kernel allows.
const TEXT: usize = 300;
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

impl Touch {
    /// In words that can be shown: what is not printable is escaped, and what is long is cut.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (count, c) in self.to_string().chars().enumerate() {
            if count == TEXT {
                words.push('…');
                break;
            }
            // Also what turns the direction of text around, or cannot be seen.
            let shown = c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
            if shown {
                words.push(c);
            } else {
                words.extend(c.escape_default());
            }
        }
        words
    }

    /// Whether another witness told of the same.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exec(one), Self::Exec(other)) => one.id == other.id,
            (Self::Intruder(one), Self::Intruder(other)) => one.pid == other.pid,
            (Self::Program(one), Self::Program(other)) => {
                (one.origin, &one.path) == (other.origin, &other.path)
            }
            _ => self == other,
        }
    }
}

impl World {
    /// Something was done to a container. `false` when that changes nothing.
    pub(super) fn touched(&mut self, now: Time, id: &ContainerId, touch: Touch) -> bool {
        let Some(replica) = self.replica_of(id) else {
            // A stray serves nobody and is removed in any case. Of a create whose answer is still to come nothing is
            // known yet.
            if !self.strays.contains_key(id) && !self.tombstones.contains_key(id) {
                if self.early.len() == REMEMBERED {
                    self.early.pop_front();
                }
                self.early.push_back((id.clone(), touch));
            }
            return false;
        };
        if replica.is_past_being_touched(&touch) {
            return false;
        }
        if is_start_of_process(&touch) {
            replica.exec_at = Some(now);
        }
        let name = replica.name.clone();
        let is_known = replica.touches.iter().any(|known| known.is_same(&touch));
        if is_known || replica.touches.len() >= REMEMBERED {
            return false;
        }
        let Some(judged) = self.judge_touch(&name, &touch) else {
            return false;
        };
        self.remember_touch(now, &name, id, &touch, judged);
        if judged == Judged::Taint {
            self.taint(now, &name, touch);
        }
        true
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

    fn remember_touch(
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

    /// What a touch is; `None` for what is as it should be.
    fn judge_touch(&self, name: &ReplicaName, touch: &Touch) -> Option<Judged> {
        let replica = self.replicas.get(name)?;
        let desired = self.services.get(&name.service).map(|it| &it.desired);
        let judged = judge(replica, desired, touch)?;
        let on_taint = desired.map_or(OnTaint::Replace, |desired| desired.phoenix.on_taint);
        // What docker compose made is held to nothing that it was not made with.
        if on_taint == OnTaint::Report || name.is_original() {
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
        replica.taint = Some(Taint {
            at: now,
            touch,
            freezes: 0,
            freeze_over: false,
            captures: 0,
            capture_over: false,
        });
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
        let is_units = replica.is_adopted()
            || name.is_original()
            || (self.services.get(&name.service)).is_some_and(|it| it.desired.adopted.is_some());
        let is_renamed = !is_units && observed.name != name.container_name(&self.project);
        let is_frozen = observed.state == ContainerState::Paused;
        let is_moved = replica.is_running()
            && ran_on.is_some_and(|before| !before.iter().eq(observed.networks.keys()));
        let doors = [
            (is_renamed, Door::Rename),
            (is_frozen, Door::Pause),
            (is_moved, Door::Network),
        ];
        for (_, door) in doors.into_iter().filter(|(is, _)| *is) {
            self.touched(now, &id, Touch::Door(door));
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
        Some(Reason::Tainted { touch })
    }

    /// Its evidence is there and it is taken down, or its process has ended: what changes in its layer now is that.
    fn is_past_being_touched(&self, touch: &Touch) -> bool {
        let runs = self.observed.as_ref().is_some_and(|observed| {
            matches!(
                observed.state,
                ContainerState::Running | ContainerState::Paused
            )
        });
        self.is_captured() || (!runs && matches!(touch, Touch::Changed(_)))
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

    /// phoenixd began to freeze it.
    fn is_frozen_by_us(&self) -> bool {
        self.taint.as_ref().is_some_and(|taint| taint.freezes > 0)
    }

    /// The bounding set that it was born with, where it could be read.
    fn bounding(&self) -> Option<u64> {
        match self.observed.as_ref()?.kernel {
            Kernel::Read { facts, .. } => Some(facts.cap_bounding),
            Kernel::NotRunning | Kernel::Unavailable => None,
        }
    }

    fn health_exec(&self) -> Option<&HealthExec> {
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
        let (name, id) = (replica.name.clone(), subject.id.clone());
        let reason = Reason::Tainted {
            touch: taint.touch.clone(),
        };
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
        let until = taint.at + FREEZE_WAITS;
        if self.edge_may_send(replica, service) && until > self.now {
            let on = "the edge to confirm the switch";
            return Some(WaitingOn::Freeze { on, until });
        }
        let until = replica.exec_at? + EXEC_BEGINS;
        let on = "a process that was started in it to have begun";
        (until > self.now && until <= taint.at + FREEZE_GIVES_UP)
            .then_some(WaitingOn::Freeze { on, until })
    }

    fn edge_may_send(&self, replica: &Replica, service: Option<&Service>) -> bool {
        match replica.routed {
            Routed::Never => false,
            Routed::In => service.is_some(),
            Routed::Out { epoch } => self.world.edge.epoch < epoch,
        }
    }
}

/// Whether a process is just being started through the engine, a health check's included.
fn is_start_of_process(touch: &Touch) -> bool {
    match touch {
        Touch::Exec(exec) => exec.facts.is_none(),
        Touch::Intruder(intruder) => intruder.how == Entry::Shim,
        Touch::Door(_)
        | Touch::Program(_)
        | Touch::Changed(_)
        | Touch::Listens(_)
        | Touch::Connected(_)
        | Touch::Privileges(_)
        | Touch::OutOfMemory
        | Touch::ImageMoved => false,
    }
}

/// Whether a touch is a taint; `None` for what is as it should be.
fn judge(replica: &Replica, desired: Option<&Desired>, touch: &Touch) -> Option<Judged> {
    match touch {
        Touch::Exec(exec) => judge_exec(replica.health_exec(), exec),
        Touch::Door(Door::Pause) if replica.is_frozen_by_us() => None,
        Touch::Door(Door::Rename) if replica.renamed => None,
        Touch::Intruder(intruder)
            if is_probe_at_work(replica.health_exec(), replica.bounding(), intruder) =>
        {
            None
        }
        // A root that the file leaves writable is there to be written to.
        Touch::Changed(_) => desired
            .is_none_or(|desired| desired.policy.read_only)
            .then_some(Judged::Taint),
        Touch::Listens(socket) => judge_socket(desired?, listens(desired?, socket)),
        Touch::Connected(socket) => judge_socket(desired?, connects(desired?, socket)),
        // Nothing was done to the replica: it is still of the image that it was started from.
        Touch::ImageMoved => Some(Judged::Report),
        Touch::Program(program) => Some(judge_program(desired, program)),
        Touch::Door(_) | Touch::Intruder(_) | Touch::Privileges(_) | Touch::OutOfMemory => {
            Some(Judged::Taint)
        }
    }
}

/// What the operator let it write to may hold programs of the operator's, which nobody here can tell from others.
fn judge_program(desired: Option<&Desired>, program: &Program) -> Judged {
    let is_read_only = desired.is_none_or(|desired| desired.policy.read_only);
    let may_run_from_tmpfs =
        desired.is_some_and(|desired| desired.phoenix.allow.contains(&Allow::TmpfsExec));
    match program.origin {
        Origin::Volume => Judged::Report,
        Origin::Mount if may_run_from_tmpfs => Judged::Report,
        Origin::Layer if !is_read_only => Judged::Report,
        Origin::Memory | Origin::Removed | Origin::Mount | Origin::Layer => Judged::Taint,
    }
}

/// Docker runs a health check as an exec, which nothing but its facts tells from anybody else's (moby v28.5.2,
/// `daemon/health.go`). With the same command they follow the event; until then nothing is concluded.
fn judge_exec(probe: Option<&HealthExec>, exec: &Exec) -> Option<Judged> {
    let Some(probe) = probe.filter(|probe| exec.command == probe.arguments.join(" ")) else {
        return Some(Judged::Taint);
    };
    let facts = exec.facts.as_ref()?;
    let same = facts.arguments == probe.arguments && facts.user == probe.user;
    (!same || facts.privileged || facts.tty || facts.stdin).then_some(Judged::Taint)
}

/// A process of Docker's own health check: the check's command, its interpreter with it, what its shell turned into, or
/// the runtime that is about to become it.
fn is_probe_at_work(
    probe: Option<&HealthExec>,
    own_bounding: Option<u64>,
    intruder: &Intruder,
) -> bool {
    let Some(probe) = probe.filter(|_| intruder.how == Entry::Shim) else {
        return false;
    };
    let has_more = |bounding: u64| own_bounding.is_some_and(|own| bounding & !own != 0);
    if intruder.terminal == Some(true) || intruder.cap_bounding.is_some_and(has_more) {
        return false;
    }
    if intruder.arguments == probe.arguments {
        return true;
    }
    let whole = probe.arguments.join(" ");
    let program = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let own = program(intruder.command.split(' ').next().unwrap_or_default());
    let script = probe
        .arguments
        .last()
        .filter(|_| probe.shell)
        .map(String::as_str)
        .unwrap_or_default();
    let mut words = script.split(|c: char| c.is_whitespace() || "|&;()\"'`".contains(c));
    intruder.command == whole
        || intruder.command.ends_with(&format!(" {whole}"))
        || words.any(|word| !word.is_empty() && program(word) == own)
        || intruder.command == "runc init"
}

fn judge_socket(desired: &Desired, declared: Option<bool>) -> Option<Judged> {
    if declared? {
        return None;
    }
    Some(if desired.phoenix.network.enforce {
        Judged::Taint
    } else {
        Judged::Report
    })
}

/// Whether the file declares that it listens there; `None` where it declares nothing of the kind.
fn listens(desired: &Desired, socket: &Socket) -> Option<bool> {
    let declared = desired.phoenix.network.listen.as_ref()?;
    let (transport, port) = (socket.transport, socket.address.port());
    let probed = match &desired.probe {
        Probe::Http { port, .. } | Probe::Tcp { port } => Some(*port),
        Probe::Docker | Probe::Running => None,
    };
    let targets = desired.published.iter().map(|published| published.target);
    let implied =
        transport == crate::spec::Transport::Tcp && targets.chain(probed).any(|own| own == port);
    // What only the container itself reaches leads nobody in; Docker's own name server is such a one.
    let is_inside = socket.address.ip().to_canonical().is_loopback();
    let is_declared = declared
        .iter()
        .any(|listen| (listen.transport, listen.port) == (transport, port));
    Some(implied || is_inside || is_declared)
}

/// The same for a peer.
fn connects(desired: &Desired, socket: &Socket) -> Option<bool> {
    let declared = desired.phoenix.network.connect.as_ref()?;
    let (ip, port) = (socket.address.ip(), socket.address.port());
    let is_declared = declared
        .iter()
        .any(|peers| peers.contain(socket.transport, ip, port));
    Some(is_declared || ip.to_canonical().is_loopback())
}
