//! The one owner of an edge process's state: the table in force, its sockets, who has authority, and whom it hands over to.
//!
//! It decides in one place and one step at a time, so that a connection that ends anywhere leaves nothing half done. Not here:
//! bytes on the control socket (`server`, `handover`), forwarding (`edge::run`).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::convert::{brief, of_targets, to_probed};
use super::sockets::Sockets;
use super::wire::{self, Asked, Report, Socket, Stage, Stamp};
use super::{Held, socket_path};
use crate::edge::Table;
use crate::edge::handover::{self, Collected, Giver, TakeError};
use crate::probe::Probed;
use crate::reconcile::{EdgeReport, Routes, Targets};
use crate::report::Chain;
use crate::spec::ContainerId;

/// What does not succeed is tried again every so many turns at the rarest.
const RAREST: u64 = 64;

/// One connection of a supervisor or another edge, by its number.
pub(super) type Id = u64;

/// What connections tell.
#[derive(Debug)]
pub(in crate::edge) enum Event {
    /// A supervisor has connected: it has authority from now on.
    Joined(Authority),
    /// It says what is to be.
    Asked { id: Id, what: Asked },
    /// Another edge asks for everything.
    Give {
        to: u64,
        reply: oneshot::Sender<Result<Given, String>>,
    },
    /// It accepts: nothing is accepted here from now on.
    Taken {
        to: u64,
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// The supervisor that is obeyed.
#[derive(Debug)]
pub(in crate::edge) struct Authority {
    pub(super) id: Id,
    /// Where answers of probes go.
    pub(super) probed: mpsc::Sender<wire::Probed>,
    /// Ends the connection.
    pub(super) revoked: CancellationToken,
}

/// What is handed over.
#[derive(Debug)]
pub(in crate::edge) struct Given {
    pub(super) table: Option<wire::Table>,
    pub(super) sockets: Vec<(Socket, OwnedFd)>,
}

/// What came of a step of a takeover.
#[derive(Debug)]
pub(in crate::edge) enum Step {
    Collected(u64, Result<Collected, TakeError>),
    Acknowledged(u64, Result<(), TakeError>),
}

/// What the keeper works with.
#[derive(Debug)]
pub(in crate::edge) struct Tools {
    pub(in crate::edge) directory: PathBuf,
    pub(in crate::edge) serial: u64,
    pub(in crate::edge) sockets: Sockets,
    /// To the forwarder.
    pub(in crate::edge) tables: watch::Sender<Table>,
    /// From the forwarder.
    pub(in crate::edge) counts: watch::Receiver<EdgeReport>,
    /// Closes the forwarder's ports.
    pub(in crate::edge) stop: CancellationToken,
    /// To the prober.
    pub(in crate::edge) targets: watch::Sender<Arc<Targets>>,
    /// To every supervisor.
    pub(in crate::edge) reports: watch::Sender<Report>,
}

pub(in crate::edge) struct Keeper {
    tools: Tools,
    authority: Option<Authority>,
    in_force: Option<Held>,
    /// Tables are numbered here once more, for epochs of different sessions cannot be compared.
    sequence: u64,
    stamps: BTreeMap<u64, Stamp>,
    applied: Option<Stamp>,
    /// The newest answer about each target: for a supervisor that comes back.
    answers: BTreeMap<ContainerId, Probed>,
    wish: Option<u64>,
    took_over: Option<u64>,
    takeover_error: Option<String>,
    tries: u64,
    steps: JoinSet<Step>,
    /// Waits until the table with this number is in force.
    giver: Option<(u64, u64, Giver)>,
    handed_to: Option<u64>,
    has_ended: bool,
    cut: u64,
}

impl Keeper {
    pub(in crate::edge) fn new(tools: Tools) -> Self {
        Self {
            tools,
            authority: None,
            in_force: None,
            sequence: 0,
            stamps: BTreeMap::new(),
            applied: None,
            answers: BTreeMap::new(),
            wish: None,
            took_over: None,
            takeover_error: None,
            tries: 0,
            steps: JoinSet::new(),
            giver: None,
            handed_to: None,
            has_ended: false,
            cut: 0,
        }
    }

    /// What a connection tells.
    pub(in crate::edge) async fn handle(&mut self, event: Event) {
        match event {
            Event::Joined(authority) => self.obey(authority),
            Event::Asked { id, what } => {
                if self.authority.as_ref().is_some_and(|known| known.id == id) {
                    self.asked(what).await;
                }
            }
            // Whoever asked may have gone meanwhile: then nothing has changed.
            Event::Give { to, reply } => drop(reply.send(self.give(to))),
            Event::Taken { to, reply } => drop(reply.send(self.taken(to))),
        }
        self.publish();
    }

    /// The newest supervisor is the right one: an older one hangs, or does not know that it has ended.
    fn obey(&mut self, authority: Authority) {
        if let Some(former) = self.authority.take() {
            former.revoked.cancel();
        }
        for answer in self.answers.values() {
            // A queue that is too short for all costs some probes a round.
            drop(authority.probed.try_send(to_probed(answer)));
        }
        self.authority = Some(authority);
    }

    async fn asked(&mut self, what: Asked) {
        match what {
            Asked::Table(table) => {
                let held = Held::from(table);
                if !self.is_older(held.stamp) {
                    self.put_in_force(held).await;
                }
            }
            Asked::Targets(targets) => {
                let targets = of_targets(targets);
                self.answers.retain(|id, _| targets.contains_key(id));
                self.tools.targets.send_replace(Arc::new(targets));
            }
            Asked::TakeOver { from } => self.take_over(from),
            // The server passes on only what belongs to a supervisor.
            Asked::Give { .. } | Asked::Taken {} => {}
        }
    }

    /// Within one session; what a supervisor with authority says is newer than what any other one said.
    fn is_older(&self, stamp: Stamp) -> bool {
        self.in_force.as_ref().is_some_and(|held| {
            held.stamp.session == stamp.session && held.stamp.epoch > stamp.epoch
        })
    }

    async fn put_in_force(&mut self, held: Held) {
        self.sequence += 1;
        self.stamps.insert(self.sequence, held.stamp);
        let table = (self.sequence, Arc::clone(&held.routes));
        self.tools.tables.send_replace(table);
        self.in_force = Some(held);
        self.tries = 0;
        if self.has_ended {
            // Nobody forwards by it any more, nor by any other one.
            self.applied = self.stamps.pop_last().map(|(_, stamp)| stamp);
        }
        self.follow().await;
    }

    /// Listens on what the table has. While another edge is to hand over, nothing is bound: the ports are its own.
    async fn follow(&mut self) {
        if self.tools.stop.is_cancelled() {
            return;
        }
        if let Some(held) = &self.in_force {
            let may_bind = self.wish.is_none() || self.wish == self.took_over;
            self.tools.sockets.follow(&held.binds, may_bind).await;
        }
    }

    /// The forwarder says something new.
    pub(in crate::edge) fn counted(&mut self) {
        let sequence = self.tools.counts.borrow_and_update().epoch;
        if let Some(stamp) = self.stamps.get(&sequence) {
            self.applied = Some(*stamp);
        }
        self.stamps.retain(|number, _| *number >= sequence);
        if let Some((number, from, giver)) = self.giver.take() {
            if number > sequence {
                self.giver = Some((number, from, giver));
            } else {
                self.acknowledge(from, giver);
            }
        }
        self.publish();
    }

    /// A replica has answered.
    pub(in crate::edge) fn probed(&mut self, probed: Probed) {
        if let Some(authority) = &self.authority {
            // One that does not take answers in time misses some: they are repeated.
            drop(authority.probed.try_send(to_probed(&probed)));
        }
        if self.tools.targets.borrow().contains_key(&probed.id) {
            self.answers.insert(probed.id.clone(), probed);
        }
    }

    /// Nothing is accepted any more, and nothing is open.
    pub(in crate::edge) fn ended(&mut self) {
        self.has_ended = true;
        self.applied = self.in_force.as_ref().map(|held| held.stamp);
        self.publish();
    }

    /// Closes the ports for good; open connections go on.
    pub(in crate::edge) fn stop(&mut self) {
        self.wish = None;
        self.giver = None;
        self.steps.abort_all();
        self.tools.stop.cancel();
        self.tools.sockets.close();
        self.publish();
    }

    /// The time to drain is over: from here on what is still open is ended. Returns how many these are.
    pub(in crate::edge) fn count_open(&mut self) -> u64 {
        self.cut = self.tools.counts.borrow().open.values().sum();
        self.publish();
        self.cut
    }

    /// What is still open is reset now, for a mere end would tell either side that what it has is all there is.
    pub(in crate::edge) fn cut(&mut self) {
        let open = self.tools.counts.borrow().open.clone();
        self.has_ended = true;
        let all: BTreeSet<ContainerId> = open.into_keys().collect();
        let last = Routes {
            draining: all.clone(),
            cut: all,
            ..Routes::default()
        };
        self.sequence += 1;
        self.tools
            .tables
            .send_replace((self.sequence, Arc::new(last)));
        self.publish();
    }

    /// Whether something is to be tried again.
    pub(in crate::edge) fn has_more_to_try(&self) -> bool {
        !self.tools.stop.is_cancelled()
            && ((self.wish.is_some() && self.wish != self.took_over)
                || !self.tools.sockets.unbound().is_empty())
    }

    /// Tries it, ever more rarely: who has a port is looked for among all processes.
    pub(in crate::edge) async fn try_again(&mut self) {
        self.tries = self.tries.saturating_add(1);
        if self.tries.is_power_of_two() || self.tries.is_multiple_of(RAREST) {
            self.begin_takeover();
            self.follow().await;
            self.publish();
        }
    }

    fn take_over(&mut self, from: u64) {
        let is_news = self.wish != Some(from);
        if from == self.tools.serial || self.tools.stop.is_cancelled() || !is_news {
            return;
        }
        self.wish = Some(from);
        self.tries = 0;
        self.giver = None;
        self.begin_takeover();
    }

    fn begin_takeover(&mut self) {
        let Some(from) = self.wish.filter(|_| self.wish != self.took_over) else {
            return;
        };
        if !self.steps.is_empty() || self.giver.is_some() {
            return;
        }
        let (path, own) = (socket_path(&self.tools.directory, from), self.tools.serial);
        self.steps
            .spawn(async move { Step::Collected(from, handover::collect(&path, own).await) });
    }

    /// The next step of a takeover; pends while there is none.
    ///
    /// # Cancel safety
    /// It only waits: what it returns is for [`Keeper::step`].
    pub(in crate::edge) async fn next_step(&mut self) -> Step {
        loop {
            match self.steps.join_next().await {
                Some(Ok(step)) => return step,
                Some(Err(error)) if error.is_panic() => {
                    std::panic::resume_unwind(error.into_panic());
                }
                Some(Err(_aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Goes on with a takeover.
    pub(in crate::edge) async fn step(&mut self, step: Step) {
        match step {
            Step::Collected(from, result) if self.wish == Some(from) => {
                self.collected(from, result).await;
            }
            Step::Acknowledged(from, result) if self.wish == Some(from) => {
                self.acknowledged(from, result).await;
            }
            // Of a wish that is no more.
            Step::Collected(..) | Step::Acknowledged(..) => {}
        }
        self.publish();
    }

    async fn collected(&mut self, from: u64, result: Result<Collected, TakeError>) {
        let Collected {
            table,
            sockets,
            giver,
        } = match result {
            Ok(collected) => collected,
            Err(error) => return self.acknowledged(from, Err(error)).await,
        };
        info!(
            from,
            sockets = sockets.len(),
            "the sockets of another edge are here"
        );
        let count = sockets.len();
        self.tools.sockets.adopt(sockets).await;
        let newer = table.filter(|table| match &self.in_force {
            None => true,
            Some(own) => {
                own.stamp.session == table.stamp.session && own.stamp.epoch < table.stamp.epoch
            }
        });
        match newer {
            Some(table) => self.put_in_force(table).await,
            // Nothing leads anywhere: then there is nothing to accept, either.
            None if self.in_force.is_none() => self.tools.sockets.close(),
            None => self.follow().await,
        }
        if let Some(giver) = giver {
            self.giver = Some((self.sequence, from, giver));
            self.counted();
        } else {
            warn!(from, sockets = count, "the edge ended within the handover");
            self.acknowledged(from, Ok(())).await;
        }
    }

    fn acknowledge(&mut self, from: u64, giver: Giver) {
        self.steps
            .spawn(async move { Step::Acknowledged(from, giver.acknowledge().await) });
    }

    async fn acknowledged(&mut self, from: u64, result: Result<(), TakeError>) {
        let error = match result {
            Ok(()) => {
                info!(from, "taken over");
                None
            }
            Err(TakeError::Gone) => {
                warn!(from, "the edge to take over from is gone");
                None
            }
            Err(error @ (TakeError::Refused(_) | TakeError::Failed(_))) => Some(error),
        };
        let Some(error) = error else {
            self.took_over = Some(from);
            self.takeover_error = None;
            return self.follow().await;
        };
        if matches!(error, TakeError::Refused(_)) {
            // It has another successor, who accepts: two must not.
            self.tools.sockets.close();
        }
        let text = brief(&Chain(&error).to_string());
        if self.takeover_error.as_ref() != Some(&text) {
            warn!(from, error = %Chain(&error), "cannot take over yet");
        }
        self.takeover_error = Some(text);
    }

    /// Copies of everything; nothing changes here yet.
    fn give(&mut self, to: u64) -> Result<Given, String> {
        if let Some(successor) = self.handed_to {
            // A successor that did not hear that it has everything asks again.
            return if successor == to {
                Ok(Given {
                    table: None,
                    sockets: Vec::new(),
                })
            } else {
                Err(format!("edge {successor} has taken over already"))
            };
        }
        if self.tools.stop.is_cancelled() {
            return Err("it is ending, and has closed its ports".to_owned());
        }
        if let Some(from) = self.wish.filter(|_| self.wish != self.took_over) {
            return Err(format!("it is taking over from edge {from} itself"));
        }
        let sockets = self.tools.sockets.copies();
        Ok(Given {
            table: self.in_force.as_ref().map(Held::to_wire),
            sockets: sockets.map_err(|error| format!("its sockets cannot be copied: {error}"))?,
        })
    }

    fn taken(&mut self, to: u64) -> Result<(), String> {
        match self.handed_to {
            Some(successor) if successor == to => return Ok(()),
            Some(successor) => return Err(format!("edge {successor} has taken over already")),
            None => {}
        }
        info!(to, "another edge accepts now: draining");
        self.handed_to = Some(to);
        self.stop();
        Ok(())
    }

    fn publish(&self) {
        let report = self.report();
        self.tools.reports.send_if_modified(|last| {
            let is_new = *last != report;
            if is_new {
                *last = report;
            }
            is_new
        });
    }

    fn report(&self) -> Report {
        let stage = match (self.tools.stop.is_cancelled(), self.has_ended) {
            (_, true) => Stage::Drained,
            (true, false) => Stage::Draining,
            (false, false) if self.tools.sockets.is_empty() => Stage::Idle,
            (false, false) => Stage::Serving,
        };
        let counts = self.tools.counts.borrow();
        let open = counts.open.iter();
        Report {
            serial: self.tools.serial,
            stamp: self.applied,
            stage,
            open: open.map(|(id, count)| (id.to_string(), *count)).collect(),
            unbound: self.tools.sockets.unbound(),
            took_over: self.took_over,
            takeover_error: self.takeover_error.clone(),
            cut: self.cut,
        }
    }
}
