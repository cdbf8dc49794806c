//! Secrets and configs: contents that phoenixd writes down for a service's replicas, and where these see them.
//!
//! Not here: where the contents come from (`compose`), their digests and the files themselves (`daemon`).

use std::fmt;
use std::sync::Arc;

use super::harden::Hardening;
use super::{Diagnostic, FileDigest};

/// A secret or a config, mounted read-only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileMount {
    /// Which of the two.
    pub kind: FileKind,
    /// Its key at the top level of the file.
    pub name: String,
    /// Absolute path in the container.
    pub target: String,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// The owner; phoenixd's own user where `None`.
    pub uid: Option<u32>,
    /// The group; phoenixd's own where `None`.
    pub gid: Option<u32>,
    /// What is in it.
    pub content: Content,
    /// Absolute path of the copy that is mounted, on the engine's host; `None` until the content has its digest.
    pub path: Option<String>,
}

/// The two kinds of Compose, in its words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// Below `/run/secrets` unless the file says otherwise.
    Secret,
    /// In `/` unless the file says otherwise.
    Config,
}

/// What is in a secret or a config. Says its length and nothing else, so that no message, log or snapshot shows it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content(Arc<[u8]>);

impl FileMount {
    /// The digest that the copy is called by.
    pub fn digest(&self) -> Option<FileDigest> {
        FileDigest::in_path(self.path.as_deref()?)
    }
}

impl FileKind {
    /// The key of the Compose file, at the top level and of a service.
    pub fn key(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Config => "configs",
        }
    }

    /// Where a target without a leading slash begins, as docker compose 2.40.3 has it (`pkg/compose/create.go`).
    pub fn directory(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets/",
            Self::Config => "/",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Config => "config",
        })
    }
}

impl Content {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes: only for who writes or hashes them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

impl fmt::Display for FileMount {
    /// `secret db_password at /run/secrets/db_password, mode 0400, owner 1000:1000`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.kind, &self.name);
        write!(
            f,
            "{kind} {name} at {}, mode {:04o}",
            self.target, self.mode
        )?;
        if self.uid.is_some() || self.gid.is_some() {
            let show = |id: Option<u32>| id.map_or_else(String::new, |id| id.to_string());
            write!(f, ", owner {}:{}", show(self.uid), show(self.gid))?;
        }
        Ok(())
    }
}

impl Hardening<'_> {
    /// Names each secret and config, and warns of one that the service's user cannot read.
    pub(super) fn files(&mut self) {
        for file in &self.service.container.files {
            self.hardened(format!("{file}, read-only"));
            let Some(user) = self.user_that_cannot_read(file) else {
                continue;
            };
            let key = file.kind.key();
            let message = format!(
                "`{}` runs as user {user}, who cannot read the {} `{}` (mode {:04o}, owner {}:{})",
                self.service.name,
                file.kind,
                file.name,
                file.mode,
                file.uid.unwrap_or(0),
                file.gid.unwrap_or(0),
            );
            let (place, path) = (self.service.place(key), self.service.path(key));
            let problem = Diagnostic::warning("unreadable-file", place, path, message);
            self.diagnostics.push(problem.hint(format!(
                "give it to that user, `uid: \"{user}\"`, or write `mode: 0444`"
            )));
        }
    }

    /// The user's number, where it is certain that the file's owner, group and others leave it out.
    fn user_that_cannot_read(&self, file: &FileMount) -> Option<u32> {
        let own = self.container.user.as_deref();
        let (user, group) = split_user(own.unwrap_or(&self.image.user));
        let user: u32 = user.parse().ok()?;
        let by_owner = file.uid.unwrap_or(0) == user && file.mode & 0o400 != 0;
        // Without a number the group is what the image's files say.
        let groups = [group]
            .into_iter()
            .chain(self.container.group_add.iter().map(String::as_str));
        let in_group = |group: &str| {
            group
                .parse()
                .is_ok_and(|id: u32| id == file.gid.unwrap_or(0))
        };
        let maybe = |group: &str| group.parse::<u32>().is_err() || in_group(group);
        let by_group = file.mode & 0o040 != 0 && groups.into_iter().any(maybe);
        (!by_owner && !by_group && file.mode & 0o004 == 0).then_some(user)
    }
}

/// `user:group`; an empty group where none is written.
fn split_user(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_says_its_length_and_nothing_else() {
        let file = FileMount {
            kind: FileKind::Secret,
            name: "pw".to_owned(),
            target: "/run/secrets/pw".to_owned(),
            mode: 0o400,
            uid: Some(1000),
            gid: None,
            content: Content::new(*b"hunter2"),
            path: None,
        };
        let shown = format!("{file:?} {file:#?} {file}");
        assert!(shown.contains("Content(7 bytes)"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("104"), "the bytes as numbers: {shown}");
    }
}
