//! One pass over `/proc` for all containers that are watched.
//!
//! A *full* pass looks at every process. A *quick* one looks at those that were made since the last pass: `/proc/loadavg`
//! ends with the number that was given last, so that nothing is read while no process is made.
//!
//! A process that vanishes while it is looked at is no finding. Not here: sockets (`sockets`), and when passes are made
//! (`daemon`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ancestry::{Ancestry, Kin};
use super::container::{Container, Key, REMEMBERED, Watched};
use super::privileges;
use super::process::{Namespaces, Process, Stat};
use super::runtime;
use crate::reconcile::{Entry, Intruder, Program, Touch};
use crate::spec::ContainerId;

/// Numbers that a quick pass tries; with more a full pass is cheaper.
const TRIED: u32 = 512;
/// In a full pass, what is new is looked at after so many processes: about a millisecond.
const BETWEEN: usize = 16;
/// A new process is looked at in so many quick passes: it may still become another program, or enter.
const LOOKS: u8 = 4;
/// A child of a shim that is the shim's program still: on a busy host it takes a while until it is the runtime.
const LOOKS_OF_A_FORK: u8 = 100;
const SHIM: &str = "containerd-shim";
/// A process that does not get beyond the runtime for so long is not the runtime at work.
const ENTERING: Duration = Duration::from_secs(10);
/// The engine enters a network for some milliseconds to set it up; whoever stays is a stranger.
const BESIDE: Duration = Duration::from_millis(200);
/// What the engine itself starts in a network waits there for the lock of the host's tables: `iptables --wait` for the
/// engine's name server, when a container is connected and, with live-restore, for each container when the engine starts
/// (moby v20.10.24 to v28.5.2, `libnetwork/resolver_unix.go`; seen for 2 s on a busy host).
const BESIDE_OF_ENGINE: Duration = Duration::from_secs(10);
const ENGINE: &str = "dockerd";

/// What was found.
pub type Found = Vec<(ContainerId, Touch)>;

/// Looks at processes; remembers what it told, so that it is told once.
#[derive(Debug)]
pub struct Scanner {
    pub(super) proc_root: PathBuf,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    /// The namespaces of the containers, and whose they are.
    pub(super) spaces: BTreeMap<Space, ContainerId>,
    /// The number that was given last.
    last: Option<u32>,
    /// New processes, and how often they are still looked at.
    young: BTreeMap<u32, u8>,
    /// Changes of the number of sockets that were looked at.
    pub(super) turns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Space {
    Mnt(u64),
    Pid(u64),
    Net(u64),
}

/// A process that is looked at.
struct Seen<'a> {
    process: &'a Process,
    stat: Stat,
    now: Duration,
}

impl Seen<'_> {
    fn key(&self) -> Key {
        (self.process.pid, self.stat.started)
    }
}

impl Scanner {
    /// `proc_root` is `/proc`, or where the engine host's is mounted.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self {
            proc_root: proc_root.into(),
            containers: BTreeMap::new(),
            spaces: BTreeMap::new(),
            last: None,
            young: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Watches these from now on, and no others.
    pub fn watch(&mut self, watched: &[Watched]) {
        self.containers.retain(|id, known| {
            watched
                .iter()
                .any(|one| one.id == *id && one.pid == known.watched.pid)
        });
        for one in watched {
            let known = self.containers.entry(one.id.clone());
            known
                .or_insert_with(|| Container::new(one.clone()))
                .watched
                .upper
                .clone_from(&one.upper);
        }
        self.look_at_inits();
    }

    /// Looks at every process. `now` is boot time. Blocks for some 20 µs per process.
    pub fn full(&mut self, now: Duration) -> Found {
        self.look_at_inits();
        self.last = self.last_pid();
        self.young.clear();
        let mut kin = Kin::new(self.proc_root.clone());
        let mut there = Vec::new();
        let mut found = Found::new();
        for (number, pid) in pids(&self.proc_root).into_iter().enumerate() {
            // A runtime may come and go while all others are looked at.
            if number % BETWEEN == 0 {
                self.look_at_new(now, &mut kin, &mut found);
            }
            if let Some(key) = self.look(pid, now, &mut kin, &mut found) {
                there.push(key);
            }
        }
        there.sort_unstable();
        for container in self.containers.values_mut() {
            container.forget(|key| there.binary_search(key).is_ok());
        }
        found
    }

