//! Clients of HTTP: one that dials for each request, one that keeps its connections, one of HTTP/2.
//!
//! A client that keeps connections does what every one does (RFC 9112, 9.3.1): a request whose kept connection ends
//! before anything of an answer came is sent once more, on a new connection, and counted as `re-sent`. Nothing else is
//! sent twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::tally::Tally;

type Body = Empty<Bytes>;
type Keeping = http1::SendRequest<Body>;
type Newer = http2::SendRequest<Body>;

/// How a client treats its connections.
#[derive(Debug)]
pub(crate) enum Habit {
    /// One for each request, which says so.
    Dials,
    /// Those that rest.
    Keeps(Mutex<Vec<Keeping>>),
    /// One for all, with HTTP/2.
    Shares(Mutex<Option<Newer>>),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) habit: Habit,
    pub(crate) tally: Arc<Tally>,
    /// What drives its connections; nobody waits for it.
    pub(crate) drivers: TaskTracker,
}

impl Client {
    /// One request and its whole answer.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        match &self.habit {
            Habit::Dials => {
                let mut sender = self.dial().await?;
                let mut request = self.request();
                let close = "close".parse().map_err(text)?;
                request.headers_mut().insert(CONNECTION, close);
                whole(sender.send_request(request).await.map_err(text)?).await
            }
            Habit::Keeps(idle) => self.ask_kept(idle).await,
            Habit::Shares(shared) => self.ask_shared(shared).await,
        }
    }

    async fn ask_kept(&self, idle: &Mutex<Vec<Keeping>>) -> Result<(), String> {
        let mut request = self.request();
        let take = || {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(Keeping::is_ready);
            idle.pop()
        };
        let (mut sender, answer) = loop {
            let Some(mut sender) = take() else {
                let mut sender = self.dial().await?;
                let answer = sender.send_request(request).await.map_err(text)?;
                break (sender, answer);
            };
            match sender.try_send_request(request).await {
                Ok(answer) => break (sender, answer),
                Err(error) if error.error().is_parse() => return Err(text(error.error())),
                Err(mut error) => request = self.again(error.take_message(), error.error()),
            }
        };
        whole(answer).await?;
        // Not ready is one that was told to close.
        if sender.ready().await.is_ok() {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(sender);
        }
        Ok(())
    }

    async fn ask_shared(&self, shared: &Mutex<Option<Newer>>) -> Result<(), String> {
        let mut request = self.newer_request()?;
        let take = || {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            // After a GOAWAY it takes no request any more.
            shared.take_if(|sender| sender.is_closed());
            shared.clone()
        };
        let answer = loop {
            let Some(mut sender) = take() else {
                let mut sender = self.dial_newer(shared).await?;
                break sender.send_request(request).await.map_err(text)?;
            };
            match sender.try_send_request(request).await {
                Ok(answer) => break answer,
                Err(mut error) if error.message().is_some() || is_refused(error.error()) => {
                    *shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    let unsent = error.take_message();
                    if unsent.is_none() {
                        self.tally.resent(1, &text(error.error()));
                    }
                    request = unsent.map_or_else(|| self.newer_request(), Ok)?;
                }
                Err(error) => return Err(text(error.error())),
            }
        };
        whole(answer).await
    }

    /// One that never left is no news; one that did is sent again.
    fn again(&self, unsent: Option<Request<Body>>, error: &hyper::Error) -> Request<Body> {
        unsent.unwrap_or_else(|| {
            self.tally.resent(1, &text(error));
            self.request()
        })
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, String> {
        self.tally.connected();
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| format!("dial: {}", text(error)))?;
        stream.set_nodelay(true).map_err(text)?;
        Ok(TokioIo::new(stream))
    }

    async fn dial(&self) -> Result<Keeping, String> {
        let (sender, connection) = http1::handshake(self.connect().await?)
            .await
            .map_err(text)?;
        // What breaks it is told to whoever asks over it.
        self.drivers.spawn(async { connection.await.ok() });
        Ok(sender)
    }

    async fn dial_newer(&self, shared: &Mutex<Option<Newer>>) -> Result<Newer, String> {
        let stream = self.connect().await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(text)?;
        self.drivers.spawn(async { connection.await.ok() });
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        *shared = Some(sender.clone());
        Ok(sender)
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = hyper::Uri::from_static(self.path);
        let host = hyper::header::HeaderValue::from_static("bench");
        request.headers_mut().insert(HOST, host);
        request
    }

    fn newer_request(&self) -> Result<Request<Body>, String> {
        let uri = format!("http://bench{}", self.path);
        Request::get(uri).body(Empty::new()).map_err(text)
    }
}

/// By a GOAWAY without an error: what was already looked at is still answered, so this request was not.
fn is_refused(error: &hyper::Error) -> bool {
    error.is_canceled() || text(error).ends_with("received: not a result of an error")
}

/// Reads the answer to its end.
async fn whole(answer: Response<Incoming>) -> Result<(), String> {
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| format!("{status}, then: {}", text(error)))?;
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = body.to_bytes();
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
}

/// An error with its causes.
pub(crate) fn text(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
