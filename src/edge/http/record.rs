//! A request's head as it came, for the one thing that hyper does not tell: that it had both a `Content-Length` and a
//! `Transfer-Encoding`. hyper goes by the latter, drops the former, and the edge frames anew, so that no replica could be
//! led astray; but whoever sends both tries to (RFC 9112, 6.1 and 11.2), and is refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::Version;
use hyper::header::TRANSFER_ENCODING;
use hyper::http::request::Parts;

use super::serve::BUFFER_BYTES;

/// What came on one connection since its last request was answered.
#[derive(Debug)]
pub(super) struct Record {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    is_on: bool,
    /// Its frames have no heads of text.
    is_h2: bool,
}

impl Record {
    pub(super) fn new() -> Self {
        let inner = Inner {
            bytes: Vec::new(),
            is_on: true,
            is_h2: false,
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Takes note of what was read, while a head is waited for.
    pub(super) fn add(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        if inner.is_on {
            let room = BUFFER_BYTES.saturating_sub(inner.bytes.len());
            let room = room.min(bytes.len());
            inner
                .bytes
                .extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
    }

    /// A request has come, with what follows it. Whether its head named two lengths; so does one that cannot be seen,
    /// because it was sent before the last one was answered.
    pub(super) fn names_two_lengths(&self, parts: &Parts) -> bool {
        let mut inner = self.lock();
        inner.is_on = false;
        inner.is_h2 = parts.version > Version::HTTP_11;
        let is_certain = inner.is_h2 || !parts.headers.contains_key(TRANSFER_ENCODING);
        let named =
            !is_certain && names_a_length(&inner.bytes, parts.method.as_str()).unwrap_or(true);
        inner.bytes.clear();
        named
    }

    /// Nothing is held of a connection that rests, but for the begin of a head.
    pub(super) fn shrink(&self) {
        self.lock().bytes.shrink_to_fit();
    }

    /// The last request was answered: the next bytes are a head.
    pub(super) fn resume(&self) {
        let mut inner = self.lock();
        inner.is_on = !inner.is_h2;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is whole; a panic elsewhere takes nothing from that.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the head at the begin of the bytes has a `Content-Length`; `None` where none of that method begins there.
fn names_a_length(bytes: &[u8], method: &str) -> Option<bool> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty());
    let rest = lines.next()?.strip_prefix(method.as_bytes())?;
    if rest.first() != Some(&b' ') {
        return None;
    }
    let is_length = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next();
        name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"content-length"))
    };
    Some(lines.take_while(|line| !line.is_empty()).any(is_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_in_the_head_and_nowhere_else() {
        let of = |text: &str| names_a_length(text.as_bytes(), "POST");
        assert_eq!(
            of("POST / HTTP/1.1\r\nContent-LENGTH:3\r\n\r\n"),
            Some(true)
        );
        assert_eq!(
            of("\r\nPOST / HTTP/1.1\na: b\ncontent-length : 3\n\n"),
            Some(true)
        );
        let body = "POST / HTTP/1.1\r\na: content-length: 3\r\n\r\ncontent-length: 3\r\n";
        assert_eq!(of(body), Some(false));
        assert_eq!(of("0\r\n\r\nPOST / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(of("POSTER / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(of(""), None);
    }
}
