//! How many connections a published port takes on, how fast, and from whom.
//!
//! Connections beyond a limit stay in the kernel's queue, as `HAProxy`'s do (`maxconn`, `rate-limit sessions` in its
//! configuration manual, 2.6): who waits there costs the edge nothing. Not here: sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::spec::Rate;

/// From this share of the places on, no address may have more than [`SHARE_OF_ONE`] of them. Where all clients have one
/// address (behind a proxy, or docker-proxy), the port then simply has fewer places.
const PRESSED: (usize, usize) = (3, 4);
/// A part of the places.
const SHARE_OF_ONE: usize = 4;
/// An address may always have so many.
const SHARE_MIN: usize = 8;

/// The places of one port.
#[derive(Debug)]
pub(super) struct Gate {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug)]
struct Taken {
    places: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// When the port's rate is used up to; earlier than now after a rest.
    due: Instant,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::new(Taken {
                places: 0,
                by_address: BTreeMap::new(),
                due: now,
            }),
            freed: Notify::new(),
        })
    }

    /// Takes a place; `None` while there is none. It is given back by the place's drop.
    pub(super) fn try_enter(self: &Arc<Self>, cap: usize) -> Option<Place> {
        let mut taken = self.lock();
        if taken.places >= cap {
            return None;
        }
        taken.places += 1;
        if taken.places < cap {
            // Two places that are given back at once may wake only one of those who wait.
            self.freed.notify_one();
        }
        Some(Place {
            gate: Arc::clone(self),
            address: None,
        })
    }

    /// Waits until a place was given back.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Takes one turn of the rate, or says how long it is until there is one.
    pub(super) fn try_turn(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.average.get();
        let ahead = each.saturating_mul(rate.burst.get().saturating_sub(1));
        let mut taken = self.lock();
        let due = taken.due.max(now);
        let wait = due.saturating_duration_since(now + ahead);
        if wait.is_zero() {
            taken.due = due + each;
            Ok(())
        } else {
            Err(wait)
        }
    }

    /// Whose the place is; gives it back when places are scarce and this address has more than its share of `cap`.
    pub(super) fn admit(&self, mut place: Place, address: IpAddr, cap: usize) -> Option<Place> {
        let mut taken = self.lock();
        let is_pressed = taken.places * PRESSED.1 > cap * PRESSED.0;
        let own = taken.by_address.entry(address).or_insert(0);
        if is_pressed && *own >= (cap / SHARE_OF_ONE).max(SHARE_MIN) {
            drop(taken);
            return None;
        }
        *own += 1;
        drop(taken);
        place.address = Some(address);
        Some(place)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Each change is whole; a panic elsewhere takes nothing from that.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place of a port, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.gate.lock();
        taken.places = taken.places.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(own) = taken.by_address.get_mut(&address)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_address.remove(&address);
            }
        }
        drop(taken);
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::time::interval;

    use super::*;

    async fn start() -> Instant {
        interval(Duration::from_secs(1)).tick().await
    }

    #[tokio::test]
    async fn places_are_given_back_and_a_greedy_address_leaves_some_to_others() {
        let gate = Gate::new(start().await);
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held = Vec::new();
        for _ in 0..30 {
            let place = gate.try_enter(40).unwrap();
            held.push(gate.admit(place, greedy, 40).unwrap());
        }
        // Three quarters are taken: from here on nobody may have more than a quarter.
        let place = gate.try_enter(40).unwrap();
        assert!(gate.admit(place, greedy, 40).is_none());
        for _ in 0..10 {
            let place = gate.try_enter(40).unwrap();
            held.push(gate.admit(place, other, 40).unwrap());
        }
        assert!(gate.try_enter(40).is_none());
        held.clear();
        assert!(gate.lock().by_address.is_empty());
        assert_eq!(gate.lock().places, 0);
    }

    #[tokio::test]
    async fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
        let now = start().await;
        let gate = Gate::new(now);
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate {
            average: number(10),
            burst: number(3),
        };
        let turns = |now| (0..5).filter(|_| gate.try_turn(rate, now).is_ok()).count();
        assert_eq!(turns(now), 3);
        assert_eq!(gate.try_turn(rate, now), Err(Duration::from_millis(100)));
        assert_eq!(turns(now + Duration::from_millis(100)), 1);
        assert_eq!(turns(now + Duration::from_millis(250)), 1);
        // However long the rest was.
        assert_eq!(turns(now + Duration::from_hours(1)), 3);
    }
}
