//! One phoenix: the keys of its service -> `spec::Service`.
//!
//! [`keys::KEYS`] lists every key of the Compose Specification with what becomes of it: bound, refused for good, not
//! supported yet, or harmless. Nothing is dropped in silence that would change what runs. [`binder`] walks over a
//! service's keys and joins what belongs together; each further file reads the keys of one subject.

mod binder;
mod environment;
mod keys;
mod limits;
mod mounts;
mod network;
mod ports;
mod process;

pub(super) use self::binder::bind;
