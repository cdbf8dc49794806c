//! Following a journal as it grows, for `phoenixd events -f`. Blocks; belongs on the command line's own thread.
//!
//! inotify watches the directory and not the file, so that a file which does not exist yet, or is moved away and begun
//! anew, is followed too. What inotify says is only a hint to look.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::files::{Rotated, rotated};
use super::read::{RawLines, Step, parse, unreadable};
use super::{Error, Line, Why};

/// When to look without a hint: some file systems (of virtual machines, over a network) give none.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// With the first record that is there.
    Start,
    /// With the first record that is written from now on.
    End,
}

/// Follows the journal at `path`, which need not exist yet; its directory must. With `until`, following ends when that
/// descriptor's other end is closed (a copy of standard output, whose reader may go away).
///
/// # Errors
/// The directory cannot be watched.
pub fn follow(path: &Path, from: From, until: Option<OwnedFd>) -> Result<Follower, Error> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let watch = || {
        let hints = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let flags = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVE
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&hints, directory, flags)?;
        Ok(hints)
    };
    let hints = watch().map_err(|errno: Errno| Error::Watch {
        path: directory.to_owned(),
        source: errno.into(),
    })?;
    let unreadable = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let newest = || Ok(rotated(directory)?.last().map_or(0, |file| file.first));
    let after = match from {
        From::Start => 0,
        From::End => newest().map_err(unreadable)?,
    };
    let mut follower = Follower {
        path: path.to_owned(),
        directory: directory.to_owned(),
        after,
        hints,
        until,
        current: None,
        ready: VecDeque::new(),
        ended: false,
    };
    if from == From::End {
        follower.pass_over().map_err(unreadable)?;
    }
    Ok(follower)
}

/// The lines of a journal as they are written; see [`follow`]. `next` blocks. `None` means that the reader of `until`
/// is gone. A line that cannot be understood is an error, and the next one is read all the same; an error of reading is
/// the last item.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    directory: PathBuf,
    /// The number of the last record that was read: a rotated file with a higher one was not.
    after: u64,
    hints: OwnedFd,
    until: Option<OwnedFd>,
    current: Option<Current>,
    ready: VecDeque<Result<Line, Error>>,
    ended: bool,
}

/// The file that is being read.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    /// The end of the last whole line that was read, in bytes.
    offset: u64,
    /// The number of that line.
    number: u64,
}

impl Iterator for Follower {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let step = match self.look() {
                Ok(()) if self.ready.is_empty() => self.wait(),
                Ok(()) => Ok(true),
                Err(error) => Err(error),
            };
            match step {
                Ok(goes_on) => self.ended = !goes_on,
                Err(source) => {
                    self.ended = true;
                    let path = self.path.clone();
                    return Some(Err(Error::Read { path, source }));
                }
            }
        }
    }
}

impl Follower {
    /// Reads what is new into `ready`, some of it at least.
    fn look(&mut self) -> io::Result<()> {
        if let Some(current) = &mut self.current {
            current.read(&mut self.after, &mut self.ready)?;
            if !self.ready.is_empty() || !current.is_replaced(&self.path)? {
                return Ok(());
            }
            // Between the reading and the look at the name, a last record may have come to the old file.
            current.read(&mut self.after, &mut self.ready)?;
            if !self.ready.is_empty() {
                return Ok(());
            }
        }
        self.current = self.open_next()?;
        if let Some(current) = &mut self.current {
            current.read(&mut self.after, &mut self.ready)?;
        }
        Ok(())
    }

    /// The file that comes next: a rotated one, where there is one that was not read; else the current one.
    fn open_next(&self) -> io::Result<Option<Current>> {
        let of = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok(Some(Current {
                path,
                file,
                offset: 0,
                number: 0,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let next = |files: Vec<Rotated>| files.into_iter().find(|file| file.first > self.after);
        if let Some(file) = next(rotated(&self.directory)?) {
            return of(file.path);
        }
        let current = of(self.path.clone())?;
        // It may have been rotated between the two looks, and the current one be the one after.
        match next(rotated(&self.directory)?) {
            Some(file) => of(file.path),
            None => Ok(current),
        }
    }

    /// Passes over what is there.
    fn pass_over(&mut self) -> io::Result<()> {
        loop {
            self.look()?;
            if self.ready.is_empty() {
                return Ok(());
            }
            self.ready.clear();
        }
    }

    /// Waits for a hint. `false` means that the reader of `until` is gone.
    fn wait(&self) -> io::Result<bool> {
        let mut polled = vec![PollFd::new(&self.hints, PollFlags::IN)];
        // Without an event of its own, poll still tells of a closed other end.
        polled.extend(
            self.until
                .as_ref()
                .map(|until| PollFd::new(until, PollFlags::empty())),
        );
        match poll(&mut polled, Some(&LOOK_EVERY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if polled
            .get(1)
            .is_some_and(|until| !until.revents().is_empty())
        {
            return Ok(false);
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut hints = inotify::Reader::new(self.hints.as_fd(), &mut buffer);
        loop {
            match hints.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Current {
    /// Reads whole lines behind the offset, up to a bound of memory.
    fn read(
        &mut self,
        after: &mut u64,
        ready: &mut VecDeque<Result<Line, Error>>,
    ) -> io::Result<()> {
        /// How many lines are read ahead at most.
        const AHEAD: usize = 1024;
        // After a failed write the writer cuts back, and what was read beyond never came to be.
        self.offset = self.offset.min(self.file.metadata()?.len());
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut lines = RawLines::new(BufReader::with_capacity(64 * 1024, &self.file));
        while ready.len() < AHEAD {
            let bytes = match lines.advance()? {
                Step::End | Step::Unfinished { .. } => return Ok(()),
                Step::Line { bytes } => {
                    self.number = self.number.saturating_add(1);
                    let line = parse(lines.line(), self.number, &self.path);
                    *after = line
                        .as_ref()
                        .map_or(after.saturating_add(1), |line| line.seq);
                    ready.push_back(line);
                    bytes
                }
                Step::TooLong { bytes } => {
                    self.number = self.number.saturating_add(1);
                    *after = after.saturating_add(1);
                    ready.push_back(Err(unreadable(&self.path, self.number, Why::TooLong)));
                    bytes
                }
            };
            self.offset = self.offset.saturating_add(bytes);
        }
        Ok(())
    }

    /// Whether another file has taken the name. A name without a file is one that will come.
    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match fs::metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) != (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
