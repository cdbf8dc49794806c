//! After `101 Switching Protocols`: bytes, as in TCP mode.

use std::io;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

use super::activity::Busy;
use super::line::Line;
use super::serve::Front;
use super::websocket::{self, Side};
use crate::edge::pump;
use crate::edge::switch::Claim;

/// What a request has become.
pub(super) struct Tunnel {
    pub(super) is_websocket: bool,
    pub(super) line: Line,
    pub(super) claim: Claim,
    pub(super) busy: Busy,
}

impl Tunnel {
    /// Forwards until both sides have ended. The claim counts it as open on its replica until then.
    pub(super) async fn run(self, front: &Front, client: TcpStream, begin: Bytes) {
        let Self {
            is_websocket,
            line,
            claim,
            busy,
        } = self;
        let forwarded = forward(front, client, begin, line, &claim, is_websocket);
        // Cancel safety: whatever was not moved yet ends with both connections. Once bytes go both ways `forward` resets
        // them.
        let outcome = tokio::select! {
            biased;
            outcome = forwarded => outcome,
            () = claim.cut().cancelled() => Err(io::Error::other("cut before it was upgraded")),
        };
        if let Err(error) = outcome {
            let backend = claim.backend();
            debug!(
                port = %front.listener,
                replica = %backend.replica,
                container_id = backend.container_id.short(),
                %error,
                "an upgraded connection broke"
            );
        }
        drop(claim);
        drop(busy);
    }
}

async fn forward(
    front: &Front,
    mut client: TcpStream,
    begin: Bytes,
    line: Line,
    claim: &Claim,
    is_websocket: bool,
) -> io::Result<()> {
    let (mut replica, from_replica) = line.changed().await?;
    // What came in one packet with the heads.
    replica.write_all(&begin).await?;
    client.write_all(&from_replica).await?;
    let (client, replica) = (
        Side::begun(client, &begin),
        Side::begun(replica, &from_replica),
    );
    // They keep the buffers of hyper's that they are a part of.
    drop((begin, from_replica));
    // A websocket may rest: only the file bounds it.
    let forwarding = front.ground.switch.forwarding(&front.listener);
    let idle = forwarding.and_then(|forwarding| forwarding.idle_timeout);
    if is_websocket {
        return websocket::both(front, claim, client, replica, idle).await;
    }
    pump::both(
        client.stream,
        replica.stream,
        idle,
        &front.ground.pipes,
        claim.cut(),
    )
    .await
}
