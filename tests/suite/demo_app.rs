//! The demo application answers, and ends so that no client notices.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking, helpers too")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use phoenixd::demo::app::{self, Error, QUIET, Settings};
use phoenixd::demo::websocket::{Frame, Sender, Wrong, code, opcode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::support::eventually;

/// Beyond every wait that a test expects.
const LONG: Duration = Duration::from_secs(30);

struct App {
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinSet<Result<(), Error>>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let settings = Settings {
            port: 0,
            container: "demo-web-7".to_owned(),
            id: "0123456789ab".to_owned(),
            serial: Some(7),
            ttl: Some(Duration::from_secs(30)),
            mischief: true,
            clock: || Duration::from_secs(5),
        };
        let mut running = JoinSet::new();
        running.spawn(app::serve_on(listener, settings, shutdown.clone()));
        Self {
            address,
            shutdown,
            running,
        }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client(BufReader::new(stream))
    }

    async fn get(&self, path: &str) -> Answer {
        self.connect().await.get(path).await.unwrap()
    }

    /// How it ended.
    async fn ended(&mut self) -> Result<(), Error> {
        let ended = timeout(LONG, self.running.join_next()).await.unwrap();
        ended.unwrap().unwrap()
    }
}

/// A client of one connection, as plain as can be: what it sees is what is on the wire.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Client {
    async fn send(&mut self, method: &str, path: &str) -> std::io::Result<()> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: demo\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await
    }

    async fn get(&mut self, path: &str) -> std::io::Result<Answer> {
        self.send("GET", path).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> std::io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        head.make_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
        self.0.read_exact(&mut body).await?;
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// Everything until the server ends the connection.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let read = self.0.read_to_string(&mut rest);
        timeout(LONG, read).await.unwrap().unwrap();
        rest
    }
}

#[tokio::test]
async fn it_says_who_it_is() {
    let app = App::start().await;
    let mut client = app.connect().await;
    for count in 1..=3 {
        let answer = client.get("/whoami").await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(!answer.closes());
        let who = answer.json();
        assert_eq!(who["container"], "demo-web-7");
        assert_eq!(who["id"], "0123456789ab");
        assert_eq!(who["serial"], 7);
        assert_eq!(who["ttl_ms"], 30_000);
        assert_eq!(who["age_ms"], 0);
        assert_eq!(who["answered"], count);
        assert_eq!(who["ending"], false);
    }
    assert!(client.get("/whoami?close=1").await.unwrap().closes());
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = App::start().await;
    let page = app.get("/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{}",
        page.head
    );
    // `url(#…)` is a part of the page itself.
    let body = page.body.replace("url(#", "");
    for outside in ["http:", "https:", "src=", "url(", "@import", "\"//", "'//"] {
        assert!(!body.contains(outside), "{outside}");
    }
    assert!(page.body.contains("/whoami"));
}

#[tokio::test]
async fn it_answers_slowly_and_at_length_and_within_bounds() {
    let app = App::start().await;
    let answer = app.get("/slow?ms=20").await;
    assert_eq!(answer.body, "demo-web-7 took 20 ms\n");
    for n in [0, 1, 65_536, 1_000_000] {
        assert_eq!(app.get(&format!("/bytes?n={n}")).await.body.len(), n);
    }
    assert_eq!(app.get("/bytes?n=99999999999").await.status, 400);
    assert_eq!(app.get("/bytes?n=x").await.status, 400);
    assert_eq!(app.get("/nowhere").await.status, 404);
}

#[tokio::test]
async fn a_visitor_may_make_it_sick_or_crash_it() {
    let mut app = App::start().await;
    assert_eq!(app.get("/healthz").await.status, 200);
    let mut client = app.connect().await;
    client.send("POST", "/unhealthy").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(app.get("/healthz").await.status, 503);
    client.send("POST", "/crash").await.unwrap();
    assert!(matches!(app.ended().await, Err(Error::Crashed)));
    assert!(client.answer().await.is_err());
}

