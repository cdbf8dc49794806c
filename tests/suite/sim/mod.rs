//! The simulator: the real core and the real executor against a simulated engine, edge, clients and faults, in
//! simulated time, with checkers for every invariant of the design. Deterministic from the seed.

mod chaos;
mod edge;
mod engine;
mod host;
mod invariants;
mod mutants;
mod outside;
mod rng;
mod run;
mod seeds;
mod setup;
mod shell;
mod transcript;
