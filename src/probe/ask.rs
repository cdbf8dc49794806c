//! One question to one replica, bounded in time and size.
//!
//! An HTTP answer is read up to the end of its head; redirects are not followed; the body is never read. What fails on
//! our own side (no file descriptor left) is told apart from what the replica does: it says nothing about the replica.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::reconcile::Target;
use crate::spec::Probe;

/// The longest head of an answer, in bytes. Servers commonly allow themselves 8 KiB; twice that is room enough, and a
/// hostile replica costs no more.
const HEAD_LIMIT: usize = 16 * 1024;

/// What came of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// The replica said yes.
    Ready,
    /// It did not, and why: a short text for people.
    Unready(String),
    /// It could not be asked, for a reason on our side.
    Unasked(io::Error),
}

/// Asks once, within the target's timeout.
///
/// # Cancel safety
/// A question that is dropped closes its connection and leaves nothing behind.
pub(super) async fn ask(target: &Target) -> Answer {
    let question = async {
        match &target.probe {
            Probe::Http { path, .. } => http(target.address, path).await,
            Probe::Tcp { .. } => connect(target.address).await.map(drop),
            // They are answered by Docker or by the edge itself, and are never a target.
            Probe::Docker | Probe::Running | Probe::Edge => Ok(()),
        }
    };
    match timeout(target.timeout, question).await {
        Ok(Ok(())) => Answer::Ready,
        Ok(Err(Trouble::There(text))) => Answer::Unready(text),
        Ok(Err(Trouble::Here(error))) => Answer::Unasked(error),
        Err(_elapsed) => Answer::Unready(format!(
            "no answer within {}",
            humantime::format_duration(target.timeout)
        )),
    }
}

/// Why there was no yes.
enum Trouble {
    /// On our side.
    Here(io::Error),
    /// On the replica's.
    There(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if is_ours(&error) {
            Self::Here(error)
        } else {
            Self::There(short(&error))
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Trouble> {
    Ok(TcpStream::connect(address).await?)
}

/// `GET path`; 200 to 399 is yes, as with Kubernetes' probes.
async fn http(address: SocketAddr, path: &str) -> Result<(), Trouble> {
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "phoenixd-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Trouble::There(format!("`{path}` cannot be asked for")))?;
    let stream = connect(address).await?;
    let status = head(stream, request).await.map_err(|e| trouble(&e))?;
    if (200..=399).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(Trouble::There(format!("HTTP {}", status.as_u16())))
    }
}

/// Sends the request and reads the head of the answer.
async fn head(stream: TcpStream, request: Request<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let mut open = true;
    loop {
        // Cancel safety: both are polled in place and kept over the rounds of the loop.
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map(|answer| answer.status()),
            // Its error, if any, is the answer's as well.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// The failure of an HTTP exchange in a few words.
fn trouble(error: &hyper::Error) -> Trouble {
    if error.is_parse_too_large() {
        return Trouble::There("the head of its answer is too large".to_owned());
    }
    if error.is_parse() {
        return Trouble::There("not HTTP".to_owned());
    }
    match error.source() {
        Some(source) => match source.downcast_ref::<io::Error>() {
            Some(error) => Trouble::There(short(error)),
            // It spoke before it was asked.
            None => Trouble::There("not HTTP".to_owned()),
        },
        None if error.is_incomplete_message() || error.is_canceled() => {
            Trouble::There("closed without an answer".to_owned())
        }
        None => Trouble::There("not HTTP".to_owned()),
    }
}

/// No resource of our own left: the replica has no part in it.
fn is_ours(error: &io::Error) -> bool {
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// `connection refused` rather than `Connection refused (os error 111)`.
fn short(error: &io::Error) -> String {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::BrokenPipe
    ) {
        error.kind().to_string()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_our_own_resources_is_no_word_about_the_replica() {
        for (errno, ours) in [
            (Errno::MFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            let trouble = Trouble::from(io::Error::from(errno));
            assert_eq!(matches!(trouble, Trouble::Here(_)), ours, "{errno}");
        }
    }
}
