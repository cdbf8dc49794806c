//! Asks replicas whether they are ready.
