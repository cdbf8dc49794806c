//! What was started in a container, and what there is to see of one that was touched: read, and nothing else.
//!
//! Not here: whether that is a taint (`reconcile`), and where it is written to (`daemon`). phoenixd itself never executes
//! anything in a container.

use std::time::Duration;

use hyper::http::Method;
use serde::Deserialize;

use super::connect::within;
use super::transport::request;
use super::{Docker, Error, Part, calls};
use crate::reconcile::{ExecFacts, HealthExec};
use crate::spec::ContainerId;

/// For each part of the evidence. The engine walks through the whole file system for the changes.
const PART: Duration = Duration::from_secs(10);
/// The last lines of the log that are kept.
const LOG_LINES: u32 = 2000;
/// What stands before each piece of a log (Docker Engine API 1.51, *Attach to a container*).
const FRAME_HEAD: usize = 8;

/// `GET /exec/ID/json` (moby v20.10.24 to v28.5.2).
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "OpenStdin", default)]
    open_stdin: bool,
    #[serde(rename = "ProcessConfig")]
    process: Process,
}

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    tty: bool,
    #[serde(default)]
    entrypoint: String,
    #[serde(default)]
    arguments: Option<Vec<String>>,
    #[serde(default)]
    privileged: Option<bool>,
    #[serde(default)]
    user: Option<String>,
}

pub(super) async fn exec(docker: &Docker, id: &str) -> Result<Option<ExecFacts>, Error> {
    // What cannot be an id is nobody's, and must not become another path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let path = format!("/exec/{id}/json");
    let body = match get(docker, "inspect exec", calls::LOOK, &path).await {
        Ok(body) => body,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| Error::Malformed {
        field: "ProcessConfig",
    })?;
    let mut arguments = vec![answer.process.entrypoint];
    arguments.extend(answer.process.arguments.unwrap_or_default());
    Ok(Some(ExecFacts {
        arguments,
        privileged: answer.process.privileged.unwrap_or(false),
        tty: answer.process.tty,
        stdin: answer.open_stdin,
        user: answer.process.user.unwrap_or_default(),
    }))
}

pub(super) async fn evidence(docker: &Docker, id: &ContainerId) -> Vec<Part> {
    let part = async |name, call, path: String| Part {
        name,
        content: get(docker, call, PART, &path)
            .await
            .map_err(|error| error.to_string()),
    };
    let log_path = format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&tail={LOG_LINES}");
    let (inspect, top, changes, mut log) = tokio::join!(
        part("inspect.json", "inspect", format!("/containers/{id}/json")),
        part("top.json", "top", format!("/containers/{id}/top")),
        part(
            "changes.json",
            "changes",
            format!("/containers/{id}/changes")
        ),
        part("log", "logs", log_path),
    );
    log.content = log.content.map(|bytes| unframed(&bytes));
    vec![inspect, top, changes, log]
}

async fn get(
    docker: &Docker,
    call: &'static str,
    limit: Duration,
    path: &str,
) -> Result<Vec<u8>, Error> {
    let answer = within(call, limit, async {
        docker
            .wire
            .exchange(call, request(Method::GET, path)?)
            .await
    });
    Ok(answer.await?.1.to_vec())
}

/// A log without the heads of its pieces; as it is where it has none, as that of a terminal.
fn unframed(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_at_checked(FRAME_HEAD) {
        let &[0..=2, 0, 0, 0, a, b, c, d] = head else {
            return bytes.to_vec();
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some((piece, after)) = tail.split_at_checked(length) else {
            text.extend_from_slice(tail);
            return text;
        };
        text.extend_from_slice(piece);
        rest = after;
    }
    text
}

/// What Docker's own health check executes, from `Config.Healthcheck.Test` as the engine merged it, `Config.Shell` and
/// `Config.User` (moby v28.5.2, `daemon/health.go`, `cmdProbe.run` and `getShell`).
pub(super) fn health_exec(config: &bollard::models::ContainerConfig) -> Option<HealthExec> {
    let test = config.healthcheck.as_ref()?.test.as_ref()?;
    let user = config.user.clone().unwrap_or_default();
    let (kind, rest) = test.split_first()?;
    match kind.as_str() {
        "CMD" if !rest.is_empty() => Some(HealthExec {
            arguments: rest.to_vec(),
            shell: false,
            user,
        }),
        "CMD-SHELL" => {
            let own = config.shell.clone().filter(|shell| !shell.is_empty());
            let mut arguments = own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            arguments.extend(rest.iter().cloned());
            Some(HealthExec {
                arguments,
                shell: true,
                user,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::unframed;

    #[test]
    fn a_log_is_kept_without_the_heads_of_its_pieces() {
        let framed = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x04two\n";
        assert_eq!(unframed(framed), b"onetwo\n");
        assert_eq!(unframed(b"of a terminal\n"), b"of a terminal\n");
        assert_eq!(unframed(b"\x01\0\0\0\0\0\0\x09cut"), b"cut");
        assert_eq!(unframed(b""), b"");
    }
}
