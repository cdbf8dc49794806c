//! The socket's place in the file system: nobody else can open it, not even for a moment.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else could open the socket.
    #[error(
        "`{}` must belong to uid {wanted_uid} and be closed to everybody else (mode 0700), but belongs to uid {uid} with mode {mode:04o}",
        directory.display()
    )]
    OpenDirectory {
        /// The socket's directory.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Who it should be: this process.
        wanted_uid: u32,
    },
    /// Something that phoenixd did not put there.
    #[error("`{}` exists and is no socket; phoenixd does not replace it", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The kernel takes no more than 107 bytes.
    #[error("`{}` is too long for a unix socket (107 bytes); use a shorter state directory", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The file system's or the kernel's refusal.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Listens on `path`, in place of a socket that an earlier supervisor left there.
///
/// The caller holds the project's lock, so no other supervisor listens on it. The directory has to be closed to
/// everybody else already, which is checked: the socket is bound in it under another name, closed too (mode 0600), and
/// then moved to its place in one step. A client finds the old socket or the new one, never none and never an open one.
///
/// # Errors
/// [`BindError`].
///
/// # Panics
/// Outside of a tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    };
    is_closed(directory)?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &fresh)(error)),
    }
    let listener = UnixListener::bind(&fresh).map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidInput {
            BindError::TooLong {
                path: fresh.clone(),
            }
        } else {
            failed("bind", &fresh)(error)
        }
    })?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))
        .map_err(failed("set the mode of", &fresh))?;
    std::fs::rename(&fresh, path).map_err(failed("put in place", path))?;
    Ok(listener)
}

fn is_closed(directory: &Path) -> Result<(), BindError> {
    let there = std::fs::metadata(directory).map_err(failed("look at", directory))?;
    let (mode, uid) = (there.mode() & 0o7777, there.uid());
    let wanted_uid = rustix::process::geteuid().as_raw();
    let for_others = mode & 0o077;
    if for_others == 0 && uid == wanted_uid {
        Ok(())
    } else {
        Err(BindError::OpenDirectory {
            directory: directory.to_owned(),
            mode,
            uid,
            wanted_uid,
        })
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io { what, path, source }
}
