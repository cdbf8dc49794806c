//! The copies of secrets and configs that replicas mount: `BASE/PROJECT/files/ENGINE/DIGEST`.
//!
//! A copy is named by a keyed digest of all that it is, so that writing one again changes nothing, and never changes while
//! a replica mounts it. Everything is done below descriptors of directories that are this user's alone. The engine has a
//! directory of its own, as the same project may run on two of them; within it the one supervisor is the only writer.
//!
//! Not here: which copies have to stay (`reconcile`), and the digests' key (`file_key`).

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, StatVfsMountFlags, Uid};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{FileKey, ResolvedProject};
use crate::spec::{Diagnostic, FileDigest, FileMount, ProjectName};

/// Linux's `TMPFS_MAGIC` (linux/magic.h).
const TMPFS: i64 = 0x0102_1994;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Where the copies of one project are, for one engine.
#[derive(Clone, Debug)]
pub struct FileStore {
    base: PathBuf,
    below: [String; 3],
}

/// What is known of the way between this process and the engine, as far as files are concerned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileAccess {
    /// Why the engine cannot see files of this host.
    pub hidden: Option<String>,
    /// The engine gives its containers other users of the host than their numbers say (`userns-remap`, rootless).
    pub maps_users: bool,
}

/// What is worth a warning about the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DirFacts {
    /// It is not in memory.
    pub(super) on_disk: bool,
    /// Nothing can be executed there, whatever its mode says.
    pub(super) noexec: bool,
}

/// So many hexadecimal digits that stand for a text.
pub(super) fn digits(text: &str, count: usize) -> String {
    let mut digits = hex::encode(Sha256::digest(text.as_bytes()));
    digits.truncate(count);
    digits
}

impl FileStore {
    /// The store below a directory, which nobody else may write to. `engine` is the engine's own id.
    ///
    /// # Errors
    /// The directory is relative, and the working directory is not to be had.
    pub fn new(base: &Path, project: &ProjectName, engine: &str) -> io::Result<Self> {
        let engine = digits(engine, FileDigest::ENGINE_DIGITS);
        Ok(Self {
            // The engine is told the path.
            base: std::path::absolute(base)?,
            below: [project.to_string(), "files".to_owned(), engine],
        })
    }

    /// The directory.
    pub fn directory(&self) -> PathBuf {
        self.below
            .iter()
            .fold(self.base.clone(), |path, part| path.join(part))
    }

    /// Makes the directory.
    pub(super) fn prepare(&self) -> io::Result<DirFacts> {
        let directory = self.make()?;
        let flags = rustix::fs::fstatvfs(&directory)?.f_flag;
        Ok(DirFacts {
            on_disk: rustix::fs::fstatfs(&directory)?.f_type != TMPFS,
            noexec: flags.contains(StatVfsMountFlags::NOEXEC),
        })
    }

    /// Writes the copy of a file, unless it is there already. Blocks: a megabyte in memory takes less than a millisecond.
    pub(super) fn write(&self, file: &FileMount) -> io::Result<()> {
        let Some(digest) = file.digest() else {
            return Err(io::Error::other("it has no digest"));
        };
        let directory = self.make()?;
        if is_there(&directory, digest.as_str(), file) {
            return Ok(());
        }
        let draft = format!("draft.{digest}");
        let written = write_draft(&directory, &draft, file).and_then(|()| {
            rustix::fs::renameat(&directory, &draft, &directory, digest.as_str())?;
            Ok(())
        });
        if written.is_err() {
            rustix::fs::unlinkat(&directory, &draft, AtFlags::empty()).ok();
        }
        written
    }

