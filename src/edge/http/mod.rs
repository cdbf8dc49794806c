//! HTTP mode: each request is forwarded for itself, over connections to the replicas that are kept.
//!
//! So a replica that drains loses no client: the client's connection stays with the edge, and its next request goes to
//! another replica. What counts as open on a replica is a request until its answer has gone through, or an upgraded
//! connection (a websocket) until it ends.
//!
//! HTTP/1.1 and h2c with prior knowledge towards clients, HTTP/1.1 towards replicas (decision 0031). Not here: TLS, which
//! a proxy in front of the edge speaks; caching, paths, rewriting.

mod activity;
mod answer;
mod aside;
mod body;
mod exchange;
mod fields;
mod first;
mod line;
mod pool;
mod record;
mod second;
mod serve;
mod stream;
mod tunnel;
mod websocket;

pub(super) use self::pool::Pool;
pub(super) use self::serve::serve;
