//! `phoenixd guard serve`: dockerd's plugin protocol on a Unix socket.
//!
//! dockerd waits for a plugin without any limit, and asks it again for 15 s when it is gone (20.10 and 28): so each answer
//! is made at once, in memory, and a request that cannot be understood, or that makes the policy panic, is denied. dockerd
//! itself is never asked. Source of the protocol: moby `pkg/plugins`, `pkg/authorization/api.go`.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::judge::Judge;
use super::policy::{Site, Verdict};
use super::request::Request;
use super::socket;
use super::store::{GuardDir, Store};
use crate::clock;
use crate::report;
use crate::sign::Key;

/// What dockerd may send at once: bodies of 4 MiB before and after, in base64.
const LONGEST: usize = 16 << 20;
/// What Docker's plugins answer with.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";
/// A refusal's text is shown by Docker's client as one line.
const WHY_CHARACTERS: usize = 400;

/// The guard of one host.
#[derive(Debug)]
pub struct Guard {
    judge: Judge,
    store: Store,
}

type Shared = Arc<Mutex<Guard>>;

impl Guard {
    /// Reads key and files.
    ///
    /// # Errors
    /// There is no key that can be read.
    pub fn open(dir: GuardDir, site: Site) -> io::Result<Self> {
        let key = Key::read(&dir.key())?;
        Ok(Self {
            judge: Judge::new(key, site),
            store: Store::open(dir),
        })
    }

    /// What dockerd asks before it does something.
    fn before(&mut self, body: &[u8]) -> Value {
        if body.is_empty() {
            // A question that was under way when an earlier guard ended is asked again without its text (28.5.2, tried).
            return denied("the guard was restarted within this question: ask again");
        }
        let Ok(request) = serde_json::from_slice::<Request>(body) else {
            return denied("dockerd's question is not understood");
        };
        let managed = self.store.managed();
        let verdict = self
            .judge
            .request(&request, managed, clock::boot_now(), &resolve);
        match verdict {
            Verdict::Allow => json!({ "Allow": true }),
            Verdict::Deny { why } => {
                let (method, uri) = (report::escape(&request.method), cut(&request.uri));
                info!(%method, uri = %report::escape(&uri), why = %report::escape(&why), "denied");
                denied(&cut(&why))
            }
        }
    }

    /// What dockerd shows after it has done something: never refused, for it is done.
    fn after(&mut self, body: &[u8]) -> Value {
        if let Ok(request) = serde_json::from_slice::<Request>(body)
            && let Some(lesson) = self.judge.response(&request, self.store.managed())
            && let Err(error) = self.store.learn(lesson)
        {
            warn!(%error, "what was learnt cannot be kept");
        }
        json!({ "Allow": true })
    }
}

/// A path of the host without symlinks; of one that is not there, its nearest parent that is.
fn resolve(path: &str) -> String {
    let path = Path::new(path);
    for parent in path.ancestors() {
        if let Ok(real) = parent.canonicalize() {
            let rest = path.strip_prefix(parent).unwrap_or(Path::new(""));
            return real.join(rest).to_string_lossy().into_owned();
        }
    }
    path.to_string_lossy().into_owned()
}

fn denied(why: &str) -> Value {
    json!({ "Allow": false, "Msg": why })
}

fn cut(text: &str) -> String {
    text.chars().take(WHY_CHARACTERS).collect()
}

/// Runs one of the two; whatever goes wrong in it denies.
fn asked(guard: &Shared, body: &[u8], ask: fn(&mut Guard, &[u8]) -> Value) -> Value {
    let work = || {
        ask(
            &mut guard.lock().unwrap_or_else(PoisonError::into_inner),
            body,
        )
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic: Box<dyn Any + Send>| {
        drop(panic);
        warn!("the guard failed on a request, and denied it");
        denied("the guard failed on this request")
    })
}

fn answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], value.to_string()).into_response()
}

/// Serves until the token says stop; requests under way are answered.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    guard: Guard,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let shared: Shared = Arc::new(Mutex::new(guard));
    let mut beats = JoinSet::new();
    if let Some(limit) = socket::watchdog() {
        beats.spawn(heartbeat(Arc::clone(&shared), limit / 2));
    }
    let app = Router::new()
        .route(
            "/Plugin.Activate",
            post(async || answer(&json!({ "Implements": ["authz"] }))),
        )
        .route(
            "/AuthZPlugin.AuthZReq",
            post(async |State(guard): State<Shared>, body: Bytes| {
                answer(&asked(&guard, &body, Guard::before))
            }),
        )
        .route(
            "/AuthZPlugin.AuthZRes",
            post(async |State(guard): State<Shared>, body: Bytes| {
                answer(&asked(&guard, &body, Guard::after))
            }),
        )
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(shared);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await
}

/// Tells systemd that the guard can be asked: only while its lock can be had.
async fn heartbeat(guard: Shared, every: Duration) {
    let mut pace = tokio::time::interval(every);
    loop {
        pace.tick().await;
        drop(guard.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = socket::tell_alive() {
            warn!(%error, "systemd cannot be told that the guard lives");
        }
    }
}
