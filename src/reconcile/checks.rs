//! Docker's health checks at work, and processes of a replica with one of which it is not known yet whether they are that.
//!
//! A check is one process below the shim, as is whoever else gets in through the runtime. Where the runtime was seen to start
//! it, its exact arguments are known, whatever it becomes. Where it was not, its program may be another one by now: a shell
//! becomes the last command of its script, a script starts what only itself names. Then the engine's word decides: each check
//! that it tells of explains one such process, for as long as it runs. Nobody's word is waited for long.
//!
//! Not here: what else is a taint (`judge`), and what is done about it (`taint`).

use std::time::Duration;

use super::replica::Replica;
use super::script::has_command;
use super::{Entry, Exec, HealthExec, Intruder, Kernel, Time, Touch, World};
use crate::spec::ContainerId;

/// How long a process waits for the engine's word that explains it. The word is given before the process is started, and
/// comes another way than what the scan tells.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a check explains its process beyond its end: both are told a little late.
const LINGERS: Duration = Duration::from_secs(2);
/// Checks that are remembered of one replica at most. Docker runs one after the other.
const CHECKS: usize = 16;
/// The same of processes: in a minute there may be a check each second. Who was told longest ago is forgotten first, which is
/// nobody who is still there.
const SUSPECTS: usize = 128;
/// A process that was not told for so long is gone: the scan tells it again while it is there.
const GONE: Duration = Duration::from_mins(1);

/// What a process that entered is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Likeness {
    /// Docker's health check, as far as can be told.
    Check,
    /// What a health check may have turned into; its start was not seen.
    Unclear,
    /// None.
    Other,
}

/// The checks of one replica, and who is not explained yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    at_work: Vec<Check>,
    suspects: Vec<Suspect>,
}

/// A check that the engine told of.
#[derive(Clone, Debug)]
struct Check {
    /// The engine's id of its exec.
    exec: String,
    ended: Option<Time>,
    /// It explains somebody.
    taken: bool,
}

/// A process whose start was not seen.
#[derive(Clone, Debug)]
struct Suspect {
    intruder: Intruder,
    since: Time,
    /// When it was told last.
    told: Time,
    /// The check that explains it: one, and never another, or who stays would hide behind one after the other.
    check: Option<String>,
    /// Nothing explained it in time.
    is_over: bool,
}

impl Check {
    fn explains(&self, now: Time) -> bool {
        self.ended.is_none_or(|ended| now.since(ended) < LINGERS)
    }
}

impl Checks {
    /// The engine tells of a check, more than once.
    fn begin(&mut self, now: Time, exec: &str) {
        if self.at_work.iter().any(|check| check.exec == exec) {
            return;
        }
        // The end of the one before may not have been told.
        for check in &mut self.at_work {
            check.ended.get_or_insert(now);
        }
        self.at_work.retain(|check| check.explains(now));
        if self.at_work.len() >= CHECKS {
            self.at_work.remove(0);
        }
        let suspect = self.suspects.iter_mut().find(|one| one.waits());
        self.at_work.push(Check {
            exec: exec.to_owned(),
            ended: None,
            taken: suspect.is_some(),
        });
        if let Some(suspect) = suspect {
            suspect.check = Some(exec.to_owned());
        }
    }

    fn end(&mut self, now: Time, exec: &str) {
        let mut all = self.at_work.iter_mut();
        if let Some(check) = all.find(|check| check.exec == exec) {
            check.ended.get_or_insert(now);
        }
    }

    /// Whether a process is explained, or may still be.
    fn may_be_one(&mut self, now: Time, intruder: &Intruder) -> bool {
        self.suspects.retain(|one| now.since(one.told) < GONE);
        let same = |one: &Suspect| one.intruder.pid == intruder.pid;
        if !self.suspects.iter().any(same) {
            if self.suspects.len() >= SUSPECTS && !self.forget_one() {
                return false;
            }
            self.suspects.push(Suspect {
                intruder: intruder.clone(),
                since: now,
                told: now,
                check: None,
                is_over: false,
            });
        }
        let Some(suspect) = self.suspects.iter_mut().find(|one| same(one)) else {
            return false;
        };
        suspect.told = now;
        suspect.intruder = intruder.clone();
        if suspect.waits() {
            let mut all = self.at_work.iter_mut();
            if let Some(free) = all.find(|check| !check.taken && check.explains(now)) {
                free.taken = true;
                suspect.check = Some(free.exec.clone());
            }
        }
        match &suspect.check {
            Some(exec) => {
                (self.at_work.iter()).any(|check| check.exec == *exec && check.explains(now))
            }
            None => !suspect.is_over && now.since(suspect.since) < PATIENCE,
        }
    }

    /// Forgets the one that was told longest ago and waits for nothing; `false` where all wait.
    fn forget_one(&mut self) -> bool {
        let settled = self
            .suspects
            .iter()
            .enumerate()
            .filter(|(_, one)| !one.waits());
        let oldest = settled.min_by_key(|(_, one)| one.told).map(|(at, _)| at);
        oldest.is_some_and(|at| {
            self.suspects.remove(at);
            true
        })
    }

