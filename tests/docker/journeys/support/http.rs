//! HTTP/1.1 as a plain client speaks it: over a socket of the caller's, one exchange at a time, every fault told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For one whole answer, unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
const DIAL: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The server ends the connection after this answer.
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// What follows an answer's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// An answer's head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) framing: Framing,
}

/// `GET` over a new connection to a loopback port.
pub(crate) fn get(port: u16, path: &str) -> io::Result<Answer> {
    get_from(([127, 0, 0, 1], port).into(), path, PATIENCE)
}

/// `GET` over a new connection.
pub(crate) fn get_from(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = BufReader::new(dial(address, patience)?);
    request(&mut stream, "GET", path, true)
}

/// `POST` without a body over a new connection to a loopback port.
pub(crate) fn post(port: u16, path: &str) -> io::Result<Answer> {
    let mut stream = BufReader::new(dial(([127, 0, 0, 1], port).into(), PATIENCE)?);
    request(&mut stream, "POST", path, true)
}

/// A connection whose reads and writes give up after `patience`.
pub(crate) fn dial(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DIAL)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request without a body and its whole answer.
pub(crate) fn request<S: Read + Write>(
    stream: &mut BufReader<S>,
    method: &str,
    path: &str,
    close: bool,
) -> io::Result<Answer> {
    ask(stream, method, path, close)?;
    answer(stream)
}

/// The request alone.
pub(crate) fn ask<S: Read + Write>(
    stream: &mut BufReader<S>,
    method: &str,
    path: &str,
    close: bool,
) -> io::Result<()> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let length = if method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    let text = format!("{method} {path} HTTP/1.1\r\nHost: journey\r\n{connection}{length}\r\n");
    stream.get_mut().write_all(text.as_bytes())
}

/// A whole answer.
pub(crate) fn answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let head = head(stream)?;
    let mut body = Vec::new();
    match head.framing {
        Framing::Length(length) => {
            stream.take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(broken("the answer is cut short"));
            }
        }
        Framing::Chunked => while chunk(stream, &mut body)? {},
        Framing::UntilClose => {
            stream.read_to_end(&mut body)?;
        }
    }
    Ok(Answer {
        status: head.status,
        closes: head.closes,
        body,
    })
}

/// The status line and the headers.
pub(crate) fn head(stream: &mut impl BufRead) -> io::Result<Head> {
    let first = line(stream)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| broken("no status line"))?;
    let mut head = Head {
        status,
        closes: false,
        framing: Framing::UntilClose,
    };
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length = value.parse().map_err(|_| broken("no length"))?;
                head.framing = Framing::Length(length);
            }
            "transfer-encoding" => head.framing = Framing::Chunked,
            "connection" => head.closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if matches!(status, 204 | 304) {
        head.framing = Framing::Length(0);
    }
    Ok(head)
}

/// One chunk, appended; `false` when it was the last, empty one.
pub(crate) fn chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let size = line(stream)?;
    let length = u64::from_str_radix(size.trim(), 16).map_err(|_| broken("no chunk"))?;
    let before = body.len() as u64;
    stream.take(length).read_to_end(body)?;
    if body.len() as u64 - before != length {
        return Err(broken("a chunk is cut short"));
    }
    line(stream)?;
    Ok(length > 0)
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(broken(if line.is_empty() {
            "the connection was closed before an answer"
        } else {
            "the connection was closed within a line"
        }));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}
