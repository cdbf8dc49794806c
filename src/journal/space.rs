//! Space on the disk: the reserve, and how it is taken.
//!
//! The reserve is a file of real blocks beside the journal. When the disk is full it is given up piece by piece, as the
//! records that are due need it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::file::append_to;

/// How large the reserve is: more than the largest batch of ordinary records (256 of some 500 bytes each).
pub(super) const RESERVE_BYTES: u64 = 256 * 1024;
/// How much of it is given up at once.
const PIECE_BYTES: u64 = RESERVE_BYTES / 8;
const RESERVE_NAME: &str = "journal.reserve";

/// What a disk does for the journal; the one seam at which a test has a small one.
pub(super) trait Disk: fmt::Debug + Send {
    /// Writes all of it behind what the file holds.
    fn append(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    /// Gives the file so many bytes of real space.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// How much may still be written where this directory is.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The disk of this host.
#[derive(Debug)]
pub(super) struct HostDisk;

impl Disk for HostDisk {
    fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn allocate(&self, mut file: &File, bytes: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            // A file system without it: zeros take space, too (where they are not compressed away).
            Err(Errno::OPNOTSUPP) => {
                let zeros = vec![0; usize::try_from(bytes).unwrap_or_default()];
                file.write_all(&zeros)?;
                file.sync_data()
            }
            other => other.map_err(Into::into),
        }
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let about = statvfs(directory)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// Whether the error says that there is no space: a full disk, or a spent quota.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Space that is kept for when there is none.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// How much of it is there.
    held: u64,
}

impl Reserve {
    /// The reserve of a journal; not held before it was made.
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            path: directory.join(RESERVE_NAME),
            held: 0,
        }
    }

    /// How much space has to be free so that the whole can be made and as much is left beside it.
    pub(super) fn wants_free(&self) -> u64 {
        (2 * RESERVE_BYTES).saturating_sub(self.held)
    }

    /// Makes it, where it is not held whole. What is there from an earlier life is taken if it has its blocks.
    pub(super) fn make(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.held == RESERVE_BYTES {
            return Ok(());
        }
        let made = append_to(&self.path).and_then(|file| {
            // `st_blocks` counts 512 bytes, whatever the file system's own blocks are.
            let about = file.metadata()?;
            if about.len() == RESERVE_BYTES && about.blocks().saturating_mul(512) >= RESERVE_BYTES {
                return Ok(());
            }
            file.set_len(0)?;
            disk.allocate(&file, RESERVE_BYTES)
        });
        self.held = if made.is_ok() { RESERVE_BYTES } else { 0 };
        if made.is_err() {
            // Half a reserve would only take what others need now.
            drop(fs::remove_file(&self.path));
        }
        made
    }

    /// Gives a piece of it back to the disk, and no more: whoever filled the disk takes what is free. `false` if there was
    /// none to give.
    pub(super) fn give(&mut self) -> bool {
        if self.held == 0 {
            return false;
        }
        self.held = self.held.saturating_sub(PIECE_BYTES);
        let left = match self.held {
            0 => fs::remove_file(&self.path),
            held => OpenOptions::new()
                .write(true)
                .open(&self.path)
                .and_then(|file| file.set_len(held)),
        };
        if left.is_err() {
            self.held = 0;
        }
        left.is_ok()
    }
}
