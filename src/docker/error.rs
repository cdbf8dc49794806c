//! Why a call to the engine failed: few kinds, each of which decides something.

use std::time::Duration;

use bollard::errors::Error as Bollard;

use crate::reconcile::{Failure, FailureKind};

/// The longest message of an engine that is kept. A failed start can quote the runtime's whole output.
const MESSAGE_BYTES: usize = 2048;

/// How dockerd passes the guard's word on (20.10.24 and 28.5.2).
const BY_THE_GUARD: &str = "authorization denied by plugin phoenixd:";
/// Who signs is let through. The key is read once, at the start.
const UNSIGNED: &str = " (if this phoenixd was started before the guard was installed, restart it: it has no key to sign with)";

/// Why a call to the engine failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such container, image, network or volume (404).
    #[error("not found: {message}")]
    NotFound {
        /// The engine's words.
        message: String,
    },
    /// A name, an address or a port is taken, or the thing is in use (409, and 403 for networks in use).
    #[error("conflict: {message}")]
    Conflict {
        /// The engine's words.
        message: String,
    },
    /// The engine will not do it (400, 403, 500, …).
    #[error("the engine refused (status {status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine cannot be reached, or the connection broke.
    #[error("the engine at {address} cannot be reached: {message}")]
    Unavailable {
        /// Where it was looked for.
        address: String,
        /// Why.
        message: String,
    },
    /// The engine did not answer in time.
    #[error("the engine did not answer `{call}` within {}", humantime::format_duration(*after))]
    TimedOut {
        /// Which call.
        call: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// The settings or the versions do not fit together: nothing but a change of them helps.
    #[error("{message}")]
    Unusable {
        /// What does not fit.
        message: String,
        /// What to do.
        hint: Option<&'static str>,
    },
    /// The engine's answer lacks something that it always has.
    #[error("the engine's answer has no usable `{field}`")]
    Malformed {
        /// Which field.
        field: &'static str,
    },
}

impl Error {
    /// The same call may succeed later although nothing about it changes.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } => true,
            Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Refused { .. }
            | Self::Unusable { .. }
            | Self::Malformed { .. } => false,
        }
    }

    /// As the core understands it.
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::Conflict { .. } => FailureKind::Conflict,
            Self::Refused { .. } | Self::Unusable { .. } | Self::Malformed { .. } => {
                FailureKind::Refused
            }
            Self::Unavailable { .. } | Self::TimedOut { .. } => FailureKind::Unavailable,
        };
        Failure {
            kind,
            message: self.to_string(),
        }
    }
}

/// A refusal by its status.
pub(super) fn refusal(status: u16, message: String) -> Error {
    let mut message = clipped(message);
    if message.starts_with(BY_THE_GUARD) {
        message.push_str(UNSIGNED);
    }
    match status {
        404 => Error::NotFound { message },
        409 => Error::Conflict { message },
        status => Error::Refused { status, message },
    }
}

/// One of bollard's errors; `call` names what failed, or whose answer was not understood.
pub(super) fn translate(call: &'static str, address: &str, error: Bollard) -> Error {
    let unavailable = |error: &dyn std::error::Error| Error::Unavailable {
        address: address.to_owned(),
        message: deepest(error),
    };
    match error {
        Bollard::DockerResponseServerError {
            status_code,
            message,
        } => refusal(status_code, message),
        // Errors inside of a stream come without a status.
        Bollard::DockerStreamError { error } | Bollard::DockerContainerWaitError { error, .. } => {
            refusal(500, error)
        }
        Bollard::IOError { err } => unavailable(&err),
        Bollard::HyperResponseError { err } => unavailable(&err),
        Bollard::HyperLegacyError { err } => unavailable(&err),
        Bollard::SocketNotFoundError(path) => Error::Unavailable {
            address: address.to_owned(),
            message: path,
        },
        // Only this module's own longer limit can be met: see `calls`.
        Bollard::RequestTimeoutError => Error::Unavailable {
            address: address.to_owned(),
            message: "no answer".to_owned(),
        },
        Bollard::JsonDataError { .. }
        | Bollard::JsonSerdeError { .. }
        | Bollard::StrParseError { .. }
        | Bollard::APIVersionParseError {}
        | Bollard::HttpHeaderNotFoundError(_)
        | Bollard::HttpHeaderToStrError { .. }
        | Bollard::Base64DecodeError { .. } => Error::Malformed { field: call },
        // The request could not be written: a name with characters that no name of Docker's has.
        error @ (Bollard::StrFmtError { .. }
        | Bollard::HttpClientError { .. }
        | Bollard::URLEncodedError { .. }
        | Bollard::URLParseError { .. }
        | Bollard::InvalidURIError { .. }
        | Bollard::InvalidURIPartsError { .. }
        | Bollard::UnsupportedURISchemeError { .. }
        | Bollard::MissingSessionBuildkitError {}
        | Bollard::MissingVersionBuildkitError {}) => refusal(400, error.to_string()),
    }
}

/// The engine's words in the body of a refusal: `{"message": "…"}`, or plain text from a proxy.
pub(super) fn engine_message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

/// The cause at the end of the chain: hyper's own words (`client error (Connect)`) say nothing.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    clipped(deepest.to_string())
}

/// At most [`MESSAGE_BYTES`] of a text.
fn clipped(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES));
        text.push('…');
    }
    text
}
