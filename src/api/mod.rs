//! HTTP on a unix socket: how `phoenixd ps`, `recycle`, `break-glass` and `down` speak to a running supervisor.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | 200 [`StatusBody`] |
//! | `POST /v1/recycle` [`RecycleAsked`] | 202 [`RecycleAccepted`]; 404 for a service that is not in the file |
//! | `POST /v1/break-glass` [`BreakGlassAsked`] | 202 [`RecycleAccepted`]; 404 likewise, 400 for a time or a reason out of bounds |
//! | `POST /v1/break-glass/end` [`EndGlassAsked`] | 202 [`RecycleAccepted`]; 404 likewise |
//! | `GET /v1/requests/N[?wait=true]` | 200 [`RequestBody`]; with `wait` once it is done or failed |
//! | `POST /v1/down[?wait=true]` [`DownAsked`] | 202 [`DownBody`]; with `wait` 200 once everything is removed |
//!
//! What is refused is answered with a [`Problem`]. The waiting of `down` is part of the request that asks for it: a
//! second request could come after the supervisor has finished and gone. Waits have no time limit of their own, because
//! a unix socket tells for sure when either side is gone.
//!
//! Deliberately not here: what is shown how (`cli`), what a command does (`reconcile`), who holds the project's lock
//! (`daemon`), and access control beyond the file system's: who can open the socket may do everything.

mod client;
mod glass;
mod json;
mod rows;
mod server;
mod socket;
mod state;
mod wire;

pub use client::{Client, ClientError};
pub use rows::{rows, status_body};
pub use server::serve;
pub use socket::{BindError, bind};
pub use state::{About, CommandRequest, EngineVersion, Snapshot, State};
pub use wire::{
    BreakGlassAsked, DownAsked, DownBody, EndGlassAsked, EngineBody, GlassBody, Problem,
    RecycleAccepted, RecycleAsked, RequestBody, RequestPhase, Row, ServiceBody, StatusBody,
    SupervisorBody,
};
