//! What came of the requests of one kind.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::common::stats::Samples;

/// Of each kind.
const REASONS_KEPT: usize = 5;

/// Counted by many clients at once.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: &'static str,
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Sent again on a new connection, since the kept one had ended without an answer: the race that every HTTP client
    /// has with whoever closes a connection that rests.
    pub(crate) resent: u64,
    /// Connections that were begun.
    pub(crate) connections: u64,
    /// How long the slowest took, and when it was answered.
    slowest: (Duration, Duration),
    reasons: Vec<String>,
    resent_reasons: Vec<String>,
    milliseconds: Samples,
}

impl Tally {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            began: Instant::now(),
            counts: Mutex::default(),
        }
    }

    /// One request has ended, so long after it was due.
    pub(crate) fn count(&self, took: Duration, result: Result<(), String>) {
        let at = self.began.elapsed();
        let mut counts = self.lock();
        counts.requests += 1;
        counts.slowest = counts.slowest.max((took, at));
        match result {
            Ok(()) => counts.milliseconds.push(took.as_secs_f64() * 1e3),
            Err(why) => {
                counts.failed += 1;
                if counts.reasons.len() < REASONS_KEPT {
                    let at = at.as_secs_f64();
                    let took = took.as_secs_f64();
                    counts.reasons.push(format!(
                        "{}: after {at:.2} s, {took:.3} s since it was due: {why}",
                        self.name
                    ));
                }
            }
        }
    }

    pub(crate) fn resent(&self, number: usize, why: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let mut counts = self.lock();
        if number > 0 && counts.resent_reasons.len() < REASONS_KEPT {
            let reason = format!("{}: after {at:.2} s, re-sent: {why}", self.name);
            counts.resent_reasons.push(reason);
        }
        counts.resent += number as u64;
    }

    pub(crate) fn connected(&self) {
        self.lock().connections += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Each change is whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    pub(crate) const HEAD: &'static str =
        "requests    failed   re-sent  connections   p50 ms    p99 ms    max ms  at s";

    /// The first reasons of each kind.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = &String> {
        self.reasons.iter().chain(&self.resent_reasons)
    }
}

/// Below [`Counts::HEAD`].
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share| self.milliseconds.quantile(share);
        write!(
            f,
            "{:>8}  {:>8}  {:>8}     {:>8}  {:>7.1}  {:>8.1}  {:>8.1}  {:>4}",
            self.requests,
            self.failed,
            self.resent,
            self.connections,
            at(0.5),
            at(0.99),
            self.slowest.0.as_secs_f64() * 1e3,
            self.slowest.1.as_secs(),
        )
    }
}
