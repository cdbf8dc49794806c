//! What a container listens on and whom it is connected to, from its `/proc/PID/net`.
//!
//! Left out: loopback, which nobody else reaches, and where Docker's own resolver is (`127.0.0.11`); connections that
//! came in to a port that it listens on; and UDP sockets without a peer on a port that outgoing traffic takes its number
//! from, since a client that asks a name server has one, too. Not here: whether the file declares it (`reconcile`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use super::container::Container;
use super::process::Process;
use super::scan::{Found, Scanner, Space, tell};
use crate::reconcile::{Socket, Touch, Transport};
use crate::spec::ContainerId;

/// More than a container with 10,000 connections has.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// `net.ipv4.ip_local_port_range` of a new network namespace (Linux 6.18); that of another one cannot be read.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// One line of `/proc/PID/net/tcp` and the like (`proc_pid_net(5)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
}

/// States of `include/net/tcp_states.h` (Linux 6.18). A UDP socket is `CLOSE` without a peer.
mod state {
    pub(super) const SYN_RECV: u8 = 0x03;
    pub(super) const CLOSE: u8 = 0x07;
    pub(super) const LISTEN: u8 = 0x0a;
    pub(super) const NEW_SYN_RECV: u8 = 0x0c;
}

/// The files of `/proc/PID/net` that list sockets, and where the kernel tells how many are in each.
const FILES: [Listing; 4] = [
    Listing::new(Transport::Tcp, "net/tcp", "net/sockstat", "TCP:"),
    Listing::new(Transport::Tcp, "net/tcp6", "net/sockstat6", "TCP6:"),
    Listing::new(Transport::Udp, "net/udp", "net/sockstat", "UDP:"),
    Listing::new(Transport::Udp, "net/udp6", "net/sockstat6", "UDP6:"),
];

/// How many sockets are in each of [`FILES`]; `None` where the kernel does not tell.
pub(super) type Counts = [Option<u64>; 4];

struct Listing {
    transport: Transport,
    file: &'static str,
    counted_in: &'static str,
    counted_as: &'static str,
}

impl Listing {
    const fn new(
        transport: Transport,
        file: &'static str,
        counted_in: &'static str,
        counted_as: &'static str,
    ) -> Self {
        Self {
            transport,
            file,
            counted_in,
            counted_as,
        }
    }

    fn lines(&self, process: &Process) -> Vec<Line> {
        let text = process.read(self.file, LIMIT_BYTES).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter_map(Line::parse).collect()
    }
}

impl Scanner {
    /// Looks at the sockets of every container that has a network of its own. For each the kernel walks through the tables
    /// of the whole host, which grow with its memory: two milliseconds for each container on a host with 24 GB.
    pub fn sockets(&mut self) -> Found {
        let mut found = Found::new();
        for container in self.containers.values_mut() {
            let listens = has_network(container, &self.spaces);
            if let Some(process) = process(container, &self.proc_root).filter(|_| listens) {
                let counts = counts(&process);
                look(container, &process, counts, |_| true, &mut found);
            }
        }
        found
    }

    /// Looks at the sockets of one container whose number of sockets is another than when they were looked at last: of
    /// several, at the one for which this was done the longest ago, so that one that is busy all the time keeps none
    /// waiting. To count takes some 20 µs for each container.
    ///
    /// One that was opened while another was closed is found by [`sockets`](Self::sockets).
    pub fn changed_sockets(&mut self) -> Found {
        self.look_at_unborn();
        let (spaces, proc_root) = (&self.spaces, &self.proc_root);
        let changed = (self.containers.values_mut())
            .filter(|container| has_network(container, spaces))
            .filter_map(|container| {
                let counts = counts(&Process::open(proc_root, container.watched.pid)?);
                (container.counts != Some(counts)).then_some(container)
            });
        let mut found = Found::new();
        let Some(container) = changed.min_by_key(|container| container.turn) else {
            return found;
        };
        self.turns += 1;
        container.turn = self.turns;
        // Its number may be another process's by now.
        container.look_at_init(proc_root);
        if let Some(process) = process(container, proc_root) {
            // Before they are looked at: what is opened meanwhile makes another number, and another look.
            let (before, counts) = (container.counts, counts(&process));
            let is_other = |at: usize| before.is_none_or(|before| before.get(at) != counts.get(at));
            look(container, &process, counts, is_other, &mut found);
        }
        found
    }
}

fn has_network(container: &Container, spaces: &BTreeMap<Space, ContainerId>) -> bool {
    let net = (container.born.as_ref()).and_then(|born| born.namespaces.net);
    net.is_some_and(|net| spaces.contains_key(&Space::Net(net)))
}

/// Its process 1, if that is the program that it was made for.
fn process(container: &Container, proc_root: &Path) -> Option<Process> {
    container.born.as_ref()?;
    Process::open(proc_root, container.watched.pid)
}

