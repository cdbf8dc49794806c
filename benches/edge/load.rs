//! Clients and the replica: threads and blocking sockets, so that what is measured is the proxy.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Failure, local};

/// For how long each is measured in one round.
const SPAN: Duration = Duration::from_secs(1);
/// Of a message over a websocket; up to 125 go without a longer length.
const MESSAGE_BYTES: u8 = 100;

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    is_http: bool,
    streams: usize,
    bytes: usize,
    /// Between two requests of one client; without it each follows the answer of the last.
    pace: Option<Duration>,
}

impl Shape {
    /// As fast as it goes, and then at a pace that all of them keep up with: how long somebody waits at full load says
    /// more of who is given the processor.
    pub(crate) const ALL: [Self; 12] = [
        Self::new(false, 1, 1 << 10),
        Self::new(false, 8, 1 << 10),
        Self::new(false, 1, 1 << 20),
        Self::new(false, 8, 1 << 20),
        Self::new(true, 1, 1 << 10),
        Self::new(true, 8, 1 << 10),
        Self::new(true, 1, 1 << 20),
        Self::new(true, 8, 1 << 20),
        Self::new(false, 8, 1 << 10).at(Duration::from_millis(2)),
        Self::new(false, 8, 1 << 20).at(Duration::from_millis(40)),
        Self::new(true, 8, 1 << 10).at(Duration::from_millis(2)),
        Self::new(true, 8, 1 << 20).at(Duration::from_millis(40)),
    ];

    const fn new(is_http: bool, streams: usize, bytes: usize) -> Self {
        Self {
            is_http,
            streams,
            bytes,
            pace: None,
        }
    }

    const fn at(self, pace: Duration) -> Self {
        Self {
            pace: Some(pace),
            ..self
        }
    }

    pub(crate) fn is_http(self) -> bool {
        self.is_http
    }

    pub(crate) fn name(self) -> String {
        let kind = if self.is_http { "http" } else { "tcp" };
        let pace = self.pace.map(|pace| {
            let rate = f64::from(u32::try_from(self.streams).unwrap_or(0)) / pace.as_secs_f64();
            format!(", {rate:.0}/s")
        });
        let pace = pace.unwrap_or_default();
        format!("{kind}, {} x {} KiB{pace}", self.streams, self.bytes >> 10)
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Answers per second.
    pub(crate) rate: f64,
    mebibytes: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    cpu_of_gibibyte: f64,
    cpu_of_thousand: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0}/s {:>7.0} MiB/s p50 {:>6} us p99 {:>6} us cpu {:>6.2} s/GiB {:>5.0} ms/1000;",
            self.rate,
            self.mebibytes,
            self.p50.as_micros(),
            self.p99.as_micros(),
            self.cpu_of_gibibyte,
            self.cpu_of_thousand * 1000.0
        )
    }
}

impl Figures {
    /// Of each figure the one in the middle.
    pub(crate) fn median(rounds: &[Self]) -> Option<Self> {
        let number = |of: fn(&Self) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        };
        let span = |of: fn(&Self) -> Duration| {
            let mut all: Vec<Duration> = rounds.iter().map(of).collect();
            all.sort();
            all.get(all.len() / 2).copied()
        };
        Some(Self {
            rate: number(|round| round.rate)?,
            mebibytes: number(|round| round.mebibytes)?,
            p50: span(|round| round.p50)?,
            p99: span(|round| round.p99)?,
            cpu_of_gibibyte: number(|round| round.cpu_of_gibibyte)?,
            cpu_of_thousand: number(|round| round.cpu_of_thousand)?,
        })
    }
}

/// A server of HTTP/1.1 that answers `GET /N` and `POST /N` with N bytes, and each message of a websocket with
/// another.
pub(crate) fn replica() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(local(0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    let zeros = vec![b'x'; 1 << 20];
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut length = 0;
    let mut body = Sent::Nothing;
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let field = line.trim_end().to_ascii_lowercase();
        if let Some((_, path)) = line.split_once(" /") {
            let number = path.split([' ', '?']).next().unwrap_or_default();
            length = number.parse().unwrap_or(0);
            body = Sent::Nothing;
        } else if let Some(bytes) = field.strip_prefix("content-length: ") {
            body = Sent::Bytes(bytes.parse().unwrap_or(0));
        } else if field == "transfer-encoding: chunked" {
            body = Sent::Chunks;
        } else if field == "upgrade: websocket" {
            body = Sent::Websocket;
        }
        if line == "\r\n" {
            let went_on = match body {
                Sent::Websocket => return converse(stream, reader),
                Sent::Nothing => Ok(()),
                Sent::Bytes(bytes) => skip(&mut reader, bytes),
                Sent::Chunks => skip_chunks(&mut reader),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let mut answer = Vec::with_capacity(head.len() + length);
            answer.extend_from_slice(head.as_bytes());
            answer.extend(zeros.iter().take(length));
            if went_on.and_then(|()| stream.write_all(&answer)).is_err() {
                return;
            }
        }
    }
}

/// What follows the head of a request.
#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    Bytes(u64),
    Chunks,
    Websocket,
}

