//! Changes of the containers' writable layers: inotify on the root of each, and where the host is not ours, the
//! comparison of two answers of the engine (`docker diff`).
//!
//! The first change of a layer always touches its root: overlayfs copies a directory up before it writes in it. So one
//! watch per container is enough to know that something changed, and a second level would not be seen again. What the
//! runtime made before the watch (`/etc`, `/dev`: directories and empty files to mount on) is not told, and the
//! directories are watched, too. Not here: what changed in a file (`evidence`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::Found;
use crate::reconcile::Touch;
use crate::spec::ContainerId;

/// Directories that are watched of one layer at most, and how deep they may lie.
const WATCHES: usize = 64;
const DEPTH: usize = 3;
/// What fuse-overlayfs puts into every directory that it makes, to say that nothing below shines through.
const OPAQUE: &str = ".wh..opq";
/// Changes that are told of one layer at most.
const TOLD: usize = 64;

/// The layers that are watched.
#[derive(Debug)]
pub struct Layers {
    inotify: OwnedFd,
    /// What is watched, by the kernel's number, and its path within the container.
    watches: BTreeMap<i32, (ContainerId, String)>,
    /// What changed before the watch began.
    before: Found,
    /// What was told already.
    told: BTreeMap<ContainerId, BTreeSet<Option<String>>>,
}

impl Layers {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The user has no inotify instance left (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            watches: BTreeMap::new(),
            before: Found::new(),
            told: BTreeMap::new(),
        })
    }

    /// Watches the layer of a container from now on, with the directories that are in it. Watching it already counts as
    /// done.
    ///
    /// # Errors
    /// The layer is not there, or the user has no watch left (`fs.inotify.max_user_watches`).
    pub fn watch(&mut self, id: &ContainerId, upper: &Path) -> io::Result<()> {
        if self.told.contains_key(id) {
            return Ok(());
        }
        // One that cannot be watched is not tried again.
        self.told.insert(id.clone(), BTreeSet::new());
        self.add(id, upper, "")?;
        let mut told = BTreeSet::new();
        let mut left = vec![(upper.to_owned(), String::new(), 0)];
        let mut watches = 1;
        while let Some((directory, above, depth)) = left.pop() {
            for entry in std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
            {
                // Of the entry itself, not of what a link leads to; one that vanished is told by the watch above it.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                let name = format!("{above}/{}", entry.file_name().to_string_lossy());
                if metadata.is_dir() {
                    let is_within = depth < DEPTH && watches < WATCHES;
                    if is_within && self.add(id, &entry.path(), &name).is_ok() {
                        watches += 1;
                        left.push((entry.path(), name, depth + 1));
                    }
                } else if entry.file_name() != OPAQUE && !is_a_place_to_mount_on(&metadata) {
                    tell(id, &mut told, Some(name), &mut self.before);
                }
            }
        }
        self.told.insert(id.clone(), told);
        Ok(())
    }

    fn add(&mut self, id: &ContainerId, directory: &Path, name: &str) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let watch = inotify::add_watch(self.inotify.as_fd(), directory, flags)?;
        self.watches.insert(watch, (id.clone(), name.to_owned()));
        Ok(())
    }

    /// Watches only these from now on.
    pub fn keep_only(&mut self, ids: &BTreeSet<ContainerId>) {
        self.told.retain(|id, _| ids.contains(id));
        let gone = |(id, _): &(ContainerId, String)| !ids.contains(id);
        let numbers: Vec<i32> = (self.watches.iter())
            .filter(|(_, watched)| gone(watched))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.watches.remove(&number);
            // The kernel has forgotten the watch of a directory that is gone.
            inotify::remove_watch(self.inotify.as_fd(), number).unwrap_or_default();
        }
    }

    /// Readable as soon as something changed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// What changed since the last call. Does not wait.
    pub fn changes(&mut self) -> Found {
        let mut found = std::mem::take(&mut self.before);
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let kinds = event.events();
            if kinds.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Some layer changed very much; each may be the one.
                for (id, told) in &mut self.told {
                    tell(id, told, None, &mut found);
                }
                continue;
            }
            // A layer that is unmounted or removed goes with its container.
            let is_end = ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            let Some((id, directory)) = self.watches.get(&event.wd()) else {
                continue;
            };
            if kinds.intersects(is_end) {
                self.watches.remove(&event.wd());
                continue;
            }
            let name = event
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let path = match name {
                Some(name) if name == OPAQUE => continue,
                Some(name) => format!("{directory}/{name}"),
                None if directory.is_empty() => "/".to_owned(),
                None => directory.clone(),
            };
            if let Some(told) = self.told.get_mut(id) {
                tell(id, told, Some(path), &mut found);
            }
        }
        found
    }
}

