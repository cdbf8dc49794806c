//! One edge process takes over from another, and nobody notices.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use phoenixd::edge::control::wire::{self, Asked, Role, Said, Stage};
use phoenixd::edge::control::{combined, new_session};
use phoenixd::spec::Published;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{Place, Served, Supervisor, ask, connect, free_ports, greeter, open, who};
use crate::support::eventually;

/// Clients who come all the time, whatever becomes of those before them, and clients who stay.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    /// Between two requests of one source. Far below what a busy machine can do: an open loop that comes faster than it is
    /// served only measures the machine.
    const PACE: Duration = Duration::from_millis(20);
    /// Requests of a kept connection, until its client ends it.
    const KEPT: usize = 20;

    fn on(ports: &[Published]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for port in ports {
            clients.spawn(open_loop(*port, Arc::clone(&stop), Arc::clone(&asked)));
            clients.spawn(keep_alive(*port, Arc::clone(&stop), Arc::clone(&asked)));
        }
        Self {
            stop,
            asked,
            clients,
        }
    }

    /// Waits until so many more requests were answered.
    async fn goes_on(&self, more: u64) {
        let before = self.asked.load(Ordering::SeqCst);
        let look = async || self.asked.load(Ordering::SeqCst);
        eventually("answers go on", look, |now| *now >= before + more).await;
    }

    /// What failed, and how many did not.
    async fn end(mut self) -> (Vec<String>, u64) {
        self.stop.store(true, Ordering::SeqCst);
        let mut failed = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            failed.extend(ended.unwrap());
        }
        (failed, self.asked.load(Ordering::SeqCst))
    }
}

