//! Everything that needs no Docker Engine: deterministic, in seconds. By capability, not by module.

#[path = "../conformance/mod.rs"]
mod conformance;

#[path = "../common/ports.rs"]
mod ports;

mod adopt;
mod api;
mod cli;
mod compose;
mod config;
mod corpus;
mod demo_app;
mod docker;
mod edge;
mod edge_process;
mod examples;
mod file_key;
mod guard;
mod journal;
mod plan;
mod probe;
mod report;
mod sim;
mod support;
mod tidy;
mod witness;
