//! Joins the rooms: the loop, the executor, startup, shutdown. Decides nothing.

mod execute;

pub use execute::{Catalog, execute};
