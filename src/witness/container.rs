//! A container that is watched: what it was born with, and what was told of it already.
//!
//! Not here: looking at processes (`scan`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mounts::Mounts;
use super::process::{Namespaces, Process, Status};
use super::runtime::Start;
use super::sockets::Counts;
use crate::reconcile::{Touch, Transport};
use crate::spec::ContainerId;

/// Touches of one container that are remembered as told. With more all are told once more: what comes then may be what
/// matters.
const TOLD: usize = 1024;
/// Starts and suspects that are remembered of one container at most.
pub(super) const REMEMBERED: usize = 256;
/// A start that was not followed by a process within this time is over.
const START: Duration = Duration::from_secs(10);
/// A process that began so soon after its runtime is the one that was started, whatever it is by now. Later only one with
/// the same arguments is.
const SOON: Duration = Duration::from_secs(1);

/// Who entered without a start that was seen is told again after this time: a health check ends.
const AGAIN: Duration = Duration::from_secs(2);

/// What is to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// The container.
    pub id: ContainerId,
    /// The number of its process 1 on the host.
    pub pid: u32,
    /// Its writable layer on the host (`GraphDriver.Data.UpperDir`), where that can be looked at.
    pub upper: Option<PathBuf>,
    /// Others of its pod are in its network: who is there is not told.
    pub in_pod: bool,
}

/// A process's number, and its start in clock ticks: together they are never given twice.
pub(super) type Key = (u32, u64);

/// What is known of a container that is watched.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) watched: Watched,
    /// `None` until its process 1 is the program that it was made for.
    pub(super) born: Option<Born>,
    told: BTreeSet<Touch>,
    /// What runtimes were seen to start, the oldest first.
    starts: Vec<Expected>,
    /// Processes that entered and are told already, or are not the program yet: since when.
    pub(super) entering: BTreeMap<Key, Duration>,
    pub(super) entered: BTreeSet<Key>,
    /// Those of them whose start was not seen, and when each was told last.
    pub(super) unexplained: BTreeMap<Key, Duration>,
    /// Processes that share its network alone, since when.
    pub(super) beside: BTreeMap<Key, Duration>,
    /// Ports that it has listened on: who comes to them is no peer of its choice.
    pub(super) listened: BTreeSet<(Transport, u16)>,
    /// How many sockets it had when they were looked at last.
    pub(super) counts: Option<Counts>,
    /// The turn in which a change of that number was looked at last.
    pub(super) turn: u64,
}

/// A process that a runtime is about to start.
#[derive(Debug)]
struct Expected {
    /// When the runtime itself began, in clock ticks.
    from: u64,
    until: Duration,
    arguments: Vec<String>,
}

/// What it was born with.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) started: u64,
    pub(super) namespaces: Namespaces,
    pub(super) status: Status,
    pub(super) mounts: Mounts,
    /// Its users have other numbers inside than on the host.
    counts_users: bool,
}

impl Container {
    pub(super) fn new(watched: Watched) -> Self {
        Self {
            watched,
            born: None,
            told: BTreeSet::new(),
            starts: Vec::new(),
            entering: BTreeMap::new(),
            entered: BTreeSet::new(),
            unexplained: BTreeMap::new(),
            beside: BTreeMap::new(),
            listened: BTreeSet::new(),
            counts: None,
            turn: 0,
        }
    }

    /// Looks at process 1: whether it is the same, and if it is first seen, what it was born with. A process is
    /// believed to be the container's only when its cgroup names it.
    pub(super) fn look_at_init(&mut self, proc_root: &Path) {
        let Some(process) = Process::open(proc_root, self.watched.pid) else {
            self.born = None;
            return;
        };
        let is_own = process
            .container()
            .is_some_and(|cgroup| cgroup.id() == Some(&self.watched.id));
        let stat = process.stat().filter(|stat| is_own && !stat.is_dead());
        let Some(stat) = stat else {
            self.born = None;
            return;
        };
        if let Some(born) = &self.born
            && born.started == stat.started
        {
            return;
        }
        // While the runtime is at work in it, it has more than it will be born with.
        self.born = if stat.is_runtime_entering() {
            None
        } else {
            read_born(&process, stat.started)
        };
    }

