//! The edge, as the supervisor runs it, with one replica.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use phoenixd::edge::{self, End, Limits, Listeners, Workers};
use phoenixd::reconcile::{Backend, EdgeReport, Listener, Routes};
use phoenixd::spec::{
    ContainerId, EdgeProtocol, Forwarding, Published, ReplicaName, Serial, ServiceName, Transport,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Failure;

/// Forwards each of the ports until SIGTERM; then it ends in order, so that an instrumented one writes down what it did.
pub(crate) fn run(ports: &str, target: SocketAddr, mode: &str) -> Result<(), Failure> {
    let mut published = BTreeSet::new();
    for port in ports.split(',') {
        published.insert(Published {
            host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host_port: port.parse()?,
            target: target.port(),
            transport: Transport::Tcp,
        });
    }
    let protocol = match mode {
        "http" => EdgeProtocol::Http,
        _ => EdgeProtocol::Tcp,
    };
    let forwarding = Forwarding {
        protocol,
        ..Forwarding::default()
    };
    let backend = Backend {
        replica: ReplicaName::new(ServiceName::new("bench"), Serial(1)),
        container_id: ContainerId::new("bench"),
        address: target,
    };
    let listener = Listener {
        forwarding,
        backends: vec![backend],
    };
    let routes = Routes {
        listeners: (published.iter())
            .map(|port| (*port, listener.clone()))
            .collect(),
        pods: BTreeMap::new(),
        draining: BTreeSet::new(),
        cut: BTreeSet::new(),
    };
    let mut limits = Limits::STANDARD;
    if mode == "copy" {
        limits.pipes = 0;
    }
    let workers = Workers::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listeners = Listeners::bind(&published)?;
        let (_routes, table) = watch::channel((1, Arc::new(routes)));
        let (report, _reports) = watch::channel(EdgeReport::default());
        let mut ended = signal(SignalKind::terminate())?;
        // Cancel safety: what is open then is of no interest.
        tokio::select! {
            _ = ended.recv() => {}
            () = edge::run(listeners, limits, workers, table, report, End::default()) => {}
        }
        Ok(())
    })
}