async fn open_loop(port: Published, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) -> Vec<String> {
    let mut pace = interval(Load::PACE);
    let mut requests = JoinSet::new();
    let mut failed = Vec::new();
    let mut note = |ended: Result<Result<String, std::io::Error>, _>| match ended {
        Ok(Ok(name)) if name == "a" => {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        other => failed.push(format!("new connection: {other:?}")),
    };
    while !stop.load(Ordering::SeqCst) {
        pace.tick().await;
        requests.spawn(async move { ask(&mut connect(&port).await?).await });
        while let Some(ended) = requests.try_join_next() {
            note(ended);
        }
    }
    while let Some(ended) = requests.join_next().await {
        note(ended);
    }
    failed
}

async fn keep_alive(port: Published, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) -> Vec<String> {
    let mut pace = interval(Load::PACE);
    while !stop.load(Ordering::SeqCst) {
        let mut client = match connect(&port).await {
            Ok(client) => client,
            Err(error) => return vec![format!("kept connection: {error:?}")],
        };
        for _ in 0..Load::KEPT {
            pace.tick().await;
            match ask(&mut client).await {
                Ok(name) if name == "a" => asked.fetch_add(1, Ordering::SeqCst),
                other => return vec![format!("kept connection: {other:?}")],
            };
        }
    }
    Vec::new()
}

/// Lines of a peer that is not phoenixd.
struct Peer {
    from: Lines<BufReader<OwnedReadHalf>>,
    to: OwnedWriteHalf,
}

impl Peer {
    async fn connect(place: &Place, serial: u64, role: Role) -> Self {
        let path = place.socket(serial);
        let look = async || UnixStream::connect(&path).await;
        let stream = eventually("the edge listens", look, Result::is_ok).await;
        let (from, to) = stream.unwrap().into_split();
        let mut peer = Self {
            from: BufReader::new(from).lines(),
            to,
        };
        let hello = wire::encode_hello(Some(role)).unwrap();
        peer.to.write_all(&hello).await.unwrap();
        let line = peer.from.next_line().await.unwrap().unwrap();
        wire::decode_hello(line.as_bytes()).unwrap();
        peer
    }

    async fn ask(&mut self, what: &Asked) {
        let line = wire::encode(what).unwrap();
        self.to.write_all(&line).await.unwrap();
    }

    async fn hear(&mut self) -> Said {
        let line = self.from.next_line().await.unwrap().unwrap();
        wire::decode(line.as_bytes()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_handovers_under_load_fail_no_request() {
    let Served {
        mut place,
        mut supervisor,
        ports,
        a,
    } = Served::by(1, 3).await;
    let session = supervisor.session;
    let load = Load::on(&ports);
    for serial in 2..=51 {
        place.start(serial);
        let next = Supervisor::in_session(&place, serial, session);
        next.take_over.send_replace(Some(serial - 1));
        next.publish(1, &ports, &[&a], &[]);
        let said = next.says(|said| said.took_over == Some(serial - 1)).await;
        assert_eq!((said.stage, said.unbound.len()), (Stage::Serving, 0));
        load.goes_on(20).await;
        let past = |stage| matches!(stage, Stage::Draining | Stage::Drained);
        supervisor.says(|said| past(said.stage)).await;
        supervisor = next;
        place.terminate(serial - 1);
        assert!(place.ended(serial - 1).await);
    }
    let (failed, answered) = load.end().await;
    assert!(failed.is_empty(), "of {answered}: {failed:?}");
    assert!(answered > 1000, "{answered}");
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_accepted_by_the_next_one() {
    let Served {
        mut place,
        supervisor,
        ports,
        a,
    } = Served::by(1, 1).await;
    let mut successor = Peer::connect(&place, 1, Role::Edge).await;
    successor.ask(&Asked::Give { to: 2 }).await;
    loop {
        if let Said::AllSent { count } = successor.hear().await {
            assert_eq!(count, 1);
            break;
        }
    }
    // This peer takes no descriptors: they are closed on arrival, and nothing is lost by that.
    assert_eq!(who(&ports[0]).await, "a");
    drop(successor);
    assert_eq!(who(&ports[0]).await, "a");
    supervisor.says(|said| said.stage == Stage::Serving).await;

    // Stopped, the old one accepts nothing; what comes waits in the kernel.
    let old = rustix::process::Pid::from_child(&place.edges[&1]);
    place.start(2);
    let next = Supervisor::in_session(&place, 2, supervisor.session);
    next.publish(1, &ports, &[&a], &[]);
    next.says(|said| said.unbound.len() == 1).await;
    rustix::process::kill_process(old, rustix::process::Signal::STOP).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(connect(&ports[0]).await.unwrap());
    }
    next.take_over.send_replace(Some(1));
    rustix::process::kill_process(old, rustix::process::Signal::CONT).unwrap();
    next.says(|said| said.took_over == Some(1)).await;
    for client in &mut waiting {
        assert_eq!(ask(client).await.unwrap(), "a");
    }
}

#[tokio::test]
async fn the_next_one_forwards_by_the_old_one_s_table_before_it_has_one_of_its_own() {
    let Served {
        mut place,
        supervisor: first,
        ports,
        a,
    } = Served::by(9, 2).await;
    let mut kept = connect(&ports[0]).await.unwrap();
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    place.start(2);
    // The supervisor is killed as soon as it has said this one word.
    let mut word = Peer::connect(&place, 2, Role::Supervisor).await;
    word.ask(&Asked::TakeOver { from: 1 }).await;
    drop(word);
    first.says(|said| said.stage == Stage::Draining).await;
    drop(first);

    let session = new_session().unwrap();
    let old = Supervisor::in_session(&place, 1, session);
    let new = Supervisor::in_session(&place, 2, session);
    let said = new.says(|said| said.took_over == Some(1)).await;
    assert_eq!(said.stage, Stage::Serving);
    assert_eq!(said.stamp.map(|stamp| stamp.epoch), Some(9));
    old.says(|said| said.stage == Stage::Draining).await;
    for port in &ports {
        assert_eq!(who(port).await, "a");
    }
    // Both count, and both have to know of a table before it is promised.
    new.publish(1, &ports, &[], &[&a]);
    new.report(|report| report.epoch == 1).await;
    let both = || combined([&*old.reports.borrow(), &*new.reports.borrow()]);
    assert_eq!(both().epoch, 0);
    eventually(
        "all is counted",
        async || both(),
        |both| open(both) == [("a", 1)],
    )
    .await;
    old.publish(1, &ports, &[], &[&a]);
    old.report(|report| report.epoch == 1).await;
    assert_eq!(both().epoch, 1);
    drop(kept);
    old.says(|said| said.stage == Stage::Drained).await;
    eventually(
        "all is counted",
        async || both(),
        |both| open(both) == [("a", 0)],
    )
    .await;
    // What has drained knows every table at once.
    old.route(2, &ports, &[]).await;
}

#[tokio::test]
async fn a_new_edge_that_dies_before_it_acknowledges_changes_nothing() {
    let Served {
        mut place,
        supervisor,
        ports,
        ..
    } = Served::by(1, 2).await;
    let load = Load::on(&ports);
    for _ in 0..10 {
        let mut successor = Peer::connect(&place, 1, Role::Edge).await;
        successor.ask(&Asked::Give { to: 2 }).await;
        let first = successor.hear().await;
        assert!(
            matches!(first, Said::Handing { table: Some(_) }),
            "{first:?}"
        );
        load.goes_on(5).await;
        drop(successor);
    }
    // Also a real one, whenever it is killed.
    for serial in 2..12 {
        place.start(serial);
        let mut word = Peer::connect(&place, serial, Role::Supervisor).await;
        // The old one is held, so that this one cannot have acknowledged.
        let old = rustix::process::Pid::from_child(&place.edges[&1]);
        rustix::process::kill_process(old, rustix::process::Signal::STOP).unwrap();
        word.ask(&Asked::TakeOver { from: 1 }).await;
        place.kill(serial);
        rustix::process::kill_process(old, rustix::process::Signal::CONT).unwrap();
        load.goes_on(5).await;
    }
    let said = supervisor.says(|said| said.stage == Stage::Serving).await;
    assert_eq!(said.serial, 1);
    let (failed, answered) = load.end().await;
    assert!(failed.is_empty(), "of {answered}: {failed:?}");
}

#[tokio::test]
async fn an_old_edge_that_is_gone_or_dies_within_the_handover_is_replaced_all_the_same() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let ports = free_ports(2);
    let mut place = Place::new();
    for round in 0..10_u64 {
        let (old, new) = (2 * round + 1, 2 * round + 2);
        place.start(old);
        let session = new_session().unwrap();
        let before = Supervisor::in_session(&place, old, session);
        before.route(1, &ports, &[&a]).await;
        place.start(new);
        let after = Supervisor::in_session(&place, new, session);
        after.link(|link| link.is_connected).await;
        after.publish(1, &ports, &[&a], &[]);
        after.take_over.send_replace(Some(old));
        if round % 2 == 0 {
            // Somewhere within: the more rounds, the later.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
        } else {
            after.says(|said| said.stamp.is_some()).await;
        }
        place.kill(old);
        let said = after.says(|said| said.took_over == Some(old)).await;
        assert_eq!(said.takeover_error, None);
        after
            .says(|said| said.stage == Stage::Serving && said.unbound.is_empty())
            .await;
        for port in &ports {
            assert_eq!(who(port).await, "a");
        }
        place.kill(new);
    }
}

#[tokio::test]
async fn an_edge_has_one_successor_and_whoever_comes_late_is_told() {
    let Served {
        mut place,
        supervisor: first,
        ports,
        ..
    } = Served::by(1, 1).await;
    let session = first.session;
    place.start(2);
    let second = Supervisor::in_session(&place, 2, session);
    second.take_over.send_replace(Some(1));
    second.says(|said| said.took_over == Some(1)).await;
    place.start(3);
    let third = Supervisor::in_session(&place, 3, session);
    third.take_over.send_replace(Some(1));
    let said = third.says(|said| said.takeover_error.is_some()).await;
    let why = said.takeover_error.unwrap();
    assert!(why.contains("edge 2 has taken over already"), "{why}");
    assert_eq!((said.stage, said.took_over), (Stage::Idle, None));
    // Told the right one, it succeeds.
    third.take_over.send_replace(Some(2));
    third.says(|said| said.took_over == Some(2)).await;
    second.says(|said| said.stage == Stage::Drained).await;
    assert_eq!(who(&ports[0]).await, "a");
}

/// More sockets than go with one message of the kernel.
#[tokio::test]
async fn three_hundred_ports_change_hands() {
    let Served {
        mut place,
        supervisor: first,
        ports,
        ..
    } = Served::by(1, 300).await;
    let session = first.session;
    place.start(2);
    let second = Supervisor::in_session(&place, 2, session);
    second.take_over.send_replace(Some(1));
    second.says(|said| said.took_over == Some(1)).await;
    first.says(|said| said.stage == Stage::Drained).await;
    place.kill(1);
    for port in &ports {
        assert_eq!(who(port).await, "a");
    }
}

/// What was said before, on a connection that is only now heard, does not undo what was said after.
#[tokio::test]
async fn an_older_table_of_the_same_supervisor_is_not_put_in_force() {
    let Served {
        place,
        mut supervisor,
        ports,
        ..
    } = Served::by(5, 1).await;
    supervisor.running.shutdown().await;
    let mut late = Peer::connect(&place, 1, Role::Supervisor).await;
    let empty = |epoch| {
        Asked::Table(wire::Table {
            stamp: wire::Stamp {
                session: supervisor.session,
                epoch,
            },
            listeners: Vec::new(),
            draining: Vec::new(),
            cut: Vec::new(),
        })
    };
    let nobody = 99;
    late.ask(&empty(4)).await;
    late.ask(&Asked::TakeOver { from: nobody }).await;
    // Once it has tried, it has heard the table, too.
    loop {
        if let Said::Report(report) = late.hear().await
            && report.took_over == Some(nobody)
        {
            assert_eq!(report.stamp.map(|stamp| stamp.epoch), Some(5));
            break;
        }
    }
    assert_eq!(who(&ports[0]).await, "a");
    late.ask(&empty(6)).await;
    loop {
        if let Said::Report(report) = late.hear().await
            && report.stamp.is_some_and(|stamp| stamp.epoch == 6)
        {
            assert_eq!(report.stage, Stage::Idle);
            break;
        }
    }
}

/// An old edge that dies after it has given, and before it has said that this was all: what waits in the queue is nowhere
/// else any more.
#[tokio::test]
async fn what_a_dying_edge_has_given_is_kept_with_all_that_waits_in_it() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let ports = free_ports(1);
    let socket = std::net::TcpListener::bind(ports[0].local_address()).unwrap();
    let mut waiting = connect(&ports[0]).await.unwrap();
    let mut place = Place::new();
    let listener = tokio::net::UnixListener::bind(place.socket(1)).unwrap();
    place.start(2);
    let supervisor = Supervisor::of(&place, 2);
    supervisor.take_over.send_replace(Some(1));
    supervisor.publish(1, &ports, &[&a], &[]);

    let (mut dying, _) = listener.accept().await.unwrap();
    drop(listener);
    let hello = wire::encode_hello(None).unwrap();
    dying.write_all(&hello).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"{\"give\":{\"to\":2}}\n") {
        assert!(dying.read_buf(&mut heard).await.unwrap() > 0);
    }
    std::fs::remove_file(place.socket(1)).unwrap();
    let key = wire::Socket {
        key: wire::Key {
            host_ip: ports[0].host_ip,
            host_port: ports[0].host_port,
            target: ports[0].target,
            transport: wire::Transport::Tcp,
        },
        address: socket.local_addr().unwrap(),
    };
    let said = wire::encode(&Said::Sockets(vec![key])).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [socket.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let said = [IoSlice::new(&said)];
    sendmsg(&dying, &said, &mut ancillary, SendFlags::empty()).unwrap();
    drop((dying, socket));

    let said = supervisor.says(|said| said.took_over == Some(1)).await;
    assert_eq!((said.stage, said.takeover_error), (Stage::Serving, None));
    assert_eq!(ask(&mut waiting).await.unwrap(), "a");
}
