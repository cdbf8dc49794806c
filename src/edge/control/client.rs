//! The supervisor's side of one edge process: keeps a connection, sends the newest of everything, passes on what it says.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::convert::{Binds, Held, of_probed, of_report, to_targets};
use super::speech::{say, write};
use super::wire::{self, Asked, Report, Role, Said, Stamp};
use super::{Speech, SpeechError, socket};
use crate::edge::Table;
use crate::probe::Probed;
use crate::reconcile::{EdgeReport, Targets};
use crate::report::Chain;

/// Between two attempts to connect, at first and at most. An edge that is starting needs some 10 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// For connecting, and for the edge's hello.
const GREETING: Duration = Duration::from_secs(5);

/// A session's number for [`Client::session`]: one for the life of a supervisor, the same for all of its clients.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn new_session() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // Never less than asked for, up to 256 bytes: `getrandom(2)`.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// What several edges promise together: the oldest of their tables, and all of their connections. An edge that has ended
/// must not be among them: it promises nothing any more, and has no connection.
pub fn combined<'a>(reports: impl IntoIterator<Item = &'a EdgeReport>) -> EdgeReport {
    let mut epoch = None;
    let mut open = BTreeMap::new();
    for report in reports {
        epoch = Some(epoch.map_or(report.epoch, |lowest: u64| lowest.min(report.epoch)));
        for (container, count) in &report.open {
            let sum: &mut u64 = open.entry(container.clone()).or_insert(0);
            *sum = sum.saturating_add(*count);
        }
    }
    EdgeReport {
        epoch: epoch.unwrap_or(0),
        open,
    }
}

/// How to reach one edge.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its control socket: [`socket_path`](super::socket_path).
    pub socket: PathBuf,
    /// See [`new_session`].
    pub session: u64,
    /// Ports that are not bound as they are published.
    pub binds: Binds,
}

/// What goes in and comes out. Each `watch` is a level: its newest value is sent on every new connection.
#[derive(Debug)]
pub struct Ends {
    /// In: the tables. One of epoch 0 is never sent: nothing has been decided yet.
    pub routes: watch::Receiver<Table>,
    /// In: the number of the edge whose sockets it is to have. Said before the first table.
    pub take_over: watch::Receiver<Option<u64>>,
    /// In: whom it probes.
    pub targets: watch::Receiver<Arc<Targets>>,
    /// Out: as from the edge of this process. The epoch is 0 until it has a table of this session.
    pub reports: watch::Sender<EdgeReport>,
    /// Out: answers of those that are probed.
    pub probed: mpsc::Sender<Probed>,
    /// Out: the connection, and what the edge says beyond the report.
    pub link: watch::Sender<Link>,
}

/// How things are with the edge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Whether it can be spoken to now.
    pub is_connected: bool,
    /// Why not, or why the last connection ended.
    pub trouble: Option<String>,
    /// Its last report; `None` before the first one.
    pub report: Option<Report>,
}

