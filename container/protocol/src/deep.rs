//! A deep stack for parsers that recurse over an agent's text.

use std::io;
use std::thread;

/// The `toml` crate limits nested tables and the parts of a dotted key to 80 each. Together that is 6,400 levels,
/// which took more than 8 MiB when measured. Only the used part of the stack takes memory.
const STACK: usize = 64 << 20;

/// Runs `work` on a thread with a deep stack: a stack overflow would abort the whole program.
///
/// # Errors
/// If the thread cannot be started, or `work` panicked.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("parser".into()).stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("it cannot be parsed"))
    })
}
