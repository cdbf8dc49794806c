//! The load: clients of several kinds, each with its schedule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Protocol;
use crate::common::{Failure, judge};
use crate::http::{Client, Habit};
use crate::tally::{Counts, Tally};
use crate::websocket::{self, Ends};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests under way at once: more than are due while one may take its time. One beyond that is not sent, and has failed.
const UNDER_WAY_MAX: usize = 4000;
/// For what is under way when the load ends.
const LAST: Duration = Duration::from_secs(30);
const THREADS: usize = 2;
const WEBSOCKETS: u32 = 16;
/// Clients that keep connections and come seldom: each has a period of its own, so that some meet the moment in which
/// a server closes what rests.
const SELDOM: u32 = 16;
const SELDOM_FIRST: Duration = Duration::from_secs(1);
const SELDOM_STEP: Duration = Duration::from_millis(250);

/// How often a kind of clients asks for what.
struct Kind {
    name: &'static str,
    path: &'static str,
    clients: u32,
    /// Between two requests of one client.
    period: Duration,
    habit: fn() -> Habit,
}

const NEW: Kind = Kind {
    name: "new connection each",
    path: "/whoami",
    clients: 2,
    period: Duration::from_millis(40),
    habit: || Habit::Dials,
};
const KEPT: Kind = Kind {
    name: "keep-alive",
    path: "/whoami",
    clients: 8,
    period: Duration::from_millis(125),
    habit: || Habit::Keeps(Mutex::default()),
};
const SLOW: Kind = Kind {
    name: "2 s request",
    path: "/slow?ms=2000",
    clients: 1,
    period: Duration::from_millis(250),
    habit: || Habit::Dials,
};
const NEWER: Kind = Kind {
    name: "HTTP/2, one connection",
    path: "/whoami",
    clients: 2,
    period: Duration::from_millis(50),
    habit: || Habit::Shares(Mutex::default()),
};

/// Clients at work.
pub(crate) struct Load {
    runtime: Runtime,
    stop: CancellationToken,
    clients: TaskTracker,
    address: SocketAddr,
    under_way: Arc<Semaphore>,
    tallies: Vec<Arc<Tally>>,
    websockets: Arc<Tally>,
    ends: Arc<Ends>,
}

impl Load {
    /// Begins; a mode of TCP leads to replicas that do not speak HTTP/2.
    pub(crate) fn begin(address: SocketAddr, protocol: Protocol) -> Result<Self, Failure> {
        raise_open_files();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?;
        let mut load = Self {
            runtime,
            stop: CancellationToken::new(),
            clients: TaskTracker::new(),
            address,
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            tallies: Vec::new(),
            websockets: Arc::new(Tally::new("websocket, echo each second")),
            ends: Arc::default(),
        };
        load.start(&NEW);
        load.start(&KEPT);
        load.start_seldom();
        if protocol == Protocol::Http {
            load.start(&NEWER);
        }
        load.start(&SLOW);
        load.start_websockets();
        Ok(load)
    }

    fn start(&mut self, kind: &Kind) {
        let tally = self.tally(kind.name);
        for number in 0..kind.clients {
            let offset = kind.period * number / kind.clients;
            let client = self.client(kind.path, (kind.habit)(), &tally);
            self.follow(client, offset, kind.period);
        }
    }

    fn start_seldom(&mut self) {
        let tally = self.tally("keep-alive, each 1 to 5 s");
        for number in 0..SELDOM {
            let client = self.client("/whoami", Habit::Keeps(Mutex::default()), &tally);
            let period = SELDOM_FIRST + SELDOM_STEP * number;
            self.follow(client, period / SELDOM * number, period);
        }
    }

    fn start_websockets(&self) {
        const PERIOD: Duration = Duration::from_secs(1);
        for number in 0..WEBSOCKETS {
            let client = websocket::Client {
                address: self.address,
                ends: Arc::clone(&self.ends),
                tally: Arc::clone(&self.websockets),
                stop: self.stop.clone(),
            };
            let _inside = self.runtime.enter();
            let ticks = ticks(PERIOD * number / WEBSOCKETS, PERIOD);
            self.clients.spawn(client.run(ticks));
        }
    }