fn counts(process: &Process) -> Counts {
    let texts = ["net/sockstat", "net/sockstat6"].map(|name| (name, process.text(name)));
    FILES.map(|listing| {
        let told_in = |(name, _): &&(&str, _)| *name == listing.counted_in;
        let (_, text) = texts.iter().find(told_in)?;
        let mut lines = text.as_deref()?.lines();
        let told = lines.find_map(|line| line.strip_prefix(listing.counted_as))?;
        // ` inuse 4 orphan 0 …`.
        told.split_ascii_whitespace().nth(1)?.parse().ok()
    })
}

/// Looks at the sockets in some of the [`FILES`], by their place there.
fn look(
    container: &mut Container,
    process: &Process,
    counts: Counts,
    which: impl Fn(usize) -> bool,
    found: &mut Found,
) {
    container.counts = Some(counts);
    let mut touches = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let files = FILES.iter().enumerate();
        let lines: Vec<Line> = files
            .filter(|(at, listing)| listing.transport == transport && which(*at))
            .flat_map(|(_, listing)| listing.lines(process))
            .collect();
        touches.extend(touches_of(&lines, transport, &mut container.listened));
    }
    tell(container, touches, found);
}

fn touches_of(
    lines: &[Line],
    transport: Transport,
    listened: &mut BTreeSet<(Transport, u16)>,
) -> Vec<Touch> {
    let listening = |line: &&Line| match transport {
        Transport::Tcp => line.state == state::LISTEN,
        Transport::Udp => line.state == state::CLOSE && !EPHEMERAL.contains(&line.local.port()),
    };
    let mut found = BTreeSet::new();
    for line in lines.iter().filter(listening) {
        // Also those of loopback: who comes to them is no peer.
        listened.insert((transport, line.local.port()));
        if !line.local.ip().is_loopback() {
            found.insert(Touch::Listens(Socket {
                transport,
                address: line.local,
            }));
        }
    }
    let connected = |line: &&Line| {
        !matches!(
            line.state,
            state::LISTEN | state::CLOSE | state::SYN_RECV | state::NEW_SYN_RECV
        ) && !line.remote.ip().is_unspecified()
            && !line.remote.ip().is_loopback()
            && !listened.contains(&(transport, line.local.port()))
    };
    for line in lines.iter().filter(connected) {
        found.insert(Touch::Connected(Socket {
            transport,
            address: line.remote,
        }));
    }
    found.into_iter().collect()
}

impl Line {
    /// `   0: 0100007F:1F90 00000000:0000 0A …`.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().skip(1);
        Some(Self {
            local: address(fields.next()?)?,
            remote: address(fields.next()?)?,
            state: u8::from_str_radix(fields.next()?, 16).ok()?,
        })
    }
}

/// `0100007F:1F90`: the address in words of 32 bits, each as this machine has it in memory, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 0B00007F:9ACD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   3: 020011AC:1F90 010011AC:D431 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   4: 020011AC:C001 08080808:01BB 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   5: 020011AC:C002 09090909:0050 06 00000000:00000000 00:00000000 00000000     0        0 1 1
   6: 0100007F:C003 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   7: 0000000000000000FFFF0000020011AC:C004 0000000000000000FFFF000001010101:01BB 02 0:0 00:0 0 0 0 1 1
   8: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1 1
   9: short
";
    const UDP: &str = "\
   0: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2
   1: 00000000:9000 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2
   2: 020011AC:9001 08080808:0035 01 00000000:00000000 00:00000000 00000000     0        0 1 2
   3: 0B00007F:8888 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2
";

    fn texts(
        lines: &str,
        transport: Transport,
        listened: &mut BTreeSet<(Transport, u16)>,
    ) -> Vec<String> {
        let lines: Vec<Line> = lines.lines().filter_map(Line::parse).collect();
        let touches = touches_of(&lines, transport, listened);
        touches.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn listeners_and_peers_are_told_without_loopback_and_without_who_came_in() {
        let mut listened = BTreeSet::new();
        assert_eq!(
            texts(TCP, Transport::Tcp, &mut listened),
            [
                "it listens on 0.0.0.0:8080/tcp",
                "it listens on [::]:53/tcp",
                "it is connected to 1.1.1.1:443/tcp",
                "it is connected to 8.8.8.8:443/tcp",
                "it is connected to 9.9.9.9:80/tcp",
            ]
        );
        assert_eq!(
            texts(UDP, Transport::Udp, &mut listened),
            [
                "it listens on 0.0.0.0:53/udp",
                "it is connected to 8.8.8.8:53/udp",
            ]
        );
    }

    #[test]
    fn who_came_in_is_no_peer_after_the_listener_has_gone_either() {
        let mut listened = BTreeSet::new();
        texts(TCP, Transport::Tcp, &mut listened);
        let without: String = TCP
            .lines()
            .filter(|line| !line.contains("1F90 00000000"))
            .fold(String::new(), |text, line| text + line + "\n");
        let after = texts(&without, Transport::Tcp, &mut listened);
        assert!(
            !after.iter().any(|text| text.contains("172.17.0.1")),
            "{after:?}"
        );
    }
}
