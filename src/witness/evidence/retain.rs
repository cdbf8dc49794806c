//! How much evidence is kept: so many captures, for so long, of so many bytes; what is beyond goes, the oldest first.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;

/// What the name of a capture that is being written or removed ends with.
pub(super) const PARTIAL: &str = ".partial";

/// How much evidence is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Captures.
    pub count: usize,
    /// Since they were written, by the wall clock.
    pub age: Duration,
    /// All of them together.
    pub bytes: u64,
}

impl Retention {
    /// 64 captures, 30 days, 512 MiB.
    pub const STANDARD: Self = Self {
        count: 64,
        age: Duration::from_hours(24 * 30),
        bytes: 512 << 20,
    };
}

struct Kept {
    path: PathBuf,
    written: Timestamp,
    bytes: u64,
}

/// Removes what is beyond, but never `newest`.
pub(super) fn keep(directory: &Path, retention: &Retention, newest: &Path) -> io::Result<()> {
    let mut all: Vec<Kept> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| kept(&entry))
        .collect();
    all.sort_by_key(|kept| Reverse(kept.written));
    let now = clock::wall_now();
    let mut bytes = 0;
    for (number, kept) in all.iter().enumerate() {
        bytes += kept.bytes;
        let age = Duration::try_from(now.duration_since(kept.written)).unwrap_or_default();
        let is_beyond = number >= retention.count || age > retention.age || bytes > retention.bytes;
        if is_beyond && kept.path != newest {
            remove(&kept.path)?;
        }
    }
    Ok(())
}

/// Takes it out of what is kept first: a directory that is being emptied was changed last, and would look like the newest
/// to another capture that ends now, which would remove one more. What a crash leaves of it goes at the next start.
fn remove(path: &Path) -> io::Result<()> {
    let mut going = path.as_os_str().to_owned();
    going.push(PARTIAL);
    match fs::rename(path, &going) {
        // The other one has taken it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    fs::remove_dir_all(going)
}

/// `None` for what is still being written, or already being removed.
fn kept(entry: &fs::DirEntry) -> Option<Kept> {
    let path = entry.path();
    if is_partial(entry) {
        return None;
    }
    let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
    Some(Kept {
        written: Timestamp::try_from(metadata.modified().ok()?).ok()?,
        bytes: size(&path),
        path,
    })
}

/// The files of a capture lie in it and in one directory below.
fn size(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => left.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

fn is_partial(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().ends_with(PARTIAL)
}

/// Removes what a crash left half written or half removed: at a start, before anything is captured.
///
/// # Errors
/// Something in the directory cannot be removed.
pub fn clear_partial(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        // Nothing was ever captured.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten().filter(is_partial) {
        fs::remove_dir_all(entry.path())?;
    }
    Ok(())
}
