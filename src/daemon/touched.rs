//! Touches: from the engine's events to the core's words, and from the core's judgement to the log and the journal.
//!
//! Not here: whether a touch is a taint (`reconcile`).

use std::path::Path;

use tracing::warn;

use super::Catalog;
use super::evidence;
use super::execute::execute_telling;
use super::record;
use super::supervise::Supervisor;
use super::watch::now;
use crate::docker::{Engine, Hint};
use crate::reconcile::{Action, Door, Exec, Failure, FailureKind, Judged, Outcome, Status, Touch};
use crate::witness::evidence::Captured;

/// What a hint says was done to the container; nothing for what only looks, and for what phoenixd asks about by itself.
/// The names are those of moby v20.10.24 to v28.5.2 (`daemon/events`).
pub(super) fn touch_of(hint: &Hint) -> Option<Touch> {
    let (name, rest) = hint
        .action
        .split_once(':')
        .unwrap_or((hint.action.as_str(), ""));
    Some(match name {
        "exec_create" | "exec_start" => Touch::Exec(Exec {
            id: hint.exec.clone().unwrap_or_default(),
            command: rest.trim_start().to_owned(),
            facts: None,
        }),
        "attach" => Touch::Door(Door::Attach),
        "extract-to-dir" => Touch::Door(Door::CopyIn),
        "archive-path" | "copy" => Touch::Door(Door::CopyOut),
        "export" => Touch::Door(Door::Export),
        "commit" => Touch::Door(Door::Commit),
        "update" => Touch::Door(Door::Update),
        "rename" => Touch::Door(Door::Rename),
        "pause" | "unpause" => Touch::Door(Door::Pause),
        "checkpoint" => Touch::Door(Door::Checkpoint),
        "oom" => Touch::OutOfMemory,
        _ => return None,
    })
}

/// Captures what there is to see of a tainted replica, then looks at it like every action.
pub(super) async fn capture<E: Engine>(
    engine: &E,
    catalog: &Catalog,
    evidence: &Path,
    action: &Action,
) -> (Outcome, Option<Captured>) {
    let (Some(replica), Some(id)) = (action.replica(), action.container()) else {
        let failure = Failure {
            kind: FailureKind::Refused,
            message: "it is about no container".to_owned(),
        };
        return (Outcome::Unknown { failure }, None);
    };
    let captured = evidence::capture(engine, catalog, evidence, replica, id).await;
    let write = |_: &_| Ok(());
    let looked = execute_telling(engine, catalog, action, write, now, &mut None).await;
    match (captured, looked) {
        (Ok(evidence), outcome) => (outcome, Some(evidence)),
        (Err(message), Outcome::Done(sight)) => {
            let kind = FailureKind::Refused;
            let failure = Failure { kind, message };
            (Outcome::Failed { failure, sight }, None)
        }
        (Err(_), outcome @ (Outcome::Failed { .. } | Outcome::Unknown { .. })) => (outcome, None),
    }
}

impl<E: Engine> Supervisor<E> {
    /// What was done to replicas: one line in the log and one record, each once.
    pub(super) fn tell_touches(&mut self, status: &Status) {
        let new = status
            .touched
            .iter()
            .filter(|touched| touched.number > self.told.touches);
        for touched in new {
            let what = touched.touch.words();
            match touched.judged {
                Judged::Taint => warn!(replica = %touched.replica, "tainted: {what}"),
                Judged::Report => warn!(replica = %touched.replica, "touched: {what}"),
            }
            self.journal.note(record::touched(touched));
        }
        let last = status.touched.last().map(|touched| touched.number);
        self.told.touches = self.told.touches.max(last.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ContainerId;

    fn touch(action: &str) -> Option<Touch> {
        touch_of(&Hint {
            id: ContainerId::new("c"),
            action: action.to_owned(),
            exec: Some("e".to_owned()),
        })
    }

    #[test]
    fn what_is_done_by_hand_is_a_touch_and_what_only_looks_is_none() {
        let exec = |command: &str| {
            Some(Touch::Exec(Exec {
                id: "e".to_owned(),
                command: command.to_owned(),
                facts: None,
            }))
        };
        assert_eq!(touch("exec_create: sh -c a: b"), exec("sh -c a: b"));
        assert_eq!(touch("exec_start: sh"), exec("sh"));
        assert_eq!(touch("oom"), Some(Touch::OutOfMemory));
        for (action, door) in [
            ("attach", Door::Attach),
            ("extract-to-dir", Door::CopyIn),
            ("archive-path", Door::CopyOut),
            ("export", Door::Export),
            ("commit", Door::Commit),
            ("update", Door::Update),
            ("rename", Door::Rename),
            ("pause", Door::Pause),
            ("unpause", Door::Pause),
            ("checkpoint", Door::Checkpoint),
        ] {
            assert_eq!(touch(action), Some(Touch::Door(door)), "{action}");
        }
        for action in [
            "create",
            "start",
            "die",
            "kill",
            "stop",
            "destroy",
            "top",
            "resize",
            "detach",
            "exec_die",
            "exec_detach: x",
            "health_status: healthy",
            "",
        ] {
            assert_eq!(touch(action), None, "{action}");
        }
    }
}