    /// Removes every copy but these, and what a killed process left half-written; without any, the directory too.
    pub(super) fn keep_only(&self, keep: &BTreeSet<FileDigest>) -> io::Result<()> {
        let Some(directory) = self.open()? else {
            return Ok(());
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let stays =
                |name: &str| name == "." || name == ".." || keep.contains(&FileDigest::new(name));
            if !name.to_str().is_ok_and(stays) {
                match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if keep.is_empty() {
            self.remove_directories();
        }
        Ok(())
    }

    /// As far as they are empty: another engine's copies may be beside, and the state directory is one with other files.
    fn remove_directories(&self) {
        let mut path = self.directory();
        for _ in &self.below {
            if fs::remove_dir(&path).is_err() || !path.pop() {
                return;
            }
        }
    }

    /// The directory, made if there is none.
    fn make(&self) -> io::Result<OwnedFd> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.base)?;
        let mut directory = self.open_base()?;
        self.refuse_shared(&directory)?;
        for part in &self.below {
            match rustix::fs::mkdirat(&directory, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            directory = open_own(&directory, part)?;
        }
        Ok(directory)
    }

    /// The directory; `None` where there is none.
    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let opened = self.open_base().and_then(|base| {
            (self.below.iter()).try_fold(base, |directory, part| open_own(&directory, part))
        });
        match opened {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_base(&self) -> io::Result<OwnedFd> {
        let open = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(rustix::fs::open(&self.base, open, Mode::empty())?)
    }

    /// Whoever may write to the directory could put another one in the place of the project's, before the engine looks.
    fn refuse_shared(&self, base: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(base)?;
        let own = rustix::process::geteuid().as_raw();
        let others = Mode::WGRP.union(Mode::WOTH);
        if (stat.st_uid != own && stat.st_uid != 0) || mode_of(&stat).intersects(others) {
            let base = self.base.display();
            return Err(io::Error::other(format!("others may write to {base}")));
        }
        Ok(())
    }
}

/// Opens a directory of this user's own, which is closed to others.
fn open_own(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
    let stat = rustix::fs::fstat(&directory)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!(
            "the directory `{name}` belongs to user {}",
            stat.st_uid
        )));
    }
    if mode_of(&stat).intersects(Mode::RWXG.union(Mode::RWXO)) {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

fn mode_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

/// Whether a copy is there as it should be. One that cannot be told so is written anew.
fn is_there(directory: &OwnedFd, name: &str, file: &FileMount) -> bool {
    let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(found) = rustix::fs::openat(directory, name, open, Mode::empty()) else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(&found) else {
        return false;
    };
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let bytes = file.content.bytes();
    let is_same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && mode_of(&stat) == Mode::from_raw_mode(file.mode)
        && stat.st_uid == file.uid.unwrap_or(own.0)
        && stat.st_gid == file.gid.unwrap_or(own.1)
        && u64::try_from(stat.st_size) == Ok(bytes.len() as u64);
    let mut there = Vec::with_capacity(bytes.len());
    is_same && File::from(found).read_to_end(&mut there).is_ok() && there == bytes
}

fn write_draft(directory: &OwnedFd, name: &str, file: &FileMount) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let open = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(directory, name, open, Mode::RUSR.union(Mode::WUSR))?;
    let mut made = File::from(made);
    made.write_all(file.content.bytes())?;
    // In this order, which CAP_CHOWN alone is enough for.
    rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode))?;
    if file.uid.is_some() || file.gid.is_some() {
        let (uid, gid) = (file.uid.map(Uid::from_raw), file.gid.map(Gid::from_raw));
        rustix::fs::fchown(&made, uid, gid)?;
    }
    Ok(())
}

impl ResolvedProject {
    /// Whether any service has secrets or configs.
    pub fn has_files(&self) -> bool {
        self.services
            .values()
            .any(|service| !service.container.files.is_empty())
    }

    /// Gives every secret and config the path of its copy. Writes nothing.
    pub fn place_files(&mut self, store: &FileStore, key: &FileKey) {
        let directory = store.directory();
        for file in self
            .services
            .values_mut()
            .flat_map(|service| &mut service.container.files)
        {
            let path = directory.join(key.digest(file).as_str());
            file.path = Some(path.to_string_lossy().into_owned());
        }
    }

