//! Where an engine is, read from the text of `DOCKER_HOST` and its companions.
//!
//! Not here: reading the environment (`config`), and connecting (`connect`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::sign::Key;

/// Where Docker listens when nothing is said (docker/cli v28.2.2, `opts.DefaultUnixSocket`).
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Ports where none is given (docker/cli v28.2.2, `opts.DefaultHTTPPort`, `DefaultTLSHTTPPort`).
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Where an engine is and how it is spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// The directory of `ca.pem`, and of `cert.pem` with `key.pem` where the engine asks for a client certificate;
    /// `None` for no TLS.
    pub certificates: Option<PathBuf>,
    /// Speak this version of the API; negotiated where `None`.
    pub api_version: Option<ApiVersion>,
    /// The `/proc` of the engine's host; `None` where it is not at hand. Right for a Unix socket unless it is
    /// forwarded from elsewhere, which `kernel` notices.
    pub proc_root: Option<PathBuf>,
    /// Signs each request, where this host has a guard; `None` where it has none.
    pub signing_key: Option<Key>,
}

/// Where an engine listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A socket of this host.
    Unix(PathBuf),
    /// A port of some host.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

/// What goes with the address: `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsSettings {
    /// Speak TLS on `tcp://`. The engine's certificate is verified whenever TLS is spoken: there is no way to switch
    /// that off.
    pub verify: bool,
    /// The directory of the PEM files.
    pub cert_path: Option<PathBuf>,
}

/// Why a text is no endpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no engine that phoenixd can reach: {reason}")]
pub struct EndpointError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl Endpoint {
    /// Reads `DOCKER_HOST`: `unix:///path`, `tcp://host:port`, `http://host:port`, `https://host:port`; empty means
    /// Docker's default socket. `tcp://` is TLS when `tls.verify` is set, as in Docker's own client.
    ///
    /// # Errors
    /// Another scheme (`ssh://`, `fd://`, `npipe://`), a path after the port, TLS without certificates.
    pub fn parse(host: &str, tls: &TlsSettings) -> Result<Self, EndpointError> {
        let error = |reason, hint| EndpointError {
            text: host.to_owned(),
            reason,
            hint,
        };
        let text = host.trim();
        if text.is_empty() {
            return Ok(Self::unix(PathBuf::from(DEFAULT_SOCKET)));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            error(
                "it has no scheme",
                Some("write `unix:///path/to/docker.sock` or `tcp://host:port`"),
            )
        })?;
        let with_tls = match scheme {
            "unix" if rest.starts_with('/') => return Ok(Self::unix(PathBuf::from(rest))),
            "unix" => {
                return Err(error(
                    "the socket's path is not absolute",
                    Some("write three slashes: `unix:///path/to/docker.sock`"),
                ));
            }
            "http" if tls.verify => {
                return Err(error(
                    "`http://` is not encrypted, but DOCKER_TLS_VERIFY is set",
                    Some("write `https://` or `tcp://`"),
                ));
            }
            "tcp" => tls.verify,
            "http" => false,
            "https" => true,
            "ssh" => {
                return Err(error(
                    "ssh is not spoken here",
                    Some(
                        "forward the socket with `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock user@host` and \
                         use `unix:///tmp/engine.sock`",
                    ),
                ));
            }
            _ => {
                return Err(error(
                    "its scheme is not known",
                    Some("write `unix:///path/to/docker.sock` or `tcp://host:port`"),
                ));
            }
        };
        let (host, port) = split_port(rest, if with_tls { TLS_PORT } else { PLAIN_PORT })
            .map_err(|reason| error(reason, None))?;
        let certificates = match (with_tls, &tls.cert_path) {
            (false, _) => None,
            (true, Some(path)) => Some(path.clone()),
            (true, None) => {
                return Err(error(
                    "TLS needs the engine's CA",
                    Some("set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem"),
                ));
            }
        };
        Ok(Self {
            address: Address::Tcp { host, port },
            certificates,
            api_version: None,
            proc_root: None,
            signing_key: None,
        })
    }

    /// The engine at a socket of this host.
    pub fn unix(path: PathBuf) -> Self {
        Self {
            address: Address::Unix(path),
            certificates: None,
            api_version: None,
            proc_root: Some(PathBuf::from("/proc")),
            signing_key: None,
        }
    }
}

/// `host:port`, `host`, `[v6]:port`, `[v6]`, with a slash after it or not.
fn split_port(text: &str, default: u16) -> Result<(String, u16), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains(['/', '?', '#']) {
        return Err("there is a path after the port");
    }
    if text.contains('@') {
        return Err("there is a user in it");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, tail) = v6.split_once(']').ok_or("a bracket is not closed")?;
            match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if tail.is_empty() => (host, None),
                None => return Err("there is something between the address and the port"),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host_char) {
        return Err("the host is not a name or an address");
    }
    let port = match port {
        None => default,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => return Err("the port is not a number from 1 to 65535"),
        },
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.certificates) {
            (Address::Unix(path), _) => write!(f, "unix://{}", path.display()),
            (Address::Tcp { host, port }, None) => {
                write!(f, "tcp://{}", authority(host, *port))
            }
            (Address::Tcp { host, port }, Some(_)) => {
                write!(f, "https://{}", authority(host, *port))
            }
        }
    }
}

/// `host:port` as it stands in a URL.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A version of the Docker Engine API: `1.41`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ApiVersion {
    /// `1`
    pub major: u32,
    /// `41`
    pub minor: u32,
}

impl ApiVersion {
    /// `1.minor`
    pub const fn one(minor: u32) -> Self {
        Self { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no version of the API.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a version of the Docker Engine API; write it as `1.41`")]
pub struct ApiVersionError {
    text: String,
}

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    /// Reads `1.41` or `v1.41`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ApiVersionError {
            text: text.to_owned(),
        };
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = text
            .strip_prefix('v')
            .unwrap_or(text)
            .split_once('.')
            .filter(|(major, minor)| is_number(major) && is_number(minor))
            .ok_or_else(error)?;
        Ok(Self {
            major: major.parse().map_err(|_| error())?,
            minor: minor.parse().map_err(|_| error())?,
        })
    }
}
