//! The plain API over a kept connection, without phoenixd's own client: what it is measured against must not be it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Failure;

/// The longest call is a stop with its grace.
const CALL_LIMIT: Duration = Duration::from_mins(2);

/// Where the engine listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Address {
    /// Of `DOCKER_HOST`, else the default socket.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        if host.is_empty() {
            return Ok(Self::Unix("/var/run/docker.sock".into()));
        }
        match host.split_once("://") {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => Ok(Self::Tcp(address.to_owned())),
            _ => Err(format!("DOCKER_HOST={host} is neither unix:// nor tcp://").into()),
        }
    }
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One kept connection.
pub(crate) struct Engine {
    stream: BufReader<Box<dyn Stream>>,
}

/// What the engine says to a call.
#[derive(Debug)]
struct Head {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
}

impl Engine {
    pub(crate) fn connect(address: &Address) -> Result<Self, Failure> {
        Self::connect_with(address, Some(CALL_LIMIT))
    }

    fn connect_with(address: &Address, limit: Option<Duration>) -> Result<Self, Failure> {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| {
                    format!("no Docker Engine answers at {}: {error}", path.display())
                })?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
        };
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// One call; what is not a success (or "is so already") is an error.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.call_raw(method, path, "application/json", body.as_bytes())
    }

    /// The same with a body of any kind.
    pub(crate) fn call_raw(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<Value, Failure> {
        self.send(method, path, kind, body)?;
        let head = self.head()?;
        let answer = self.body(&head)?;
        if !(200..=304).contains(&head.status) {
            let text = String::from_utf8_lossy(&answer);
            return Err(format!("{method} {path}: {} {}", head.status, text.trim()).into());
        }
        // Progress is a stream of values; nobody here reads it.
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        let stream = self.stream.get_mut();
        stream.write_all(&message)?;
        stream.flush()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn head(&mut self) -> Result<Head, Failure> {
        let status = self.line()?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("not HTTP: {status}"))?;
        let mut head = Head {
            status,
            length: None,
            is_chunked: false,
        };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => head.length = value.trim().parse().ok(),
                Some(("transfer-encoding", value)) => head.is_chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        if matches!(status, 204 | 304) {
            head.length = Some(0);
        }
        Ok(head)
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        if head.is_chunked {
            while let Some(chunk) = self.chunk()? {
                body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = head.length {
            (&mut self.stream).take(length).read_to_end(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let size = self.line()?;
        let size = u64::from_str_radix(size.trim(), 16)
            .map_err(|_| format!("not the size of a chunk: {size}"))?;
        let mut chunk = Vec::new();
        (&mut self.stream).take(size).read_to_end(&mut chunk)?;
        self.line()?;
        Ok((size > 0).then_some(chunk))
    }
}

/// An event of a container.
#[derive(Clone, Debug)]
pub(crate) struct ContainerEvent {
    pub(crate) action: String,
    pub(crate) id: String,
    /// The engine's wall clock, in nanoseconds: this machine's.
    pub(crate) at: i64,
}

/// Hands on the events of the containers with the label, until the engine ends the stream or nobody takes them.
pub(crate) fn follow_events(
    address: &Address,
    label: &str,
    mut take: impl FnMut(ContainerEvent) -> bool,
) -> Result<(), Failure> {
    let mut engine = Engine::connect_with(address, None)?;
    let filters = serde_json::json!({ "type": ["container"], "label": [label] });
    let path = format!("/events?filters={}", encoded(&filters.to_string()));
    engine.send("GET", &path, "application/json", b"")?;
    let head = engine.head()?;
    if head.status != 200 || !head.is_chunked {
        return Err(format!("the engine gives no events: {}", head.status).into());
    }
    let mut waiting = Vec::new();
    while let Some(chunk) = engine.chunk()? {
        waiting.extend_from_slice(&chunk);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let event = ContainerEvent {
                action: text(&event["Action"]),
                id: text(&event["Actor"]["ID"]),
                at: event["timeNano"].as_i64().unwrap_or_default(),
            };
            if !take(event) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A query's value, percent-encoded.
pub(crate) fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
