//! Touches: from the engine's events to the core's words, and from the core's judgement to the log and the journal.
//!
//! Not here: whether a touch is a taint (`reconcile`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use tracing::warn;

use super::Catalog;
use super::evidence;
use super::execute::execute_telling;
use super::record;
use super::supervise::Supervisor;
use super::watch::{Heard, now};
use crate::docker::{Engine, Hint};
use crate::journal::{self, Journal, Kind};
use crate::reconcile::{
    Action, Door, Exec, Failure, FailureKind, Judged, Listing, Outcome, Status, Touch,
};
use crate::report::Chain;
use crate::spec::ContainerId;
use crate::witness::evidence::Captured;

/// How much of the journal's end is read for what was tainted before, in bytes: as much as a file of it holds. Between a
/// taint and the end of its replica are seconds, and every supervisor that finds one says so again.
const REMEMBERED_BYTES: u64 = journal::Limits::STANDARD.file_bytes;

/// What supervisors before this one have judged tainted of what is there, and by what; nothing is read where nothing is
/// there. What cannot be read is told, and nothing waits for it: a journal that cannot be trusted was refused before.
pub(super) fn remembered(
    directory: &Path,
    listing: &Listing,
    journal: &Journal,
) -> BTreeMap<ContainerId, String> {
    let there = listing.containers.iter().map(|observed| &observed.id);
    let there: BTreeSet<&str> = (there.chain(&listing.silent))
        .map(ContainerId::as_str)
        .collect();
    let mut taints = BTreeMap::new();
    if there.is_empty() {
        return taints;
    }
    let read = journal::recent(directory, Kind::Tainted, REMEMBERED_BYTES, |line| {
        let (id, words) = (line.record.container_id, line.record.reason);
        if let Some(id) = id.filter(|id| there.contains(id.as_str())) {
            let words = words.unwrap_or_default();
            taints.entry(ContainerId::new(id)).or_insert(words);
        }
    });
    if let Err(error) = read {
        warn!(error = %Chain(&error), "what was tainted before may not be known");
        journal.note(record::forgotten(&Chain(&error).to_string()));
    }
    taints
}

/// Until when a supervisor before this one lived, as its last record says.
pub(super) fn heard_before(
    last: Result<Option<Timestamp>, journal::Error>,
    journal: &Journal,
) -> Heard {
    match last {
        Ok(last) => last.map_or(Heard::Never, Heard::Before),
        Err(error) => {
            warn!(error = %Chain(&error), "what was done since the last supervisor may not be known");
            journal.note(record::forgotten(&Chain(&error).to_string()));
            Heard::Never
        }
    }
}

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
            command: command(rest),
            facts: None,
        }),
        "exec_die" => Touch::ExecEnded {
            id: hint.exec.clone().unwrap_or_default(),
            code: hint.exit_code,
        },
        "attach" => Touch::Door(Door::Attach),
        "extract-to-dir" => Touch::Door(Door::CopyIn),
        "archive-path" | "copy" => Touch::Door(Door::CopyOut),
        "export" => Touch::Door(Door::Export),
        "commit" => Touch::Door(Door::Commit),
        "update" => Touch::Door(Door::Update),
        "rename" => Touch::Renamed(hint.name.clone()),
        "pause" | "unpause" => Touch::Door(Door::Pause),
        "checkpoint" => Touch::Door(Door::Checkpoint),
        "restart" => Touch::Door(Door::Restart),
        "oom" => Touch::OutOfMemory,
        _ => return None,
    })
}

/// Program and arguments as an event tells them: a program without arguments has a blank behind it.
fn command(rest: &str) -> String {
    let mut command = rest.trim().to_owned();
    command.truncate(command.floor_char_boundary(Exec::COMMAND_BYTES));
    command
}

/// Captures what there is to see of a tainted replica, then looks at it like every action. Gives up in bounded time: what
/// came to nothing is a failure with its reason, which the journal gets, and after which the replica goes all the same.
pub async fn capture<E: Engine>(
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
            let record = record::touched(touched);
            if touched.touch == Touch::Door(Door::GlassEnd) {
                self.told.glass_ended = Some(self.journal.append(record));
            } else {
                self.journal.note(record);
            }
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
            exit_code: Some(3),
            name: "mine".to_owned(),
            before: false,
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
        assert_eq!(touch("exec_create: /bin/check "), exec("/bin/check"));
        let Some(Touch::Exec(long)) = touch(&format!("exec_start: {}", "ä".repeat(3000))) else {
            panic!("an exec");
        };
        assert!(long.may_be_cut() && long.command.len() <= Exec::COMMAND_BYTES);
        let id = "e".to_owned();
        let code = Some(3);
        assert_eq!(touch("exec_die"), Some(Touch::ExecEnded { id, code }));
        assert_eq!(touch("oom"), Some(Touch::OutOfMemory));
        assert_eq!(touch("rename"), Some(Touch::Renamed("mine".to_owned())));
        for (action, door) in [
            ("attach", Door::Attach),
            ("extract-to-dir", Door::CopyIn),
            ("archive-path", Door::CopyOut),
            ("export", Door::Export),
            ("commit", Door::Commit),
            ("update", Door::Update),
            ("pause", Door::Pause),
            ("unpause", Door::Pause),
            ("checkpoint", Door::Checkpoint),
            ("restart", Door::Restart),
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
            "exec_detach: x",
            "health_status: healthy",
            "",
        ] {
            assert_eq!(touch(action), None, "{action}");
        }
    }
}
