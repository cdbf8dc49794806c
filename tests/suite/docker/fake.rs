//! A daemon that answers as it is told, and remembers what it was asked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use phoenixd::docker::{Docker, Endpoint, Error};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// What was asked: `POST /v1.41/containers/create?name=x` and the body.
type Asked = (String, String);

/// A daemon on a socket of its own.
pub(super) struct Fake {
    directory: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinSet<()>,
}

/// An answer of JSON.
pub(super) fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// A refusal in Docker's form.
pub(super) fn refusal(status: u16, message: &str) -> Response {
    answer(status, json!({ "message": message }))
}

/// The answer of an engine to the question for its version.
pub(super) fn version(newest: &str, oldest: &str) -> Response {
    answer(
        200,
        json!({"Version": "20.10.24", "ApiVersion": newest, "MinAPIVersion": oldest}),
    )
}

impl Fake {
    /// A daemon that answers each request (`GET /v1.41/info`, without query) by a function.
    pub(super) fn new(answers: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let remembered = Arc::clone(&asked);
        let answers = Arc::new(answers);
        let app = Router::new().fallback(async move |request: Request<Body>| {
            let (head, body) = request.into_parts();
            let path = head.uri.path_and_query().unwrap().as_str();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            remembered
                .lock()
                .unwrap()
                .push((format!("{} {path}", head.method), body));
            let response = answers(&format!("{} {}", head.method, head.uri.path()));
            // The sign of a daemon that does not answer.
            if response.status() == StatusCode::IM_A_TEAPOT {
                std::future::pending::<()>().await;
            }
            response
        });
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            directory,
            asked,
            server,
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            proc_root: None,
            ..Endpoint::unix(self.socket())
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    pub(super) async fn connect(&self) -> Result<Docker, Error> {
        Docker::connect(&self.endpoint()).await
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The same without bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.asked()
            .into_iter()
            .map(|(request, _)| request)
            .collect()
    }

    /// The daemon is gone, and its connections with it.
    pub(super) async fn vanish(&mut self) {
        self.server.shutdown().await;
        std::fs::remove_file(self.socket()).unwrap();
    }
}

/// The sign of a daemon that takes a request and does not answer.
pub(super) fn silence() -> Response {
    StatusCode::IM_A_TEAPOT.into_response()
}
