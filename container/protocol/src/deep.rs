//! A stack for parsers that recurse over what an agent wrote.

use std::io;
use std::thread;

/// The `toml` crate bounds nested tables and the parts of a dotted key at 80 each, and so 6,400 levels together, which
/// took more than 8 MiB when measured. Only what is used of it is ever memory.
const STACK: usize = 64 << 20;

/// Does the work on a thread with a deep stack: an overflow would abort the whole program.
///
/// # Errors
/// When there is no thread, or the work panicked.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("parser".into()).stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("it cannot be parsed"))
    })
}
