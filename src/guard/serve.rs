//! `phoenixd guard serve`: dockerd's plugin protocol on a Unix socket.
//!
//! dockerd waits for a plugin without any limit, and asks it again for 15 s when it is gone (20.10 and 28): so each answer
//! is made at once, in memory, and a request that cannot be understood, or that makes the policy panic, is denied. dockerd
//! itself is never asked. Source of the protocol: moby `pkg/plugins`, `pkg/authorization/api.go`.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::judge::Judge;
use super::policy::{self, Resolve, Site, Verdict};
use super::request::{Answered, Request};
use super::resolve::{self, Paths};
use super::socket;
use super::store::{GuardDir, Store};
use crate::clock;
use crate::report;
use crate::sign::Key;

/// What dockerd may send at once: bodies of 4 MiB before and after, in base64.
const LONGEST: usize = 16 << 20;
/// What Docker's plugins answer with.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";
/// Paths of one request that are looked at: twice the mounts that a container may have, for a path is read in two ways.
const PATHS: usize = 128;
/// How long the host may take to say where they lead.
const FOLLOWING: Duration = Duration::from_secs(1);
/// A refusal's text is shown by Docker's client as one line.
const WHY_CHARACTERS: usize = 400;

/// The guard of one host.
#[derive(Debug)]
pub struct Guard {
    judge: Judge,
    store: Store,
}

type Shared = Arc<Mutex<Guard>>;
/// A verdict; `Err`: there is none, and why.
type Decided = Result<Verdict, &'static str>;
/// Where paths lead; `Err`: one is not looked at, and why.
type Found = BTreeMap<String, Result<String, String>>;

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

    /// What dockerd asks before it does something; `resolve` says where a path of the host leads.
    fn before(&mut self, request: &Request, resolve: &Resolve<'_>) -> Verdict {
        let managed = self.store.managed();
        self.judge
            .request(request, managed, clock::boot_now(), resolve)
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

fn denied(why: &str) -> Value {
    json!({ "Allow": false, "Msg": why })
}

fn cut(text: &str) -> String {
    text.chars().take(WHY_CHARACTERS).collect()
}

/// Whatever goes wrong in it denies.
fn unless_failed<T>(ask: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|panic: Box<dyn Any + Send>| {
        drop(panic);
        warn!("the guard failed on a request, and denied it");
        "the guard failed on this request"
    })
}

/// The verdict on what dockerd asks before it does something.
///
/// Looking at the host's paths may take long, or for ever where one leads to a server that is gone: it is done beside the
/// guard, and not while it is held. A request that is refused whatever its paths are is refused before.
async fn before(guard: &Shared, body: &[u8]) -> Value {
    if body.is_empty() {
        // A question that was under way when an earlier guard ended is asked again without its text (28.5.2, tried).
        return denied("the guard was restarted within this question: ask again");
    }
    let Ok(request) = serde_json::from_slice::<Request>(body) else {
        return denied("dockerd's question is not understood");
    };
    // Most questions; nothing is held or looked up for them.
    if unless_failed(|| policy::is_read(&request)) == Ok(true) {
        return json!({ "Allow": true });
    }
    let (first, named) = by_name(guard, &request);
    let verdict = match first {
        Ok(Verdict::Allow) if !named.is_empty() => match follow(named).await {
            Ok(found) => by_place(guard, &request, &found),
            Err(why) => Err(why),
        },
        first => first,
    };
    match verdict {
        Ok(Verdict::Allow) => json!({ "Allow": true }),
        Ok(Verdict::Deny { why }) => {
            let (method, uri) = (report::escape(&request.method), cut(&request.uri));
            info!(%method, uri = %report::escape(&uri), why = %report::escape(&why), "denied");
            denied(&cut(&why))
        }
        Err(why) => denied(why),
    }
}

/// The verdict if every path led to where its name says, and the paths.
fn by_name(guard: &Shared, request: &Request) -> (Decided, BTreeSet<String>) {
    let named = RefCell::new(BTreeSet::new());
    let name = |path: &str| {
        let mut named = named.borrow_mut();
        named.insert(path.to_owned());
        if named.len() > PATHS {
            return Err(format!("more than {PATHS} paths are not looked at"));
        }
        Ok(path.to_owned())
    };
    let verdict = unless_failed(|| lock(guard).before(request, &name));
    (verdict, named.into_inner())
}

/// The verdict by where the paths lead.
fn by_place(guard: &Shared, request: &Request, found: &Found) -> Decided {
    let resolve = |path: &str| {
        let unknown = || Err("where the path leads was not looked at".to_owned());
        found.get(path).cloned().unwrap_or_else(unknown)
    };
    unless_failed(|| lock(guard).before(request, &resolve))
}

/// Where the paths lead.
async fn follow(named: BTreeSet<String>) -> Result<Found, &'static str> {
    let follow = move || {
        let mut paths = Paths::new(resolve::look);
        let found = named.into_iter().map(|path| {
            let real = paths.resolve(&path);
            (path, real)
        });
        found.collect()
    };
    match timeout(FOLLOWING, spawn_blocking(follow)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err("the guard failed on this request"),
        Err(_) => Err("the host does not say in time where a path leads"),
    }
}

fn lock(guard: &Shared) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What dockerd has done; its answer goes to whoever asked for it in any case.
fn after(guard: &Shared, body: &[u8]) -> Value {
    let answered = serde_json::from_slice::<Answered>(body);
    if answered.is_ok_and(|answered| !Judge::may_teach(&answered)) {
        return json!({ "Allow": true });
    }
    unless_failed(|| lock(guard).after(body)).unwrap_or_else(denied)
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
                answer(&before(&guard, &body).await)
            }),
        )
        .route(
            "/AuthZPlugin.AuthZRes",
            post(async |State(guard): State<Shared>, body: Bytes| answer(&after(&guard, &body))),
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
        drop(lock(&guard));
        if let Err(error) = socket::tell_alive() {
            warn!(%error, "systemd cannot be told that the guard lives");
        }
    }
}
