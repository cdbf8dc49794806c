//! The listening sockets of an edge process: one copy is kept here, to be handed over; another one is accepted on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Binds;
use super::convert::{of_key, to_key};
use super::wire::{Socket, Unbound};
use crate::edge::bound::{self, Bound};
use crate::edge::listen;
use crate::edge::moving::Opened;
use crate::spec::Published;

/// Every port that the table in force has.
#[derive(Debug)]
pub(in crate::edge) struct Sockets {
    ports: BTreeMap<Published, Port>,
    unbound: BTreeMap<(Published, SocketAddr), String>,
    /// Addresses of a family that this host does not have.
    absent: BTreeSet<(Published, SocketAddr)>,
    opened: mpsc::Sender<Opened>,
    edge: CancellationToken,
}

#[derive(Debug)]
struct Port {
    sockets: BTreeMap<SocketAddr, Bound>,
    closed: CancellationToken,
}

impl Sockets {
    /// What is had is sent to `opened`, and closed with `edge`.
    pub(in crate::edge) fn new(opened: mpsc::Sender<Opened>, edge: CancellationToken) -> Self {
        Self {
            ports: BTreeMap::new(),
            unbound: BTreeMap::new(),
            absent: BTreeSet::new(),
            opened,
            edge,
        }
    }

    /// Closes what is not wanted any more, and binds what is missing if that `may` be.
    pub(in crate::edge) async fn follow(&mut self, wanted: &Binds, may_bind: bool) {
        self.close_unwanted(wanted).await;
        self.unbound.clear();
        if !may_bind {
            return;
        }
        for (published, addresses) in wanted {
            let mut fresh = Vec::new();
            for address in addresses {
                if self.has(published, *address) || self.absent.contains(&(*published, *address)) {
                    continue;
                }
                match Bound::new(published.transport, *address) {
                    Ok(socket) => fresh.push((*address, socket)),
                    Err(error) => self.not_bound(*published, *address, error),
                }
            }
            self.settle_absent(published, addresses, &fresh);
            self.open(*published, fresh).await;
        }
    }

    /// Takes sockets of another edge; those that are here already are not needed twice.
    pub(in crate::edge) async fn adopt(&mut self, sockets: Vec<(Socket, Bound)>) {
        let mut by_port: BTreeMap<Published, Vec<(SocketAddr, Bound)>> = BTreeMap::new();
        for (Socket { key, address }, socket) in sockets {
            let published = of_key(key);
            if !self.has(&published, address) {
                by_port
                    .entry(published)
                    .or_default()
                    .push((address, socket));
            }
        }
        for (published, fresh) in by_port {
            self.open(published, fresh).await;
        }
    }

    /// Copies of all, to be handed over.
    pub(in crate::edge) fn copies(&self) -> io::Result<Vec<(Socket, OwnedFd)>> {
        let mut copies = Vec::new();
        for (published, port) in &self.ports {
            for (address, socket) in &port.sockets {
                let socket_of = Socket {
                    key: to_key(published),
                    address: *address,
                };
                copies.push((socket_of, OwnedFd::from(socket.try_clone()?)));
            }
        }
        Ok(copies)
    }

    /// Closes everything.
    pub(in crate::edge) fn close(&mut self) {
        for (_, port) in std::mem::take(&mut self.ports) {
            port.closed.cancel();
        }
        self.unbound.clear();
    }

    pub(in crate::edge) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// What could not be bound.
    pub(in crate::edge) fn unbound(&self) -> Vec<Unbound> {
        let unbound = |((published, address), why): (&(Published, SocketAddr), &String)| Unbound {
            key: to_key(published),
            address: *address,
            why: why.clone(),
        };
        self.unbound.iter().map(unbound).collect()
    }

    fn has(&self, published: &Published, address: SocketAddr) -> bool {
        let port = self.ports.get(published);
        port.is_some_and(|port| port.sockets.contains_key(&address))
    }

    async fn close_unwanted(&mut self, wanted: &Binds) {
        self.absent
            .retain(|(published, _)| wanted.contains_key(published));
        let mut again = Vec::new();
        self.ports.retain(|published, port| {
            let addresses = wanted.get(published).map(Vec::as_slice).unwrap_or_default();
            if port.sockets.keys().all(|has| addresses.contains(has)) {
                return true;
            }
            port.closed.cancel();
            port.sockets.retain(|has, _| addresses.contains(has));
            let kept: Vec<_> = std::mem::take(&mut port.sockets).into_iter().collect();
            if kept.is_empty() {
                info!(port = %published, "the port is closed: the table does not have it any more");
            } else {
                again.push((*published, kept));
            }
            false
        });
        for (published, kept) in again {
            self.open(published, kept).await;
        }
    }

    async fn open(&mut self, published: Published, fresh: Vec<(SocketAddr, Bound)>) {
        let copies = fresh.iter().map(|(_, socket)| socket.try_clone());
        let served = copies
            .collect::<io::Result<Vec<_>>>()
            .and_then(|copies| bound::serve(published.transport, copies));
        let sockets = match served {
            Ok(_) if fresh.is_empty() => return,
            Ok(sockets) => sockets,
            Err(error) => {
                let error = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
                for (address, _) in fresh {
                    self.not_bound(published, address, error);
                }
                return;
            }
        };
        let edge = &self.edge;
        let port = self.ports.entry(published).or_insert_with(|| Port {
            sockets: BTreeMap::new(),
            closed: edge.child_token(),
        });
        port.sockets.extend(fresh);
        let opened = Opened {
            published,
            sockets,
            closed: port.closed.clone(),
        };
        // Nobody takes it only once the edge closes its ports.
        drop(self.opened.send(opened).await);
    }

    fn not_bound(&mut self, published: Published, address: SocketAddr, error: Errno) {
        let why = match error {
            Errno::AFNOSUPPORT => "this host does not have that kind of address".to_owned(),
            other => {
                let what = listen::obstacle(published.transport, address, other).describe(address);
                format!("{what} ({})", io::Error::from(other))
            }
        };
        if error == Errno::AFNOSUPPORT || error == Errno::ADDRNOTAVAIL {
            self.absent.insert((published, address));
        }
        self.unbound.insert((published, address), why);
    }

    /// A host without IPv6 is fine for a port that is bound on every address; what else is missing is tried again.
    fn settle_absent(
        &mut self,
        published: &Published,
        addresses: &[SocketAddr],
        fresh: &[(SocketAddr, Bound)],
    ) {
        for address in addresses {
            let key = (*published, *address);
            if !self.absent.contains(&key) {
                continue;
            }
            let has_other = !fresh.is_empty() || self.ports.contains_key(published);
            if address.is_ipv6() && address.ip().is_unspecified() && has_other {
                self.unbound.remove(&key);
            } else {
                self.absent.remove(&key);
            }
        }
    }
}
