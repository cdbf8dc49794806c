//! One bound socket of a port, out of a runtime's hands: to be kept, copied, and handed to another process.
//!
//! Not here: which address, and who is in the way (`listen`).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::listen::{self, Sockets};
use crate::spec::Transport;

/// A socket that takes connections or datagrams.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Bound {
    /// Binds an address.
    pub(super) fn new(transport: Transport, address: SocketAddr) -> Result<Self, Errno> {
        let std = match transport {
            Transport::Tcp => listen::tcp_socket(address)?.into_std().map(Self::Tcp),
            Transport::Udp => listen::udp_socket(address)?.into_std().map(Self::Udp),
        };
        std.map_err(listen::errno)
    }

    /// Believes a descriptor only as far as the kernel does: it takes connections or datagrams, at this address.
    ///
    /// # Errors
    /// Its own address, as far as it can be told.
    pub(super) fn of(
        transport: Transport,
        address: SocketAddr,
        fd: OwnedFd,
    ) -> Result<Self, Option<SocketAddr>> {
        let kind = sockopt::socket_type(&fd).ok();
        let (bound, is_right) = match transport {
            Transport::Tcp => {
                let listens = sockopt::socket_acceptconn(&fd).unwrap_or(false);
                (Self::Tcp(fd.into()), listens)
            }
            Transport::Udp => (Self::Udp(fd.into()), kind == Some(SocketType::DGRAM)),
        };
        let own = bound.address();
        if is_right && own == Some(address) && bound.set_nonblocking().is_ok() {
            Ok(bound)
        } else {
            Err(own)
        }
    }

    /// Another descriptor of the same socket.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Udp(socket) => socket.try_clone().map(Self::Udp),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Udp(socket) => socket.local_addr().ok(),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Udp(socket) => socket.set_nonblocking(true),
        }
    }
}

/// Gives the sockets of one port to the runtime.
///
/// # Errors
/// The first that the runtime does not take.
///
/// # Panics
/// Outside of a Tokio runtime.
pub(super) fn serve(transport: Transport, all: Vec<Bound>) -> io::Result<Sockets> {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for bound in all {
        match bound {
            Bound::Tcp(socket) => tcp.push(tokio::net::TcpListener::from_std(socket)?),
            Bound::Udp(socket) => udp.push(tokio::net::UdpSocket::from_std(socket)?),
        }
    }
    Ok(match transport {
        Transport::Tcp => Sockets::Tcp(tcp),
        Transport::Udp => Sockets::Udp(udp),
    })
}

impl From<Bound> for OwnedFd {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Tcp(socket) => socket.into(),
            Bound::Udp(socket) => socket.into(),
        }
    }
}
