//! Bytes arrive whole, in order, and with the end that their sender gave them.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Edge, LIMITS, ask, backend, free_port, open};
use phoenixd::edge::{Limits, Workers};

#[tokio::test]
async fn either_side_may_end_its_half_first() {
    for client_first in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replica = backend("a", listener.local_addr().unwrap());
        let mut edge = Edge::start(LIMITS);
        edge.route(1, &[&replica], &[]).await;
        let client = edge.connect().await;
        let (server, _) = listener.accept().await.unwrap();
        let (mut first, mut second) = if client_first {
            (client, server)
        } else {
            (server, client)
        };
        first.write_all(b"all I have").await.unwrap();
        first.shutdown().await.unwrap();
        let mut heard = String::new();
        second.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "all I have");
        // The other half is still open.
        edge.report(|r| open(r) == [("a", 1)]).await;
        second.write_all(b"and the answer").await.unwrap();
        drop(second);
        heard.clear();
        first.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "and the answer");
        edge.report(|r| open(r) == [("a", 0)]).await;
    }
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    for client_breaks in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replica = backend("a", listener.local_addr().unwrap());
        let mut edge = Edge::start(LIMITS);
        edge.route(1, &[&replica], &[]).await;
        let mut client = edge.connect().await;
        let (mut server, _) = listener.accept().await.unwrap();
        // A replica that resets before the edge has seen it answer would count as one that refuses.
        client.write_all(b"?").await.unwrap();
        server.read_exact(&mut [0; 1]).await.unwrap();
        let (breaking, mut other) = if client_breaks {
            (client, server)
        } else {
            (server, client)
        };
        breaking.set_zero_linger().unwrap();
        drop(breaking);
        let ended = other.read(&mut [0; 1]).await;
        assert_eq!(
            ended.map_err(|error| error.kind()),
            Err(io::ErrorKind::ConnectionReset)
        );
        edge.report(|r| open(r) == [("a", 0)]).await;
    }
}

/// Bytes that repeat only after a long time, so that a lost or doubled block shows.
fn pattern(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
}

#[tokio::test]
async fn twenty_megabytes_each_way_arrive_whole_at_a_slow_reader() {
    megabytes(LIMITS).await;
}

#[tokio::test]
async fn without_pipes_they_arrive_as_well() {
    megabytes(Limits { pipes: 0, ..LIMITS }).await;
}

#[expect(clippy::indexing_slicing, reason = "the buffer is longer")]
async fn megabytes(limits: Limits) {
    const BYTES: usize = 20_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = backend("a", listener.local_addr().unwrap());
    let mut edge = Edge::start(limits);
    edge.route(1, &[&replica], &[]).await;
    let mut sides = JoinSet::new();
    let client = edge.connect().await;
    let (server, _) = listener.accept().await.unwrap();
    for (stream, sends, receives) in [(client, 1, 2), (server, 2, 1)] {
        sides.spawn(async move {
            let (mut read, mut write) = stream.into_split();
            let sending = async {
                let bytes: Vec<u8> = pattern(sends).take(BYTES).collect();
                write.write_all(&bytes).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let receiving = async {
                let mut expected = pattern(receives);
                let mut buffer = vec![0; 100_000];
                let mut total = 0;
                loop {
                    // Slow: reads little, and lets everything else run in between.
                    tokio::task::yield_now().await;
                    let count = read.read(&mut buffer[..7919]).await.unwrap();
                    if count == 0 {
                        return total;
                    }
                    total += count;
                    assert!(
                        buffer.iter().take(count).eq(expected
                            .by_ref()
                            .take(count)
                            .collect::<Vec<_>>()
                            .iter())
                    );
                }
            };
            let ((), total) = tokio::join!(sending, receiving);
            assert_eq!(total, BYTES);
        });
    }
    while let Some(side) = sides.join_next().await {
        side.unwrap();
    }
    edge.report(|r| open(r) == [("a", 0)]).await;
}

/// A client that never rests takes the thread from nobody: with pipes, and where all are taken.
#[tokio::test]
async fn who_sends_without_end_leaves_a_turn_to_others() {
    for pipes in [0, 16] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let replica = backend("a", listener.local_addr().unwrap());
        // One thread for all of them.
        let limits = Limits { pipes, ..LIMITS };
        let workers = Workers::of(std::num::NonZeroUsize::MIN).unwrap();
        let port = free_port(std::net::Ipv4Addr::LOCALHOST);
        let mut edge = Edge::of(limits, port, phoenixd::spec::Forwarding::default(), workers);
        edge.route(1, &[&replica], &[]).await;
        // Each read is answered with a little, in threads of their own: both directions move all the time.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || answer_each_read(&stream.unwrap()));
            }
        });
        let mut greedy: Vec<_> = (0..2).map(|_| greedy(&edge)).collect();
        let mut other = edge.connect().await;
        let uploads = async {
            for upload in &mut greedy {
                assert!(upload.await.unwrap() > 0);
            }
        };
        let asks = async {
            loop {
                ask(&mut other).await.unwrap();
            }
        };
        // Cancel safety: nothing is asked of this connection any more.
        tokio::select! {
            () = uploads => {}
            () = asks => {}
        }
        ask(&mut other).await.unwrap();
    }
}

fn answer_each_read(mut stream: &std::net::TcpStream) {
    let mut bytes = vec![0; 65_536];
    while std::io::Read::read(&mut stream, &mut bytes).is_ok_and(|count| count > 0)
        && std::io::Write::write_all(&mut stream, &[b'k'; 64]).is_ok()
    {}
}

/// Uploads as fast as it can, and reads what is answered.
fn greedy(edge: &Edge) -> oneshot::Receiver<u64> {
    const BLOCKS: usize = 150;
    let (ip, port) = edge.port.local_address();
    let (done, answered) = oneshot::channel();
    std::thread::spawn(move || {
        let stream = std::net::TcpStream::connect((ip, port)).unwrap();
        let mut answers = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()).unwrap());
        let block = vec![b'x'; 1 << 20];
        for _ in 0..BLOCKS {
            io::Write::write_all(&mut &stream, &block).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        done.send(reading.join().unwrap()).unwrap();
    });
    answered
}
