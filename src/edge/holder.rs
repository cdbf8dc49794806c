//! Who listens on an address of this host: a message that says "taken" must also say by whom.
//!
//! Reads `/proc/net/{tcp,udp}` and `/proc/*/fd`. A process of another user stays unknown unless we are root.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::kernel;
use crate::spec::Transport;

/// States in `/proc/net/tcp` and `/proc/net/udp` (`include/net/tcp_states.h`, Linux 6.18): `TCP_LISTEN`, and `TCP_CLOSE`,
/// which a bound UDP socket that is not connected is in.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// The process that has a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command, at most 15 characters.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.command, self.pid)
    }
}

/// The process that listens where `address` would; `None` where that cannot be seen.
pub(super) fn of(transport: Transport, address: SocketAddr) -> Option<Holder> {
    let (tables, state) = match transport {
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTEN),
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED),
    };
    let inode = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| inode_of(&table, state, address))?;
    process_with(&format!("socket:[{inode}]"))
}

/// The inode of the table's first socket of that state that is in the way of `address`.
fn inode_of(table: &str, wanted: &str, address: SocketAddr) -> Option<u64> {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = parse_address(fields.next()?)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let is_same = local.ip().to_canonical() == address.ip()
            || local.ip().is_unspecified()
            || address.ip().is_unspecified();
        (state == wanted && local.port() == address.port() && is_same && inode != 0)
            .then_some(inode)
    })
}

/// `0100007F:1F90`: the address as 32-bit words in the host's byte order, the port as a number.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

/// Of several that have it, the oldest: the others got it from that one, if only until they run another program.
fn process_with(target: &str) -> Option<Holder> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let holders = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let has_it = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target));
        if !has_it {
            return None;
        }
        let command = fs::read_to_string(process.path().join("comm")).ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let started = kernel::started_ticks(&stat)?;
        let holder = Holder {
            pid,
            command: command.trim_end().to_owned(),
        };
        Some((started, holder))
    });
    let oldest = holders.min_by_key(|(started, _)| *started);
    oldest.map(|(_, holder)| holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1111 1 0 20 4 30 10 -1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2222 1 0 100 0 0 10 0
";

    #[test]
    fn only_a_listening_socket_in_the_way_is_found() {
        let find = |ip: [u8; 4], port| inode_of(TABLE, LISTEN, SocketAddr::from((ip, port)));
        assert_eq!(find([127, 0, 0, 1], 8080), Some(2222));
        assert_eq!(find([0, 0, 0, 0], 8080), Some(2222));
        assert_eq!(find([127, 0, 0, 2], 8080), None);
        assert_eq!(find([127, 0, 0, 1], 8081), None);
    }

    #[test]
    fn an_ipv6_address_is_read() {
        assert_eq!(
            parse_address("00000000000000000000000001000000:0050"),
            Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 80)))
        );
        assert_eq!(parse_address("nonsense"), None);
    }
}
