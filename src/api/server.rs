//! Answers requests on the socket.
//!
//! Bounds: 64 connections, 64 KiB for a body, 10 s for a request's head, its body, and the supervisor's word; only a
//! wait that was asked for takes longer. On shutdown the waits end, and every connection is gone within 1 s.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{self, Path, Query, Request};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::glass;
use super::json::Json;
use super::{
    CommandRequest, DownAsked, DownBody, Problem, RecycleAccepted, RecycleAsked, RequestBody,
    RequestPhase, Snapshot, State, StatusBody, status_body,
};
use crate::reconcile::{RequestId, RequestState};
use crate::spec::ServiceName;

/// More than a few terminals and a dashboard never are; what comes beyond waits in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Every body is a list of names.
const BODY_LIMIT: usize = 64 * 1024;
/// For whatever is not a wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What is under way at shutdown has so long to be answered.
const GRACE: Duration = Duration::from_secs(1);
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until `shutdown`; then open waits are ended with what is known by then, and it returns.
///
/// # Cancel safety
/// Dropping it closes every connection.
pub async fn serve(listener: UnixListener, state: State, shutdown: CancellationToken) {
    let router = router(Server {
        state,
        shutdown: shutdown.clone(),
    });
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    loop {
        // Cancel safety: an accept that is dropped leaves the connection in the queue; the others only wait.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => joined(ended),
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), shutdown.clone()));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection to the API");
                    // Ended early by shutdown, which the next round sees.
                    let _paused = timeout(ACCEPT_PAUSE, shutdown.cancelled()).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        joined(ended);
    }
}

async fn connection(
    stream: UnixStream,
    service: TowerToHyperService<Router>,
    shutdown: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Cancel safety: the connection is kept, and goes on below.
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the API broke off");
    }
}

/// A bug in one answer is not the end of the supervisor.
fn joined(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection to the API was ended by a bug");
    }
}

fn router(server: Server) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/recycle", post(recycle))
        .route("/v1/break-glass", post(glass::begin))
        .route("/v1/break-glass/end", post(glass::end))
        .route("/v1/requests/{number}", get(request))
        .route("/v1/down", post(down))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(server)
}

/// What every handler has at hand.
#[derive(Clone)]
pub(super) struct Server {
    state: State,
    shutdown: CancellationToken,
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait: bool,
}

async fn status(extract::State(server): extract::State<Server>) -> Json<StatusBody> {
    let now = (server.state.clock)();
    Json(status_body(&server.state.about, &server.snapshot(), now))
}

async fn recycle(
    extract::State(server): extract::State<Server>,
    request: Request,
) -> Result<(StatusCode, Json<RecycleAccepted>), Failure> {
    let asked: RecycleAsked = body(request).await?;
    server.know(&asked.services)?;
    let services = asked.services.into_iter().map(ServiceName::new).collect();
    server
        .accepted(|reply| CommandRequest::Recycle { services, reply })
        .await
}

