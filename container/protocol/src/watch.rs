//! Waits for changes in one folder: inotify where it works, else a look each second.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// The longest a change stays unseen when the kernel does not tell of it (no inotify, or a mount that has no events).
pub(crate) const FALLBACK: Duration = Duration::from_secs(1);

/// A watched folder.
#[derive(Debug)]
pub(crate) struct Watch {
    dir: PathBuf,
    events: Option<OwnedFd>,
}

impl Watch {
    /// Begins to watch; look into the folder after this, and nothing is missed.
    pub(crate) fn new(dir: &Path) -> Self {
        let mut watch = Self { dir: dir.to_owned(), events: None };
        watch.subscribe();
        watch
    }

    fn subscribe(&mut self) {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let wanted = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::ONLYDIR;
        self.events =
            inotify::init(flags).and_then(|events| inotify::add_watch(&events, &self.dir, wanted).map(|_| events)).ok();
    }

    /// Returns after a change, after `timeout`, or after [`FALLBACK`]: the caller looks into the folder each time.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        let timeout = timeout.min(FALLBACK);
        let Some(events) = &self.events else {
            std::thread::sleep(timeout);
            self.subscribe();
            return;
        };
        let Ok(limit) = Timespec::try_from(timeout) else { return };
        let mut fds = [PollFd::new(events, PollFlags::IN)];
        if matches!(poll(&mut fds, Some(&limit)), Ok(ready) if ready > 0) {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(events, &mut buffer);
            while reader.next().is_ok() {}
        }
    }
}
