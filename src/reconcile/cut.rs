//! Ending what is still open: whose connections the edge is to cut, and what the opening of a replica waits for.
//!
//! Nobody may be let into a replica to which a client's connection leads. What its drain leaves open is therefore cut by
//! the edge, which reads it in its table; the mark comes once the edge reports that none is open.
//!
//! Not here: how a connection is cut (`edge`), the mark (`glass`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Planner;
use super::replica::Replica;
use super::{Reason, Routes, Time, WaitingOn, World};
use crate::spec::ContainerId;

/// How long the edge has to report that what it was told to cut is cut. It takes some 50 ms; an edge that does not answer
/// for so long may still have the connections, so nobody is let in: the replica is stopped, and the command says why.
const CUT_WITHIN: Duration = Duration::from_secs(10);

/// The edge was told to cut a replica's connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    at: Time,
    /// By which table.
    epoch: u64,
    /// How many were open by its last report before that.
    open: u64,
}

/// How far the connections of a replica that is to be broken open are.
pub(super) enum Ending {
    /// None is open; so many were cut.
    Over { cut: u64 },
    /// Some are, and are being cut.
    Under(WaitingOn),
    /// The edge does not say that they are.
    Unconfirmed,
}

impl World {
    /// Whether the edge is to end whatever leads to the replica. What was cut once stays so.
    pub(super) fn is_to_be_cut(&self, now: Time, replica: &Replica) -> bool {
        replica.glass.is_some() || replica.cut.is_some() || self.is_drained_for_glass(now, replica)
    }

    fn is_drained_for_glass(&self, now: Time, replica: &Replica) -> bool {
        let Some((since, Reason::BreakGlass { request, .. })) = &replica.draining else {
            return false;
        };
        let asked = self.requests.get(request);
        let is_wanted = asked.is_some_and(|it| it.ended.is_none()) && !replica.stop_asked;
        let service = self.services.get(&replica.name.service);
        let drain = service.map_or(Duration::ZERO, |it| it.desired.phoenix.drain);
        is_wanted && *since + drain <= now
    }

    /// A table is on its way to the edge.
    pub(super) fn cut_published(&mut self, now: Time, epoch: u64, routes: &Routes) {
        let of = |replica: &Replica| {
            let id = replica.id().filter(|id| routes.cut.contains(*id))?;
            Some((id.clone(), self.open_through(replica)))
        };
        let open: BTreeMap<ContainerId, u64> = self.replicas.values().filter_map(of).collect();
        for replica in self.replicas.values_mut() {
            let Some(open) = replica.id().and_then(|id| open.get(id)).copied() else {
                continue;
            };
            let cut = || Cut {
                at: now,
                epoch,
                open,
            };
            replica.cut.get_or_insert_with(cut);
        }
    }

    pub(super) fn ending_of(&self, now: Time, replica: &Replica) -> Ending {
        let open = self.open_through(replica);
        let until = replica.cut.map_or(now, |it| it.at) + CUT_WITHIN;
        // It left the table, and the edge has confirmed that: none can come any more.
        if open == 0 {
            return match replica.cut.filter(|it| it.open > 0) {
                None => Ending::Over { cut: 0 },
                // That they are gone, one edge may say before another says that it has the table.
                Some(cut) if !self.edges_have(replica, cut.epoch) && now < until => {
                    let open = cut.open;
                    Ending::Under(WaitingOn::Cut { open, until })
                }
                Some(cut) => Ending::Over { cut: cut.open },
            };
        }
        if until <= now {
            return Ending::Unconfirmed;
        }
        Ending::Under(WaitingOn::Cut { open, until })
    }
}

impl Planner<'_> {
    pub(super) fn ending(&self, replica: &Replica) -> Ending {
        self.world.ending_of(self.now, replica)
    }
}

impl Reason {
    /// What was said of its connections aside.
    pub(super) fn behind_drain(&self) -> &Self {
        if let Self::Drained { because, .. } | Self::Cut { because, .. } = self {
            because
        } else {
            self
        }
    }

    pub(super) fn of_cut(&self) -> Option<String> {
        let Self::Cut {
            connections,
            because,
        } = self
        else {
            return None;
        };
        Some(match connections {
            1 => format!("1 connection was cut: {because}"),
            many => format!("{many} connections were cut: {because}"),
        })
    }
}

/// Why a replica that has left is not opened.
pub(super) fn unconfirmed() -> String {
    format!(
        "the edge did not report within {} that the last connections to it are cut, and nobody gets in beside a client; it \
         is stopped",
        humantime::format_duration(CUT_WITHIN)
    )
}