async fn request(
    extract::State(server): extract::State<Server>,
    number: Result<Path<u64>, PathRejection>,
    query: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<RequestBody>, Failure> {
    let number = RequestId(number?.0);
    let unknown = || {
        let problem = Problem::new(format!("there is no request {}", number.0));
        let hint = "a supervisor knows the requests that were made since it began";
        Failure(StatusCode::NOT_FOUND, problem.hint(hint))
    };
    let state = |snapshot: &Snapshot| snapshot.status.requests.get(&number).cloned();
    let snapshot = if query?.wait {
        let is_over =
            |snapshot: &Snapshot| !matches!(state(snapshot), Some(RequestState::Pending(_)));
        server.until(is_over).await?
    } else {
        server.snapshot()
    };
    let state = state(&snapshot).ok_or_else(unknown)?;
    Ok(Json(request_body(state)))
}

async fn down(
    extract::State(server): extract::State<Server>,
    query: Result<Query<Wait>, QueryRejection>,
    request: Request,
) -> Result<(StatusCode, Json<DownBody>), Failure> {
    let wait = query?.wait;
    let DownAsked { volumes } = body(request).await?;
    server
        .command(|reply| CommandRequest::Down { volumes, reply })
        .await?;
    if !wait {
        let accepted = DownBody {
            finished: false,
            left: Vec::new(),
        };
        return Ok((StatusCode::ACCEPTED, Json(accepted)));
    }
    let last = server.until(|snapshot| snapshot.finished).await?;
    let finished = DownBody {
        finished: true,
        left: last.status.left.clone(),
    };
    Ok((StatusCode::OK, Json(finished)))
}

async fn no_such_path(uri: Uri) -> Failure {
    let problem = Problem::new(format!("there is no `{}` here", uri.path()));
    Failure(
        StatusCode::NOT_FOUND,
        problem.hint("see /v1/status, /v1/recycle, /v1/break-glass, /v1/requests/N, /v1/down"),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let problem = Problem::new(format!("`{}` does not take {method}", uri.path()));
    Failure(StatusCode::METHOD_NOT_ALLOWED, problem)
}

impl Server {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.status.borrow())
    }

    /// The first snapshot that is as wanted. One that is published before the shutdown begins is not missed.
    async fn until(&self, is: impl Fn(&Snapshot) -> bool) -> Result<Arc<Snapshot>, Failure> {
        let mut status = self.state.status.clone();
        // Cancel safety: both only wait.
        tokio::select! {
            biased;
            found = status.wait_for(|snapshot| is(snapshot)) => match found {
                Ok(snapshot) => Ok(Arc::clone(&snapshot)),
                Err(_closed) => Err(ending()),
            },
            () = self.shutdown.cancelled() => Err(ending()),
        }
    }

    /// Hands a command to the supervisor and waits for its word.
    async fn command<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<A, Problem>>) -> CommandRequest,
    ) -> Result<A, Failure> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let sent = self.state.commands.send(command(reply)).await;
            sent.map_err(|_closed| ending())?;
            answer
                .await
                .map_err(|_dropped| ending())?
                .map_err(|problem| Failure(StatusCode::CONFLICT, problem))
        };
        in_time(asked).await
    }

    /// The same with a command that has a number, under which its state is known by then.
    pub(super) async fn accepted(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<RequestId, Problem>>) -> CommandRequest,
    ) -> Result<(StatusCode, Json<RecycleAccepted>), Failure> {
        let number = self.command(command).await?;
        in_time(self.until(|snapshot| snapshot.status.requests.contains_key(&number))).await?;
        let accepted = RecycleAccepted { request: number.0 };
        Ok((StatusCode::ACCEPTED, Json(accepted)))
    }

    /// Refuses names that are not in the file.
    pub(super) fn know(&self, names: &[String]) -> Result<(), Failure> {
        let snapshot = self.snapshot();
        let known: Vec<&str> = snapshot
            .status
            .services
            .keys()
            .map(ServiceName::as_str)
            .collect();
        // A service of docker compose means all of its containers.
        let services = snapshot.status.services.values();
        let of: Vec<&str> = services
            .filter_map(|service| service.of.as_ref().map(ServiceName::as_str))
            .collect();
        let unknown: Vec<String> = names
            .iter()
            .filter(|name| !known.contains(&name.as_str()) && !of.contains(&name.as_str()))
            .map(|name| format!("`{name}`"))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if known.is_empty() {
            let problem = Problem::new("the supervisor does not know its services yet");
            let problem = problem.hint("it is starting; try again in a moment");
            return Err(Failure(StatusCode::SERVICE_UNAVAILABLE, problem));
        }
        let problem = Problem::new(format!("no such service: {}", unknown.join(", ")));
        let hint = format!("the services are: {}", known.join(", "));
        Err(Failure(StatusCode::NOT_FOUND, problem.hint(hint)))
    }
}

fn request_body(state: RequestState) -> RequestBody {
    match state {
        RequestState::Pending(left) => RequestBody {
            state: RequestPhase::Pending,
            left,
            error: None,
        },
        RequestState::Done => RequestBody {
            state: RequestPhase::Done,
            left: 0,
            error: None,
        },
        RequestState::Failed(why) => RequestBody {
            state: RequestPhase::Failed,
            left: 0,
            error: Some(why),
        },
    }
}

/// The body of a request, bounded in size and time.
pub(super) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    let read = async {
        axum::body::to_bytes(request.into_body(), BODY_LIMIT)
            .await
            .map_err(|_| {
                let problem = Problem::new(format!("the body has more than {BODY_LIMIT} bytes"));
                Failure(StatusCode::PAYLOAD_TOO_LARGE, problem)
            })
    };
    let bytes = in_time(read).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let problem = Problem::new(format!("the body is not what is expected: {error}"));
        Failure(StatusCode::BAD_REQUEST, problem)
    })
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(REQUEST_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_elapsed| {
            let problem = Problem::new(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()));
            Err(Failure(StatusCode::GATEWAY_TIMEOUT, problem))
        })
}

fn ending() -> Failure {
    let problem = Problem::new("the supervisor is ending");
    Failure(
        StatusCode::SERVICE_UNAVAILABLE,
        problem.hint("`phoenixd up` starts it again"),
    )
}

/// A refusal: a status and a [`Problem`].
pub(super) struct Failure(pub(super) StatusCode, pub(super) Problem);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self(StatusCode::NOT_FOUND, Problem::new(rejection.body_text()))
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self(StatusCode::BAD_REQUEST, Problem::new(rejection.body_text()))
    }
}
