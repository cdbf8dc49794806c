//! What would be done now: one listing, one plan, nothing carried out. `plan`, and `ps` without a supervisor.

use std::collections::BTreeMap;

use super::threads::cpus;
use super::watch::now;
use crate::docker::{Engine, Error, Scope};
use crate::reconcile::{Desired, Event, Limits, Outcome, Planned, Sight, Status, Time, World};
use crate::spec::{ProjectName, ServiceName};

/// What a supervisor that started now would see and begin with.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Its first actions.
    pub actions: Vec<Planned>,
    /// Its first status.
    pub status: Status,
    /// When it would see this.
    pub now: Time,
}

/// Lists the project and plans once. Changes nothing.
///
/// `refused` are containers of docker compose that are left as they are, and why. Probes are a running supervisor's: without them every running replica counts as starting.
///
/// # Errors
/// The engine could not be asked.
pub async fn preview<E: Engine>(
    engine: &E,
    project: &ProjectName,
    scope: &Scope,
    wanted: BTreeMap<ServiceName, Desired>,
    refused: BTreeMap<ServiceName, String>,
) -> Result<Preview, Error> {
    let asked_at = now();
    let listing = engine.list(scope).await?;
    let mut world = World::new(project.clone(), Limits::of_cpus(cpus()));
    world.apply(asked_at, Event::Wanted(wanted));
    world.apply(asked_at, Event::Refused(refused));
    world.apply(asked_at, Event::Listed { asked_at, listing });
    let now = now();
    let step = world.plan(now);
    let actions = all_births(world, now, step.actions);
    Ok(Preview {
        actions,
        status: step.status,
        now,
    })
}

/// A plan holds what is legal now: a network before its first replica, one birth of a service at a time. A person wants
/// to see what follows at once, too; so each action is begun in thought, networks and volumes are taken as made, and the
/// plan is asked again, until nothing new comes.
fn all_births(mut world: World, now: Time, first: Vec<Planned>) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut next = first;
    while !next.is_empty() {
        for planned in &next {
            let action = planned.action.clone();
            let reason = planned.reason.clone();
            let is_resource = action.replica().is_none() && action.container().is_none();
            world.apply(
                now,
                Event::Began {
                    action: action.clone(),
                    reason,
                },
            );
            if is_resource {
                world.apply(
                    now,
                    Event::Ended {
                        action,
                        outcome: Outcome::Done(Sight::Nothing),
                    },
                );
            }
        }
        all.append(&mut next);
        next = world.plan(now).actions;
    }
    all
}
