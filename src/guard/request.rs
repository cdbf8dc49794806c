//! A request as dockerd shows it to a plugin.
//!
//! Source: moby 20.10 and 28, `pkg/authorization/api.go`. Not here: what its line means (`target`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use crate::sign::{Nonce, Unverified};

/// What dockerd sends before and after a request. Fields that are not used are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Request {
    /// `POST`
    #[serde(rename = "RequestMethod")]
    pub method: String,
    /// The request line's target as it came, with query.
    #[serde(rename = "RequestUri")]
    pub uri: String,
    /// The last value of each header; some are left out.
    #[serde(rename = "RequestHeaders", deserialize_with = "or_default")]
    pub headers: BTreeMap<String, String>,
    /// The body where dockerd shows it; else empty.
    #[serde(rename = "RequestBody", deserialize_with = "base64")]
    pub body: Vec<u8>,
    /// The answer's status; only after the request.
    #[serde(rename = "ResponseStatusCode")]
    pub status: u16,
    /// The answer's body; only after the request.
    #[serde(rename = "ResponseBody", deserialize_with = "base64")]
    pub answer: Vec<u8>,
}

impl Request {
    /// A header by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The type of the body in lower case, without parameters.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("Content-Type")?;
        let kind = value.split(';').next().unwrap_or_default();
        Some(kind.trim().to_ascii_lowercase())
    }
}

/// What is read first of what dockerd shows after a request: the bodies may be long, and few answers teach something.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Answered {
    /// `POST`
    #[serde(rename = "RequestMethod")]
    pub method: String,
    /// The request line's target.
    #[serde(rename = "RequestUri")]
    pub uri: String,
    /// The answer's status.
    #[serde(rename = "ResponseStatusCode")]
    pub status: u16,
}

/// Whose request it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authority {
    /// phoenixd's own.
    Signed(Nonce),
    /// Anybody's.
    Unsigned,
    /// It has a signature that is not good.
    Refused(Refusal),
}

/// Why a signature is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not verify.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// It was used before.
    #[error("it was used before")]
    Used,
    /// It is older than half a minute.
    #[error("it is too old")]
    Old,
    /// It comes from the future: another boot, or another clock.
    #[error("it is from the future")]
    Future,
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn or_default<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
