//! What goes into the journal, and how it is worded.

use crate::journal::{Kind, Record};
use crate::reconcile::{Action, Command, Event, Outcome, Reason, Sight};

/// An action is about to be called.
pub(super) fn began(action: &Action, reason: &Reason) -> Record {
    about(Kind::Began, action).reason(reason.to_string())
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

/// Something that happened outside, where it is worth a record: what every listing repeats is not.
pub(super) fn of_event(event: &Event) -> Option<Record> {
    match event {
        Event::Seen {
            id, observed: None, ..
        } => Some(Record::new(Kind::Seen).container(id).outcome("gone")),
        Event::Seen {
            id,
            observed: Some(observed),
            ..
        } => {
            let record = Record::new(Kind::Seen)
                .container(id)
                .outcome(format!("{:?}", observed.state));
            Some(match &observed.identity {
                Some(identity) => record
                    .service(&identity.replica.service)
                    .replica(&identity.replica)
                    .generation(identity.generation),
                None => record,
            })
        }
        Event::Unreachable { error } => Some(
            Record::new(Kind::Seen)
                .outcome("engine unreachable")
                .detail("error", error.as_str()),
        ),
        Event::Wanted(_)
        | Event::Listed { .. }
        | Event::Probed { .. }
        | Event::Published { .. }
        | Event::Edge(_)
        | Event::Command(_)
        | Event::Began { .. }
        | Event::Ended { .. } => None,
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
        Command::Down { volumes } => record.action("down").detail("volumes", *volumes),
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
        Action::Connect { network, .. } => record.detail("network", network.as_str()),
        Action::CreateNetwork(name) | Action::RemoveNetwork(name) => {
            record.detail("network", name.as_str())
        }
        Action::CreateVolume(name) | Action::RemoveVolume(name) => {
            record.detail("volume", name.as_str())
        }
        Action::Start { .. }
        | Action::Look { .. }
        | Action::Drain { .. }
        | Action::Stop { .. }
        | Action::Remove { .. } => record,
    }
}

fn with_sight(record: Record, sight: &Sight) -> Record {
    match sight {
        Sight::Nothing => record,
        Sight::Gone { .. } => record.detail("now", "gone"),
        Sight::Container { observed, .. } => {
            let record = record.detail("now", format!("{:?}", observed.state));
            if record.container_id.is_none() {
                record.container(&observed.id)
            } else {
                record
            }
        }
    }
}
