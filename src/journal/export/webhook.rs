//! Heads to a webhook: one small POST, over TLS unless it stays on this host.
//!
//! The name is resolved once for each request, and the connection goes to just what was found; an address that is not
//! public is refused unless the operator lists its network. Redirects are not followed, and of the answer only the head
//! is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::Told;
use super::address::{Network, is_public};
use super::settings::ExportError;

/// The header with the HMAC-SHA256 of the body, in hexadecimal.
const SIGNATURE: &str = "x-phoenixd-hmac-sha256";
/// The longest head of an answer, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Where hosts keep the certificates that they trust (Go's `crypto/x509` looks there, too, go1.24 `root_linux.go`).
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Somebody who takes heads by HTTP.
#[derive(Clone)]
pub struct Webhook {
    uri: Uri,
    host: String,
    port: u16,
    /// `None` for one on this host that is spoken to without.
    tls: Option<Arc<ClientConfig>>,
    networks: Vec<Network>,
    secret: Option<Vec<u8>>,
}

impl std::fmt::Debug for Webhook {
    /// Without the path, which may hold a token, and without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}:{})", self.host, self.port)
    }
}

impl Webhook {
    /// `None` if the URL cannot be one.
    pub(super) fn new(
        uri: Uri,
        networks: Vec<Network>,
        secret: Option<Vec<u8>>,
        ca_file: Option<PathBuf>,
    ) -> Result<Option<Self>, ExportError> {
        let Some(authority) = uri.authority().filter(|all| !all.as_str().contains('@')) else {
            return Ok(None);
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let (is_tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") if is_this_host(&host) => (false, 80),
            Some(_) | None => return Ok(None),
        };
        let port = uri.port_u16().unwrap_or(port);
        let tls = is_tls.then(|| client_config(ca_file)).transpose()?;
        Ok(Some(Self {
            uri,
            host,
            port,
            tls,
            networks,
            secret,
        }))
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Posts the head; anything but 2xx is an error.
    ///
    /// # Cancel safety
    /// A request that is dropped closes its connection.
    pub(super) async fn post(&self, told: &Told) -> io::Result<()> {
        let request = self.request(told)?;
        let stream = TcpStream::connect(self.addresses().await?.as_slice()).await?;
        let status = match &self.tls {
            None => exchange(stream, request).await?,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                let tls = TlsConnector::from(Arc::clone(config));
                exchange(tls.connect(name, stream).await?, request).await?
            }
        };
        match status {
            200..=299 => Ok(()),
            300..=399 => Err(io::Error::other(format!(
                "HTTP {status}: redirects are not followed"
            ))),
            _ => Err(io::Error::other(format!("HTTP {status}"))),
        }
    }

    fn request(&self, told: &Told) -> io::Result<Request<Full<Bytes>>> {
        let body = serde_json::to_vec(told)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(HOST, authority)
            .header(USER_AGENT, "phoenixd-journal")
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close");
        if let Some(secret) = &self.secret {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(io::Error::other)?;
            mac.update(&body);
            request = request.header(SIGNATURE, hex::encode(mac.finalize().into_bytes()));
        }
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)
    }

    /// The addresses of the name that may be spoken to; at least one.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![(address, self.port).into()],
            Err(_) => lookup_host((self.host.as_str(), self.port))
                .await?
                .collect(),
        };
        let chosen: Vec<SocketAddr> = found
            .iter()
            .copied()
            .filter(|address| self.may_ask(address.ip()))
            .collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let found: Vec<String> = found.iter().map(|one| one.ip().to_string()).collect();
        let found = if found.is_empty() {
            "nowhere".to_owned()
        } else {
            found.join(", ")
        };
        Err(io::Error::other(format!(
            "{} leads to {found}, which is not public and not in PHOENIXD_JOURNAL_HEADS_NETWORKS",
            self.host
        )))
    }

    fn may_ask(&self, address: IpAddr) -> bool {
        let is_loopback = address.to_canonical().is_loopback();
        if self.tls.is_none() && !is_loopback {
            return false;
        }
        is_public(address)
            || (is_loopback && is_this_host(&self.host))
            || self.networks.iter().any(|network| network.has(address))
    }
}

/// Whether the operator means this host by it.
fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn client_config(ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, ExportError> {
    let path = ca_file.or_else(|| {
        let mut bundles = BUNDLES.iter().map(PathBuf::from);
        bundles.find(|path| path.exists())
    });
    let path = path.unwrap_or_else(|| BUNDLES[0].into());
    let cannot = |why: String| ExportError::Certificates {
        path: path.clone(),
        why,
    };
    let all = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut roots = RootCertStore::empty();
    // A bundle of a host may have one that is of no use; all of them must not be.
    roots.add_parsable_certificates(all.map_err(|error| cannot(error.to_string()))?);
    if roots.is_empty() {
        return Err(cannot("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(error.to_string()))?;
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// Sends the request and reads the head of the answer; its status.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> io::Result<u16> {
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let mut open = true;
    loop {
        // Cancel safety: both are polled in place and kept over the rounds of the loop.
        tokio::select! {
            biased;
            answer = &mut answer => {
                return answer.map(|answer| answer.status().as_u16()).map_err(io::Error::other);
            }
            // Its error, if any, is the answer's as well.
            _ = &mut connection, if open => open = false,
        }
    }
}
