//! UDP: a session for each client address, with a socket of its own to the replica that was chosen at its begin.
//!
//! A session ends when nothing came or went for its idle time, when its replica is gone or cut, or when its socket breaks; the
//! client's next datagram then begins another one. Not here: which address answers leave from on a host with several;
//! the kernel chooses by the route to the client, as it does for docker-proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::debug;

use super::accept::{Ground, cap, share_of};
use super::gate::{Gate, Place};
use super::switch::Claim;
use crate::spec::Published;

/// The largest datagram that UDP can carry.
const DATAGRAM_MAX: usize = 65_535;

/// One client's session.
#[derive(Debug)]
struct Session {
    replica: UdpSocket,
    claim: Claim,
    /// Counts datagrams of both directions.
    moved: AtomicU64,
}

/// The sessions of one socket, by client, each with the task that waits for answers.
type Sessions = BTreeMap<SocketAddr, (Arc<Session>, AbortHandle)>;

/// Serves one socket until shutdown. Sessions then end, too: nobody could hear their answers any more.
pub(super) async fn run(listener: Published, socket: UdpSocket, gate: Arc<Gate>, ground: Ground) {
    let socket = Arc::new(socket);
    let mut sessions = Sessions::new();
    let mut answering: JoinSet<SocketAddr> = JoinSet::new();
    let mut applied = ground.switch.applied();
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        // Cancel safety: both only wait; nothing is taken before an arm is chosen.
        let received = tokio::select! {
            biased;
            () = ground.shutdown.cancelled() => return,
            Ok(()) = applied.changed() => {
                sessions.retain(|_, (session, task)| {
                    let claim = &session.claim;
                    let stays = ground.switch.knows(&claim.backend().container_id)
                        && !claim.cut().is_cancelled();
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                continue;
            }
            Some(ended) = answering.join_next() => {
                match ended {
                    // Unless the client has begun another one since.
                    Ok(client) => {
                        if sessions.get(&client).is_some_and(|(_, task)| task.is_finished()) {
                            sessions.remove(&client);
                        }
                    }
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                }
                continue;
            }
            received = socket.recv_from(&mut datagram) => received,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error of an earlier answer.
                debug!(port = %listener, %error, "a client's port is closed");
                continue;
            }
        };
        let known = sessions
            .get(&client)
            .filter(|(_, task)| !task.is_finished());
        let session = if let Some((session, _)) = known {
            Arc::clone(session)
        } else {
            let Some((session, place)) = begin(&listener, client, &gate, &ground).await else {
                continue;
            };
            let forwarding = ground.switch.forwarding(&listener).unwrap_or_default();
            let idle = forwarding.idle_timeout.unwrap_or(ground.limits.idle);
            let answers = answers(Arc::clone(&session), Arc::clone(&socket), client, idle);
            let task = answering.spawn(async move {
                answers.await;
                drop(place);
                client
            });
            sessions.insert(client, (Arc::clone(&session), task));
            session
        };
        session.moved.fetch_add(1, Ordering::Relaxed);
        let bytes = datagram.get(..length).unwrap_or_default();
        // It waits for room in the socket's own buffer at most. A refusal is seen by `answers`, too, which ends the session.
        session.replica.send(bytes).await.ok();
    }
}

/// Chooses a replica, and opens a socket to it; nothing where there is no replica, or no place.
async fn begin(
    listener: &Published,
    client: SocketAddr,
    gate: &Arc<Gate>,
    ground: &Ground,
) -> Option<(Arc<Session>, Place)> {
    let forwarding = ground.switch.forwarding(listener)?;
    let cap = cap(&forwarding, ground.limits.sessions);
    let Some(place) = gate.try_enter(cap) else {
        debug!(port = %listener, %client, "no session is free: datagram dropped");
        return None;
    };
    let place = gate.admit(place, client.ip(), share_of(&forwarding, cap))?;
    if let Some(rate) = forwarding.rate
        && gate.try_turn(rate, ground.now()).is_err()
    {
        return None;
    }
    let claim = Claim::take(&ground.switch, listener, &BTreeSet::new())?;
    let replica = match connect(claim.backend().address).await {
        Ok(replica) => replica,
        Err(error) => {
            debug!(port = %listener, replica = %claim.backend().replica, %error, "no session");
            return None;
        }
    };
    let session = Session {
        replica,
        claim,
        moved: AtomicU64::new(0),
    };
    Some((Arc::new(session), place))
}

async fn connect(replica: SocketAddr) -> io::Result<UdpSocket> {
    let any = match replica {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(replica).await?;
    Ok(socket)
}

/// Sends the replica's datagrams to the client until nothing has moved for `idle`, or the replica refuses.
async fn answers(
    session: Arc<Session>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    idle: Duration,
) {
    loop {
        let seen = session.moved.load(Ordering::Relaxed);
        // `readable` alone would not tell of a refusal: the kernel reports it as an error without anything to read.
        let ready = session.replica.ready(Interest::READABLE | Interest::ERROR);
        match timeout(idle, ready).await {
            Err(_) if session.moved.load(Ordering::Relaxed) == seen => return,
            Err(_) => continue,
            // Nobody listens there: the client's next datagram begins a new session.
            Ok(Ok(ready)) if ready.is_error() => return,
            Ok(Err(_)) => return,
            Ok(Ok(_)) => {}
        }
        // Only while there is something to read: a session at rest has no buffer.
        let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
        loop {
            datagram.clear();
            match session.replica.try_recv_buf(&mut datagram) {
                Ok(_) => {
                    session.moved.fetch_add(1, Ordering::Relaxed);
                    socket.send_to(&datagram, client).await.ok();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
    }
}