    /// Until when somebody waits for an explanation.
    pub(super) fn wait_until(&self) -> Option<Time> {
        let waiting = self.suspects.iter().filter(|one| one.waits());
        waiting.map(|one| one.since + PATIENCE).min()
    }

    /// Who has waited for too long; each once.
    fn take_unexplained(&mut self, now: Time) -> Vec<Intruder> {
        let mut over = Vec::new();
        for one in self.suspects.iter_mut().filter(|one| one.waits()) {
            if now.since(one.since) >= PATIENCE {
                one.is_over = true;
                over.push(one.intruder.clone());
            }
        }
        over
    }
}

impl Suspect {
    fn waits(&self) -> bool {
        self.check.is_none() && !self.is_over
    }
}

impl Replica {
    /// Takes in what a touch says about health checks. Whether nothing is to be made of it now: a process may still be a
    /// check's.
    pub(super) fn is_held_back(&mut self, now: Time, touch: &Touch) -> bool {
        let health = self.observed.as_ref();
        let Some(probe) = health.and_then(|observed| observed.health_exec.as_ref()) else {
            return false;
        };
        if let Touch::Exec(exec) = touch
            && may_be_check(probe, exec)
        {
            self.checks.begin(now, &exec.id);
        }
        if let Touch::ExecEnded { id, .. } = touch {
            self.checks.end(now, id);
        }
        if let Touch::Intruder(intruder) = touch
            && !intruder.is_start_known()
        {
            let kernel = health.map(|observed| observed.kernel);
            let likeness = likeness(Some(probe), kernel, intruder);
            // What is a check's by its words takes the engine's word for it as well, and needs none.
            return likeness != Likeness::Other
                && self.checks.may_be_one(now, intruder)
                && likeness == Likeness::Unclear;
        }
        false
    }
}

impl World {
    /// Processes that nothing has explained in time. Not with every event: what waits to be heard may explain them, and whoever
    /// wakes this has heard all of it.
    pub(super) fn settle_checks(&mut self, now: Time) {
        let mut over: Vec<(ContainerId, Intruder)> = Vec::new();
        for replica in self.replicas.values_mut() {
            let unexplained = replica.checks.take_unexplained(now);
            let id = replica.id().cloned();
            over.extend(
                unexplained
                    .into_iter()
                    .filter_map(|one| Some((id.clone()?, one))),
            );
        }
        for (id, intruder) in over {
            self.touched(now, &id, Touch::Intruder(intruder));
        }
    }
}

impl Intruder {
    /// The runtime was seen to start it, so that its arguments are the very ones.
    fn is_start_known(&self) -> bool {
        !self.arguments.is_empty()
    }
}

/// Whether the command of an exec is that of the health check, as far as it was told: a long one is cut, and a program
/// without arguments is told with a blank behind it (moby v20.10.24 to v28.5.2, `daemon/health.go`). It only ever says no:
/// what it is the facts say.
pub(super) fn may_be_check(probe: &HealthExec, exec: &Exec) -> bool {
    let own = probe.arguments.join(" ");
    if exec.may_be_cut() {
        own.trim_start().starts_with(&exec.command)
    } else {
        own.trim() == exec.command.trim()
    }
}

/// What a process that entered is like, beside the health check.
pub(super) fn likeness(
    probe: Option<&HealthExec>,
    kernel: Option<Kernel>,
    intruder: &Intruder,
) -> Likeness {
    let Some(probe) = probe.filter(|_| intruder.how == Entry::Shim) else {
        return Likeness::Other;
    };
    let facts = match kernel {
        Some(Kernel::Read { facts, .. }) => Some(facts),
        Some(Kernel::NotRunning | Kernel::Unavailable) | None => None,
    };
    // The runtime that has not become the program yet is root still.
    let is_runtime = intruder.command == "runc init" && !intruder.is_start_known();
    let has_more = |bounding: u64| facts.is_some_and(|own| bounding & !own.cap_bounding != 0);
    if intruder.terminal == Some(true)
        || intruder.cap_bounding.is_some_and(has_more)
        || !is_runtime && !is_its_user(probe, facts.map(|own| own.uid), intruder.uid)
    {
        return Likeness::Other;
    }
    if intruder.is_start_known() {
        // The engine never leaves it to the runtime who it is and what it may do.
        let is_by_engine = intruder.terminal.is_some() && intruder.cap_bounding.is_some();
        return if is_by_engine && intruder.arguments == probe.arguments {
            Likeness::Check
        } else {
            Likeness::Other
        };
    }
    let script = probe.arguments.last().filter(|_| probe.shell);
    if intruder.command == probe.arguments.join(" ")
        || script.is_some_and(|script| has_command(script, &intruder.command))
    {
        Likeness::Check
    } else {
        Likeness::Unclear
    }
}

/// Whether a process runs as the check's user: who process 1 is, or who the number says. A user's name only the container
/// can resolve, and who process 1 was made as is the same user.
fn is_its_user(probe: &HealthExec, own: Option<u32>, uid: Option<u32>) -> bool {
    let Some(uid) = uid else {
        return true;
    };
    let user = probe.user.split(':').next().unwrap_or_default();
    let number = match user {
        "" | "root" => Some(0),
        user => user.parse().ok(),
    };
    number == Some(uid) || own.map_or(number.is_none(), |own| own == uid)
}