    fn tally(&mut self, name: &'static str) -> Arc<Tally> {
        let tally = Arc::new(Tally::new(name));
        self.tallies.push(Arc::clone(&tally));
        tally
    }

    fn client(&self, path: &'static str, habit: Habit, tally: &Arc<Tally>) -> Arc<Client> {
        Arc::new(Client {
            address: self.address,
            path,
            habit,
            tally: Arc::clone(tally),
            drivers: TaskTracker::new(),
        })
    }

    /// Sends by the schedule until the load ends.
    fn follow(&self, client: Arc<Client>, offset: Duration, period: Duration) {
        let (stop, requests) = (self.stop.clone(), self.clients.clone());
        let under_way = Arc::clone(&self.under_way);
        let _inside = self.runtime.enter();
        let mut ticks = ticks(offset, period);
        self.clients.spawn(async move {
            loop {
                // Cancel safety: a tick that is not taken is not needed any more.
                let due = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    due = ticks.tick() => due,
                };
                let Ok(permit) = Arc::clone(&under_way).try_acquire_owned() else {
                    let why = format!("not sent: {UNDER_WAY_MAX} requests are under way");
                    client.tally.count(due.elapsed(), Err(why));
                    continue;
                };
                let client = Arc::clone(&client);
                requests.spawn(async move {
                    let result = timeout(PATIENCE, client.ask()).await;
                    let result = result.unwrap_or_else(|_| Err("no whole answer in time".into()));
                    client.tally.count(due.elapsed(), result);
                    drop(permit);
                });
            }
        });
    }

    /// Failures so far.
    pub(crate) fn failed(&self) -> u64 {
        let all = self.tallies.iter().chain([&self.websockets]);
        all.map(|tally| tally.counts().failed).sum()
    }

    /// Ends it: what is under way is finished and counts. Prints what came of it; whether nothing was lost and no
    /// websocket broken.
    pub(crate) fn end(self) -> Result<bool, Failure> {
        self.stop.cancel();
        self.clients.close();
        let ended = self
            .runtime
            .block_on(async { timeout(LAST, self.clients.wait()).await });
        if ended.is_err() {
            return Err("what was under way did not end".into());
        }
        let tallies = self.tallies.iter().chain([&self.websockets]);
        let all: Vec<(&str, Counts)> = tallies.map(|tally| (tally.name, tally.counts())).collect();
        println!("  {:<28} {}", "clients", Counts::HEAD);
        for (name, counts) in &all {
            println!("  {name:<28} {counts}");
        }
        let (broken, not_opened) = self.print_ends();
        for reason in all.iter().flat_map(|(_, counts)| counts.reasons()) {
            println!("  {reason}");
        }
        let requests = self.tallies.iter().map(|tally| tally.counts().failed).sum();
        let kept = judged("requests that failed", requests);
        Ok(judged("websockets broken or refused", broken + not_opened) && kept)
    }

    fn print_ends(&self) -> (u64, u64) {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let Ends {
            opened,
            not_opened,
            going_away,
            otherwise,
            own,
            broken,
        } = &*self.ends;
        println!(
            "  websockets: {} opened, {} refused; ended by the server with 1001: {}, with another close frame: {}, by the client: {}, broken: {}",
            of(opened),
            of(not_opened),
            of(going_away),
            of(otherwise),
            of(own),
            of(broken)
        );
        (of(broken), of(not_opened))
    }
}

/// A connection each.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    // Where it stays as it is, requests fail that need more, and say so.
    setrlimit(Resource::Nofile, all).ok();
}

fn ticks(offset: Duration, period: Duration) -> Interval {
    // What was missed is made up for: the schedule is what clients wanted.
    interval_at(Instant::now() + offset, period)
}

fn judged(what: &str, count: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let count = count as f64;
    judge(what, count, 0.0, "")
}