#[tokio::test]
async fn without_connections_it_ends_at_once() {
    let mut app = App::start().await;
    assert_eq!(app.get("/healthz").await.status, 200);
    app.shutdown.cancel();
    timeout(QUIET / 2, app.ended()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_is_told_to_leave_it() {
    let mut app = App::start().await;
    let mut client = app.connect().await;
    assert!(!client.get("/whoami").await.unwrap().closes());
    app.shutdown.cancel();
    // The next request still comes over the old connection, and is answered.
    let answer = client.get("/whoami").await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    assert_eq!(answer.json()["ending"], true);
    assert_eq!(client.rest().await, "");
    app.ended().await.unwrap();
}

#[tokio::test]
async fn healthy_until_the_end_and_new_connections_are_served() {
    let mut app = App::start().await;
    let idle = app.connect().await;
    app.shutdown.cancel();
    for _ in 0..3 {
        let answer = app.get("/healthz").await;
        assert_eq!((answer.status, answer.closes()), (200, true));
    }
    drop(idle);
    app.ended().await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_a_while_and_cleanly() {
    let mut app = App::start().await;
    let mut used = app.connect().await;
    used.get("/whoami").await.unwrap();
    let mut unused = app.connect().await;
    app.shutdown.cancel();
    let early = timeout(QUIET / 2, used.0.fill_buf()).await;
    assert!(early.is_err(), "closed too early: {early:?}");
    assert_eq!(used.rest().await, "");
    assert_eq!(unused.rest().await, "");
    app.ended().await.unwrap();
}

#[tokio::test]
async fn a_slow_request_is_finished() {
    let mut app = App::start().await;
    let mut client = app.connect().await;
    let ms = QUIET.as_millis() + 300;
    client.send("GET", &format!("/slow?ms={ms}")).await.unwrap();
    // Answered on another connection means that the first one was read.
    app.get("/healthz").await;
    app.shutdown.cancel();
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.body, format!("demo-web-7 took {ms} ms\n"));
    assert!(answer.closes());
    app.ended().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_properly_and_its_connection_may_be_used_again() {
    let mut app = App::start().await;
    let mut client = app.connect().await;
    client.send("GET", "/stream").await.unwrap();
    let mut heard = String::new();
    while !heard.contains("demo-web-7 is alive, 0 ms old\n") {
        assert_ne!(client.0.read_line(&mut heard).await.unwrap(), 0);
    }
    app.shutdown.cancel();
    while !heard.ends_with("\r\n0\r\n\r\n") {
        assert_ne!(client.0.read_line(&mut heard).await.unwrap(), 0);
    }
    assert!(heard.contains("ends this stream properly\n"), "{heard}");
    // Its head was sent before the end: nothing has told the client not to come again.
    assert!(!heard.to_lowercase().contains("connection: close"));
    assert!(client.get("/whoami").await.unwrap().closes());
    app.ended().await.unwrap();
}

/// The example of RFC 6455, 1.3.
const HANDSHAKE: &str = "GET /websocket HTTP/1.1\r\nhost: demo\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Client {
    async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = self.0.read_exact(&mut bytes);
        timeout(LONG, read).await.unwrap().unwrap();
        bytes
    }

    async fn websocket(&mut self) {
        self.write(HANDSHAKE.as_bytes()).await;
        let answer = self.answer().await.unwrap();
        assert_eq!(answer.status, 101);
        let proof = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
        assert!(answer.head.contains(proof), "{}", answer.head);
        // The examples of 5.7: "Hello" of a client, and of a server.
        self.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
            .await;
        assert_eq!(self.read(7).await, b"\x81\x05Hello");
    }
}

#[tokio::test]
async fn a_websocket_gets_back_what_it_sends_until_its_client_says_goodbye() {
    let app = App::start().await;
    let mut client = app.connect().await;
    client.websocket().await;
    client
        .write(&Frame::whole(opcode::PING, "?").encode(Sender::Client([1, 2, 3, 4])))
        .await;
    assert_eq!(client.read(3).await, b"\x8a\x01?");
    let long = Frame::whole(opcode::TEXT, vec![b'x'; 1000]);
    client.write(&long.encode(Sender::Client([9; 4]))).await;
    assert_eq!(client.read(1004).await, long.encode(Sender::Server));
    client
        .write(&Frame::close(1000).encode(Sender::Client([0; 4])))
        .await;
    assert_eq!(client.read(4).await, b"\x88\x02\x03\xe8");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_websocket_ends_with_a_close_frame_when_its_replica_is_to_end() {
    let mut app = App::start().await;
    let mut client = app.connect().await;
    client.websocket().await;
    app.shutdown.cancel();
    assert_eq!(client.read(4).await, b"\x88\x02\x03\xe9");
    client
        .write(&Frame::close(code::GOING_AWAY).encode(Sender::Client([0; 4])))
        .await;
    assert_eq!(client.rest().await, "");
    app.ended().await.unwrap();
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let app = App::start().await;
    assert_eq!(app.get("/websocket").await.status, 426);
    let mut client = app.connect().await;
    client.websocket().await;
    // Not masked.
    client.write(b"\x81\x05Hello").await;
    assert_eq!(client.read(4).await, b"\x88\x02\x03\xea");
}

#[test]
fn frames_are_taken_out_of_pieces_and_what_is_none_is_refused() {
    let (masked, text) = (Sender::Client([5, 6, 7, 8]), vec![7; 300]);
    let frames = [
        Frame::whole(opcode::TEXT, text),
        Frame::close(code::GOING_AWAY),
        Frame::whole(opcode::PONG, ""),
    ];
    let sent: Vec<u8> = frames.iter().flat_map(|one| one.encode(masked)).collect();
    let (mut received, mut taken) = (Vec::new(), Vec::new());
    for byte in sent {
        received.push(byte);
        taken.extend(Frame::take(&mut received, true).unwrap());
    }
    assert_eq!(taken, frames);
    assert!(received.is_empty());
    assert_eq!(taken[1].close_code(), Some(1001));
    for (bytes, why) in [
        (&[0xc1, 0x80][..], Wrong::Protocol),
        (&[0x81, 0x00], Wrong::Protocol),
        (&[0x08, 0x80], Wrong::Protocol),
        (&[0x88, 0xfe], Wrong::Protocol),
        (&[0x81, 0xff], Wrong::TooLong),
    ] {
        assert_eq!(Frame::take(&mut bytes.to_vec(), true), Err(why));
    }
}

/// The promise as a client sees it: no request is lost while one replica after the other ends under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_clients_lose_no_request_while_replicas_end() {
    let current = Arc::new(std::sync::Mutex::new(None));
    let answered = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut app = App::start().await;
    *current.lock().unwrap() = Some(app.address);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (current, answered, is_over) = (
            Arc::clone(&current),
            Arc::clone(&answered),
            Arc::clone(&is_over),
        );
        clients.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let address = current.lock().unwrap().unwrap();
                let stream = TcpStream::connect(address).await.unwrap();
                let mut client = Client(BufReader::new(stream));
                while !is_over.load(Ordering::SeqCst) {
                    let answer = client.get("/whoami").await.unwrap();
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.closes() {
                        assert_eq!(client.rest().await, "");
                        break;
                    }
                }
            }
        });
    }
    for _ in 0..20 {
        let before = answered.load(Ordering::SeqCst);
        let look = async || answered.load(Ordering::SeqCst);
        eventually("requests are answered", look, |now| *now > before + 50).await;
        let next = App::start().await;
        *current.lock().unwrap() = Some(next.address);
        app.shutdown.cancel();
        app.ended().await.unwrap();
        app = next;
    }
    is_over.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}
