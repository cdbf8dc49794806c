//! Who made a process: whether its ancestors lead to the container's process 1, or out of the container.
//!
//! Orphans are given to process 1 by the kernel, also those of a process that entered: whoever is found to descend from
//! process 1 need not have been made by it. Their parent is found when it enters.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::process::{Cgroup, Process, Stat};
use crate::spec::ContainerId;

/// No line of ancestors is longer: a process namespace's default limit is far below.
const GENERATIONS: usize = 4096;

/// Where the ancestors of a process lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ancestry {
    /// To process 1, or it is process 1.
    OfInit,
    /// Out of the container: `root` is the last that is inside.
    Entered { root: u32 },
    /// One of them ended meanwhile; the next pass tells.
    Unknown,
}

/// What one pass knows of processes and their parents.
#[derive(Debug)]
pub(super) struct Kin {
    proc_root: PathBuf,
    known: BTreeMap<u32, Option<Link>>,
}

#[derive(Clone, Debug)]
struct Link {
    parent: u32,
    name: String,
    container: Option<ContainerId>,
}

impl Link {
    fn of(stat: &Stat, cgroup: &Cgroup) -> Option<Self> {
        (!stat.is_dead()).then(|| Self {
            parent: stat.parent,
            name: stat.name.clone(),
            container: cgroup.id().cloned(),
        })
    }
}

impl Kin {
    pub(super) fn new(proc_root: PathBuf) -> Self {
        Self {
            proc_root,
            known: BTreeMap::new(),
        }
    }

    /// A process that was just read.
    pub(super) fn remember(&mut self, pid: u32, stat: &Stat, cgroup: &Cgroup) {
        self.known.insert(pid, Link::of(stat, cgroup));
    }

    /// Whether a process that was read has a name that begins so.
    pub(super) fn is_named(&self, pid: u32, begin: &str) -> bool {
        let known = self.known.get(&pid).and_then(Option::as_ref);
        known.is_some_and(|link| link.name.starts_with(begin))
    }

    /// Whether its parent has that name, and is in no container: there anybody may call himself so.
    pub(super) fn is_child_of(&mut self, pid: u32, name: &str) -> bool {
        let parent = self.link(pid).and_then(|link| self.link(link.parent));
        parent.is_some_and(|link| link.name == name && link.container.is_none())
    }

    /// Where the ancestors of `pid` lead, of which it is known that it is in the container's cgroup.
    pub(super) fn ancestry(&mut self, pid: u32, init: u32, container: &ContainerId) -> Ancestry {
        let mut at = pid;
        for _ in 0..GENERATIONS {
            if at == init {
                return Ancestry::OfInit;
            }
            let Some(parent) = self.link(at).map(|link| link.parent) else {
                return Ancestry::Unknown;
            };
            match self.link(parent) {
                Some(link) if link.container.as_ref() == Some(container) => at = parent,
                Some(_) => return Ancestry::Entered { root: at },
                // Nobody's child, in this `/proc`.
                None if parent == 0 => return Ancestry::Entered { root: at },
                None => {
                    // The parent is gone: the child has another one now, or is gone, too.
                    self.known.remove(&at);
                    match self.link(at).map(|link| link.parent) {
                        Some(other) if other != parent => {}
                        Some(_) | None => return Ancestry::Unknown,
                    }
                }
            }
        }
        Ancestry::Unknown
    }

    fn link(&mut self, pid: u32) -> Option<Link> {
        if let Some(known) = self.known.get(&pid) {
            return known.clone();
        }
        let read = || {
            let process = Process::open(&self.proc_root, pid)?;
            Link::of(&process.stat()?, &process.container()?)
        };
        let link = read();
        self.known.insert(pid, link.clone());
        link
    }
}
