//! A replica that the demo application is not: it says what PROXY header it got, echoes after an upgrade, and answers
//! datagrams. It is this test program itself, started in a container.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::support::in_role;

/// What makes it one.
pub(crate) const ROLE: &str = "PHOENIXD_TEST_REPLICA";
/// How a container of this program is told to be one.
pub(crate) const TEST: &str = "journeys::edge_replica::as_a_replica_it_serves_until_it_is_stopped";
/// For connections that are under way at SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

#[test]
fn as_a_replica_it_serves_until_it_is_stopped() {
    in_role(ROLE, serve());
}

async fn serve() -> io::Result<()> {
    let id = std::fs::read_to_string("/etc/hostname")?.trim().to_owned();
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    let socket = UdpSocket::bind("0.0.0.0:8080").await?;
    let mut end = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(());
    let mut clients = JoinSet::new();
    let mut datagram = vec![0; 65_535];
    loop {
        tokio::select! {
            _ = end.recv() => break,
            accepted = listener.accept() => {
                let client = client(accepted?.0, id.clone(), stopped.clone());
                clients.spawn(client);
            }
            received = socket.recv_from(&mut datagram) => {
                let (length, peer) = received?;
                let mut answer = format!("{id} ").into_bytes();
                answer.extend_from_slice(&datagram[..length]);
                socket.send_to(&answer, peer).await?;
            }
        }
    }
    drop(stop);
    timeout(GRACE, clients.join_all()).await.ok();
    Ok(())
}

async fn client(stream: TcpStream, id: String, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
            if head.starts_with("PROXY ") {
                stream.write_all(head.as_bytes()).await?;
                return stream.shutdown().await;
            }
        }
        if head.starts_with("GET /echo ") {
            break;
        }
        let body = format!("{{\"id\":\"{id}\"}}");
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
    stream
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        )
        .await?;
    let mut bytes = [0; 1000];
    loop {
        tokio::select! {
            count = stream.read(&mut bytes) => match count? {
                0 => return Ok(()),
                count => stream.write_all(&bytes[..count]).await?,
            },
            // As a websocket's close frame would be.
            _ = stopped.changed() => {
                stream.write_all(b"bye").await?;
                return stream.shutdown().await;
            }
        }
    }
}
