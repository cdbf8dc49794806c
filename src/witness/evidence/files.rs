//! Files of a container, read without ever following a link of it: each step of a walk opens one name below a directory
//! that is open already.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};

use super::budget::Budget;

/// How deep a walk goes.
const DEPTH: usize = 32;

/// A file that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Brought {
    /// Its path within the container, for people.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    /// As much of it as there is room for; `None` where there is none, and of what is no file.
    pub(super) content: Option<Vec<u8>>,
    /// What it is, when it is no file.
    pub(super) kind: &'static str,
}

/// Everything below a directory of the host.
pub(super) fn below(directory: &Path, name: &str, budget: &mut Budget) -> Vec<Brought> {
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::open(directory, open, Mode::empty());
    opened.map_or_else(|_| Vec::new(), |opened| walk(opened, name, budget))
}

/// Everything below a directory as a process sees it, whatever links lead there.
pub(super) fn inside(root: &Path, directory: &str, budget: &mut Budget) -> Vec<Brought> {
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The root is a link of the kernel's own.
    let Ok(root) = rustix::fs::open(root, open, Mode::empty()) else {
        return Vec::new();
    };
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(root, directory, open, Mode::empty(), within);
    opened.map_or_else(|_| Vec::new(), |opened| walk(opened, directory, budget))
}

fn walk(directory: OwnedFd, name: &str, budget: &mut Budget) -> Vec<Brought> {
    let mut found = Vec::new();
    let mut left = vec![(directory, name.trim_end_matches('/').to_owned(), 0)];
    while let Some((directory, above, depth)) = left.pop() {
        for name in names(&directory) {
            if budget.file().is_none() {
                return found;
            }
            let path = format!("{above}/{}", name.to_string_lossy());
            let Ok(stat) = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Directory {
                let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                if depth < DEPTH
                    && let Ok(below) = openat(&directory, &name, open, Mode::empty())
                {
                    left.push((below, path, depth + 1));
                }
                continue;
            }
            let content = (kind == FileType::RegularFile)
                .then(|| read(&directory, &name, budget))
                .flatten();
            budget.spend(content.as_ref().map_or(0, Vec::len));
            found.push(Brought {
                path,
                bytes: u64::try_from(stat.st_size).unwrap_or_default(),
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                content,
                kind: kind_name(kind),
            });
        }
    }
    found
}

fn names(directory: &OwnedFd) -> Vec<CString> {
    let Ok(entries) = Dir::read_from(directory) else {
        return Vec::new();
    };
    let is_own = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..");
    let mut names: Vec<CString> = entries
        .flatten()
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| is_own(name))
        .collect();
    names.sort_unstable();
    names
}

fn read(directory: &OwnedFd, name: &CStr, budget: &Budget) -> Option<Vec<u8>> {
    let room = budget.file()?;
    // It may be something else by now: nothing that waits is opened, and no link is followed.
    let open = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(directory.as_fd(), name, open, Mode::empty()).ok()?;
    let is_file = rustix::fs::fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut content = Vec::new();
    let limit = u64::try_from(room).ok()?;
    File::from(file)
        .take(limit)
        .read_to_end(&mut content)
        .ok()?;
    is_file.then_some(content)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Symlink => "link",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Directory | FileType::Unknown => "something else",
    }
}
