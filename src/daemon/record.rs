//! What goes into the journal, and how it is worded.

use crate::adopt::{Comparison, Difference, Verdict};
use crate::journal::{Kind, Record};
use crate::reconcile::{
    Action, Command, ContainerState, Event, Judged, Meddled, Outcome, Reason, Sight, Touch,
    Touched, World,
};
use crate::spec::{ReplicaName, ServiceName};
use crate::witness::evidence::Captured;

/// An action is about to be called.
pub(super) fn began(action: &Action, reason: &Reason) -> Record {
    let record = about(Kind::Began, action).reason(reason.to_string());
    if let Reason::Cut { connections, .. } = reason {
        return record.detail("connections_cut", *connections);
    }
    record
}

/// An action's call has returned.
pub(super) fn ended(action: &Action, outcome: &Outcome) -> Record {
    let record = about(Kind::Ended, action);
    match outcome {
        Outcome::Done(sight) => with_sight(record.outcome("done"), sight),
        Outcome::Failed { failure, sight } => with_sight(
            record
                .outcome("failed")
                .detail("error", failure.message.as_str()),
            sight,
        ),
        Outcome::Unknown { failure } => record
            .outcome("unknown")
            .detail("error", failure.message.as_str()),
    }
}

/// Something that happened outside, where it is worth a record: only what changes what was known.
pub(super) fn of_event(event: &Event, world: &World) -> Option<Record> {
    match event {
        Event::Seen {
            id, observed: None, ..
        } => {
            let (replica, _) = world.known(id)?;
            Some(of_replica(Record::new(Kind::Seen).container(id), replica).outcome("gone"))
        }
        Event::Seen {
            id,
            observed: Some(observed),
            ..
        } => {
            let known = world.known(id);
            if known.is_some_and(|(_, state)| *state == observed.state) {
                return None;
            }
            let record = with_state(Record::new(Kind::Seen).container(id), &observed.state);
            Some(match &observed.identity {
                Some(identity) => {
                    of_replica(record, &identity.replica).generation(identity.generation)
                }
                None => record,
            })
        }
        Event::Unreachable { error } => Some(
            Record::new(Kind::Seen)
                .outcome("engine unreachable")
                .detail("error", error.as_str()),
        ),
        Event::Wanted(_)
        | Event::Refused(_)
        | Event::Signalled { .. }
        | Event::Touched { .. }
        | Event::Remembered(_)
        | Event::Listed { .. }
        | Event::Journal { .. }
        | Event::Dependencies { .. }
        | Event::Probed { .. }
        | Event::Published { .. }
        | Event::Edge(_)
        | Event::EdgeOf { .. }
        | Event::Woken
        | Event::Command(_)
        | Event::Began { .. }
        | Event::Ended { .. } => None,
    }
}

/// A service waits for a dependency; noted anew whenever something about that changes.
pub(super) fn waits(service: &ServiceName, on: &str) -> Record {
    Record::new(Kind::Note)
        .service(service)
        .reason(format!("waits for {on}"))
}

/// The kernel of the engine's host cannot be asked: what hardening there is, is the engine's word alone.
pub(super) fn unverified(replica: &ReplicaName) -> Record {
    of_replica(Record::new(Kind::Note), replica)
        .reason("the kernel cannot be asked: /proc is not the engine's host's")
}

/// Somebody else stopped or removed something.
pub(super) fn meddled(what: &Meddled) -> Record {
    let seen = Record::new(Kind::Seen);
    let (stopped, removed) = ("stopped from outside", "removed from outside");
    match what {
        Meddled::Stopped(replica) => of_replica(seen, replica).outcome(stopped),
        Meddled::Removed(replica) => of_replica(seen, replica).outcome(removed),
        Meddled::NetworkRemoved(name) => seen.detail("network", name.as_str()).outcome(removed),
        Meddled::VolumeRemoved(name) => seen.detail("volume", name.as_str()).outcome(removed),
    }
}

/// Something was done to a replica.
pub(super) fn touched(touched: &Touched) -> Record {
    let kind = match touched.judged {
        Judged::Taint => Kind::Tainted,
        Judged::Report => Kind::Seen,
    };
    let record = of_replica(Record::new(kind), &touched.replica)
        .container(&touched.id)
        .reason(touched.touch.words())
        .outcome(touched.judged.name());
    match &touched.touch {
        Touch::Exec(exec) => {
            let record = record
                .detail("exec", exec.id.as_str())
                .detail("command", exec.command.as_str());
            match &exec.facts {
                Some(facts) => record
                    .detail("user", facts.user.as_str())
                    .detail("privileged", facts.privileged)
                    .detail("tty", facts.tty)
                    .detail("stdin", facts.stdin),
                None => record,
            }
        }
        Touch::Intruder(intruder) => record
            .detail("pid", intruder.pid)
            .detail("command", intruder.command.as_str()),
        Touch::Program(program) => record
            .detail("pid", program.pid)
            .detail("program", program.path.as_str()),
        // In the same words again, however often it is read and written.
        Touch::Recorded(words) => record.reason(words.as_str()).detail("before", true),
        Touch::ExecEnded { id, code } => {
            let record = record.detail("exec", id.as_str());
            match code {
                Some(code) => record.detail("exit_code", *code),
                None => record,
            }
        }
        Touch::Door(_)
        | Touch::Changed(_)
        | Touch::Listens(_)
        | Touch::Connected(_)
        | Touch::Privileges(_)
        | Touch::OutOfMemory => record,
        Touch::ImageMoved(tag) => record.detail("image", tag.as_str()),
        Touch::Renamed(name) => record.detail("name", name.as_str()),
    }
}