    /// Looks at the processes that were made since the last pass. Blocks for some 10 µs when there are none.
    pub fn quick(&mut self, now: Duration) -> Found {
        self.look_at_unborn();
        let mut kin = Kin::new(self.proc_root.clone());
        let mut found = Found::new();
        if !self.look_at_new(now, &mut kin, &mut found) {
            return self.full(now);
        }
        let entering: Vec<u32> = (self.containers.values())
            .flat_map(|container| {
                let again = container.to_be_told_again(now);
                let all = container.entering.keys().chain(container.beside.keys());
                all.chain(again)
            })
            .map(|(pid, _)| *pid)
            .filter(|pid| !self.young.contains_key(pid))
            .collect();
        for pid in entering {
            self.look(pid, now, &mut kin, &mut found);
        }
        found
    }

    /// Looks at what was made since the last time; `false` when that is too much, or cannot be known.
    fn look_at_new(&mut self, now: Duration, kin: &mut Kin, found: &mut Found) -> bool {
        let last = self.last_pid();
        let before = std::mem::replace(&mut self.last, last);
        let (Some(before), Some(last)) = (before, last) else {
            return false;
        };
        // Fewer than before: the numbers began anew.
        let made = if last < before { TRIED } else { last - before };
        if made >= TRIED {
            return false;
        }
        for pid in (before + 1)..=last {
            self.young.insert(pid, LOOKS_OF_A_FORK);
        }
        for (pid, looks) in std::mem::take(&mut self.young) {
            let is_there = self.look(pid, now, kin, found).is_some();
            let most = if kin.is_named(pid, SHIM) {
                LOOKS_OF_A_FORK
            } else {
                LOOKS
            };
            let looks = looks.min(most);
            if is_there && looks > 1 {
                self.young.insert(pid, looks - 1);
            }
        }
        true
    }

    /// Looks at processes of which something was told, at once.
    pub fn look_at(&mut self, pids: &[u32], now: Duration) -> Found {
        let mut kin = Kin::new(self.proc_root.clone());
        let mut found = Found::new();
        for pid in pids {
            self.look(*pid, now, &mut kin, &mut found);
        }
        found
    }

    /// Whether a container's process 1 is seen, and is the program that it was made for: its host is this one.
    pub fn sees(&self, id: &ContainerId) -> bool {
        self.containers
            .get(id)
            .is_some_and(|container| container.born.is_some())
    }