    /// Remembers a touch; `None` when it was told before. A process that entered is told when it is first seen and by
    /// its number, and a health check is one each second: these are not counted.
    pub(super) fn tell(&mut self, touch: Touch) -> Option<Touch> {
        if matches!(touch, Touch::Intruder(_)) {
            return Some(touch);
        }
        if self.told.contains(&touch) {
            return None;
        }
        if self.told.len() == TOLD {
            self.told.clear();
        }
        self.told.insert(touch.clone());
        Some(touch)
    }

    /// A runtime starts something in it; `None` when that was seen before.
    pub(super) fn begin_start(
        &mut self,
        runtime: Key,
        start: Start,
        now: Duration,
    ) -> Option<Start> {
        if self.starts.len() >= REMEMBERED || self.entered.contains(&runtime) {
            return None;
        }
        // Its users are numbered as the container counts them.
        let is_own_count = self.born.as_ref().is_some_and(|born| born.counts_users);
        let uid = start.uid.filter(|_| !is_own_count);
        let start = Start { uid, ..start };
        self.entered.insert(runtime);
        self.starts.push(Expected {
            from: runtime.1,
            until: now + START,
            arguments: start.arguments.clone(),
        });
        Some(start)
    }

    /// Whether a process that entered is one that a runtime was seen to start, which has been told.
    pub(super) fn is_of_a_start(
        &mut self,
        process: Key,
        arguments: &[String],
        now: Duration,
    ) -> bool {
        self.starts.retain(|expected| now < expected.until);
        let soon = SOON.as_secs() * rustix::param::clock_ticks_per_second();
        let of = self.starts.iter().position(|expected| {
            expected.from <= process.1
                && (process.1 - expected.from <= soon || expected.arguments == arguments)
        });
        of.is_some_and(|at| {
            self.starts.remove(at);
            true
        })
    }

    /// Who entered without a start that was seen, and was not told for a while.
    pub(super) fn to_be_told_again(&self, now: Duration) -> impl Iterator<Item = &Key> {
        let is_due = move |(_, told): &(&Key, &Duration)| now.saturating_sub(**told) >= AGAIN;
        self.unexplained.iter().filter(is_due).map(|(key, _)| key)
    }

    /// Forgets processes that are gone.
    pub(super) fn forget(&mut self, is_there: impl Fn(&Key) -> bool) {
        self.entering.retain(|key, _| is_there(key));
        self.entered.retain(&is_there);
        self.unexplained.retain(|key, _| is_there(key));
        self.beside.retain(|key, _| is_there(key));
    }
}

fn read_born(process: &Process, started: u64) -> Option<Born> {
    Some(Born {
        started,
        namespaces: process.namespaces(),
        status: process.status()?,
        mounts: Mounts::parse(&process.text("mountinfo")?),
        counts_users: process.text("uid_map").is_some_and(|map| !is_of_host(&map)),
    })
}

/// `INSIDE OUTSIDE COUNT` (`user_namespaces(7)`): the host's own has every number as it is.
fn is_of_host(map: &str) -> bool {
    let words: Vec<&str> = map.split_ascii_whitespace().collect();
    words == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Socket;

    #[test]
    fn however_much_was_told_what_comes_then_is_told_once() {
        let mut container = Container::new(Watched {
            id: ContainerId::new("a"),
            pid: 1,
            upper: None,
            in_pod: false,
        });
        let peer = |number: u16| {
            Touch::Connected(Socket {
                transport: Transport::Tcp,
                address: ([10, 0, 0, 1], number).into(),
            })
        };
        for number in 0..5000 {
            assert!(container.tell(peer(number)).is_some(), "{number}");
            assert!(container.tell(peer(number)).is_none(), "{number}");
            assert!(container.told.len() <= TOLD);
        }
    }
}