/// What was tainted before this supervisor may not be known.
pub(super) fn forgotten(error: &str) -> Record {
    Record::new(Kind::Note)
        .reason("what was tainted before may not be known: the journal cannot be read")
        .detail("error", error)
}

/// Where the evidence is, and its digest.
pub(super) fn with_evidence(record: Record, evidence: &Captured) -> Record {
    record
        .detail("evidence", evidence.directory.display().to_string())
        .detail("sha256", evidence.digest.as_str())
        .detail("missing", evidence.missing.clone())
}

fn of_replica(record: Record, replica: &ReplicaName) -> Record {
    record.service(&replica.service).replica(replica)
}

/// A container's state in words that scripts may read.
fn with_state(record: Record, state: &ContainerState) -> Record {
    let record = record.detail("now", state.name());
    match state {
        ContainerState::Exited { code, oom, error } => {
            let record = record.detail("exit_code", *code).detail("oom", *oom);
            if error.is_empty() {
                record
            } else {
                record.detail("error", error.as_str())
            }
        }
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Restarting
        | ContainerState::Removing
        | ContainerState::Dead => record,
    }
}

/// Somebody asked for something.
pub(super) fn asked(command: &Command) -> Record {
    let record = Record::new(Kind::Asked);
    match command {
        Command::Recycle { request, services } => {
            let names: Vec<&str> = services
                .iter()
                .map(crate::spec::ServiceName::as_str)
                .collect();
            record
                .action("recycle")
                .detail("request", request.0)
                .detail("services", names)
        }
        Command::BreakGlass { request, asked } => record
            .service(&asked.service)
            .action("break-glass")
            .reason(asked.reason.as_str())
            .detail("request", request.0)
            .detail("replica", asked.replica.clone())
            .detail("for_seconds", asked.length.as_secs()),
        Command::EndGlass { request, service } => record
            .service(service)
            .action("break-glass-end")
            .detail("request", request.0),
        Command::Down { volumes } => record.action("down").detail("volumes", *volumes),
        Command::Leave => record.action("leave"),
    }
}

fn about(kind: Kind, action: &Action) -> Record {
    let mut record = Record::new(kind).action(action.name());
    if let Some(replica) = action.replica() {
        record = record.service(&replica.service).replica(replica);
    }
    if let Some(id) = action.container() {
        record = record.container(id);
    }
    match action {
        Action::Create {
            generation,
            spec_hash,
            ..
        } => record
            .generation(*generation)
            .detail("spec_hash", spec_hash.as_str()),
        Action::Connect { network, .. } | Action::Disconnect { network, .. } => {
            record.detail("network", network.as_str())
        }
        Action::CreateNetwork(name) | Action::RemoveNetwork(name) => {
            record.detail("network", name.as_str())
        }
        Action::CreateVolume(name) | Action::RemoveVolume(name) => {
            record.detail("volume", name.as_str())
        }
        Action::Compare { original, .. } => record.detail("original", original.as_str()),
        Action::Rename { name, .. } => record.detail("name", name.as_str()),
        Action::Start { .. }
        | Action::Look { .. }
        | Action::Drain { .. }
        | Action::Freeze { .. }
        | Action::Capture { .. }
        | Action::Destroy { .. }
        | Action::Stop { .. }
        | Action::Remove { .. } => record,
    }
}

/// What a comparison found, field by field; the values of variables are not in it.
pub(super) fn compared(action: &Action, comparison: &Comparison) -> Record {
    // The unexplained first: a record is bounded, and what is beyond is cut.
    let mut found: Vec<&Difference> = comparison.differences.iter().collect();
    found.sort_by_key(|one| one.verdict != Verdict::Unexplained);
    let differences: Vec<serde_json::Value> = found
        .into_iter()
        .map(|one| {
            serde_json::json!({
                "field": one.field,
                "old": one.old,
                "new": one.new,
                "why": one.verdict.describe(),
            })
        })
        .collect();
    about(Kind::Compared, action)
        .outcome(if comparison.objection().is_none() {
            "explained"
        } else {
            "unexplained"
        })
        .detail("fields", comparison.fields)
        .detail("differences", differences)
}

fn with_sight(record: Record, sight: &Sight) -> Record {
    match sight {
        Sight::Nothing => record,
        Sight::Gone { .. } => record.detail("now", "gone"),
        Sight::Container { observed, .. } => {
            let record = with_state(record, &observed.state);
            if record.container_id.is_none() {
                record.container(&observed.id)
            } else {
                record
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Failure, FailureKind};
    use crate::spec::{ContainerId, Serial};

    #[test]
    fn the_journal_says_why_there_is_no_evidence() {
        let action = Action::Capture {
            replica: ReplicaName::new(ServiceName::new("web"), Serial(1)),
            id: ContainerId::new("c"),
        };
        let outcome = Outcome::Failed {
            failure: Failure {
                kind: FailureKind::Refused,
                message: "the disk is full".to_owned(),
            },
            sight: Sight::Nothing,
        };
        let record = ended(&action, &outcome);
        assert_eq!(record.action.as_deref(), Some("capture"));
        assert_eq!(record.outcome.as_deref(), Some("failed"));
        assert_eq!(record.detail["error"], "the disk is full");
    }
}
