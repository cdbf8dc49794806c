//! What the edge has in memory: at rest, and with 10,000 connections that rest after a request each.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::load::Asker;
use super::others::{Running, free_port, start_edge};
use super::{Failure, local};

/// Half of them on each of two ports: one takes 8192.
const CONNECTIONS: usize = 10_000;
/// Threads that open them, each from an address of its own.
const THREADS: usize = 10;
/// On both sides of the clients and of the replica, and some.
const FILES: u64 = 32_768;
/// Of the edge that are not for connections, so that it takes fewer where it may open fewer.
const OTHER_FILES: usize = 512;
const AT_REST_KIB: u64 = 8 << 10;
const IDLE_KIB: u64 = 150_000;
/// Until all has settled.
const SETTLE: Duration = Duration::from_secs(2);

/// Prints both for each mode; whether all limits hold.
pub(crate) fn measure() -> Result<bool, Failure> {
    let connections = raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let replica = replica(&runtime)?;
    let mut holds = true;
    for mode in ["tcp", "http"] {
        let ports = [free_port()?, free_port()?];
        let edge = start_edge(ports, replica, mode)?;
        std::thread::sleep(SETTLE);
        holds &= print(&edge, mode, "at rest", AT_REST_KIB)?;
        let open = open(ports, connections)?;
        std::thread::sleep(SETTLE);
        let what = format!("{} idle connections", open.len());
        // Where the process may not have so many files open: as much for each.
        let limit = IDLE_KIB * u64::try_from(connections)? / u64::try_from(CONNECTIONS)?;
        holds &= print(&edge, mode, &what, limit)?;
        // They were open all the time.
        for stream in open.into_iter().step_by(100) {
            Asker::new(stream, 1)?.ask()?;
        }
    }
    Ok(holds)
}

fn print(edge: &Running, mode: &str, what: &str, limit: u64) -> Result<bool, Failure> {
    let resident = edge.resident()?;
    let holds = resident < limit;
    let verdict = if holds { "PASS" } else { "MISSED" };
    println!("edge {mode:<6} {what:<28} {resident:>8} KiB of {limit:>8}: {verdict}");
    Ok(holds)
}

/// The connections, each after one request.
fn open(ports: [u16; 2], connections: usize) -> Result<Vec<TcpStream>, Failure> {
    let openers: Vec<_> = (0..THREADS)
        .map(|opener| {
            std::thread::spawn(move || -> Result<Vec<TcpStream>, Failure> {
                let mut all = Vec::new();
                let client = SocketAddr::from(([127, 0, 1, u8::try_from(opener)?], 0));
                for port in ports.iter().cycle().take(connections / THREADS) {
                    let mut asker = Asker::new(connect(client, local(*port))?, 1)?;
                    asker.ask()?;
                    all.push(asker.into_stream());
                }
                Ok(all)
            })
        })
        .collect();
    let mut all = Vec::new();
    for opener in openers {
        all.extend(opener.join().map_err(|_| "a client panicked")??);
    }
    Ok(all)
}

/// From an address of its own: the edge bounds what one client takes of a port.
fn connect(client: SocketAddr, port: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &client)?;
    rustix::net::connect(&socket, &port)?;
    Ok(TcpStream::from(socket))
}

/// Answers each packet with one byte, over as many connections as there are: a request is one packet here.
fn replica(runtime: &Runtime) -> Result<SocketAddr, Failure> {
    let listener = runtime.block_on(TcpListener::bind(local(0)))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            tasks.spawn(async move {
                let mut buffer = [0; 1 << 10];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Here and in the edge, which inherits it. How many connections there can be.
fn raise_open_files() -> Result<usize, Failure> {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.map(|most| most.max(FILES));
    for maximum in [most, now.maximum] {
        let current = maximum;
        if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok() {
            break;
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES);
    let each = usize::try_from(files.min(FILES))?.saturating_sub(OTHER_FILES) / 2;
    Ok(each.min(CONNECTIONS) / THREADS / 2 * THREADS * 2)
}
