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

/// Why the API cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another host answers on the socket.
    #[error("another host answers on {0}: stop it first, or use another --home")]
    InUse(PathBuf),
    /// The socket could not be made.
    #[error("cannot listen on {path}: {error}; check owner and mode of its folder")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The TCP address could not be used.
    #[error("cannot listen on {address}: {error}; set PARLOR_LISTEN to a free address of this machine")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Only one of the two TCP settings is there.
    #[error("PARLOR_LISTEN and PARLOR_TOKEN belong together: set both, or neither")]
    HalfSet,
}

/// Open listeners.
#[derive(Debug)]
pub struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<(TcpListener, Arc<Guard>)>,
    pub(super) socket: SocketFile,
}

impl Listeners {
    /// Opens what the settings ask for. A socket that a dead host left is replaced; one that answers is an error.
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

    /// The TCP listener's address, with the port that the system chose for port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }
}

/// Binds under a temporary name, closes the mode, then renames over the final one: nobody can connect in between, and
/// what a dead host left disappears in the same step.
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

/// The socket's file; removed when dropped, unless another host has put its own there.
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

/// A socket's path as the kernel takes it, which is 107 bytes at the most: a longer one goes through an open folder,
/// which must live until the path was used.
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
