//! The edge's own answers: a status, and a line that says what is the matter.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::body::AnswerBody;
use super::fields::Refusal;

/// Why the edge answers for the replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// No replica took the request in time.
    NoReplica,
    /// The replica's connection broke, or what it says is not HTTP.
    Broken,
    /// The replica does not answer.
    Silent,
    /// The client does not send the body that it announced.
    SlowClient,
    /// The request is not one that the edge forwards.
    Refused(Refusal),
}

/// In seconds: a replica that ended is replaced within some.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// The answer.
pub(super) fn of(trouble: Trouble) -> Response<AnswerBody> {
    let (status, text) = match trouble {
        Trouble::NoReplica => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no replica of this service is ready\n",
        ),
        Trouble::Broken => (
            StatusCode::BAD_GATEWAY,
            "the replica did not answer properly\n",
        ),
        Trouble::Silent => (
            StatusCode::GATEWAY_TIMEOUT,
            "the replica did not answer in time\n",
        ),
        Trouble::SlowClient => (
            StatusCode::REQUEST_TIMEOUT,
            "the body of the request did not come in time\n",
        ),
        Trouble::Refused(Refusal::Host) => (
            StatusCode::BAD_REQUEST,
            "the request names no host, or more than one\n",
        ),
        Trouble::Refused(Refusal::Framing) => (
            StatusCode::BAD_REQUEST,
            "the length of the request is not certain\n",
        ),
        Trouble::Refused(Refusal::Coding) => (
            StatusCode::NOT_IMPLEMENTED,
            "this coding of the transfer is not supported\n",
        ),
        Trouble::Refused(Refusal::Large) => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the fields of the request are too large\n",
        ),
        Trouble::Refused(Refusal::Connect) => {
            (StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not supported\n")
        }
    };
    let body = AnswerBody::Own(Full::new(Bytes::from_static(text.as_bytes())));
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    match trouble {
        Trouble::NoReplica => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
        // What follows on the connection cannot be told from the rest of this request.
        Trouble::SlowClient | Trouble::Refused(_) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Trouble::Broken | Trouble::Silent => {}
    }
    answer
}
