//! A service: what is wanted of it, and what is remembered of its failures and starts.
//!
//! The memory is small and may be lost at a restart (backoff and start times are; generations and serials are read
//! again from the labels).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Adopted, Time};
use crate::spec::{
    Dependency, FileDigest, Generation, ImageId, Listen, NetworkName, Phoenix, Policy, Probe,
    Published, STARTING_ESTIMATE, Serial, ServiceName, SpecHash, VolumeName,
};

/// How many starts are remembered.
const STARTS_KEPT: usize = 8;
/// A replica that was ready for so long has proven itself: its end is no failed birth. Half a minute is longer than
/// the usual crash loop; a short TTL has its own measure.
const STABLE: Duration = Duration::from_secs(30);

/// What is wanted of one service.
#[derive(Clone, PartialEq, Debug)]
pub struct Desired {
    /// How many replicas.
    pub replicas: u32,
    /// What a replica is born from.
    pub spec_hash: SpecHash,
    /// The image that the hash was taken of. A name may lead to another one later.
    pub image: ImageId,
    /// How it lives and dies.
    pub phoenix: Phoenix,
    /// How readiness is asked for.
    pub probe: Probe,
    /// What the kernel must say.
    pub policy: Policy,
    /// Grace of a stop.
    pub stop_grace: Duration,
    /// The ports that the edge binds for it.
    pub published: Vec<Published>,
    /// The ports by which it is reached through its pod; empty where it has none.
    pub pod: BTreeSet<Listen>,
    /// The networks to be attached to, the first at create.
    pub networks: Vec<NetworkName>,
    /// The one to be attached to only while it is ready: there it has the service's names.
    pub on_ready: Option<NetworkName>,
    /// Those of all these that are the project's own and made when they are not there.
    pub makes_networks: BTreeSet<NetworkName>,
    /// The project's own volumes likewise.
    pub makes_volumes: BTreeSet<VolumeName>,
    /// Where it is a unit of labels mode.
    pub adopted: Option<Adopted>,
    /// What its first start waits for.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// The copies of secrets and configs that its replicas mount.
    pub files: BTreeSet<FileDigest>,
}

impl Desired {
    /// The largest number of live replicas.
    pub(super) fn live_limit(&self) -> u32 {
        self.replicas.saturating_add(self.phoenix.surge)
    }

    pub(super) fn all_networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.networks.iter().chain(&self.on_ready)
    }

    /// How long a replica must have been ready for its end not to count as a failure.
    pub(super) fn stable(&self) -> Duration {
        STABLE
            .max(self.phoenix.probe.min_ready * 2)
            .min(self.phoenix.ttl / 2)
    }
}

/// What is wanted of a service, and what is remembered of it.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) desired: Desired,
    /// The revision of the wanted definition; settled by the first listing.
    pub(super) generation: Option<(SpecHash, Generation)>,
    pub(super) last_generation: Generation,
    /// The highest serial that was ever seen or given.
    pub(super) last_serial: Serial,
    /// The image's name leads to another image now, or nowhere: births name the image by its id.
    pub(super) image_moved: bool,
    /// Why the adoption was stopped; the original then stays as it is.
    pub(super) objection: Option<String>,
    /// A replica of it was started, or was found started: its first start is over.
    pub(super) begun: bool,
    failures: u32,
    last_failure: Option<(Time, String)>,
    starts: VecDeque<Duration>,
}

impl Service {
    pub(super) fn new(desired: Desired) -> Self {
        Self {
            desired,
            generation: None,
            last_generation: Generation(0),
            last_serial: Serial(0),
            image_moved: false,
            objection: None,
            begun: false,
            failures: 0,
            last_failure: None,
            starts: VecDeque::new(),
        }
    }

    /// Takes over a new definition; what failed before says nothing about it.
    pub(super) fn want(&mut self, desired: Desired) {
        if desired.spec_hash != self.desired.spec_hash {
            self.forgive();
            self.image_moved = false;
            self.objection = None;
            self.starts.clear();
        }
        // What is scaled to nothing is started anew when it comes back.
        self.begun &= desired.replicas > 0;
        self.desired = desired;
    }

    /// Fixes the wanted definition's revision: that of the replicas that were born from it, else the next one.
    pub(super) fn settle_generation(&mut self, same: Option<Generation>) -> Generation {
        let settled = match (&self.generation, same) {
            (_, Some(generation)) => generation,
            (Some((hash, generation)), None) if *hash == self.desired.spec_hash => *generation,
            (_, None) => self.last_generation.next(),
        };
        self.last_generation = self.last_generation.max(settled);
        self.generation = Some((self.desired.spec_hash.clone(), settled));
        settled
    }

    pub(super) fn saw(&mut self, serial: Serial, generation: Generation) {
        self.last_serial = self.last_serial.max(serial);
        self.last_generation = self.last_generation.max(generation);
    }

    /// A replica that was known since then has failed. Those of one round fail of one cause: one that was known before the
    /// last counted failure says no more than that did.
    pub(super) fn fail(&mut self, now: Time, known_at: Time, why: String) {
        if let Some((at, last)) = &mut self.last_failure
            && known_at < *at
        {
            *last = why;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some((now, why));
    }

    /// A replica proved itself, the definition changed, or somebody asked for another try.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }

    /// Failures in a row, with the last one.
    pub(super) fn failures(&self) -> Option<(u32, &Time, &str)> {
        let (at, why) = self.last_failure.as_ref()?;
        (self.failures > 0).then_some((self.failures, at, why))
    }

    pub(super) fn is_budget_spent(&self) -> bool {
        self.failures >= self.desired.phoenix.backoff.budget
    }

    /// When the next birth may begin.
    pub(super) fn retry_at(&self) -> Option<Time> {
        let (failures, at, _) = self.failures()?;
        let backoff = self.desired.phoenix.backoff;
        let delay = if self.is_budget_spent() {
            backoff.cap
        } else {
            // 2^20 s is beyond any cap.
            backoff
                .base
                .saturating_mul(1 << (failures - 1).min(20))
                .min(backoff.cap)
        };
        Some(*at + delay)
    }

    pub(super) fn started_in(&mut self, took: Duration) {
        if self.starts.len() == STARTS_KEPT {
            self.starts.pop_front();
        }
        self.starts.push_back(took);
    }

    /// What the next replacement is taken to need, all parts together: never less than the estimate, never more than
    /// three quarters of a life, so that a slow start cannot turn into endless replacing.
    pub(super) fn lead(&self) -> Duration {
        let seen = self.starts.iter().max().copied().unwrap_or_default();
        let phoenix = &self.desired.phoenix;
        let lead = phoenix
            .lead(seen.max(STARTING_ESTIMATE), self.desired.stop_grace)
            .total();
        lead.min(phoenix.lifetime().shortest / 4 * 3)
    }
}
