//! Changes of the window's size. The line editor notices them only if the signal interrupts its own read, so no other
//! thread may receive the signal.

use nix::sys::signal::{SigSet, Signal};

fn size() -> SigSet {
    SigSet::from(Signal::SIGWINCH)
}

/// Blocks the signal here and in all threads that inherit this. Call it before other threads are started.
pub fn leave_to_editor() {
    // If this fails, a line is drawn wrong after a resize, and nothing worse.
    let _ = size().thread_block();
}

/// Receives the signal in this thread.
pub(super) fn take() {
    let _ = size().thread_unblock();
}
