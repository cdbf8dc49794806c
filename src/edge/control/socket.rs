//! The control socket: where it is, who may speak on it, and how a stale one is replaced.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The longest path of a unix socket on Linux, in bytes (`unix(7)`: 108 with the zero byte at the end).
const PATH_BYTES: usize = 107;

/// Root without any capability, as in a container, reaches only what its group may reach ([`connect`]). Who is in the group and
/// is nobody whom [`may_control`] names is not heard.
const MODE: u32 = 0o660;

/// Where the edge with this number listens for control.
pub fn socket_path(directory: &Path, serial: u64) -> PathBuf {
    directory.join(format!("{serial}.sock"))
}

/// Whether the sockets in a directory have paths that the kernel takes, up to the edge with the number 999,999.
pub fn has_room(directory: &Path) -> bool {
    under_way(&socket_path(directory, 999_999)).len() <= PATH_BYTES
}

/// What it is called until it is in its place.
fn under_way(path: &Path) -> OsString {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fresh
}

/// Whether a peer of this uid is heard by an edge that runs as `own`: root, which starts it, and itself, its successor.
pub fn may_control(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel takes no more.
    #[error("`{}` has {length} bytes, and the path of a unix socket has at most {PATH_BYTES}: name a shorter directory", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// An edge with this number answers.
    #[error("another edge listens on `{}`: each needs a number of its own", path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// Something that phoenixd did not put there.
    #[error("`{}` exists and is no socket; phoenixd does not replace it", path.display())]
    NotASocket {
        /// What is there.
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

/// Listens on `path`, in place of a socket on which nobody answers any more. It is bound under another name, closed to
/// others, and then moved to its place in one step: nobody finds an open one.
pub(in crate::edge) async fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let fresh = PathBuf::from(under_way(path));
    let length = fresh.as_os_str().len();
    if length > PATH_BYTES {
        return Err(SocketError::TooLong {
            path: fresh,
            length,
        });
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(SocketError::Taken {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path)(error)),
    }
    match std::fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &fresh)(error)),
    }
    let listener = UnixListener::bind(&fresh).map_err(failed("bind", &fresh))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))
        .map_err(failed("set the mode of", &fresh))?;
    std::fs::rename(&fresh, path).map_err(failed("put in place", path))?;
    Ok(listener)
}

/// Connects to an edge. A socket that is closed to this process gets its group first, which whoever may give files away can
/// do: root without further capabilities may not open what is another user's.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let own = rustix::process::getegid().as_raw();
            // Not what a link leads to: the directory is the edge's.
            std::os::unix::fs::lchown(path, None, Some(own))?;
            UnixStream::connect(path).await
        }
        outcome => outcome,
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io { what, path, source }
}