    fn last_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.proc_root.join("loadavg")).ok()?;
        text.split_ascii_whitespace().last()?.parse().ok()
    }

    /// Looks at process 1 of each, where that was not the program yet of any.
    pub(super) fn look_at_unborn(&mut self) {
        let mut all = self.containers.values();
        if all.any(|container| container.born.is_none()) {
            self.look_at_inits();
        }
    }

    fn look_at_inits(&mut self) {
        for container in self.containers.values_mut() {
            container.look_at_init(&self.proc_root);
        }
        let host = Process::open(&self.proc_root, 1).map(|process| process.namespaces());
        let host = spaces(&host.unwrap_or_default());
        self.spaces.clear();
        let mut shared = Vec::new();
        for (id, container) in &self.containers {
            let namespaces = container.born.as_ref().map(|born| born.namespaces);
            for space in spaces(&namespaces.unwrap_or_default()) {
                // What a container has in common with its host, or with another that is watched, tells nobody apart: but
                // for the network of a pod, which is that of all its containers.
                let is_of_pod = container.watched.in_pod && matches!(space, Space::Net(_));
                let known = self.spaces.contains_key(&space);
                self.spaces.entry(space).or_insert_with(|| id.clone());
                if host.contains(&space) || (known && !is_of_pod) {
                    shared.push(space);
                }
            }
        }
        for space in shared {
            self.spaces.remove(&space);
        }
    }

    /// Looks at one process; `None` when it is gone, or none to look at again.
    fn look(&mut self, pid: u32, now: Duration, kin: &mut Kin, found: &mut Found) -> Option<Key> {
        let process = Process::open(&self.proc_root, pid)?;
        let stat = process.stat()?;
        if stat.is_dead() || stat.is_kernel_thread {
            return None;
        }
        let cgroup = process.container()?;
        kin.remember(pid, &stat, &cgroup);
        let seen = Seen {
            process: &process,
            stat,
            now,
        };
        let key = seen.key();
        let own = cgroup.id().and_then(|id| self.containers.get_mut(id));
        if let Some(container) = own {
            let touches = look_at_member(container, &seen, kin);
            tell(container, touches, found);
            return Some(key);
        }
        if let Some((id, start)) =
            runtime::start(&process, &seen.stat, |id| self.containers.contains_key(id))
        {
            if let Some(container) = self.containers.get_mut(&id)
                && let Some(start) = container.begin_start(key, start, now)
            {
                let touch = intruder_of_start(pid, start);
                tell(container, vec![touch], found);
            }
            return Some(key);
        }
        self.look_at_stranger(&seen, cgroup.id(), kin, found);
        Some(key)
    }

    /// A process whose cgroup is no watched container's: whether it is in the namespaces of one.
    fn look_at_stranger(
        &mut self,
        seen: &Seen<'_>,
        cgroup: Option<&ContainerId>,
        kin: &mut Kin,
        found: &mut Found,
    ) {
        let namespaces = seen.process.namespaces();
        let whose = |space: Option<Space>| space.and_then(|space| self.spaces.get(&space));
        let inside = whose(namespaces.mnt.map(Space::Mnt))
            .or_else(|| whose(namespaces.pid.map(Space::Pid)))
            .cloned();
        let beside = whose(namespaces.net.map(Space::Net)).cloned();
        let is_inside = inside.is_some();
        let Some(container) = inside
            .or(beside)
            .and_then(|id| self.containers.get_mut(&id))
        else {
            return;
        };
        // The number of a namespace is given again as soon as nobody is in it: this one's is its own while it lives.
        container.look_at_init(&self.proc_root);
        if container.born.is_none() {
            return;
        }
        let key = seen.key();
        if !is_inside {
            if container.beside.len() >= REMEMBERED {
                return;
            }
            let since = *container.beside.entry(key).or_insert(seen.now);
            let is_of_engine = kin.is_child_of(seen.process.pid, ENGINE);
            // The next edge of a pod runs before anybody here hears of it.
            let may_be_next = container.watched.in_pod && cgroup.is_some();
            let patience = if is_of_engine || may_be_next {
                BESIDE_OF_ENGINE
            } else {
                BESIDE
            };
            if seen.now.saturating_sub(since) < patience {
                return;
            }
            container.beside.remove(&key);
        }
        if container.entered.contains(&key) || container.entering.len() >= REMEMBERED {
            return;
        }
        // A runtime enters before it changes its cgroup.
        let since = *container.entering.entry(key).or_insert(seen.now);
        if seen.stat.is_runtime_entering() && seen.now.saturating_sub(since) < ENTERING {
            return;
        }
        container.entering.remove(&key);
        let whose = cgroup.cloned();
        let how = if container.watched.in_pod && !is_inside {
            Entry::Network { container: whose }
        } else {
            Entry::OtherCgroup { container: whose }
        };
        if let Some(intruder) = intruder(seen, how) {
            container.entered.insert(key);
            tell(container, vec![intruder], found);
        }
    }
}

fn spaces(namespaces: &Namespaces) -> Vec<Space> {
    let each = [
        namespaces.mnt.map(Space::Mnt),
        namespaces.pid.map(Space::Pid),
        namespaces.net.map(Space::Net),
    ];
    each.into_iter().flatten().collect()
}

pub(super) fn tell(container: &mut Container, touches: Vec<Touch>, found: &mut Found) {
    for touch in touches {
        if let Some(touch) = container.tell(touch) {
            found.push((container.watched.id.clone(), touch));
        }
    }
}

