//! Which replica may leave the rotation now: the one place that says when it is safe to take one down.

use super::plan::{Cast, Planner};
use super::replica::Replica;
use super::roles::Role;
use super::service::Service;
use super::{Action, Desired, Reason, Verdict};
use crate::spec::{Overdue, ReplicaName};

impl Planner<'_> {
    /// The one replica of the service that may leave the rotation now, if any.
    ///
    /// It may when, without it, as many are there as are wanted: available fresh ones, and stale ones that still hold
    /// their place; and when another one is in rotation. The unready go first, then those whose deadline is nearest.
    pub(super) fn choose_retiring(
        &mut self,
        cast: &Cast<'_>,
        service: &Service,
    ) -> Option<(ReplicaName, Reason)> {
        let desired = cast.desired;
        let wanted = usize::try_from(desired.replicas).unwrap_or(usize::MAX);
        let fresh = cast.count(|role| *role == Role::Fresh);
        let mut candidates: Vec<(&Replica, Reason)> = cast
            .members
            .iter()
            .filter_map(|(replica, role)| match role {
                Role::Stale(reason) => Some((*replica, reason.clone())),
                // What docker compose made anew is not in excess: what it was made instead of is.
                Role::Fresh if fresh > wanted && !Self::is_newer(replica, service) => Some((
                    *replica,
                    Reason::Excess {
                        wanted: desired.replicas,
                    },
                )),
                Role::Fresh
                | Role::Tainted(_)
                | Role::Over(_)
                | Role::Leaving
                | Role::Doomed(_) => None,
            })
            .filter(|(replica, _)| replica.call.is_none() && replica.observed.is_some())
            .collect();
        candidates.sort_by_key(|(replica, reason)| {
            let is_excess = matches!(reason, Reason::Excess { .. });
            let in_rotation = replica.is_in_rotation(desired);
            (
                is_excess,
                in_rotation,
                self.world.deadline(replica),
                replica.name.serial,
            )
        });
        for (replica, reason) in candidates {
            if let Some(reason) = self.overdue(replica, desired) {
                return Some((replica.name.clone(), reason));
            }
            if self.may_retire(replica, cast, service) {
                return Some((replica.name.clone(), reason));
            }
        }
        None
    }

    pub(super) fn may_retire(&self, replica: &Replica, cast: &Cast<'_>, service: &Service) -> bool {
        let desired = cast.desired;
        let wanted = usize::try_from(desired.replicas).unwrap_or(usize::MAX);
        let others = || {
            cast.members
                .iter()
                .filter(|(other, _)| other.name != replica.name)
        };
        let in_rotation = |replica: &Replica| replica.is_in_rotation(desired);
        let available = others()
            .filter(|(other, role)| *role == Role::Fresh && self.is_available(other, desired))
            .count();
        // One that serves gives way only to those that serve; the unready hold their place for each other.
        let counts = |other: &Replica| in_rotation(other) || !in_rotation(replica);
        let stale = others()
            .filter(|(other, role)| matches!(role, Role::Stale(_)) && counts(other))
            .count();
        let kept = others().any(|(other, _)| in_rotation(other));
        if desired.ahead() > 0 {
            return (kept && available + stale >= wanted) || self.is_next_prepared(replica, cast);
        }
        if desired.phoenix.surge == 0 {
            // Stop-first, one at a time: nobody is missing, leaving or being born.
            let whole = cast.members.len() == wanted && available + stale + 1 == wanted;
            let may_birth = self.world.journal_error.is_none()
                && !service.is_budget_spent()
                && service.retry_at().is_none_or(|at| at <= self.now);
            return (whole && may_birth) || available + stale >= wanted;
        }
        // What docker compose made gives way only to one that serves, and so was found equal to it.
        let may_be_last = wanted == 0 || !(in_rotation(replica) || replica.name.is_original());
        available + stale >= wanted && (kept || may_be_last)
    }

    pub(super) fn is_available(&self, replica: &Replica, desired: &Desired) -> bool {
        replica.is_in_rotation(desired)
            && replica
                .available_at(desired)
                .is_some_and(|at| at <= self.now)
    }

    /// Past its deadline, and the file says that it stops even so, for whatever reason it is still there.
    pub(super) fn overdue(&mut self, replica: &Replica, desired: &Desired) -> Option<Reason> {
        if desired.phoenix.overdue != Overdue::Stop {
            return None;
        }
        let deadline = self.world.deadline(replica)?;
        self.wake_at(deadline);
        (deadline <= self.now).then_some(Reason::Overdue)
    }

    pub(super) fn retire(&mut self, replica: &Replica, reason: Reason) {
        let Some(id) = replica.id().cloned() else {
            return;
        };
        let action = Action::Drain {
            replica: replica.name.clone(),
            id,
        };
        self.verdicts
            .insert(replica.name.clone(), Verdict::Act(action, reason));
    }
}
