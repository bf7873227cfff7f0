//! Waits for changes in one folder: with inotify if it works, else by polling each second.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// The longest time that a change stays unseen if the kernel does not report it (no inotify, or a mount without
/// events).
pub(crate) const FALLBACK: Duration = Duration::from_secs(1);

/// A watched folder.
#[derive(Debug)]
pub(crate) struct Watch {
    dir: PathBuf,
    events: Option<OwnedFd>,
}

impl Watch {
    /// Starts to watch. A caller that lists the folder after this misses no change.
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

    /// Returns after a change, after `timeout`, or after [`FALLBACK`]: the caller lists the folder each time.
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
