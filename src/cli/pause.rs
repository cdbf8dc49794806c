//! `phoenixd pause`: what runs in the container that owns a pod's network. It sleeps until it is killed.
//!
//! It has no child to reap, as nobody else is in its process namespace, and takes no signal: its container's stop signal is
//! SIGKILL. Not here: a runtime, a log, anything that takes memory.

use super::output::{Complaint, Exit};

pub(super) fn run() -> Result<Exit, Complaint> {
    loop {
        std::thread::park();
    }
}
