//! The listeners of the API: the Unix socket, and TCP when both an address and a token are set.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use super::guard::Guard;
use crate::config::settings::Settings;

/// Reasons why the API cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another host answers on the socket.
    #[error("another host answers on {0}: stop it first, or use another --home")]
    InUse(PathBuf),
    /// The Unix socket cannot be bound.
    #[error("cannot listen on {path}: {error}; check owner and mode of its folder")]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The TCP address cannot be bound.
    #[error("cannot listen on {address}: {error}; set PARLOR_LISTEN to a free address of this machine")]
    Tcp {
        /// The address from `PARLOR_LISTEN`.
        address: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// Only one of the two TCP settings is set.
    #[error("PARLOR_LISTEN and PARLOR_TOKEN belong together: set both, or neither")]
    HalfSet,
}

/// The bound listeners, not yet served.
#[derive(Debug)]
pub struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<(TcpListener, Arc<Guard>)>,
    pub(super) socket: SocketFile,
}

impl Listeners {
    /// Opens the listeners that the settings name. A dead host's socket is replaced; a socket that answers is an
    /// error.
    pub async fn bind(settings: &Settings) -> Result<Self, ListenError> {
        let tcp = match (settings.listen, &settings.token) {
            (Some(address), Some(token)) => {
                let fail = |error| ListenError::Tcp { address, error };
                let listener = TcpListener::bind(address).await.map_err(fail)?;
                let loopback = address.ip().is_loopback();
                if !loopback {
                    tracing::warn!(
                        "the API listens on {address}, without encryption: others on that network can see it"
                    );
                }
                Some((listener, Arc::new(Guard::new(token.clone(), loopback))))
            }
            (None, None) => None,
            _ => return Err(ListenError::HalfSet),
        };
        let path = settings.home.socket();
        let (unix, socket) = bind_unix(&path)?;
        Ok(Self { unix, tcp, socket })
    }

    /// The TCP listener's address, with the real port if the settings say port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }
}

/// Binds under a temporary name, sets the mode, then renames. Nobody can connect in between, and the rename replaces
/// a dead host's socket.
fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let fail = |error| ListenError::Socket { path: path.to_owned(), error };
    if fs::symlink_metadata(path).is_ok() {
        let (short, _folder) = short_path(path).map_err(fail)?;
        if std::os::unix::net::UnixStream::connect(short).is_ok() {
            return Err(ListenError::InUse(path.to_owned()));
        }
    }
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let (short, _folder) = short_path(&temporary).map_err(fail)?;
    let listener = UnixListener::bind(short).map_err(fail)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o600)).map_err(fail)?;
    fs::rename(&temporary, path).map_err(fail)?;
    let inode = fs::symlink_metadata(path).map_err(fail)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

/// The socket's file; removed on drop, unless another host has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A path for the socket that fits into the kernel's limit of 107 bytes: a longer path goes through an open folder.
/// The returned folder must stay open until the path was used.
pub fn short_path(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= 107 {
        return Ok((path.to_owned(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket"));
    };
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}
