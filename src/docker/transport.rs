//! One HTTP/1.1 client for Unix sockets, TCP and TLS, given to bollard as its transport and used beside it for
//! streams.
//!
//! bollard 0.21.1 has transports of its own; this one replaces them because they open a connection per request
//! (0.25 ms instead of 0.16 on a Unix socket; 44 ms with its TLS, which lacks `TCP_NODELAY`), because it trusts the
//! system's CAs for an engine, and because it sends every path without the API's version (bollard issue 736).
//!
//! bollard writes request bodies, which have secrets in them, to the `log` crate at debug level. Nothing here or in
//! `tracing-subscriber` as configured collects `log` records; whoever adds that must append `bollard=info`.
//!
//! Not here: retries. hyper sends a request again only when it never left, on a connection that the engine had closed.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, uri};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::{Address, ApiVersion, Endpoint, authority};
use super::{Error, error, tls};
use crate::sign::{self, Signer};

/// Idle connections that are kept: as many as a listing inspects at once.
const IDLE_MAX: usize = 8;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a connection to be made, TLS included. Longer than a lost SYN's first two repetitions (1 s + 2 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// When a peer that vanished is noticed on a silent TCP stream: after 30 s, then 3 times 10 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;
/// The largest answer that is read whole: some thousand times an inspection.
const ANSWER_BYTES: usize = 32 << 20;

/// A request's body, as bollard has it.
pub(super) type Body = Either<Full<Bytes>, StreamBody<BodyStream>>;
type BodyStream = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, io::Error>> + Send>>;

/// The way to one engine.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client<Connector, Body>,
    authority: uri::Authority,
    address: Arc<str>,
    version: Option<ApiVersion>,
    /// Signs each request, where this host has a guard.
    signer: Option<Arc<Signer>>,
}

