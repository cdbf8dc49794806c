//! Whether what was done to a replica is a taint: pure functions of the replica, the file and the touch.
//!
//! Not here: what is done about it (`taint`).

use super::checks::{Likeness, likeness, may_be_check};
use super::replica::Replica;
use super::{
    Desired, Door, Entry, Exec, HealthExec, Intruder, Judged, Origin, Program, Socket, Touch,
};
use crate::spec::{Allow, Probe, ProjectName};

/// Whether a touch is a taint; `None` for what is as it should be.
pub(super) fn judge(
    replica: &Replica,
    desired: Option<&Desired>,
    project: &ProjectName,
    touch: &Touch,
) -> Option<Judged> {
    match touch {
        Touch::Exec(exec) => judge_exec(replica.health_exec(), exec),
        // That it began was told.
        Touch::ExecEnded { .. } => replica.glass.as_ref().map(|_| Judged::Report),
        Touch::Door(Door::Pause) if replica.is_frozen_by_us() => None,
        Touch::Renamed(name) if is_own_name(replica, desired, project, name) => None,
        Touch::Intruder(intruder) if is_check(replica, intruder) => None,
        // A root that the file leaves writable is there to be written to.
        Touch::Changed(_) => desired
            .is_none_or(|desired| desired.policy.read_only)
            .then_some(Judged::Taint),
        Touch::Listens(socket) => judge_socket(desired?, listens(desired?, socket)),
        Touch::Connected(socket) => judge_socket(desired?, connects(desired?, socket)),
        // Nothing was done to the replica: it is still of the image that it was started from. And the address of a service
        // ends with the pause: whoever looks at its packets does not take it away.
        Touch::ImageMoved(_)
        | Touch::Intruder(Intruder {
            how: Entry::Network { .. },
            ..
        }) => Some(Judged::Report),
        Touch::Program(program) => Some(judge_program(desired, program)),
        Touch::Door(_)
        | Touch::Renamed(_)
        | Touch::Intruder(_)
        | Touch::Privileges(_)
        | Touch::OutOfMemory
        | Touch::Recorded(_) => Some(Judged::Taint),
    }
}

/// Whether a name is one that phoenixd gives this replica, at whatever time and whichever supervisor: it may be told of a
/// rename again that the one before it did. Its own; that of docker compose's container whose place it took, by its label
/// or by what is wanted; and the mark of what is broken open, where it carries that.
fn is_own_name(
    replica: &Replica,
    desired: Option<&Desired>,
    project: &ProjectName,
    name: &str,
) -> bool {
    let handed_on = replica.takes_name().filter(|name| !name.is_empty());
    let adopted = desired.and_then(|desired| desired.adopted.as_ref());
    name == replica.name.container_name(project)
        || handed_on == Some(name)
        || adopted.is_some_and(|adopted| adopted.name == name)
        || replica.glass_name() == Some(name)
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
    let Some(probe) = probe.filter(|probe| may_be_check(probe, exec)) else {
        return Some(Judged::Taint);
    };
    let facts = exec.facts.as_ref()?;
    let same = facts.arguments == probe.arguments && facts.user == probe.user;
    (!same || facts.privileged || facts.tty || facts.stdin).then_some(Judged::Taint)
}

/// What may be one was held back until nothing explained it.
fn is_check(replica: &Replica, intruder: &Intruder) -> bool {
    let kernel = replica.observed.as_ref().map(|observed| observed.kernel);
    likeness(replica.health_exec(), kernel, intruder) == Likeness::Check
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
        Probe::Docker | Probe::Running | Probe::Edge => None,
    };
    let is_published = desired
        .published
        .iter()
        .any(|own| (own.transport, own.target) == (transport, port));
    let is_probed = transport == crate::spec::Transport::Tcp && probed == Some(port);
    let implied = is_published || is_probed;
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
