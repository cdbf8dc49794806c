//! How much evidence is kept: so many captures, for so long, of so many bytes; what is beyond goes, the oldest first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;

/// What the name of a capture that is being written ends with.
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
    age: Duration,
    bytes: u64,
}

/// Removes what is beyond, but never `newest`.
pub(super) fn keep(directory: &Path, retention: &Retention, newest: &Path) -> io::Result<()> {
    let mut all: Vec<Kept> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| kept(&entry))
        .collect();
    all.sort_by_key(|kept| kept.age);
    let mut bytes = 0;
    for (number, kept) in all.iter().enumerate() {
        bytes += kept.bytes;
        let is_beyond =
            number >= retention.count || kept.age > retention.age || bytes > retention.bytes;
        if is_beyond && kept.path != newest {
            fs::remove_dir_all(&kept.path)?;
        }
    }
    Ok(())
}

fn kept(entry: &fs::DirEntry) -> Option<Kept> {
    let path = entry.path();
    let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
    let written = jiff::Timestamp::try_from(metadata.modified().ok()?).ok()?;
    let age = clock::wall_now().duration_since(written);
    Some(Kept {
        age: Duration::try_from(age).unwrap_or_default(),
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

/// Removes what a crash left half written: at a start, and before each capture.
///
/// # Errors
/// The directory is not there, or something in it cannot be removed.
pub fn clear_partial(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
