//! The edge at work, for a compiler to learn from (`scripts/trained`): the loads that are measured, and what else requests
//! and connections do. What is not here the compiler takes for rare, and makes small instead of fast.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Failure;
use super::load::{self, Asker, Shape};
use super::others::Proxy;

/// Of each kind.
const SPAN: Duration = Duration::from_secs(1);
/// Of an upload.
const BODY: usize = 16 << 10;
/// Open at once on a connection of HTTP/2.
const STREAMS: usize = 8;
/// What a client sends to ask for a websocket; the edge does not look at the key.
const WEBSOCKET: &str = "GET / HTTP/1.1\r\nhost: bench\r\nconnection: keep-alive, upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Lets an edge of each kind do all that it is to do fast.
pub(crate) fn run() -> Result<(), Failure> {
    let replica = load::replica()?;
    for proxy in [Proxy::EdgeHttp, Proxy::EdgeSplice, Proxy::EdgeCopy] {
        let edge = proxy.start(replica)?.ok_or("the edge does not listen")?;
        let shapes = Shape::ALL.into_iter().filter(|shape| proxy.serves(*shape));
        for shape in shapes {
            load::measure(edge.address(), shape, || 0.0)?;
        }
        for request in requests() {
            again(|| Asker::with(connect(edge.address())?, request.clone(), 1 << 10)?.ask())?;
            let mut kept = Asker::with(connect(edge.address())?, request, 1 << 10)?;
            again(|| kept.ask())?;
        }
        if proxy == Proxy::EdgeHttp {
            websocket(edge.address())?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(second(edge.address()))?;
        }
    }
    Ok(())
}

fn again(mut once: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < SPAN {
        once()?;
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    Ok(TcpStream::connect(address)?)
}

/// As a browser asks, and with a body of either kind.
fn requests() -> [Vec<u8>; 3] {
    let browser = "GET /1024?page=1 HTTP/1.1\r\nHost: shop.example:8080\r\nConnection: keep-alive\r\nAccept: text/html,*/*;q=0.8\r\n\
                   User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en\r\n\
                   Cookie: session=0123456789abcdef\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let body = "x".repeat(BODY);
    let sized =
        format!("POST /1024 HTTP/1.1\r\nhost: bench\r\ncontent-length: {BODY}\r\n\r\n{body}");
    let chunked = format!(
        "POST /1024 HTTP/1.1\r\nhost: bench\r\ntransfer-encoding: chunked\r\n\r\n{BODY:x}\r\n{body}\r\n0\r\n\r\n"
    );
    [browser.into(), sized.into(), chunked.into()]
}

/// Short messages, there and back.
fn websocket(edge: SocketAddr) -> Result<(), Failure> {
    let mut stream = connect(edge)?;
    stream.set_nodelay(true)?;
    stream.write_all(WEBSOCKET.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&head).into());
    }
    let (asked, mut answer) = (load::masked_message(), load::message_back());
    again(|| {
        stream.write_all(&asked)?;
        Ok(stream.read_exact(&mut answer)?)
    })
}

/// HTTP/2 without TLS.
async fn second(edge: SocketAddr) -> Result<(), Failure> {
    let stream = tokio::net::TcpStream::connect(edge).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let began = Instant::now();
    while began.elapsed() < SPAN {
        try_join_all((0..STREAMS).map(|_| {
            let mut sender = sender.clone();
            async move {
                let body = Empty::<Bytes>::new().map_err(|never: Infallible| match never {});
                let request = Request::get(format!("http://{edge}/1024")).body(body.boxed())?;
                let answer = sender.send_request(request).await?;
                if answer.status() != StatusCode::OK {
                    return Err(answer.status().to_string().into());
                }
                answer.into_body().collect().await?;
                Ok::<_, Failure>(())
            }
        }))
        .await?;
    }
    drop(sender);
    Ok(driver.await??)
}
