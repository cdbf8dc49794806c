//! The policy: who may ask dockerd for what. Pure and total: a request, what is managed and the time go in, a verdict
//! comes out.
//!
//! What the guard does not know it denies; reads are free; what changes a managed container is phoenixd's alone, known
//! by its signature; and what would lead to one from another container is nobody's. The other containers of the host are
//! their owners' business. Not here: signatures and nonces (`judge`), files (`store`), sockets (`serve`).

mod container;
mod create;
mod decide;
mod image;
mod mount;
mod network;
mod path;
mod volume;

use decide::Asked;
pub(super) use decide::{ExecOwner, View, decide, is_read};
pub use decide::{Resolve, Site, Verdict};
