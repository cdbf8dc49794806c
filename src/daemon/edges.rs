//! Speaks with the edges in pods: each has a task that keeps its control connection, tells it the newest table, whose
//! sockets to take over and whom to probe, and passes on what it says.
//!
//! Decides nothing: who listens is a view of the core, and everything that is said is an event. An edge whose connection is
//! lost goes on by its last table; the task connects again until the edge is gone.
//!
//! Not here: the connection itself (`edge::control`), and where the sockets are (`pods`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::StartError;
use super::pods::EdgeSockets;
use crate::clock;
use crate::edge::control::wire::{Report, Stage};
use crate::edge::control::{Client, Ends, Link, new_session, socket_path};
use crate::probe::Probed;
use crate::reconcile::{
    Asks, EdgeOrder, EdgeReport, EdgeSaid, EdgeStage, Edges, Event, Routes, Step, Targets,
};
use crate::spec::{ContainerId, ServiceName};

/// How often an edge of which nothing is heard is told of: whether that is too long the core decides.
const SILENCE: Duration = Duration::from_secs(1);
/// What an edge says that was not told to the core yet; more waits at the edge.
const PROBED: usize = 64;

type Table = (u64, Arc<Routes>);

/// The edges that are spoken with.
#[derive(Debug)]
pub(super) struct EdgeLinks {
    sockets: Option<EdgeSockets>,
    session: u64,
    links: BTreeMap<ContainerId, EdgeLink>,
    events: mpsc::Sender<Event>,
    probed: mpsc::Sender<Probed>,
    tasks: TaskTracker,
}

/// One edge.
#[derive(Debug)]
struct EdgeLink {
    order: EdgeOrder,
    routes: watch::Sender<Table>,
    take_over: watch::Sender<Option<u64>>,
    targets: watch::Sender<Arc<Targets>>,
    link: watch::Receiver<Link>,
    reports: watch::Receiver<EdgeReport>,
    socket: PathBuf,
    /// Ends with the edge.
    over: CancellationToken,
}

impl Drop for EdgeLink {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl EdgeLinks {
    /// # Errors
    /// The kernel gives no random bytes.
    pub(super) fn new(
        sockets: Option<EdgeSockets>,
        events: mpsc::Sender<Event>,
        probed: mpsc::Sender<Probed>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            sockets,
            session: new_session().map_err(StartError::Threads)?,
            links: BTreeMap::new(),
            events,
            probed,
            tasks: TaskTracker::new(),
        })
    }

    /// Hands the newest views out. The targets that are left are for this process.
    pub(super) fn follow(&mut self, step: &Step, published: &Table) -> Targets {
        let edges: &Edges = &step.edges;
        self.links.retain(|id, link| {
            let is_there = edges.contains_key(id);
            if !is_there {
                // One that was killed leaves it behind.
                std::fs::remove_file(&link.socket).unwrap_or_default();
            }
            is_there
        });
        for (id, order) in edges {
            if !self.links.contains_key(id)
                && let Some(link) = self.open(id, order)
            {
                self.links.insert(id.clone(), link);
            }
        }
        let mut own = step.targets.clone();
        for (id, link) in &mut self.links {
            if let Some(order) = edges.get(id) {
                link.order = order.clone();
            }
            link.publish(published);
            link.aim(&mut own);
        }
        own
    }

    /// What all edges count, with that of this process.
    pub(super) fn counts(&self, own: &watch::Receiver<EdgeReport>) -> Counts {
        let reports = self.links.values().map(|link| link.reports.clone());
        let links = self.links.iter();
        Counts {
            reports: reports.chain([own.clone()]).collect(),
            edges: links
                .map(|(id, link)| (id.clone(), link.link.clone()))
                .collect(),
        }
    }

    /// Removes the directories of the sockets: everything is gone.
    pub(super) fn forget(&self) {
        if let Some(sockets) = &self.sockets {
            sockets.remove();
        }
    }

    fn open(&self, id: &ContainerId, order: &EdgeOrder) -> Option<EdgeLink> {
        let directory = self.sockets.as_ref()?.of(&order.service);
        let (routes, routes_in) = watch::channel((0, Arc::new(Routes::default())));
        let (take_over, take_over_in) = watch::channel(None);
        let (targets, targets_in) = watch::channel(Arc::new(Targets::new()));
        let (reports, reports_out) = watch::channel(EdgeReport::default());
        let (link, link_out) = watch::channel(Link::default());
        let (probed, probed_out) = mpsc::channel(PROBED);
        let over = CancellationToken::new();
        let socket = socket_path(&directory, order.serial.0);
        let client = Client {
            socket: socket.clone(),
            session: self.session,
            binds: BTreeMap::new(),
        };
        let ends = Ends {
            routes: routes_in,
            take_over: take_over_in,
            targets: targets_in,
            reports,
            probed,
            link,
        };
        let until = over.clone();
        self.tasks.spawn(async move {
            client.run(ends, until).await;
        });
        let (heard, heard_out) = watch::channel(clock::boot_now());
        let told = Told {
            probes: targets.subscribe(),
            heard: heard_out,
            id: id.clone(),
            link: link_out.clone(),
            reports: reports_out.clone(),
            events: self.events.clone(),
            over: over.clone(),
        };
        self.tasks.spawn(told.run());
        self.tasks.spawn(pass_on(
            probed_out,
            self.probed.clone(),
            heard,
            over.clone(),
        ));
        Some(EdgeLink {
            order: order.clone(),
            routes,
            take_over,
            targets,
            link: link_out,
            reports: reports_out,
            socket,
            over,
        })
    }
}

