//! Asks replicas whether they are ready, and says what they answered.
//!
//! [`run()`] follows the published [`Targets`](crate::reconcile::Targets): one prober for each container, and one
//! question at a time for each. What an answer means for a replica is decided in `reconcile`; where the question is
//! asked from (the supervisor or the edge) is decided in `daemon`.
//!
//! Deliberately not here: thresholds, deadlines, retries, Docker's own HEALTHCHECK.

mod ask;
mod run;

pub use run::{Probed, run};
