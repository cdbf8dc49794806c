//! How much a capture may keep, and how long it may take.

use std::time::Duration;

use crate::clock;

/// What is left of a capture's limits.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: usize,
    files: usize,
    until: Duration,
}

/// The most that is kept of files of the container, in all and of each, in bytes, and how many.
const BYTES: usize = 16 << 20;
pub(super) const FILE_BYTES: usize = 1 << 20;
const FILES: usize = 512;

impl Budget {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            bytes: BYTES,
            files: FILES,
            until: clock::boot_now() + limit,
        }
    }

    /// How many bytes of a further file may be kept; `None` when there is no room or no time left.
    pub(super) fn file(&self) -> Option<usize> {
        let has_room = self.files > 0 && self.bytes > 0 && self.has_time();
        has_room.then(|| self.bytes.min(FILE_BYTES))
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.files = self.files.saturating_sub(1);
    }

    pub(super) fn has_time(&self) -> bool {
        clock::boot_now() < self.until
    }
}
