//! What happens to a replica that was touched, and what its network may be used for.
//!
//! Not here: their YAML (`compose`), and what counts as a touch (`reconcile`).

use std::fmt;
use std::net::IpAddr;

/// What happens to a replica that was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnTaint {
    /// It leaves the rotation at once, is frozen, recorded and replaced.
    #[default]
    Replace,
    /// It is recorded, and serves on.
    Report,
}

/// A transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its name: `tcp`, `udp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The sockets that the file declares. What is not declared at all (`None`) is not looked at; what is declared, and is
/// not what is found, is told, and taints only where the file enforces it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Declared {
    /// Where it may listen, besides the ports that lead to it and the one that is probed.
    pub listen: Option<Vec<Listen>>,
    /// Whom it may be connected to.
    pub connect: Option<Vec<Peers>>,
    /// What is not declared is a taint.
    pub enforce: bool,
}

/// A port that may be listened on, at any address: `8080`, `9090/udp`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listen {
    /// 1 to 65535.
    pub port: u16,
    /// TCP where the file does not say.
    pub transport: Transport,
}

/// Peers that may be connected to: `10.0.0.0/8:5432`, `[2001:db8::]/32:443`, `192.0.2.1:53/udp`. Addresses only: a name
/// leads to another address at any time, and who answers for it is not the container's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Peers {
    /// The network's address.
    pub address: IpAddr,
    /// How many of its first bits count, at most 32 or 128.
    pub prefix: u8,
    /// 1 to 65535.
    pub port: u16,
    /// TCP where the file does not say.
    pub transport: Transport,
}

impl Listen {
    /// Reads `8080` and `9090/udp`; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (port, transport) = port_and_transport(text)?;
        Some(Self { port, transport })
    }
}

impl Peers {
    /// Reads `ADDRESS[/PREFIX]:PORT[/udp]`, IPv6 in brackets; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, port) = text.rsplit_once(':')?;
        let (port, transport) = port_and_transport(port)?;
        let (address, prefix) = match network.rsplit_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (network, None),
        };
        let address: IpAddr = match address.strip_prefix('[') {
            Some(six) => IpAddr::V6(six.strip_suffix(']')?.parse().ok()?),
            None => IpAddr::V4(address.parse().ok()?),
        };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => number(digits).filter(|prefix| *prefix <= whole)?,
            None => whole,
        };
        let prefix = u8::try_from(prefix).ok()?;
        Some(Self {
            address,
            prefix,
            port,
            transport,
        })
    }

    /// Whether a peer is one of them.
    pub fn contain(&self, transport: Transport, address: IpAddr, port: u16) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let ignored = width.saturating_sub(u32::from(self.prefix));
            own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
        };
        let inside = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        inside && self.transport == transport && self.port == port
    }
}

fn port_and_transport(text: &str) -> Option<(u16, Transport)> {
    let (port, transport) = match text.split_once('/') {
        None => (text, Transport::Tcp),
        Some((port, "tcp")) => (port, Transport::Tcp),
        Some((port, "udp")) => (port, Transport::Udp),
        Some(_) => return None,
    };
    let port = u16::try_from(number(port)?).ok().filter(|port| *port > 0)?;
    Some((port, transport))
}

/// Digits alone: `+80` is no port.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(peers: &str, address: &str, port: u16) -> bool {
        let peers = Peers::parse(peers).unwrap();
        peers.contain(Transport::Tcp, address.parse().unwrap(), port)
    }

    #[test]
    fn peers_are_a_network_and_a_port() {
        assert!(contains("10.0.0.0/8:5432", "10.255.1.2", 5432));
        assert!(!contains("10.0.0.0/8:5432", "11.0.0.1", 5432));
        assert!(!contains("10.0.0.0/8:5432", "10.0.0.1", 5433));
        assert!(!contains("10.0.0.0/8:53/udp", "10.0.0.1", 53));
        assert!(contains("0.0.0.0/0:443", "192.0.2.7", 443));
        assert!(contains("192.0.2.7:443", "::ffff:192.0.2.7", 443));
        assert!(contains("[2001:db8::]/32:443", "2001:db8:9::1", 443));
        assert!(contains("[::]/0:443", "2001:db8:9::1", 443));
        assert!(!contains("[::]/0:443", "192.0.2.7", 443));
    }

    #[test]
    fn what_is_no_port_or_address_is_not_read() {
        for text in ["", "0", "65536", "+80", "80/sctp", "80/udp/x", "http"] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
        for text in [
            "db:5432",
            "10.0.0.0/33:1",
            "10.0.0.0/8",
            "10.0.0.0:0",
            "2001:db8::1:443",
            "[10.0.0.1]:5",
            "10.0.0.0/:5",
        ] {
            assert_eq!(Peers::parse(text), None, "{text}");
        }
    }
}
