//! From files to one tree, as docker compose does it: `extends`, `include`, several files laid over each other with
//! `!reset` and `!override`, variables, short syntaxes, paths, defaults, `env_file` and `label_file`, profiles.
//!
//! The order of the steps is that of compose-go 2.9.1 (`loader/loader.go`), because the result depends on it: variables
//! before `extends`, both before `include`, all of them before the merge, long forms after each merge. The result is
//! one tree with absolute paths in which every node still knows where it is written.
//!
//! Not here: what the keys mean (`compose::model` for docker compose, `compose::service` for a phoenix).

mod canonical;
mod consistency;
mod environment;
mod extends;
mod include;
mod merge;
mod name;
mod normal;
mod paths;
mod references;
mod reset;
mod resolved;
mod session;
mod short;
mod unique;
mod variables;

pub use self::environment::{DotenvFile, add_dotenv};
pub use self::resolved::project_name;
pub(super) use self::resolved::{Resolved, resolve};
pub(super) use self::short::{Range, length, port_range, show};
