//! The demo's own visitors: they ask all the time, one with a connection for each request and one that keeps its
//! connection, and count what fails.
//!
//! A connection that the server announced to close (`Connection: close`) is left, as every HTTP client does. A request
//! that gets no whole answer is a failure: nothing is tried again.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two requests of one visitor.
const PACE: Duration = Duration::from_millis(20);
/// For one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of the requests so far.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl Counts {
    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests without a whole answer so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Why the last of them failed.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().ok()?.clone()
    }

    fn count(&self, result: Result<(), String>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut last) = self.last_failure.lock() {
                *last = Some(why);
            }
        }
    }
}

/// Visits `address` until it is dropped.
///
/// # Cancel safety
/// A request that is under way is not counted.
pub async fn visit(address: SocketAddr, counts: &Counts) {
    tokio::join!(
        visitor(address, counts, false),
        visitor(address, counts, true)
    );
}

/// A connection that stays open between requests, with the task that drives it.
struct Kept {
    sender: SendRequest<Empty<Bytes>>,
    _driver: JoinSet<()>,
}

async fn visitor(address: SocketAddr, counts: &Counts, keeps: bool) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: Option<Kept> = None;
    loop {
        pace.tick().await;
        let connection = kept.take();
        let result = match timeout(PATIENCE, ask(address, connection)).await {
            Ok(Ok(connection)) => {
                kept = connection.filter(|_| keeps);
                Ok(())
            }
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        counts.count(result);
    }
}

/// One request, on this connection or a new one; the connection comes back unless the server closes it.
async fn ask(address: SocketAddr, kept: Option<Kept>) -> Result<Option<Kept>, String> {
    let mut connection = match kept {
        Some(kept) => kept,
        None => connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?,
    };
    let request = Request::get("/whoami")
        .header(HOST, address.to_string())
        .body(Empty::new());
    let request = request.map_err(|error| error.to_string())?;
    let told = |error: hyper::Error| format!("request: {error}");
    connection.sender.ready().await.map_err(told)?;
    let response = connection
        .sender
        .send_request(request)
        .await
        .map_err(told)?;
    let status = response.status();
    let closes = response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    response.into_body().collect().await.map_err(told)?;
    if status != StatusCode::OK {
        return Err(format!("HTTP {status}"));
    }
    Ok(Some(connection).filter(|_| !closes))
}

async fn connect(address: SocketAddr) -> Result<Kept, std::io::Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // How it ended is told to the request that was on it.
        drop(connection.await);
    });
    Ok(Kept {
        sender,
        _driver: driver,
    })
}
