//! Changes of the window's size. The line editor hears of them only when the signal breaks off its own reading, so no
//! other thread may take it.

use nix::sys::signal::{SigSet, Signal};

fn size() -> SigSet {
    SigSet::from(Signal::SIGWINCH)
}

/// Leaves the signal to the thread that asks for it. To be called before there are others: they inherit this.
pub fn leave_to_editor() {
    // Without it a line is drawn wrong after a change, nothing more.
    let _ = size().thread_block();
}

/// Takes the signal in this thread.
pub(super) fn take() {
    let _ = size().thread_unblock();
}
