//! Listens for control, and speaks with whoever may.
//!
//! Bounds: 64 connections, a line's length, 5 s for a greeting, 30 s for a successor's acknowledgement. A connection that
//! says what is not understood is told so and closed; the others, and what is forwarded, are not touched.

use std::future::pending;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::convert::brief;
use super::keeper::{Authority, Event, Given, Id};
use super::speech::{say, write};
use super::wire::{self, Asked, Report, Role, Said};
use super::{Speech, SpeechError, may_control};
use crate::edge::handover::send_sockets;
use crate::report::Chain;

/// More than a supervisor and a successor never are; what comes beyond waits in the kernel's queue.
const CONNECTIONS: usize = 64;
/// For the other side's hello.
const GREETING: Duration = Duration::from_secs(5);
/// A successor has to put the table in force.
const TAKING: Duration = Duration::from_secs(30);
/// Answers of probes that wait for the supervisor to take them.
const ANSWERS: usize = 1024;
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until `shutdown`, and until nothing more is reported; then what is under way is finished.
pub(in crate::edge) async fn serve(
    listener: UnixListener,
    events: mpsc::Sender<Event>,
    reports: watch::Receiver<Report>,
    shutdown: CancellationToken,
) {
    let own = rustix::process::geteuid().as_raw();
    let mut connections = JoinSet::new();
    let mut id = 0;
    loop {
        // Cancel safety: an accept that is dropped leaves the connection in the queue; the others only wait.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => joined(ended),
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    id += 1;
                    let connection = Connection { id, own, events: events.clone(), reports: reports.clone() };
                    connections.spawn(connection.run(stream));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a control connection");
                    let _paused = timeout(ACCEPT_PAUSE, shutdown.cancelled()).await;
                }
            },
        }
    }
    drop((listener, reports, events));
    while let Some(ended) = connections.join_next().await {
        joined(ended);
    }
}

/// A bug in one connection is not the end of the data plane.
fn joined(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a control connection was ended by a bug");
    }
}

/// One peer.
struct Connection {
    id: Id,
    own: u32,
    events: mpsc::Sender<Event>,
    reports: watch::Receiver<Report>,
}

impl Connection {
    async fn run(self, stream: UnixStream) {
        // Not rustix's: a peer of another PID namespace has no number here, which its type cannot say.
        let peer = stream.peer_cred().map(|peer| peer.uid());
        let (from, mut to) = stream.into_split();
        let allowed = match peer {
            Ok(uid) if may_control(uid, self.own) => Ok(()),
            Ok(uid) => Err(format!(
                "uid {uid} may not control this edge: only root and uid {} may",
                self.own
            )),
            Err(error) => Err(format!("the peer's uid cannot be read: {error}")),
        };
        if let Err(why) = allowed {
            warn!(why, "a control connection is refused");
            refuse(&mut to, &why).await;
            return;
        }
        let error = match self.speak(from, &mut to).await {
            Ok(()) => return,
            Err(error) => error,
        };
        let why = Chain(&error).to_string();
        let is_ended = match error {
            SpeechError::Closed | SpeechError::Io(_) | SpeechError::Torn => true,
            SpeechError::Line(_)
            | SpeechError::Wire(_)
            | SpeechError::Stuck
            | SpeechError::Silent
            | SpeechError::Refused(_)
            | SpeechError::OutOfPlace => false,
        };
        if is_ended {
            debug!(why, "a control connection has ended");
        } else {
            warn!(why, "a control connection is closed");
            refuse(&mut to, &why).await;
        }
    }

    async fn speak(self, from: OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), SpeechError> {
        let mut speech = Speech::new(from);
        write(to, &wire::encode_hello(None)?).await?;
        let line = timeout(GREETING, speech.line())
            .await
            .map_err(|_| SpeechError::Silent)??;
        match wire::decode_hello(&line)? {
            (_, Some(Role::Supervisor)) => self.supervisor(speech, to).await,
            (_, Some(Role::Edge)) => self.successor(speech, to).await,
            (_, None) => Err(SpeechError::OutOfPlace),
        }
    }

