//! One phoenix: the keys of its service -> `spec::Service`.
//!
//! [`keys::KEYS`] lists every key of the Compose Specification with what becomes of it: honoured, refused, or not
//! a phoenix's business. Nothing is dropped in silence that would change what runs. [`binder`] walks over a
//! service's keys and joins what belongs together; each further file reads the keys of one subject.

mod binder;
mod build;
mod compact;
mod depends;
mod deploy;
mod edge;
mod environment;
mod files;
mod keys;
mod limits;
mod mounts;
mod network;
mod ports;
mod process;
mod walls;

pub(super) use self::binder::bind;
pub(super) use self::depends::settle;
pub(super) use self::keys::fates;