/// What the edges count, at any later time.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    reports: Vec<watch::Receiver<EdgeReport>>,
    edges: BTreeMap<ContainerId, watch::Receiver<Link>>,
}

impl Counts {
    /// The open connections that end with a container: to a replica, or through an edge.
    pub(super) fn open(&self, id: &ContainerId) -> u64 {
        if let Some(edge) = self.edges.get(id) {
            let link = edge.borrow();
            let open = link.report.iter().flat_map(|report| report.open.values());
            return open.sum();
        }
        let of = self.reports.iter();
        let of = of.map(|report| report.borrow().open.get(id).copied());
        of.flatten().sum()
    }

    /// How many an edge says that it has cut at its end, if any.
    pub(super) fn cut_by(&self, id: &ContainerId) -> Option<u64> {
        let link = self.edges.get(id)?.borrow();
        let cut = link.report.as_ref()?.cut;
        (cut > 0).then_some(cut)
    }
}

impl EdgeLink {
    /// The newest table, where it is to have one. One that is not to listen yet has none: it would bind.
    fn publish(&self, (epoch, routes): &Table) {
        let from = self.order.takes_over.map(|serial| serial.0);
        // Once it has them there is nobody else who has any.
        if from.is_some() {
            self.take_over.send_if_modified(|asked| {
                let is_new = *asked != from;
                *asked = from;
                is_new
            });
        }
        let is_idle = self.stage().is_none_or(|stage| stage == Stage::Idle);
        let is_same = self.routes.borrow().0 == *epoch;
        if *epoch == 0 || is_same || (is_idle && !self.order.listens) {
            return;
        }
        let table = routes.of_pod(&self.order.service);
        self.routes.send_replace((*epoch, Arc::new(table)));
    }

    /// Who accepts here also probes here: what is proven is the way that traffic takes.
    fn aim(&self, own: &mut Targets) {
        let serves = self.order.listens && self.stage() == Some(Stage::Serving);
        let is_its = |service: &ServiceName| *service == self.order.service;
        let mut its = Targets::new();
        if serves {
            let ids: Vec<ContainerId> = own
                .iter()
                .filter(|(_, target)| is_its(&target.replica.service))
                .map(|(id, _)| id.clone())
                .collect();
            its.extend(ids.into_iter().filter_map(|id| own.remove_entry(&id)));
        }
        self.targets.send_if_modified(|targets| {
            let is_new = **targets != its;
            if is_new {
                *targets = Arc::new(its);
            }
            is_new
        });
    }