fn skip(reader: &mut impl BufRead, bytes: u64) -> io::Result<()> {
    io::copy(&mut reader.take(bytes), &mut io::sink()).map(drop)
}

fn skip_chunks(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
        // With the end of its line.
        skip(reader, size + 2)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// A whole message of text for each that comes (RFC 6455, 5.2): clients mask theirs, servers do not.
fn converse(mut stream: &TcpStream, mut reader: impl Read) {
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut begun = stream.write_all(head.as_bytes());
    let mut message = masked_message();
    while begun.is_ok() && reader.read_exact(&mut message).is_ok() {
        begun = stream.write_all(&message_back());
    }
}

/// What a client says over a websocket.
pub(crate) fn masked_message() -> Vec<u8> {
    let mask = [0; 4];
    [&[0x81, 0x80 + MESSAGE_BYTES][..], &mask, &text()].concat()
}

/// What it hears then.
pub(crate) fn message_back() -> Vec<u8> {
    [&[0x81, MESSAGE_BYTES][..], &text()].concat()
}

fn text() -> [u8; MESSAGE_BYTES as usize] {
    [b'x'; MESSAGE_BYTES as usize]
}

/// Clients that ask again and again over connections that they keep.
pub(crate) fn measure(
    address: SocketAddr,
    shape: Shape,
    cpu: impl Fn() -> f64,
) -> Result<Figures, Failure> {
    let before = cpu();
    let began = Instant::now();
    let clients: Vec<_> = (0..shape.streams)
        .map(|number| std::thread::spawn(move || client(address, shape, number)))
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.join().map_err(|_| "a client panicked")??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = cpu() - before;
    all.sort_unstable();
    let at = |part: usize| all.get(all.len() * part / 100).copied().unwrap_or_default();
    let count = f64::from(u32::try_from(all.len())?);
    let mebibytes = count * f64::from(u32::try_from(shape.bytes)?) / f64::from(1 << 20);
    Ok(Figures {
        rate: count / elapsed,
        mebibytes: mebibytes / elapsed,
        p50: at(50),
        p99: at(99),
        cpu_of_gibibyte: cpu / (mebibytes / 1024.0),
        cpu_of_thousand: cpu / (count / 1000.0),
    })
}

fn client(address: SocketAddr, shape: Shape, number: usize) -> Result<Vec<Duration>, Failure> {
    let mut asker = Asker::new(TcpStream::connect(address)?, shape.bytes)?;
    let mut times = Vec::new();
    let began = Instant::now();
    // They do not all ask at the same moment.
    let turn = u32::try_from(number).unwrap_or(0);
    let mut due = shape.pace.map(|pace| began + pace * turn / 8);
    while began.elapsed() < SPAN {
        let start = due.map_or_else(Instant::now, wait_until);
        asker.ask()?;
        times.push(start.elapsed());
        due = due.zip(shape.pace).map(|(due, pace)| due + pace);
    }
    Ok(times)
}

/// When a request begins that is due then. One whose time has passed waits already.
fn wait_until(due: Instant) -> Instant {
    let left = due.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return due;
    }
    std::thread::sleep(left);
    Instant::now()
}

/// A client that asks for the same again and again.
pub(crate) struct Asker {
    stream: TcpStream,
    request: Vec<u8>,
    body: Vec<u8>,
    line: String,
}

impl Asker {
    pub(crate) fn new(stream: TcpStream, bytes: usize) -> Result<Self, Failure> {
        let request = format!("GET /{bytes} HTTP/1.1\r\nhost: bench\r\n\r\n");
        Self::with(stream, request.into_bytes(), bytes)
    }

    /// Asks with these bytes, for so many.
    pub(crate) fn with(stream: TcpStream, request: Vec<u8>, bytes: usize) -> Result<Self, Failure> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request,
            body: vec![0; bytes],
            line: String::new(),
        })
    }

    /// One request and its answer. Nothing follows it, so that its reader may go with it.
    pub(crate) fn ask(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.request)?;
        let mut reader = BufReader::with_capacity(16 << 10, &self.stream);
        let mut is_first = true;
        loop {
            self.line.clear();
            if reader.read_line(&mut self.line)? == 0 {
                return Err("the connection ended".into());
            }
            if is_first && !self.line.starts_with("HTTP/1.1 200") {
                return Err(self.line.clone().into());
            }
            is_first = false;
            if self.line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut self.body)?;
        Ok(())
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