impl Client {
    /// Keeps the connection until `shutdown`. The edge goes on without it.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection, no more.
    pub async fn run(self, mut ends: Ends, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            // Cancel safety: whatever was under way is said again on the next connection.
            let error = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                error = self.connection(&mut ends) => error,
            };
            let was_connected = ends.link.borrow().is_connected;
            if was_connected {
                // One that has another supervisor is not to be fought for.
                if !matches!(error, SpeechError::Refused(_)) {
                    pause = FIRST_PAUSE;
                }
                info!(socket = %self.socket.display(), error = %Chain(&error), "the edge cannot be spoken to");
            } else {
                debug!(socket = %self.socket.display(), error = %Chain(&error), "the edge cannot be reached");
            }
            let trouble = Chain(&error).to_string();
            ends.link.send_if_modified(|link| {
                let is_new = link.is_connected || link.trouble.as_ref() != Some(&trouble);
                link.is_connected = false;
                link.trouble = Some(trouble);
                is_new
            });
            if timeout(pause, shutdown.cancelled()).await.is_ok() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection to its end.
    async fn connection(&self, ends: &mut Ends) -> SpeechError {
        let (mut speech, mut to) = match timeout(GREETING, self.greet()).await {
            Ok(Ok(halves)) => halves,
            Ok(Err(error)) => return error,
            Err(_elapsed) => return SpeechError::Silent,
        };
        let Ends {
            routes,
            take_over,
            targets,
            reports,
            probed,
            link,
        } = ends;
        let known = targets.clone();
        for_the_first_time(take_over, routes, targets);
        let ended = tokio::select! {
            ended = self.tell(&mut to, take_over, routes, targets) => ended,
            ended = self.hear(&mut speech, &known, reports, probed, link) => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn greet(&self) -> Result<(Speech<OwnedReadHalf>, OwnedWriteHalf), SpeechError> {
        let stream = socket::connect(&self.socket).await?;
        let (from, mut to) = stream.into_split();
        write(&mut to, &wire::encode_hello(Some(Role::Supervisor))?).await?;
        let mut speech = Speech::new(from);
        let line = speech.line().await?;
        match wire::decode_hello(&line) {
            Ok(_version) => Ok((speech, to)),
            Err(error) => match wire::decode(&line) {
                Ok(Said::Refused { why }) => Err(SpeechError::Refused(why)),
                Ok(_) | Err(_) => Err(error.into()),
            },
        }
    }

    /// The newest of everything, whenever it changes. In this order: sockets are had before they would be bound.
    async fn tell(
        &self,
        to: &mut OwnedWriteHalf,
        take_over: &mut watch::Receiver<Option<u64>>,
        routes: &mut watch::Receiver<Table>,
        targets: &mut watch::Receiver<Arc<Targets>>,
    ) -> Result<Never, SpeechError> {
        loop {
            // Cancel safety: a change that is not seen now stays one. A sender that is gone says nothing more.
            let what = tokio::select! {
                biased;
                Ok(()) = take_over.changed() => {
                    take_over.borrow_and_update().map(|from| Asked::TakeOver { from })
                }
                Ok(()) = routes.changed() => {
                    let (epoch, routes) = routes.borrow_and_update().clone();
                    let stamp = Stamp { session: self.session, epoch };
                    (epoch > 0).then(|| Asked::Table(Held::of(stamp, routes, &self.binds).to_wire()))
                }
                Ok(()) = targets.changed() => {
                    Some(Asked::Targets(to_targets(&targets.borrow_and_update())))
                }
                else => pending().await,
            };
            if let Some(what) = what {
                say(to, &what).await?;
            }
        }
    }

    async fn hear(
        &self,
        speech: &mut Speech<OwnedReadHalf>,
        targets: &watch::Receiver<Arc<Targets>>,
        reports: &watch::Sender<EdgeReport>,
        probed: &mpsc::Sender<Probed>,
        link: &watch::Sender<Link>,
    ) -> Result<Never, SpeechError> {
        loop {
            match speech.next().await? {
                Said::Report(report) => {
                    let heard = of_report(&report, self.session);
                    reports.send_if_modified(|last| {
                        let is_new = *last != heard;
                        *last = heard;
                        is_new
                    });
                    if !link.borrow().is_connected {
                        info!(edge = report.serial, "the edge is connected");
                    }
                    link.send_replace(Link {
                        is_connected: true,
                        trouble: None,
                        report: Some(report),
                    });
                }
                Said::Probed(answer) => {
                    let answer = of_probed(answer);
                    // Of others it has nothing to say.
                    let is_asked = targets.borrow().contains_key(&answer.id);
                    if is_asked && probed.send(answer).await.is_err() {
                        debug!("nobody takes the answers of probes any more");
                    }
                }
                Said::Refused { why } => return Err(SpeechError::Refused(why)),
                Said::Handing { .. }
                | Said::Sockets(_)
                | Said::AllSent { .. }
                | Said::Released {} => return Err(SpeechError::OutOfPlace),
            }
        }
    }
}

/// Both halves of a connection only end with an error.
enum Never {}

/// Everything is news to a new connection.
fn for_the_first_time(
    take_over: &mut watch::Receiver<Option<u64>>,
    routes: &mut watch::Receiver<Table>,
    targets: &mut watch::Receiver<Arc<Targets>>,
) {
    take_over.mark_changed();
    routes.mark_changed();
    targets.mark_changed();
}