    /// Where it is in its life, as it said last; `None` while it cannot be spoken to.
    fn stage(&self) -> Option<Stage> {
        let link = self.link.borrow();
        let report = link.report.as_ref().filter(|_| link.is_connected);
        report.map(|report| report.stage)
    }
}

/// What one edge says, on its way to the core.
struct Told {
    /// Whom it probes.
    probes: watch::Receiver<Arc<Targets>>,
    /// When an answer of a probe was heard last, on boot time.
    heard: watch::Receiver<Duration>,
    id: ContainerId,
    link: watch::Receiver<Link>,
    reports: watch::Receiver<EdgeReport>,
    events: mpsc::Sender<Event>,
    over: CancellationToken,
}

impl Told {
    async fn run(mut self) {
        let mut silence = interval(SILENCE);
        silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        silence.reset();
        let mut reported = clock::boot_now();
        loop {
            // Cancel safety: link and report are levels.
            tokio::select! {
                biased;
                () = self.over.cancelled() => return,
                Ok(()) = self.link.changed() => reported = clock::boot_now(),
                Ok(()) = self.probes.changed() => {
                    // Whom it is to ask from now on it cannot have answered about before.
                    self.probes.mark_unchanged();
                    reported = clock::boot_now();
                    continue;
                }
                _ = silence.tick() => {
                    let quiet = self.asks(reported).silent;
                    if self.link.borrow().is_connected && quiet < SILENCE {
                        continue;
                    }
                }
                else => return,
            }
            let said = self.said(reported);
            let event = Event::EdgeOf {
                id: self.id.clone(),
                said,
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Whom it is to ask all the time, and since when nothing is heard.
    fn asks(&self, reported: Duration) -> Asks {
        let last = reported.max(*self.heard.borrow());
        let probes = self.probes.borrow();
        let asks = probes.values().map(|it| it.interval + it.timeout);
        Asks {
            every: asks.max().unwrap_or_default(),
            silent: clock::boot_now().saturating_sub(last),
        }
    }

    fn said(&mut self, reported: Duration) -> Result<EdgeSaid, String> {
        let asks = self.asks(reported);
        let link = self.link.borrow_and_update().clone();
        match link.report.filter(|_| link.is_connected) {
            Some(report) => Ok(EdgeSaid {
                report: self.reports.borrow_and_update().clone(),
                stage: stage_of(&report),
                asks,
            }),
            None => Err(format!(
                "its control socket does not answer: {}",
                link.trouble.unwrap_or_default()
            )),
        }
    }
}

fn stage_of(report: &Report) -> EdgeStage {
    match report.stage {
        Stage::Idle => EdgeStage::Idle,
        Stage::Draining | Stage::Drained => EdgeStage::Spent,
        Stage::Serving => match report.unbound.first() {
            None => EdgeStage::Serving,
            Some(unbound) => EdgeStage::Partial {
                why: format!("{} is not bound: {}", unbound.address, unbound.why),
            },
        },
    }
}

async fn pass_on(
    mut from: mpsc::Receiver<Probed>,
    to: mpsc::Sender<Probed>,
    heard: watch::Sender<Duration>,
    over: CancellationToken,
) {
    loop {
        // Cancel safety: an answer that is lost with its edge is asked for again by the next one.
        let answer = tokio::select! {
            biased;
            () = over.cancelled() => return,
            answer = from.recv() => answer,
        };
        let Some(answer) = answer else { return };
        heard.send_replace(clock::boot_now());
        if to.send(answer).await.is_err() {
            debug!("nobody takes the answers of probes any more");
            return;
        }
    }
}
