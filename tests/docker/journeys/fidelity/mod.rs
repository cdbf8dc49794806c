//! The container that docker compose makes of a service, and the one that phoenixd makes of it: field by field the same,
//! but for what [`intended`] says and why.
//!
//! Both are made, not started, of one file, on the same engine, in the same networks. Each service of the file is about
//! one key ([`cases`]), so that a difference says where it comes from.

mod cases;
mod compare;
mod created;
mod intended;
