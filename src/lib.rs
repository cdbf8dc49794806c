//! The rooms of phoenixd, in the order of who may use whom; `ARCHITECTURE.md` is the map.

pub mod spec;

pub mod adopt;
pub mod compose;
pub mod reconcile;

pub mod clock;
pub mod docker;
pub mod edge;
pub mod guard;
pub mod journal;
pub mod kernel;
pub mod probe;
pub mod sign;
pub mod witness;

pub mod api;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod own_image;
pub mod report;

pub mod cli;
