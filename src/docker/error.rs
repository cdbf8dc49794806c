//! Why a call to the engine failed: few kinds, each of which decides something.

use std::time::Duration;

use crate::reconcile::{Failure, FailureKind};

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
            | Self::Malformed { .. } => false,
        }
    }

    /// As the core understands it.
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::Conflict { .. } => FailureKind::Conflict,
            Self::Refused { .. } | Self::Malformed { .. } => FailureKind::Refused,
            Self::Unavailable { .. } | Self::TimedOut { .. } => FailureKind::Unavailable,
        };
        Failure {
            kind,
            message: self.to_string(),
        }
    }
}
