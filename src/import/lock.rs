//! The lock of the home: no host may run during an import.

use std::fs::{File, OpenOptions};
use std::io;

use rustix::fs::{FlockOperation, flock};

use super::ImportError;
use crate::config::home::Home;

/// Takes the lock of the home while the file lives; `make` creates the lock file if it is missing.
pub(super) fn take(home: &Home, make: bool) -> Result<Option<File>, ImportError> {
    let path = home.lock();
    let opened =
        if make { OpenOptions::new().create(true).truncate(false).write(true).open(&path) } else { File::open(&path) };
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(None),
        Err(error) => return Err(ImportError::write(&path, error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ImportError::HostRuns(home.root().to_owned())),
        Err(error) => Err(ImportError::write(&path, error.into())),
    }
}
