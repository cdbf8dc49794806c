//! The PROXY header: the first bytes of a connection to a replica, which say who the client is.
//!
//! By `HAProxy`'s `doc/proxy-protocol.txt` (version 2.3, 2020), sections 2.1 and 2.2. Only sent, never read: the edge
//! believes no client's claim of who it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::spec::ProxyProtocol;

/// Section 2.2: the 12 bytes that begin a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
/// `AF_INET` or `AF_INET6`, and `SOCK_STREAM`.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header of a connection from `client` to the edge's `local` address.
pub(super) fn of(version: ProxyProtocol, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (client_ip, local_ip) = (client.ip().to_canonical(), local.ip().to_canonical());
    match version {
        ProxyProtocol::V1 => {
            let family = match (client_ip, local_ip) {
                (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
                (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => "TCP6",
            };
            format!(
                "PROXY {family} {client_ip} {local_ip} {} {}\r\n",
                client.port(),
                local.port()
            )
            .into_bytes()
        }
        ProxyProtocol::V2 => {
            let mut addresses = Vec::with_capacity(36);
            let family = if let (IpAddr::V4(client), IpAddr::V4(local)) = (client_ip, local_ip) {
                addresses.extend(client.octets());
                addresses.extend(local.octets());
                TCP4
            } else {
                addresses.extend(v6(client_ip).octets());
                addresses.extend(v6(local_ip).octets());
                TCP6
            };
            addresses.extend(client.port().to_be_bytes());
            addresses.extend(local.port().to_be_bytes());
            let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
            let mut header = Vec::with_capacity(16 + addresses.len());
            header.extend(SIGNATURE);
            header.extend([VERSION_COMMAND, family]);
            header.extend(length.to_be_bytes());
            header.extend(addresses);
            header
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(client: &str, local: &str) -> (SocketAddr, SocketAddr) {
        (client.parse().unwrap(), local.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line_of_text() {
        let (client, local) = addresses("192.168.0.1:56324", "192.168.0.11:443");
        let header = of(ProxyProtocol::V1, client, local);
        // The example of section 2.1.
        assert_eq!(header, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        let (client, local) = addresses("[2001:db8::1]:65535", "[::ffff:10.0.0.1]:80");
        let header = of(ProxyProtocol::V1, client, local);
        assert!(header.starts_with(b"PROXY TCP6 2001:db8::1 "), "{header:?}");
        let longest = addresses(
            "[ffff:f00f:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:f00f:ffff:ffff:ffff:ffff:ffff:fff0]:65535",
        );
        // Section 2.1: a receiver needs 107 bytes at most.
        assert!(of(ProxyProtocol::V1, longest.0, longest.1).len() <= 107);
        let (client, local) = addresses("[::ffff:10.0.0.2]:1", "[::ffff:10.0.0.1]:2");
        assert_eq!(
            of(ProxyProtocol::V1, client, local),
            b"PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n"
        );
    }

    #[test]
    fn version_2_is_binary_in_network_byte_order() {
        let (client, local) = addresses("192.168.0.1:56324", "192.168.0.11:443");
        let header = of(ProxyProtocol::V2, client, local);
        assert_eq!(
            hex::encode(header),
            "0d0a0d0a000d0a515549540a2111000cc0a80001c0a8000bdc0401bb"
        );
        let (client, local) = addresses("[2001:db8::1]:1", "[2001:db8::2]:80");
        let header = of(ProxyProtocol::V2, client, local);
        assert_eq!(
            hex::encode(header),
            "0d0a0d0a000d0a515549540a21210024\
             20010db800000000000000000000000120010db800000000000000000000000200010050"
        );
    }
}
