//! Decides: events in, actions and views out. Pure.
//!
//! Everything that happens becomes an [`Event`]. One value, the [`World`], is changed only by applying events. A pure
//! [`World::plan`] reads the world at a given [`Time`] and answers with a [`Step`]: these actions now, these views to
//! publish, ask again by then. Use it in this order, always:
//!
//! 1. `world.apply(now, event)` for everything that happened;
//! 2. `let step = world.plan(now)`;
//! 3. publish `step.routes` and say so with [`Event::Published`]; hand out the other views;
//! 4. begin each of `step.actions`: apply [`Event::Began`], make the record durable, make the call, apply
//!    [`Event::Ended`] with what was seen afterwards; then plan again.
//!
//! Deliberately not here: a clock, randomness, I/O, async, locks, logging, serde. It cannot fail, so it has no errors.

mod action;
mod adopted;
mod births;
mod checks;
mod cut;
mod depends;
mod event;
mod glass;
mod glass_choice;
mod judge;
mod naming;
mod observe;
mod observed;
mod outside;
mod plan;
mod pod;
mod replica;
mod requests;
mod resources;
mod retiring;
mod roles;
mod rotation;
mod schedule;
mod script;
mod service;
mod status;
mod taint;
mod time;
mod touch;
mod verdict;
mod verdicts;
mod views;
mod world;

pub use action::{Action, Planned, Reason, Subject};
pub use adopted::Adopted;
pub use event::{Command, Event, Failure, FailureKind, Outcome, RequestId, Sight};
pub use glass::{BreakGlass, GlassStatus, is_broken_open};
pub use observed::{
    Asked, Beside, ContainerState, DependencySeen, Health, HealthExec, Identity, Kernel, Listing,
    Neighbour, NetworkSeen, Observed, VolumeSeen,
};
pub use outside::{Meddled, Meddling};
pub use schedule::Limits;
pub use service::Desired;
pub use status::{ReplicaStatus, RequestState, ServiceStatus, Status};
pub use taint::{Judged, Touched};
pub use time::Time;
pub use touch::{
    Door, Entry, Exec, ExecFacts, Intruder, Origin, Program, Socket, Touch, Transport,
};
pub use verdict::{Stage, Verdict, WaitingOn};
pub use views::{
    Asks, Backend, EdgeOrder, EdgeReport, EdgeSaid, EdgeStage, Edges, Listener, Routes, Step,
    Target, Targets,
};
pub use world::World;