/// What the runtime leaves of a mount: an empty file, or a link that an image has, too. A file with something in it was
/// written by somebody else, and so was a removal (a device 0:0, in overlayfs).
fn is_a_place_to_mount_on(metadata: &Metadata) -> bool {
    metadata.is_symlink() || (metadata.is_file() && metadata.len() == 0)
}

fn tell(
    id: &ContainerId,
    told: &mut BTreeSet<Option<String>>,
    path: Option<String>,
    found: &mut Found,
) {
    if told.len() < TOLD && told.insert(path.clone()) {
        found.push((id.clone(), Touch::Changed(path)));
    }
}

/// What is in the second answer of the engine and not in the first, by path. An answer lists what differs from the
/// image; right after the start that is what the runtime made (`docker diff`: nothing, or places to mount on).
pub fn new_changes<'a>(
    before: &BTreeSet<String>,
    after: impl IntoIterator<Item = &'a str>,
) -> Vec<Touch> {
    let new: BTreeSet<&str> = after
        .into_iter()
        .filter(|path| !before.contains(*path))
        .collect();
    let told = new.into_iter().take(TOLD);
    told.map(|path| Touch::Changed(Some(path.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text.repeat(32))
    }

    /// Waits until something changed.
    fn changes(layers: &mut Layers) -> Vec<(ContainerId, String)> {
        let limit = rustix::event::Timespec::try_from(Duration::from_secs(10)).unwrap();
        poll(&mut [PollFd::new(layers, PollFlags::IN)], Some(&limit)).unwrap();
        let found = layers.changes();
        let text = |(id, touch): (ContainerId, Touch)| (id, touch.to_string());
        found.into_iter().map(text).collect()
    }

    impl AsFd for Layers {
        fn as_fd(&self) -> BorrowedFd<'_> {
            Layers::as_fd(self)
        }
    }

    #[test]
    fn a_change_of_a_layer_is_told_once_and_what_was_there_before_is_not() {
        let upper = tempfile::tempdir().unwrap();
        fs::create_dir_all(upper.path().join("etc/deep")).unwrap();
        let mut layers = Layers::new().unwrap();
        let own = id("0f");
        layers.watch(&own, upper.path()).unwrap();
        layers.watch(&own, upper.path()).unwrap();
        assert_eq!(layers.changes(), []);
        fs::write(upper.path().join("new"), "").unwrap();
        fs::write(upper.path().join("etc/deep/shadow"), "").unwrap();
        let expected = [
            (own.clone(), "`/new` changed".to_owned()),
            (own.clone(), "`/etc/deep/shadow` changed".to_owned()),
        ];
        assert_eq!(changes(&mut layers), expected);
        fs::write(upper.path().join("new"), "again").unwrap();
        assert_eq!(changes(&mut layers), []);
        fs::remove_file(upper.path().join("etc/deep/shadow")).unwrap();
        fs::create_dir(upper.path().join("more")).unwrap();
        assert_eq!(changes(&mut layers), [(own, "`/more` changed".to_owned())]);
    }

    #[test]
    fn a_layer_that_goes_with_its_container_is_no_change() {
        let uppers = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut layers = Layers::new().unwrap();
        for (name, upper) in ["0f", "1e"].into_iter().zip(&uppers) {
            layers.watch(&id(name), upper.path()).unwrap();
        }
        layers.keep_only(&[id("1e")].into());
        let [first, second] = uppers;
        first.close().unwrap();
        second.close().unwrap();
        assert_eq!(layers.changes(), []);
        assert!(layers.watch(&id("2d"), Path::new("/nowhere")).is_err());
    }

    #[test]
    fn what_was_written_before_the_watch_is_told_and_places_to_mount_on_are_not() {
        let upper = tempfile::tempdir().unwrap();
        fs::create_dir_all(upper.path().join("etc")).unwrap();
        fs::write(upper.path().join("etc/hosts"), "").unwrap();
        fs::write(upper.path().join("etc/crontab"), "* *").unwrap();
        let mut layers = Layers::new().unwrap();
        layers.watch(&id("0f"), upper.path()).unwrap();
        let expected = Touch::Changed(Some("/etc/crontab".to_owned()));
        assert_eq!(layers.changes(), [(id("0f"), expected)]);
    }

    #[test]
    fn of_two_answers_of_the_engine_what_is_new_is_told() {
        let before: BTreeSet<String> = ["/etc", "/etc/mtab"].map(str::to_owned).into();
        assert_eq!(new_changes(&before, ["/etc"]), []);
        let after = ["/etc", "/etc/mtab", "/x"];
        assert_eq!(
            new_changes(&before, after),
            [Touch::Changed(Some("/x".to_owned()))]
        );
    }
}
