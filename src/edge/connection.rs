//! One connection: finds a replica that answers, then forwards until both sides have ended.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::accept::Ground;
use super::switch::{Claim, Switch};
use super::{proxy_header, pump};
use crate::spec::{Forwarding, Published};

/// Between two rounds through all replicas when none of them took the connection.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A peer that has vanished without a FIN (power loss, NAT that forgot) is noticed after
/// `IDLE + COUNT * INTERVAL` = 2 minutes. Without it, its connection would be open, and hold up every drain, for ever.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u32 = 4;

/// Serves one client to its end.
pub(super) async fn serve(
    client: TcpStream,
    peer: SocketAddr,
    listener: Published,
    ground: &Ground,
    forwarding: Forwarding,
) {
    let Ground { switch, limits, .. } = ground;
    let header = forwarding
        .proxy_protocol
        .zip(client.local_addr().ok())
        .map(|(version, local)| proxy_header::of(version, peer, local))
        .unwrap_or_default();
    let route = route(switch, &listener, limits.dial, &header);
    let found = timeout(limits.patience, route).await;
    let Ok((upstream, claim)) = found else {
        debug!(port = %listener, "no ready replica in time: connection reset");
        pump::reset(&client);
        return;
    };
    for stream in [&client, &upstream] {
        if let Err(error) = tune(stream) {
            debug!(port = %listener, %error, "socket option");
        }
    }
    let backend = claim.backend();
    if let Err(error) = pump::both(
        client,
        upstream,
        forwarding.idle_timeout,
        &ground.pipes,
        claim.cut(),
    )
    .await
    {
        debug!(
            port = %listener,
            replica = %backend.replica,
            container_id = backend.container_id.short(),
            %error,
            "connection broke"
        );
    }
    drop(claim);
}

/// A replica of the table in force that answers. Nothing of the client was read yet, so trying the next one is safe.
/// While there is none it waits for a new table, and tries those of the old one again and again: a replica whose queue
/// is full, or that is about to listen, is worth another dial. The caller bounds it.
async fn route(
    switch: &Arc<Switch>,
    listener: &Published,
    dial_timeout: Duration,
    header: &[u8],
) -> (TcpStream, Claim) {
    let mut applied = switch.applied();
    let mut tried = BTreeSet::new();
    loop {
        let Some(claim) = Claim::take(switch, listener, &tried) else {
            // Whether a new table came or the pause is over, everything may be tried now.
            timeout(RETRY_PAUSE, applied.changed()).await.ok();
            tried.clear();
            continue;
        };
        let mut dialled = dial(switch, listener, &claim, dial_timeout).await;
        if let Ok(upstream) = &mut dialled
            && !header.is_empty()
            && let Err(error) = upstream.write_all(header).await
        {
            dialled = Err(error);
        }
        match dialled {
            Ok(upstream) => return (upstream, claim),
            Err(error) => {
                dial_failed(listener, &claim, &error);
                tried.insert(claim.backend().container_id.clone());
            }
        }
    }
}

/// Dials the replica, and gives up as soon as it has left the table: a hung dial would hold up its drain, and one that
/// succeeds late may have reached another container, which was given the freed address.
pub(super) async fn dial(
    switch: &Switch,
    listener: &Published,
    claim: &Claim,
    dial_timeout: Duration,
) -> io::Result<TcpStream> {
    let backend = claim.backend();
    let mut applied = switch.applied();
    let mut connected = pin!(timeout(dial_timeout, TcpStream::connect(backend.address)));
    let mut outcome = None;
    loop {
        // After the connect this is the moment at which the connection is the replica's: before it, a new table moves
        // the connection; after it, the connection stays.
        if !switch.routes_to(listener, &backend.container_id) {
            return Err(io::Error::other("the replica has left the rotation"));
        }
        if let Some(result) = outcome {
            return result;
        }
        tokio::select! {
            Ok(()) = applied.changed() => {}
            result = &mut connected => {
                outcome = Some(result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
            }
        }
    }
}

/// Says that this replica is passed by.
pub(super) fn dial_failed(listener: &Published, claim: &Claim, error: &io::Error) {
    let backend = claim.backend();
    debug!(
        port = %listener,
        replica = %backend.replica,
        container_id = backend.container_id.short(),
        %error,
        "dial failed"
    );
}

pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}