impl Wire {
    /// Reads the certificates; connects on the first request.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, Error> {
        let tls = match &endpoint.certificates {
            None => None,
            Some(directory) => Some(TlsConnector::from(tls::client_config(directory)?)),
        };
        let host = match &endpoint.address {
            Address::Unix(_) => "docker".to_owned(),
            Address::Tcp { host, port } => authority(host, *port),
        };
        let authority = host.parse().map_err(|_| Error::Unusable {
            message: format!("`{host}` is not a host"),
            hint: None,
        })?;
        let connector = match endpoint.address.clone() {
            Address::Unix(path) => Connector::Unix(path),
            Address::Tcp { host, port } => Connector::Tcp { host, port, tls },
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self {
            client,
            authority,
            address: endpoint.to_string().into(),
            version: None,
            signer: endpoint
                .signing_key
                .clone()
                .map(|key| Arc::new(Signer::new(key))),
        })
    }

    /// The same way, with every path under `/v1.NN`.
    pub(super) fn speaking(&self, version: ApiVersion) -> Self {
        Self {
            version: Some(version),
            ..self.clone()
        }
    }

    /// Where the engine is, for messages.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request whose path is without version; returns when the answer's head is there.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, bollard::errors::Error> {
        *request.uri_mut() = self.target(request.uri())?;
        if let Some(signer) = &self.signer {
            request = signed(signer, request).await?;
        }
        Ok(self.client.request(request).await?)
    }

    fn target(&self, asked: &Uri) -> Result<Uri, hyper::http::Error> {
        let path = asked
            .path_and_query()
            .map_or("/", uri::PathAndQuery::as_str);
        let path = match self.version {
            None => path.to_owned(),
            Some(version) => format!("/v{version}{path}"),
        };
        Uri::builder()
            .scheme(uri::Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// Sends a request without body and returns the answer's head; a refusal is an error.
    pub(super) async fn open(
        &self,
        call: &'static str,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let response = self
            .send(request)
            .await
            .map_err(|error| error::translate(call, self.address(), error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.collect(response.into_body()).await?;
        Err(error::refusal(
            status.as_u16(),
            error::engine_message(&body),
        ))
    }

    /// One exchange whose answer is read whole.
    pub(super) async fn exchange(
        &self,
        call: &'static str,
        request: Request<Body>,
    ) -> Result<(HeaderMap, Bytes), Error> {
        let (head, body) = self.open(call, request).await?.into_parts();
        Ok((head.headers, self.collect(body).await?))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, Error> {
        match Limited::new(body, ANSWER_BYTES).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(Error::Unavailable {
                address: self.address.to_string(),
                message: error::deepest(&*error),
            }),
        }
    }
}

/// The same request with the signature by which the guard knows it. What plugins are not shown (a body that is no JSON,
/// or comes as a stream) is not signed either.
async fn signed(
    signer: &Signer,
    request: Request<Body>,
) -> Result<Request<Body>, bollard::errors::Error> {
    let (mut head, body) = request.into_parts();
    let kind = head.headers.get(hyper::header::CONTENT_TYPE);
    let is_shown = kind.is_some_and(|kind| kind == "application/json");
    let (hash, body) = match body {
        Either::Left(whole) if is_shown => {
            let bytes = match whole.collect().await {
                Ok(collected) => collected.to_bytes(),
                Err(never) => match never {},
            };
            // dockerd 28 keeps 4 MiB ready for what may be a body to be shown, on every request that says this type.
            if bytes.is_empty() && has_no_body(&head.method) {
                head.headers.remove(hyper::header::CONTENT_TYPE);
            }
            (sign::body_hash(&bytes), Either::Left(Full::new(bytes)))
        }
        unseen @ (Either::Left(_) | Either::Right(_)) => (sign::UNSEEN.to_owned(), unseen),
    };
    // What stands in the request line: hyper sends path and query, whatever the scheme.
    let target = head
        .uri
        .path_and_query()
        .map_or("/", uri::PathAndQuery::as_str);
    let value = signer.sign(head.method.as_str(), target, &hash)?;
    let value = HeaderValue::from_str(&value).map_err(io::Error::other)?;
    head.headers.insert(SIGNATURE, value);
    Ok(Request::from_parts(head, body))
}

/// Where the guard takes no body for an empty one, whatever the type is.
fn has_no_body(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::DELETE].contains(method)
}

/// [`sign::HEADER`] as HTTP/1.1 compares it.
const SIGNATURE: HeaderName = HeaderName::from_static("x-phoenixd-signature");

/// A request without body.
pub(super) fn request(method: Method, path: &str) -> Result<Request<Body>, Error> {
    request_with(method, path, "application/json", Bytes::new())
}

/// A request with a body in memory.
pub(super) fn request_with(
    method: Method,
    path: &str,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Result<Request<Body>, Error> {
    build(
        method,
        path,
        content_type,
        Either::Left(Full::new(body.into())),
    )
}

/// A request whose body is sent as it comes.
pub(super) fn request_streaming(
    method: Method,
    path: &str,
    content_type: &'static str,
    body: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
) -> Result<Request<Body>, Error> {
    use futures::TryStreamExt;
    let body: BodyStream = Box::pin(body.map_ok(Frame::data));
    build(
        method,
        path,
        content_type,
        Either::Right(StreamBody::new(body)),
    )
}

fn build(
    method: Method,
    path: &str,
    content_type: &'static str,
    body: Body,
) -> Result<Request<Body>, Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::CONTENT_TYPE, content_type)
        .body(body)
        .map_err(|error| error::refusal(400, error.to_string()))
}

/// A query's value, percent-encoded.
pub(super) fn encoded(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[derive(Clone)]
enum Connector {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
        tls: Option<TlsConnector>,
    },
}

impl Connector {
    async fn connect(self) -> io::Result<Socket> {
        let io: Box<dyn Io> = match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp { host, port, tls } => {
                let tcp = TcpStream::connect((host.as_str(), port)).await?;
                tcp.set_nodelay(true)?;
                keep_alive(&tcp)?;
                match tls {
                    None => Box::new(tcp),
                    Some(tls) => {
                        let name = ServerName::try_from(host).map_err(io::Error::other)?;
                        Box::new(tls.connect(name, tcp).await?)
                    }
                }
            }
        };
        Ok(Socket(TokioIo::new(io)))
    }
}

/// Without this a peer that lost its power leaves a silent event stream open for ever.
fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_COUNT)?;
    Ok(())
}

impl tower_service::Service<Uri> for Connector {
    type Response = Socket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _target: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connector.connect())
                .await
                .unwrap_or_else(|_| {
                    Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "no connection within 10 s",
                    ))
                })
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection of any kind, as hyper wants it.
struct Socket(TokioIo<Box<dyn Io>>);

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
}
