//! Where heads go to, and how often, as the operator writes it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::address::Network;
use super::webhook::Webhook;

/// After how many records a head is exported.
const EVERY: u64 = 100;
/// After how long, where there is a new one.
const PERIOD: Duration = Duration::from_mins(1);
/// Where the local syslog listens.
const DEV_LOG: &str = "/dev/log";
/// The shortest secret that is worth the name, in bytes.
const SECRET_LEAST: usize = 16;
/// The longest secret that is read.
const SECRET_MOST: u64 = 4096;

/// Where heads go to, and how often.
#[derive(Clone, Debug)]
pub struct Export {
    pub(super) sinks: Vec<Sink>,
    pub(super) every: u64,
    pub(super) period: Duration,
}

/// One place that heads go to.
#[derive(Clone, Debug)]
pub enum Sink {
    /// A file that is appended to.
    File(PathBuf),
    /// The syslog daemon behind this socket.
    Syslog(PathBuf),
    /// Somebody who takes them by HTTP.
    Webhook(Box<Webhook>),
}

impl Sink {
    /// What it is called in the log and in the journal: nothing of a URL but its host, as there may be a token in it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::Syslog(path) => format!("syslog {}", path.display()),
            Self::Webhook(webhook) => format!("webhook {}", webhook.host()),
        }
    }
}

/// What the operator wrote, unread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// `file:/path`, `syslog:`, `webhook:https://…`, separated by commas.
    pub sinks: Option<&'a str>,
    /// A number of records.
    pub every: Option<&'a str>,
    /// A duration.
    pub period: Option<&'a str>,
    /// A file with the secret of the webhook's signature.
    pub secret_file: Option<&'a str>,
    /// A file of certificates.
    pub ca_file: Option<&'a str>,
    /// Networks, separated by commas.
    pub networks: Option<&'a str>,
}

/// What is wrong with what the operator wrote.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A place that is none.
    #[error("`{0}` is no place for heads; write file:/path, syslog: or webhook:https://host/path")]
    Sink(String),
    /// A webhook without TLS that is not on this host, or no URL.
    #[error("`{0}` cannot be a webhook: it takes https, or http to a loopback address")]
    Url(String),
    /// Not a number from 1.
    #[error("`{0}` is not a number of records")]
    Every(String),
    /// Not a duration.
    #[error("`{0}` is not a duration of a second or more; write `1m` or `30s`")]
    Period(String),
    /// Not a network.
    #[error("`{0}` is not a network; write `10.0.0.0/8`")]
    Network(String),
    /// The secret cannot be used.
    #[error("the secret in {} cannot be used: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The certificates cannot be used.
    #[error("the certificates in {} cannot be used: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Export {
    /// Reads it; `None` where no place is named.
    ///
    /// # Errors
    /// [`ExportError`], before anything is exported.
    pub fn read(words: &Words<'_>) -> Result<Option<Self>, ExportError> {
        let every = match words.every {
            None => EVERY,
            Some(text) => text
                .parse()
                .ok()
                .filter(|every| *every > 0)
                .ok_or_else(|| ExportError::Every(text.to_owned()))?,
        };
        let period = match words.period {
            None => PERIOD,
            Some(text) => humantime::parse_duration(text)
                .ok()
                .filter(|period| *period >= Duration::from_secs(1))
                .ok_or_else(|| ExportError::Period(text.to_owned()))?,
        };
        let mut sinks = Vec::new();
        for text in parts(words.sinks) {
            sinks.push(sink(text, words)?);
        }
        Ok((!sinks.is_empty()).then_some(Self {
            sinks,
            every,
            period,
        }))
    }
}

fn parts(list: Option<&str>) -> impl Iterator<Item = &str> {
    let list = list.unwrap_or_default().split(',').map(str::trim);
    list.filter(|part| !part.is_empty())
}

fn sink(text: &str, words: &Words<'_>) -> Result<Sink, ExportError> {
    let unknown = || ExportError::Sink(text.to_owned());
    let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
    match kind {
        "file" if rest.starts_with('/') => Ok(Sink::File(rest.into())),
        "syslog" if rest.is_empty() => Ok(Sink::Syslog(DEV_LOG.into())),
        "syslog" if rest.starts_with('/') => Ok(Sink::Syslog(rest.into())),
        "webhook" => Ok(Sink::Webhook(Box::new(webhook(rest, words)?))),
        _ => Err(unknown()),
    }
}

fn webhook(url: &str, words: &Words<'_>) -> Result<Webhook, ExportError> {
    let bad = || ExportError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let mut networks = Vec::new();
    for text in parts(words.networks) {
        let network = Network::parse(text);
        networks.push(network.ok_or_else(|| ExportError::Network(text.to_owned()))?);
    }
    let secret = words.secret_file.map(secret).transpose()?;
    let ca_file = words.ca_file.map(PathBuf::from);
    Webhook::new(uri, networks, secret, ca_file)?.ok_or_else(bad)
}

/// The secret of a file, without the newline that editors put behind it.
fn secret(path: &str) -> Result<Vec<u8>, ExportError> {
    let cannot = |why: String| ExportError::Secret {
        path: path.into(),
        why,
    };
    let about = fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
    if about.len() > SECRET_MOST {
        return Err(cannot("it is too long".to_owned()));
    }
    let secret = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let secret = secret.trim_ascii_end().to_vec();
    if secret.len() < SECRET_LEAST {
        return Err(cannot(format!("it has less than {SECRET_LEAST} bytes")));
    }
    Ok(secret)
}
