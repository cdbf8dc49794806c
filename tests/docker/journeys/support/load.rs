//! Constant load, and a count of what was lost.
//!
//! Clients of two kinds: those that dial for each request, and those that keep one connection and send request after
//! request over it. None repeats a request: whatever is not answered with 200 is lost.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http::{self, Answer};
use super::{now, since};

/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(8);
/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
const REASONS_KEPT: usize = 5;

/// What clients have met.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// The containers that answered, by short id.
    pub(crate) by: BTreeSet<String>,
    /// Connections that the server asked to end, or ended.
    pub(crate) reconnects: u64,
    /// The first losses: the kind of client, when since the begin, why.
    pub(crate) reasons: Vec<String>,
    pub(crate) slowest: Duration,
}

/// Clients at work.
pub(crate) struct Load {
    clients: Vec<(Sender<()>, JoinHandle<Tally>)>,
}

impl Load {
    /// Begins with `dialling` clients of the one kind and `keeping` ones of the other.
    pub(crate) fn begin(port: u16, dialling: usize, keeping: usize) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let start = |keeps: bool| {
            let (stop, stopped) = channel();
            let client = Client {
                address,
                keeps,
                began: now(),
                tally: Tally::default(),
            };
            (stop, std::thread::spawn(move || client.run(&stopped)))
        };
        let kinds = std::iter::repeat_n(false, dialling).chain(std::iter::repeat_n(true, keeping));
        Self {
            clients: kinds.map(start).collect(),
        }
    }

    /// Ends it: the requests under way are finished and count.
    pub(crate) fn end(mut self) -> Tally {
        let clients = std::mem::take(&mut self.clients);
        let (stops, joins): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        drop(stops);
        let mut all = Tally::default();
        for join in joins {
            let one = join.join().expect("a client does not panic");
            all.answered += one.answered;
            all.lost += one.lost;
            all.reconnects += one.reconnects;
            all.by.extend(one.by);
            all.reasons.extend(one.reasons);
            all.slowest = all.slowest.max(one.slowest);
        }
        all.reasons.truncate(4 * REASONS_KEPT);
        all
    }
}

impl Tally {
    /// Every request was answered, and there were enough of them to mean something.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self, at_least: u64) {
        println!(
            "{} answered, {} lost, {} reconnects, {} replicas, slowest {:?}",
            self.answered,
            self.lost,
            self.reconnects,
            self.by.len(),
            self.slowest
        );
        assert_eq!(self.lost, 0, "requests were lost: {self:#?}");
        assert!(
            self.answered >= at_least,
            "too little load to tell: {self:#?}"
        );
    }
}

struct Client {
    address: SocketAddr,
    keeps: bool,
    began: Duration,
    tally: Tally,
}

impl Client {
    fn run(mut self, stopped: &Receiver<()>) -> Tally {
        let mut connection = None;
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let began = now();
            let result = self.ask(&mut connection);
            self.tally.slowest = self.tally.slowest.max(since(began));
            match result {
                Ok(answer) if answer.status == 200 => {
                    self.tally.answered += 1;
                    self.tally
                        .by
                        .extend(answer.json()["id"].as_str().map(str::to_owned));
                }
                Ok(answer) => self.lost(&format!("{} {}", answer.status, answer.text())),
                Err(error) => {
                    connection = None;
                    self.lost(&error.to_string());
                }
            }
        }
        self.tally
    }

    fn ask(
        &mut self,
        connection: &mut Option<BufReader<std::net::TcpStream>>,
    ) -> std::io::Result<Answer> {
        if !self.keeps {
            return http::get_from(self.address, "/whoami", PATIENCE);
        }
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => BufReader::new(http::dial(self.address, PATIENCE)?),
        };
        let answer = http::request(&mut stream, "GET", "/whoami", false)?;
        if answer.closes {
            self.tally.reconnects += 1;
        } else {
            *connection = Some(stream);
        }
        Ok(answer)
    }

    fn lost(&mut self, why: &str) {
        self.tally.lost += 1;
        if self.tally.reasons.len() < REASONS_KEPT {
            let kind = if self.keeps {
                "keep-alive"
            } else {
                "new connection"
            };
            let at = since(self.began);
            self.tally
                .reasons
                .push(format!("{kind}, after {at:?}: {why}"));
        }
    }
}
