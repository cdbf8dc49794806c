//! When replacing begins: early enough that no replica is there past its deadline, as late as that allows, and never
//! more at once than the surge and the host bear.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Time;
use crate::spec::{Lifetime, ProjectName, ReplicaName, ServiceName};

/// Bounds over all services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Births that may be under way at once. A start saturates a CPU: beyond one or two a CPU they only queue
    /// (`ENGINE-FACTS.md`, section 5).
    pub births: u32,
    /// Calls to the engine that may be under way at once.
    pub calls: usize,
}

impl Limits {
    /// For a host of so many CPUs.
    pub fn of_cpus(cpus: usize) -> Self {
        let births = u32::try_from(cpus.max(1).saturating_mul(2)).unwrap_or(u32::MAX);
        Self {
            births,
            calls: cpus.max(1).saturating_mul(4),
        }
    }
}

/// How long this replica lives: drawn from its name, so that a restart draws the same.
pub(super) fn lifetime(project: &ProjectName, replica: &ReplicaName, bounds: Lifetime) -> Duration {
    let spread = bounds.longest.saturating_sub(bounds.shortest);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in replica.container_name(project).bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // splitmix64's finish: FNV alone leaves the high bits of short names alike.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let permyriad = u32::try_from(hash % 10_001).unwrap_or(0);
    bounds.longest.saturating_sub(spread / 10_000 * permyriad)
}

/// One replica's claim on the schedule.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) replica: ReplicaName,
    pub(super) born_at: Time,
    pub(super) deadline: Time,
    pub(super) lead: Duration,
    /// How many of its service may be replaced at once.
    pub(super) slots: usize,
}

/// When each replica's replacement begins. Worked backwards from the last deadline: with `n` slots, a replacement
/// ends before the `n`-th one after it begins; so within a service, and over all of them.
pub(super) fn begins(mut claims: Vec<Claim>, slots_overall: usize) -> BTreeMap<ReplicaName, Time> {
    claims.sort_by(|a, b| (a.deadline, &a.replica).cmp(&(b.deadline, &b.replica)));
    let mut later_overall: VecDeque<Time> = VecDeque::new();
    let mut later_of: BTreeMap<ServiceName, VecDeque<Time>> = BTreeMap::new();
    let mut begins = BTreeMap::new();
    for claim in claims.into_iter().rev() {
        let later = later_of.entry(claim.replica.service.clone()).or_default();
        let ends_by = [
            Some(claim.deadline),
            slot(later, claim.slots),
            slot(&later_overall, slots_overall),
        ];
        let ends_by = ends_by
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(claim.deadline);
        let begin = ends_by.minus(claim.lead);
        remember(later, begin, claim.slots);
        remember(&mut later_overall, begin, slots_overall);
        // A quarter of its life is every replica's, else replacing would never end where time is too short for all.
        let floor = claim.born_at + claim.deadline.since(claim.born_at) / 4;
        begins.insert(claim.replica, begin.max(floor));
    }
    begins
}

/// The begin of the `slots`-th replacement from here.
fn slot(later: &VecDeque<Time>, slots: usize) -> Option<Time> {
    later.get(slots.max(1) - 1).copied()
}

fn remember(later: &mut VecDeque<Time>, begin: Time, slots: usize) {
    later.push_front(begin);
    later.truncate(slots.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Serial;

    fn claim(service: &str, serial: u64, deadline: u64, lead: u64, slots: usize) -> Claim {
        Claim {
            replica: ReplicaName::new(ServiceName::new(service), Serial(serial)),
            born_at: Time::BOOT,
            deadline: Time::from_boot(Duration::from_secs(deadline)),
            lead: Duration::from_secs(lead),
            slots,
        }
    }

    fn begin_seconds(claims: Vec<Claim>, overall: usize) -> Vec<u64> {
        begins(claims, overall)
            .values()
            .map(|time| time.since_boot().as_secs())
            .collect()
    }

    #[test]
    fn a_lone_replica_begins_one_lead_before_its_deadline() {
        assert_eq!(begin_seconds(vec![claim("a", 1, 100, 10, 1)], 4), [90]);
    }

    #[test]
    fn replicas_that_share_one_slot_queue_up_before_the_deadline() {
        let claims = (1..=3).map(|n| claim("a", n, 100, 10, 1)).collect();
        assert_eq!(begin_seconds(claims, 4), [70, 80, 90]);
    }

    #[test]
    fn two_slots_halve_the_queue() {
        let claims = (1..=4).map(|n| claim("a", n, 100, 10, 2)).collect();
        assert_eq!(begin_seconds(claims, 4), [80, 80, 90, 90]);
    }

    #[test]
    fn services_share_the_slots_of_the_host() {
        let claims = ["a", "b", "c"]
            .iter()
            .map(|name| claim(name, 1, 100, 10, 1))
            .collect();
        assert_eq!(begin_seconds(claims, 1), [70, 80, 90]);
    }

    #[test]
    fn a_quarter_of_a_life_is_always_lived() {
        let claims = (1..=20).map(|n| claim("a", n, 100, 10, 1)).collect();
        assert_eq!(begin_seconds(claims, 4).first(), Some(&25));
    }

    #[test]
    fn lives_differ_by_at_most_the_jitter_and_are_drawn_from_the_name() {
        let bounds = Lifetime {
            shortest: Duration::from_secs(90),
            longest: Duration::from_secs(100),
        };
        let project = ProjectName::new("p");
        let lives: Vec<Duration> = (1..200)
            .map(|n| {
                lifetime(
                    &project,
                    &ReplicaName::new(ServiceName::new("a"), Serial(n)),
                    bounds,
                )
            })
            .collect();
        assert!(
            lives
                .iter()
                .all(|life| (bounds.shortest..=bounds.longest).contains(life))
        );
        let below_middle = lives
            .iter()
            .filter(|life| **life < Duration::from_secs(95))
            .count();
        assert!((70..130).contains(&below_middle), "{below_middle} of 199");
        assert_eq!(
            lives.first(),
            Some(&lifetime(
                &project,
                &ReplicaName::new(ServiceName::new("a"), Serial(1)),
                bounds
            ))
        );
    }
}