/// A process of the container's cgroup: whether process 1 is its ancestor, what it runs, and what it may do.
fn look_at_member(container: &mut Container, seen: &Seen<'_>, kin: &mut Kin) -> Vec<Touch> {
    let key = seen.key();
    let Some(born) = &mut container.born else {
        return Vec::new();
    };
    if container.watched.pid == seen.process.pid && born.started != seen.stat.started {
        return Vec::new();
    }
    let mut touches = Vec::new();
    match kin.ancestry(
        seen.process.pid,
        container.watched.pid,
        &container.watched.id,
    ) {
        Ancestry::Unknown => return Vec::new(),
        Ancestry::OfInit => {
            let gained = seen
                .process
                .status()
                .map(|status| privileges::gained(&born.status, &status));
            touches.extend(gained.into_iter().flatten().map(Touch::Privileges));
        }
        // The runtime runs its own program, until it becomes the one that was asked for.
        Ancestry::Entered { root } if root != seen.process.pid => {
            if seen.stat.is_runtime_entering() {
                return Vec::new();
            }
        }
        Ancestry::Entered { .. } => {
            if container.entered.contains(&key) || container.entering.len() >= REMEMBERED {
                // Told already; its program may have changed since. Whether it is still there may decide what it is.
                let is_due = container.to_be_told_again(seen.now).any(|one| *one == key);
                if is_due && let Some(intruder) = intruder(seen, Entry::Shim) {
                    container.unexplained.insert(key, seen.now);
                    touches.push(intruder);
                }
            } else {
                let since = *container.entering.entry(key).or_insert(seen.now);
                // In the moment of its `execve` a process has no arguments.
                let arguments = seen.process.arguments();
                let is_at_work = seen.stat.is_runtime_entering()
                    || arguments.is_empty()
                    || runtime::is_entering(&seen.stat, &arguments);
                if is_at_work && seen.now.saturating_sub(since) < ENTERING {
                    return Vec::new();
                }
                container.entering.remove(&key);
                container.entered.insert(key);
                if !container.is_of_a_start(key, &arguments, seen.now)
                    && let Some(intruder) = intruder(seen, Entry::Shim)
                {
                    container.unexplained.insert(key, seen.now);
                    touches.push(intruder);
                }
            }
        }
    }
    touches.extend(program(container, seen.process));
    touches
}

/// The program that a process of the container runs, where it is not of the image.
fn program(container: &mut Container, process: &Process) -> Option<Touch> {
    let executable = process.executable()?;
    let born = container.born.as_mut()?;
    if !born.mounts.knows(&executable) {
        // Something was mounted since, or the process has mounts of its own.
        born.mounts = super::mounts::Mounts::parse(&process.text("mountinfo")?);
    }
    let origin = born
        .mounts
        .origin(&executable, container.watched.upper.as_deref())?;
    // A thread has a number, too.
    let pid = process.status()?.tgid;
    (pid == process.pid).then_some(Touch::Program(Program {
        pid,
        origin,
        path: executable.path,
    }))
}

fn intruder_of_start(pid: u32, start: runtime::Start) -> Touch {
    Touch::Intruder(Intruder {
        pid,
        how: Entry::Shim,
        command: start.arguments.join(" "),
        arguments: start.arguments,
        uid: start.uid,
        cap_bounding: start.cap_bounding,
        terminal: start.terminal,
    })
}

/// `None` for a thread, and for a process that ended meanwhile.
fn intruder(seen: &Seen<'_>, how: Entry) -> Option<Touch> {
    let status = seen.process.status()?;
    let arguments = seen.process.arguments();
    let command = if arguments.is_empty() {
        seen.stat.name.clone()
    } else {
        arguments.join(" ")
    };
    (status.tgid == seen.process.pid).then_some(Touch::Intruder(Intruder {
        pid: seen.process.pid,
        how,
        command,
        arguments: Vec::new(),
        uid: status.uids.get(1).copied(),
        cap_bounding: Some(status.cap_bounding),
        terminal: Some(seen.stat.terminal != 0),
    }))
}

/// The numbers of all processes, without those of threads; parents are mostly before their children.
pub(super) fn pids(proc_root: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(proc_root).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}
