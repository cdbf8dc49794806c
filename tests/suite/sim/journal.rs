//! The journal: its records of taints outlive every supervisor, a moment after they were made; and the fault that nothing can
//! be written for a while (a full disk, one that is read-only), with the checker of what is then not begun.
//!
//! As the daemon has it: what is given to a journal that cannot be written is lost, and the core is told that it cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use phoenixd::reconcile::{Action, Event, Judged, Reason, Status, Time};
use phoenixd::spec::ContainerId;

use super::invariants::Judge;
use super::rng::Rng;
use super::run::{Ev, Sim};

/// What is on the disk. What is drawn is drawn apart, so that the seeds without touches stay what they are.
#[derive(Debug)]
pub(super) struct Records {
    /// The containers that were recorded as tainted, and by what.
    tainted: BTreeMap<ContainerId, String>,
    /// The number of the last touch that this supervisor has told.
    told: u64,
    /// When the last record was written.
    pub(super) last: Option<Time>,
    /// Nothing can be written until then.
    fail_until: Time,
    pub(super) rng: Rng,
}

impl Records {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            tainted: BTreeMap::new(),
            told: 0,
            last: None,
            fail_until: Time::BOOT,
            rng: Rng::stream(seed, "records of taints"),
        }
    }
}

impl Sim {
    /// A supervisor starts, and reads what those before it recorded.
    pub(super) fn remember(&mut self) {
        self.records.told = 0;
        let taints = self.records.tainted.clone();
        if !taints.is_empty() {
            self.deliver(Event::Remembered(taints));
        }
        if self.records.fail_until > self.now {
            self.at(Duration::from_millis(1), Ev::Journal);
        }
    }

    /// As the daemon does: each new taint is a record, which is durable a moment later.
    pub(super) fn record_taints(&mut self, status: &Status) {
        let told = self.records.told;
        for touched in status.touched.iter().filter(|it| it.number > told) {
            self.records.told = touched.number;
            if touched.judged == Judged::Taint {
                let moment = self.records.rng.ms(0, 2);
                let (id, words) = (touched.id.clone(), touched.touch.words());
                self.at(moment, Ev::Durable(self.incarnation, id, words));
            }
        }
    }

    /// Something else is recorded: after what was given before, within the moment that this takes.
    pub(super) fn record(&mut self) {
        let moment = Duration::from_millis(2);
        self.at(moment, Ev::Recorded(self.incarnation, self.now));
    }

    pub(super) fn recorded(&mut self, incarnation: u64, at: Time) {
        if self.incarnation == incarnation && self.records.fail_until <= self.now {
            self.records.last = Some(at);
        }
    }

    pub(super) fn durable(&mut self, incarnation: u64, id: ContainerId, words: String) {
        if self.incarnation == incarnation && self.records.fail_until <= self.now {
            self.judge.tainted.recorded.insert(id.clone());
            self.records.tainted.entry(id).or_insert(words);
        }
    }

    /// Nothing can be written for so long.
    pub(super) fn journal_fails(&mut self, span: Duration) {
        self.records.fail_until = self.now + span;
        self.at(Duration::from_millis(1), Ev::Journal);
        self.at(span, Ev::Journal);
    }

    /// The disk is well again.
    pub(super) fn heal_journal(&mut self) {
        self.records.fail_until = self.now;
        self.at(Duration::ZERO, Ev::Journal);
    }

    /// The writer tells whether it can write.
    pub(super) fn journal_tells(&mut self) {
        let fails = self.records.fail_until > self.now;
        let error = fails.then(|| "the disk is full".to_owned());
        self.deliver(Event::Journal { error });
    }
}

impl Judge {
    pub(super) fn told_of_journal(&mut self, event: &Event) {
        if let Event::Journal { error } = event {
            self.unrecorded.clone_from(error);
        }
    }

    /// What could not be read of later is not begun: nothing that serves is replaced. What is missing is born, and what was
    /// touched is replaced all the same.
    pub(super) fn begins_unrecorded(&mut self, now: Time, action: &Action, reason: &Reason) {
        let is_replacement = matches!(action, Action::Create { .. }) && replaces(reason);
        if let Some(error) = self.unrecorded.as_ref().filter(|_| is_replacement) {
            let text = format!("{action}: {reason}, and the journal cannot be written: {error}");
            self.fail(now, "recorded", text);
        }
    }
}

fn replaces(reason: &Reason) -> bool {
    match reason {
        Reason::Replaces { because, .. } => !matches!(**because, Reason::Tainted { .. }),
        Reason::WithoutOptional { because, .. } => replaces(because),
        _ => false,
    }
}
