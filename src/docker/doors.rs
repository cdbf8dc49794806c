//! The doors into a running replica, tried: for `phoenixd doctor --doors`.
//!
//! Each try is made so that the engine's own handler refuses it for another reason (no command, a broken parameter), so
//! that an open door is seen and nothing happens behind it; where there is no such form it says so ([`Door::is_seen`]).
//! Requests are written by hand: a client library would tidy up what is meant to be odd. Never signed.
//!
//! Not here: what the outcomes mean for the exit code (`cli`).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{calls, labels};
use crate::reconcile::is_broken_open;
use crate::spec::ProjectName;

/// What is read of an answer.
const ANSWER_BYTES: usize = 64 << 10;

/// One way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Door {
    /// What it would do.
    pub name: &'static str,
    /// Whether the engine tells it as an event when it is open, so that the replica counts as touched.
    pub is_seen: bool,
    method: &'static str,
    target: String,
    body: Option<String>,
}

/// Who refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The guard.
    ByGuard,
    /// Another authorization plugin.
    ByPlugin(String),
    /// The engine knows no such request.
    ByEngine(String),
    /// Nobody: the request came through to what would have done it.
    ByNobody(String),
}

/// Name, method, target, body; `{name}`, `{id}` and `{short}` stand for the replica's.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const CREATE: &str = "/v1.41/containers/create";
/// No command: refused by the engine's own handler.
const NOTHING: Option<&str> = Some(r#"{"Cmd":[]}"#);

#[rustfmt::skip]
const DOORS: [Row; 29] = [
    ("exec", "POST", "/v1.41/containers/{name}/exec", NOTHING),
    ("exec, by the id's beginning", "POST", "/v1.41/containers/{short}/exec", NOTHING),
    ("exec, without version", "POST", "/containers/{name}/exec", NOTHING),
    ("exec, encoded", "POST", "/v1.41/containers/{name}/%65xec", NOTHING),
    ("exec, absolute target", "POST", "http://docker/v1.41/containers/{name}/exec", NOTHING),
    ("exec, body hidden", "POST", "/v1.41/containers/{name}/exec?x=/auth", NOTHING),
    ("attach", "POST", "/v1.41/containers/{name}/attach?detachKeys=%21%21", None),
    ("attach by websocket", "GET", "/v1.41/containers/{name}/attach/ws?detachKeys=%21%21", None),
    ("copy out", "GET", "/v1.41/containers/{name}/archive", None),
    ("copy in", "PUT", "/v1.41/containers/{name}/archive", None),
    (EXPORT, "GET", "/v1.41/containers/{name}/export", None),
    ("commit", "POST", "/v1.41/commit?container={name}&pause=0&changes=NOSUCH+x", None),
    ("rename", "POST", "/v1.41/containers/{name}/rename?name={name}", None),
    ("update", "POST", "/v1.41/containers/{name}/update", Some(r#"{"Memory":1}"#)),
    ("kill", "POST", "/v1.41/containers/{name}/kill?signal=NOSUCH", None),
    ("stop", "POST", "/v1.41/containers/{name}/stop?t=x", None),
    ("restart", "POST", "/v1.41/containers/{name}/restart?t=x", None),
    ("remove", "DELETE", "/v1.41/containers/{name}", None),
    ("prune", "POST", "/v1.41/containers/prune?filters=x", None),
    ("its process namespace", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"PidMode":"container:{name}"}}"#)),
    ("its network namespace", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"NetworkMode":"container:{id}"}}"#)),
    ("its volumes", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"VolumesFrom":["{short}"]}}"#)),
    ("its namespace, lower case", "POST", CREATE, Some(r#"{"Image":"","hostconfig":{"pidmode":"container:{name}"}}"#)),
    ("its namespace, given twice", "POST", CREATE,
     Some(r#"{"Image":"","HostConfig":{"PidMode":"container:{name}"},"HostConfig":{}}"#)),
    ("a privileged container", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"Privileged":true}}"#)),
    ("the host's root", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"Binds":["/:/host"]}}"#)),
    ("the engine's socket", "POST", CREATE, Some(r#"{"Image":"","HostConfig":{"Binds":["/var/run/docker.sock:/s"]}}"#)),
    ("network disconnect", "POST", "/v1.41/networks/phoenixd-no-such-network/disconnect",
     Some(r#"{"Container":"{name}"}"#)),
    ("plugin", "POST", "/v1.41/plugins/phoenixd-no-such-plugin/enable", None),
];

/// The one door that has no harmless form.
const EXPORT: &str = "export";

/// The doors into a replica, by name and id.
pub fn doors(name: &str, id: &str) -> Vec<Door> {
    let short = id.get(..12).unwrap_or(id);
    let of = |text: &str| {
        let text = text.replace("{name}", name).replace("{id}", id);
        text.replace("{short}", short)
    };
    let door = |(name, method, target, body): Row| Door {
        name,
        is_seen: name == EXPORT,
        method,
        target: of(target),
        body: body.map(of),
    };
    DOORS.into_iter().map(door).collect()
}

/// Whether the engine behind a socket knows a container, as far as it says.
///
/// # Errors
/// The socket cannot be used.
pub async fn knows(socket: &Path, name: &str) -> io::Result<bool> {
    let target = format!("/v1.41/containers/{name}/json");
    let (status, _) = ask(socket, "GET", &target, None).await?;
    Ok(status == 200)
}

/// Tries one door.
///
/// # Errors
/// The socket cannot be used, or there is no answer within 10 s.
pub async fn try_door(socket: &Path, door: &Door) -> io::Result<Refused> {
    let body = door.body.as_deref();
    let (status, text) = ask(socket, door.method, &door.target, body).await?;
    let what = format!(
        "{status} {}",
        super::error::engine_message(text.trim().as_bytes())
    );
    let by = text
        .split_once("authorization denied by plugin ")
        .map(|(_, rest)| rest.split(':').next().unwrap_or_default());
    Ok(match by {
        Some("phoenixd") => Refused::ByGuard,
        Some(other) => Refused::ByPlugin(other.to_owned()),
        None if status == 301 || text.contains("page not found") => Refused::ByEngine(what),
        None => Refused::ByNobody(what),
    })
}

/// One exchange on a connection of its own; of the answer the status and the text, as far as it is at hand.
async fn ask(
    socket: &Path,
    method: &str,
    target: &str,
    body: Option<&str>,
) -> io::Result<(u16, String)> {
    let kind = body.map_or("", |_| "Content-Type: application/json\r\n");
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // What streams for ever has said enough with its head.
        while !is_enough(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        Ok(answer)
    };
    let answer = within(calls::LOOK, exchange).await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer is no HTTP"))?;
    Ok((status, body.to_owned()))
}

fn is_enough(answer: &[u8]) -> bool {
    answer.len() >= ANSWER_BYTES
        || answer.starts_with(b"HTTP/1.1 2") && answer.windows(4).any(|at| at == b"\r\n\r\n")
        || answer.starts_with(b"HTTP/1.1 101")
}

async fn within<T>(limit: Duration, asked: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
}

/// What the engine says about its plugins, and how the guard answers to a probe of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeAnswer {
    /// The engine's own word.
    pub is_listed: bool,
    /// The refusal's text; empty where nobody refused.
    pub said: String,
}

impl super::Docker {
    /// Asks whether a guard is asked: the engine lists its plugins, and a request for a container that is not there is
    /// refused by the guard before the engine can say so. Not for the event loop: it takes an engine that answers.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn probe_guard(&self, name: &str) -> Result<ProbeAnswer, super::Error> {
        let info = self.call("info", calls::CHANGE, self.api.info()).await?;
        let plugins = info.plugins.and_then(|plugins| plugins.authorization);
        let is_listed = plugins.is_some_and(|names| names.iter().any(|name| name == "phoenixd"));
        let path = format!("/containers/{name}/pause");
        let request = super::transport::request(hyper::Method::POST, &path)?;
        let said = match self.wire.exchange("pause", request).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        Ok(ProbeAnswer { is_listed, said })
    }

    /// The running replicas whose doors are to be shut, by name: those of one project, or of all. Without the parts of
    /// pods, which hold nothing of the application, and what was broken open, which is open on purpose.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn running_replicas(
        &self,
        project: Option<&ProjectName>,
    ) -> Result<BTreeMap<String, String>, super::Error> {
        let label = project.map_or_else(|| labels::PROJECT.to_owned(), labels::project_filter);
        let filters = format!(r#"{{"label":["{label}"],"status":["running"]}}"#);
        let path = format!(
            "/containers/json?filters={}",
            super::transport::encoded(&filters)
        );
        let request = super::transport::request(hyper::Method::GET, &path)?;
        let (_, body) = self.wire.exchange("list", request).await?;
        let malformed = |_| super::Error::Malformed {
            field: "containers",
        };
        let list: Vec<bollard::models::ContainerSummary> =
            serde_json::from_slice(&body).map_err(malformed)?;
        let replica = |container: bollard::models::ContainerSummary| {
            if container.labels?.contains_key(labels::ROLE) {
                return None;
            }
            let names = container.names?;
            let name = names.first()?.trim_start_matches('/').to_owned();
            (!is_broken_open(&name)).then_some((name, container.id?))
        };
        Ok(list.into_iter().filter_map(replica).collect())
    }
}
