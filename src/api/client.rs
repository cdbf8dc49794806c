//! Asks a running supervisor, for the command line. Its errors are for people.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{
    BreakGlassAsked, DownAsked, DownBody, EndGlassAsked, Problem, RecycleAccepted, RecycleAsked,
    RequestBody, StatusBody,
};

/// The longest answer, in bytes: a status with tens of thousands of replicas.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// For whatever is not a wait: longer than the server's own, so that its word comes first.
const TIMEOUT: Duration = Duration::from_secs(15);

impl ClientError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some("`phoenixd up` starts one".to_owned()),
            Self::NotAllowed { .. } => {
                Some("run the command as the user that runs the supervisor".to_owned())
            }
            Self::Refused { problem, .. } => problem.hint.clone(),
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::TimedOut
            | Self::Malformed { .. } => None,
        }
    }
}

/// A running supervisor's API. Each call has a connection of its own, so calls may overlap.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or there is none.
    #[error(
        "no supervisor is running for this project (nobody answers at `{}`)",
        socket.display()
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket is somebody else's.
    #[error(
        "this user may not speak to the supervisor at `{}`",
        socket.display()
    )]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be opened for another reason.
    #[error("cannot reach the supervisor at `{}`", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("the supervisor ended before it answered")]
    Lost {
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error("the supervisor did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The supervisor says no.
    #[error("{problem}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, and what to do.
        problem: Problem,
    },
    /// The answer is not understood.
    #[error("the supervisor's answer is not understood; is it of another version?")]
    Malformed {
        /// Why not.
        source: serde_json::Error,
    },
}

impl Client {
    /// Finds out whether somebody listens on the socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], `NotAllowed`, `Unreachable`.
    pub async fn connect(socket: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let client = Self {
            socket: socket.into(),
        };
        client.open().await.map(drop)?;
        Ok(client)
    }

    /// Everything about the project, as of now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<StatusBody, ClientError> {
        in_time(self.call(Method::GET, "/v1/status", &())).await
    }

    /// Asks for every replica of these services, or of all when empty, to be replaced. Answers with the number of the
    /// request.
    ///
    /// # Errors
    /// [`ClientError`]; a service that is not in the file is `Refused` with the list of those that are.
    pub async fn recycle(&self, services: &[String]) -> Result<u64, ClientError> {
        let asked = RecycleAsked {
            services: services.to_vec(),
        };
        let accepted: RecycleAccepted =
            in_time(self.call(Method::POST, "/v1/recycle", &asked)).await?;
        Ok(accepted.request)
    }

    /// Asks for a replica to be broken open. Answers with the number of the request, which is done once it is.
    ///
    /// # Errors
    /// [`ClientError`]; a service that is not in the file, a time or a reason out of bounds is `Refused`.
    pub async fn break_glass(&self, asked: &BreakGlassAsked) -> Result<u64, ClientError> {
        let accepted: RecycleAccepted =
            in_time(self.call(Method::POST, "/v1/break-glass", asked)).await?;
        Ok(accepted.request)
    }

    /// Asks for what is broken open of a service to be destroyed now. The request is done once it is gone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn end_glass(&self, service: &str) -> Result<u64, ClientError> {
        let service = service.to_owned();
        let asked = EndGlassAsked { service };
        let accepted: RecycleAccepted =
            in_time(self.call(Method::POST, "/v1/break-glass/end", &asked)).await?;
        Ok(accepted.request)
    }

    /// How a request goes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request(&self, number: u64) -> Result<RequestBody, ClientError> {
        in_time(self.call(Method::GET, &format!("/v1/requests/{number}"), &())).await
    }

    /// Waits until a request is done or failed, however long that takes.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` or `Lost` when the supervisor ends first.
    ///
    /// # Cancel safety
    /// A wait that is dropped changes nothing and can be taken up again.
    pub async fn wait_request(&self, number: u64) -> Result<RequestBody, ClientError> {
        let path = format!("/v1/requests/{number}?wait=true");
        self.call(Method::GET, &path, &()).await
    }

    /// Asks for everything of the project to be removed, and waits until nothing of it is left to do, however long that
    /// takes. What could not be removed is in the answer.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` or `Lost` when the supervisor ends first.
    ///
    /// # Cancel safety
    /// What was asked for goes on without the one who asked; asking again only waits again.
    pub async fn down(&self, volumes: bool) -> Result<DownBody, ClientError> {
        self.call(Method::POST, "/v1/down?wait=true", &DownAsked { volumes })
            .await
    }

    async fn open(&self) -> Result<UnixStream, ClientError> {
        let socket = || self.socket.clone();
        UnixStream::connect(&self.socket).await.map_err(|source| {
            let is = |kind: io::ErrorKind| source.kind() == kind;
            if is(io::ErrorKind::NotFound) || is(io::ErrorKind::ConnectionRefused) {
                ClientError::NotRunning { socket: socket() }
            } else if is(io::ErrorKind::PermissionDenied) {
                ClientError::NotAllowed { socket: socket() }
            } else {
                ClientError::Unreachable {
                    socket: socket(),
                    source,
                }
            }
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let malformed = |source| ClientError::Malformed { source };
        let body = if method == Method::GET {
            Vec::new()
        } else {
            serde_json::to_vec(body).map_err(malformed)?
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "phoenixd")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(lost)?;
        let (status, answer) = exchange(self.open().await?, request).await?;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(malformed);
        }
        let problem = serde_json::from_slice(&answer).map_err(malformed)?;
        Err(ClientError::Refused {
            status: status.as_u16(),
            problem,
        })
    }
}

/// One request and its whole answer over a connection of its own.
async fn exchange(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let (mut sender, mut connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let answer = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(lost)?
            .into_parts();
        let body = Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(lost)?;
        Ok((head.status, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    let mut open = true;
    loop {
        // Cancel safety: both are polled in place and kept over the rounds of the loop.
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            // Its error, if any, is the answer's as well.
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn in_time<T>(
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    timeout(TIMEOUT, answer)
        .await
        .unwrap_or(Err(ClientError::TimedOut))
}

fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Lost {
        source: error.into(),
    }
}
