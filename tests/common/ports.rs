//! Ports for what a test starts. Not here: ports of the test's own listeners, which bind to port 0 and keep what they get.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what outgoing connections and a bind to port 0 take theirs from (32768 to 60999 unless somebody changed it): a
/// port of that range that a test has found free may be another test's a moment later.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that nobody has now, on any address, for TCP and UDP, and that no other test of this process is given.
///
/// # Panics
/// When all are taken.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes that run at the same time begin at different places.
    let first = u16::try_from(std::process::id() % 97).unwrap_or(0) * 120;
    for _ in 0..count {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}")
}

fn is_free(port: u16) -> bool {
    // Where there is no IPv6, nobody can have the port there.
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && (!has_ipv6
            || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
                && UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok())
}