    /// Says every report, and does what is asked, until another supervisor has connected.
    async fn supervisor(
        self,
        mut speech: Speech<OwnedReadHalf>,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), SpeechError> {
        let Self {
            id,
            events,
            mut reports,
            ..
        } = self;
        let (probed, mut answers) = mpsc::channel(ANSWERS);
        let revoked = CancellationToken::new();
        let authority = Authority {
            id,
            probed,
            revoked: revoked.clone(),
        };
        if events.send(Event::Joined(authority)).await.is_err() {
            return Ok(());
        }
        reports.mark_changed();
        let hear = async {
            loop {
                let what = speech.next().await?;
                match what {
                    Asked::Table(_) | Asked::Targets(_) | Asked::TakeOver { .. } => {}
                    Asked::Give { .. } | Asked::Taken {} => return Err(SpeechError::OutOfPlace),
                }
                if events.send(Event::Asked { id, what }).await.is_err() {
                    return Ok(());
                }
            }
        };
        let tell = async {
            loop {
                // Cancel safety: neither loses anything.
                let said = tokio::select! {
                    biased;
                    changed = reports.changed() => match changed {
                        Ok(()) => Said::Report(reports.borrow_and_update().clone()),
                        Err(_ended) => return Ok(()),
                    },
                    Some(probed) = answers.recv() => Said::Probed(probed),
                };
                match say(to, &said).await {
                    Ok(()) => {}
                    // It has gone: what it said before is heard to its end, which comes by itself.
                    Err(SpeechError::Io(_)) => return pending().await,
                    Err(error) => return Err(error),
                }
            }
        };
        // Cancel safety: the connection ends with whatever ends first.
        tokio::select! {
            biased;
            () = revoked.cancelled() => Err(SpeechError::Refused("another supervisor has connected".to_owned())),
            ended = tell => ended,
            ended = hear => ended,
        }
    }

    /// Gives everything, and stops accepting once the successor accepts.
    async fn successor(
        self,
        mut speech: Speech<OwnedReadHalf>,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), SpeechError> {
        let asked = timeout(GREETING, speech.next())
            .await
            .map_err(|_| SpeechError::Silent)??;
        let Asked::Give { to: successor } = asked else {
            return Err(SpeechError::OutOfPlace);
        };
        let give = |reply| Event::Give {
            to: successor,
            reply,
        };
        let Given { table, sockets } = self.keeper(give).await?;
        say(to, &Said::Handing { table }).await?;
        send_sockets(to.as_ref(), &sockets).await?;
        drop(sockets);
        let asked = timeout(TAKING, speech.next())
            .await
            .map_err(|_| SpeechError::Silent)??;
        let Asked::Taken {} = asked else {
            return Err(SpeechError::OutOfPlace);
        };
        let taken = |reply| Event::Taken {
            to: successor,
            reply,
        };
        self.keeper(taken).await?;
        say(to, &Said::Released {}).await
    }

    async fn keeper<T>(
        &self,
        event: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Event,
    ) -> Result<T, SpeechError> {
        let ending = || SpeechError::Refused("it is ending".to_owned());
        let (reply, answer) = oneshot::channel();
        let sent = self.events.send(event(reply)).await;
        sent.map_err(|_ended| ending())?;
        let answer = answer.await.map_err(|_ended| ending())?;
        answer.map_err(SpeechError::Refused)
    }
}

/// Says why, if anybody listens.
async fn refuse(to: &mut OwnedWriteHalf, why: &str) {
    let said = Said::Refused { why: brief(why) };
    let result = say(to, &said).await;
    if let Err(error) = result {
        debug!(error = %Chain(&error), "nobody hears why a control connection is closed");
    }
}
