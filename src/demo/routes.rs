//! What the demo application answers.
//!
//! Not here: connections and how they end (`app`).

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::app::Settings;
use super::break_in::{self, Attempt, Walls};
use super::websocket;

const PAGE: &str = include_str!("page.html");
/// The page brings everything along; nothing else may be loaded.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";
/// The longest answer of `/slow`.
const SLOW_MAX: Duration = Duration::from_mins(1);
/// The largest answer of `/bytes`: 256 MiB.
const BYTES_MAX: u64 = 256 << 20;
/// Between two lines of `/stream`.
const STREAM_INTERVAL: Duration = Duration::from_millis(250);
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What every answer may need.
#[derive(Debug)]
pub(super) struct App {
    settings: Settings,
    started: Duration,
    walls: Walls,
    answered: AtomicU64,
    is_unhealthy: AtomicBool,
    shutdown: CancellationToken,
    /// Cancelled when a visitor asks for a crash.
    pub(super) crash: CancellationToken,
}

impl App {
    pub(super) fn new(settings: Settings, shutdown: CancellationToken) -> Self {
        Self {
            started: (settings.clock)(),
            walls: Walls::read(),
            settings,
            answered: AtomicU64::new(0),
            is_unhealthy: AtomicBool::new(false),
            shutdown,
            crash: CancellationToken::new(),
        }
    }

    fn age(&self) -> Duration {
        (self.settings.clock)().saturating_sub(self.started)
    }
}

pub(super) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/", get(page))
        .route("/whoami", get(whoami))
        .route("/healthz", get(healthz))
        .route("/slow", get(slow))
        .route("/stream", get(lines))
        .route("/websocket", get(echo))
        .route("/bytes", get(bytes));
    if app.settings.mischief {
        router = router
            .route("/crash", post(crash))
            .route("/unhealthy", post(unhealthy))
            .route("/break-in", post(try_break_in));
    }
    router.with_state(Arc::clone(app))
}

async fn page() -> impl IntoResponse {
    (
        [
            (CONTENT_SECURITY_POLICY, PAGE_POLICY),
            (CACHE_CONTROL, "no-store"),
        ],
        Html(PAGE),
    )
}

#[derive(Serialize)]
struct Whoami<'a> {
    container: &'a str,
    id: &'a str,
    serial: Option<u64>,
    age_ms: u64,
    ttl_ms: Option<u64>,
    pid: u32,
    /// Answers of `/whoami` so far, this one included.
    answered: u64,
    /// It was asked to end.
    ending: bool,
    mischief: bool,
    walls: &'a Walls,
}

#[derive(Deserialize)]
struct WhoamiQuery {
    /// Ends the connection after the answer, so that the next request is sent to any replica.
    #[serde(default)]
    close: u8,
}

async fn whoami(State(app): State<Arc<App>>, Query(query): Query<WhoamiQuery>) -> Response {
    let settings = &app.settings;
    let whoami = Whoami {
        container: &settings.container,
        id: &settings.id,
        serial: settings.serial,
        age_ms: millis(app.age()),
        ttl_ms: settings.ttl.map(millis),
        pid: std::process::id(),
        answered: app.answered.fetch_add(1, Ordering::Relaxed) + 1,
        ending: app.shutdown.is_cancelled(),
        mischief: settings.mischief,
        walls: &app.walls,
    };
    let answer = ([(CACHE_CONTROL, "no-store")], Json(whoami));
    if query.close == 0 {
        answer.into_response()
    } else {
        ([(CONNECTION, "close")], answer).into_response()
    }
}

/// Healthy until the end, also while it ends: whether it gets traffic is for the supervisor to say, who has decided
/// that before the signal.
async fn healthz(State(app): State<Arc<App>>) -> impl IntoResponse {
    if app.is_unhealthy.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

#[derive(Deserialize)]
struct SlowQuery {
    ms: u64,
}

async fn slow(State(app): State<Arc<App>>, Query(query): Query<SlowQuery>) -> String {
    let duration = Duration::from_millis(query.ms).min(SLOW_MAX);
    // A wait with nothing to wait for: always ends by its deadline.
    timeout(duration, pending::<()>()).await.ok();
    format!(
        "{} took {} ms\n",
        app.settings.container,
        duration.as_millis()
    )
}

async fn lines(State(app): State<Arc<App>>) -> impl IntoResponse {
    let pace = interval(STREAM_INTERVAL);
    let body = stream::unfold(Some((app, pace)), |state| async {
        let (app, mut pace) = state?;
        let name = &app.settings.container;
        tokio::select! {
            biased;
            () = app.shutdown.cancelled() => {
                let line = format!("{name} was asked to end, and ends this stream properly\n");
                Some((Ok::<_, axum::Error>(line), None))
            }
            _ = pace.tick() => {
                let line = format!("{name} is alive, {} ms old\n", app.age().as_millis());
                Some((Ok(line), Some((app, pace))))
            }
        }
    });
    (
        [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
        ],
        Body::from_stream(body),
    )
}

/// Begins a websocket that sends back what comes; `app` goes on with it.
async fn echo(headers: HeaderMap) -> Response {
    let says = |name, value: &str| {
        let mut all = headers.get_all(name).into_iter();
        all.any(|said| said.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let key = key.and_then(|key| key.to_str().ok());
    let is_one = says(UPGRADE, "websocket") && says(SEC_WEBSOCKET_VERSION, "13");
    let Some(key) = key.filter(|_| is_one) else {
        let wanted = [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::UPGRADE_REQUIRED, wanted).into_response();
    };
    let headers = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, websocket::accept(key)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[derive(Deserialize)]
struct BytesQuery {
    n: u64,
}

async fn bytes(Query(query): Query<BytesQuery>) -> Response {
    if query.n > BYTES_MAX {
        let text = format!("at most {BYTES_MAX} bytes\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let chunks = stream::unfold(query.n, |left| async move {
        let whole = Bytes::from_static(&ZEROS);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(whole.len());
        (length > 0).then(|| {
            let chunk = Ok::<_, axum::Error>(whole.slice(..length));
            (chunk, left.saturating_sub(length as u64))
        })
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, query.n.to_string()),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// Ends the process without an answer, as a crash does.
async fn crash(State(app): State<Arc<App>>) -> StatusCode {
    app.crash.cancel();
    pending().await
}

async fn unhealthy(State(app): State<Arc<App>>) -> &'static str {
    app.is_unhealthy.store(true, Ordering::Relaxed);
    "from now on /healthz fails\n"
}

async fn try_break_in() -> Json<Vec<Attempt>> {
    Json(break_in::attempts())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
