//! Files as the journal needs them: appended to, private, and written by one phoenixd at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file that no other phoenixd writes to: two writers would break the chain.
///
/// The lock is given back on drop, not by closing: a process that is being forked elsewhere in the program holds a copy
/// of the descriptor for a moment, and with it a lock that is only closed.
#[derive(Debug)]
pub(super) struct LockedFile(File);

impl LockedFile {
    /// Opens a file for appending, making it if there is none.
    ///
    /// # Errors
    /// `WouldBlock` if another phoenixd has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::lock(appending().create(true).open(path)?)
    }

    /// Makes a file that does not exist yet.
    pub(super) fn create_new(path: &Path) -> io::Result<Self> {
        Self::lock(appending().create_new(true).open(path)?)
    }

    fn lock(file: File) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing gives it back too, only perhaps a moment later.
        drop(self.0.unlock());
    }
}

/// Opens a private file for appending, making it if there is none.
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    appending().create(true).open(path)
}

fn appending() -> OpenOptions {
    let mut options = File::options();
    options.read(true).append(true).mode(0o600);
    options
}

/// Makes a new name in the directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
