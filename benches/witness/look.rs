//! Looks as the supervisor does: at what is new every 5 ms, at everything every few seconds; and where the kernel tells of
//! them, at programs that are started, and at what is new every 25 ms.

use std::time::{Duration, Instant};

use phoenixd::clock::boot_now;
use phoenixd::reconcile::Touch;
use phoenixd::witness::{Execs, Found, Scanner, Watched};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Failure;
use crate::stats::Samples;

const QUICK: Duration = Duration::from_millis(5);
const QUICK_WHEN_TOLD: Duration = Duration::from_millis(25);
const FULL: Duration = Duration::from_secs(4);
/// Looks of which the cost is taken.
const LOOKS: usize = 200;

/// What looking costs, in ms.
#[derive(Default)]
pub(crate) struct Costs {
    pub(crate) full: Samples,
    pub(crate) quick: Samples,
    pub(crate) sockets: Samples,
    /// Of a processor, over all, at the supervisor's pace.
    pub(crate) share: f64,
    /// The same where the kernel tells of programs that are started, while none is.
    pub(crate) share_when_told: f64,
}

pub(crate) struct Looker {
    scanner: Scanner,
    full_at: Instant,
    /// The kernel's word of programs that are started, where it is listened to.
    execs: Option<Execs>,
}

impl Looker {
    pub(crate) fn new(watched: &Watched, execs: Option<Execs>) -> Self {
        let mut scanner = Scanner::new("/proc");
        scanner.watch(std::slice::from_ref(watched));
        Self {
            scanner,
            full_at: Instant::now(),
            execs,
        }
    }

    /// What each kind of look costs.
    pub(crate) fn costs(&mut self) -> Result<Costs, Failure> {
        // Until its processes are there.
        std::thread::sleep(Duration::from_secs(1));
        let mut costs = Costs::default();
        for _ in 0..LOOKS {
            let began = Instant::now();
            let found = self.scanner.full(boot_now());
            costs.full.push(ms(began));
            let foreign = found
                .iter()
                .find(|(_, touch)| !matches!(touch, Touch::Listens(_)));
            if let Some((_, touch)) = foreign {
                return Err(format!("a container at rest: {touch}").into());
            }
            let began = Instant::now();
            self.scanner.quick(boot_now());
            costs.quick.push(ms(began));
            let began = Instant::now();
            self.scanner.sockets();
            costs.sockets.push(ms(began));
        }
        let at_pace = |cost: &Samples, shortest: f64, longest: f64| {
            let cost = cost.quantile(0.5);
            cost / (cost * 1000.0).clamp(shortest, longest)
        };
        let others =
            at_pace(&costs.full, 250.0, 10_000.0) + at_pace(&costs.sockets, 2000.0, 60_000.0);
        let quick = costs.quick.quantile(0.5);
        costs.share = others + quick / 5.0;
        costs.share_when_told = others + quick / 25.0;
        Ok(costs)
    }

    /// Until there is nothing new.
    pub(crate) fn settle(&mut self) {
        for _ in 0..6 {
            self.scanner.full(boot_now());
            std::thread::sleep(QUICK);
            self.scanner.quick(boot_now());
        }
        self.full_at = Instant::now();
    }

    /// How long after now the first intruder was found; `None` when none was within the limit.
    pub(crate) fn first_intruder(&mut self, limit: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < limit {
            let mut found: Found = if self.full_at.elapsed() >= FULL {
                self.full_at = Instant::now();
                self.scanner.full(boot_now())
            } else {
                self.scanner.quick(boot_now())
            };
            if let Some(execs) = &mut self.execs {
                let pids = execs.pids();
                found.extend(self.scanner.look_at(&pids, boot_now()));
            }
            let is_intruder = |touch: &Touch| matches!(touch, Touch::Intruder(_));
            if found.iter().any(|(_, touch)| is_intruder(touch)) {
                return Some(began.elapsed());
            }
            let quick = match self.execs {
                Some(_) => QUICK_WHEN_TOLD,
                None => QUICK,
            };
            let limit = Timespec::try_from(quick).ok();
            let mut told: Vec<PollFd<'_>> = (self.execs.iter())
                .map(|execs| PollFd::from_borrowed_fd(execs.as_fd(), PollFlags::IN))
                .collect();
            poll(&mut told, limit.as_ref()).unwrap_or_default();
        }
        None
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}
