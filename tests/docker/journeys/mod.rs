//! Journeys: what a user does with the built binary, and what then is on the engine.
//!
//! Each journey has a project of its own and runs beside the others. What phoenixd says is never taken for what is:
//! the engine, the kernel and the clients are asked.

mod support;

mod recycle;