    /// Secrets and configs that cannot be given to the engine as asked for.
    pub fn refused_files(&self, access: &FileAccess) -> Vec<Diagnostic> {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let mut found = Vec::new();
        for service in self.services.values().map(|resolved| &resolved.service) {
            let files = &service.container.files;
            let mut refuse = |file: &FileMount, message: String, hint: &str| {
                let key = file.kind.key();
                let (place, path) = (service.place(key), service.path(key));
                found.push(Diagnostic::error("file-refused", place, path, message).hint(hint));
            };
            if let (Some(why), Some(first)) = (&access.hidden, files.first()) {
                let message = format!(
                    "`{}` cannot have its secrets and configs: their copies lie on this host, which the engine does not \
                     see ({why})",
                    service.name
                );
                refuse(
                    first,
                    message,
                    "run phoenixd on the engine's host, and give it the engine's own socket",
                );
                continue;
            }
            for file in files {
                if let Some((why, hint)) = why_not_owned(file, access.maps_users, own) {
                    let message = format!(
                        "`{}` cannot have the {} `{}`: {why}",
                        service.name, file.kind, file.name
                    );
                    refuse(file, message, hint);
                }
            }
        }
        found
    }
}

/// Why a file cannot belong to whom it is to belong.
fn why_not_owned(
    file: &FileMount,
    maps_users: bool,
    own: (u32, u32),
) -> Option<(String, &'static str)> {
    let asked = file.uid.is_some() || file.gid.is_some();
    if asked && maps_users {
        let why =
            "the engine maps the users of its containers to others, so that no owner can be chosen";
        return Some((why.to_owned(), "remove `uid` and `gid`"));
    }
    let is_other =
        file.uid.is_some_and(|uid| uid != own.0) || file.gid.is_some_and(|gid| gid != own.1);
    if is_other && own.0 != 0 {
        let why = format!(
            "phoenixd runs as user {}, who cannot give files to others",
            own.0
        );
        return Some((why, "run phoenixd as root, or remove `uid` and `gid`"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use tempfile::TempDir;

    use super::*;
    use crate::spec::{Content, FileKind};

    struct Place {
        store: FileStore,
        // Removed with it.
        _base: TempDir,
    }

    fn place() -> Place {
        let base = tempfile::tempdir().unwrap();
        let below = base.path().join("run/phoenixd");
        Place {
            store: FileStore::new(&below, &ProjectName::new("shop"), "ENGI:NE").unwrap(),
            _base: base,
        }
    }

    impl Place {
        fn file(&self, content: &[u8], mode: u32) -> FileMount {
            let mut file = FileMount {
                kind: FileKind::Secret,
                name: "pw".to_owned(),
                target: "/run/secrets/pw".to_owned(),
                mode,
                uid: None,
                gid: None,
                content: Content::new(content),
                path: None,
            };
            // Any digest is a name here; the real ones are keyed.
            let digest = hex::encode(Sha256::digest([content, &mode.to_be_bytes()].concat()));
            let name = digest.get(..FileDigest::DIGITS).unwrap();
            file.path = Some(self.store.directory().join(name).display().to_string());
            file
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.store.directory()).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn path(file: &FileMount) -> &Path {
        Path::new(file.path.as_deref().unwrap())
    }

    #[test]
    fn a_copy_has_its_content_and_mode_in_directories_closed_to_others() {
        let place = place();
        let file = place.file(b"hunter2", 0o444);
        place.store.write(&file).unwrap();
        assert_eq!(fs::read(path(&file)).unwrap(), b"hunter2");
        assert_eq!(path(&file).metadata().unwrap().mode() & 0o7777, 0o444);
        let mut directory = place.store.directory();
        for _ in 0..4 {
            assert_eq!(
                directory.metadata().unwrap().mode() & 0o777,
                0o700,
                "{directory:?}"
            );
            directory.pop();
        }
    }

    #[test]
    fn a_path_of_a_copy_is_known_for_one() {
        let place = place();
        let file = place.file(b"x", 0o444);
        assert!(file.digest().is_some());
        assert_eq!(FileDigest::in_path("/srv/files/a/b"), None);
        assert_eq!(FileDigest::in_path(&(file.path.unwrap() + "/x")), None);
    }

    #[test]
    fn writing_again_touches_nothing_and_mends_what_was_changed() {
        let place = place();
        let file = place.file(b"hunter2", 0o440);
        place.store.write(&file).unwrap();
        let inode = path(&file).metadata().unwrap().ino();
        place.store.write(&file).unwrap();
        assert_eq!(path(&file).metadata().unwrap().ino(), inode);

        let spoil: [fn(&Path); 4] = [
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap(),
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path, "hunter3").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o440)).unwrap();
            },
            |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
            },
            // What a killed process left.
            |path| {
                let draft = format!("draft.{}", path.file_name().unwrap().display());
                fs::write(path.with_file_name(draft), "hun").unwrap();
                fs::remove_file(path).unwrap();
            },
        ];
        for spoil in spoil {
            spoil(path(&file));
            place.store.write(&file).unwrap();
            assert_eq!(fs::read(path(&file)).unwrap(), b"hunter2");
            assert_eq!(path(&file).symlink_metadata().unwrap().mode(), 0o100_440);
            assert_eq!(place.names().len(), 1);
        }
    }

    #[test]
    fn what_nobody_needs_is_removed_and_without_any_the_directories_too() {
        let place = place();
        // Nothing there is nothing to do.
        place.store.keep_only(&BTreeSet::new()).unwrap();
        assert!(!place.store.directory().exists());

        let files = [place.file(b"a", 0o444), place.file(b"b", 0o444)];
        for file in &files {
            place.store.write(file).unwrap();
        }
        fs::write(place.store.directory().join("draft.0"), "half").unwrap();
        let kept = files[0].digest().unwrap();
        place
            .store
            .keep_only(&BTreeSet::from([kept.clone()]))
            .unwrap();
        assert_eq!(place.names(), [kept.as_str()]);

        // Another engine's copies of the same project are not ours to remove.
        let base = place.store.base.clone();
        let other = FileStore::new(&base, &ProjectName::new("shop"), "other").unwrap();
        other.prepare().unwrap();
        place.store.keep_only(&BTreeSet::new()).unwrap();
        assert!(!place.store.directory().exists());
        assert!(other.directory().exists());
        other.keep_only(&BTreeSet::new()).unwrap();
        assert!(!base.join("shop").exists());
        assert!(base.exists());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let place = place();
        let base = &place.store.base;
        fs::create_dir_all(base).unwrap();
        fs::set_permissions(base, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = place.store.write(&place.file(b"a", 0o444)).unwrap_err();
        place.store.keep_only(&BTreeSet::new()).unwrap();
        assert!(
            refused.to_string().contains("others may write to"),
            "{refused}"
        );

        fs::set_permissions(base, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("/tmp", base.join("shop")).unwrap();
        assert!(
            place.store.write(&place.file(b"a", 0o444)).is_err(),
            "a link is not followed"
        );
        fs::remove_file(base.join("shop")).unwrap();

        // One that was open to others is closed.
        fs::create_dir(base.join("shop")).unwrap();
        fs::set_permissions(base.join("shop"), fs::Permissions::from_mode(0o777)).unwrap();
        place.store.write(&place.file(b"a", 0o444)).unwrap();
        assert_eq!(base.join("shop").metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_owner_is_given_where_that_is_possible_and_refused_where_not() {
        let place = place();
        let mut file = place.file(b"a", 0o400);
        let root = rustix::process::geteuid().is_root();
        (file.uid, file.gid) = (Some(65_534), Some(12_345));
        if root {
            place.store.write(&file).unwrap();
            let stat = path(&file).metadata().unwrap();
            assert_eq!(
                (stat.uid(), stat.gid(), stat.mode()),
                (65_534, 12_345, 0o100_400)
            );
        }
        assert_eq!(why_not_owned(&file, false, (0, 0)), None);
        assert!(why_not_owned(&file, true, (0, 0)).is_some());
        let (why, _) = why_not_owned(&file, false, (1000, 1000)).unwrap();
        assert_eq!(
            why,
            "phoenixd runs as user 1000, who cannot give files to others"
        );
        let its_own = (65_534, 12_345);
        assert_eq!(why_not_owned(&file, false, its_own), None);
        (file.uid, file.gid) = (None, None);
        assert_eq!(why_not_owned(&file, true, (1000, 1000)), None);
    }
}
