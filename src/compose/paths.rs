//! Paths of the host: from the text of the file to an absolute path, and whether it may be mounted.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Files;
use crate::spec::{ENGINE_SOCKETS, host_path_refusal};

/// Where relative paths start, and what is known of the host.
#[derive(Clone, Copy)]
pub(super) struct Paths<'a> {
    /// Absolute.
    pub(super) working_dir: &'a Path,
    /// For `~`.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// The host's files.
    pub(super) files: &'a dyn Files,
}

impl Paths<'_> {
    /// The absolute path, without `.` and `..`, as Compose makes it (textually).
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf, &'static str> {
        let mut components = path.components();
        let absolute = match components.next() {
            Some(Component::Normal(first)) if first == "~" => {
                let home = self
                    .environment
                    .get("HOME")
                    .filter(|home| home.starts_with('/'))
                    .ok_or("`HOME` is not set")?;
                Path::new(home).join(components.as_path())
            }
            Some(Component::Normal(first)) if first.as_encoded_bytes().starts_with(b"~") => {
                return Err("only `~` itself is known, not another user's home");
            }
            _ => self.working_dir.join(path),
        };
        let mut clean = PathBuf::from("/");
        for component in absolute.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => {
                    clean.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(clean)
    }

    /// Why a path may not be mounted, as it stands or as it resolves through symlinks.
    pub(super) fn refusal(&self, path: &Path) -> Option<String> {
        let Some(text) = path.to_str() else {
            return Some("its path is not UTF-8 text".to_owned());
        };
        if let Some(reason) = host_path_refusal(text) {
            return Some(reason.to_owned());
        }
        let real = self.files.canonicalize(path);
        // Whatever the socket is called, and wherever it lies.
        let holds = |name: &&str| self.files.exists(&real.join(name));
        let leads = self
            .files
            .engine_socket()
            .is_some_and(|socket| socket.starts_with(&real));
        if leads || ENGINE_SOCKETS.iter().any(|name| holds(name)) {
            return Some(
                "it leads to a container engine's socket: whoever holds it is root on the host"
                    .to_owned(),
            );
        }
        let reason = match real.to_str() {
            Some(real) => host_path_refusal(real)?,
            None => "its path is not UTF-8 text",
        };
        Some(format!("it leads to `{}`, and {reason}", real.display()))
    }
}
