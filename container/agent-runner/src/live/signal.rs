//! The signals that a driver waits for.

use std::sync::mpsc::Sender;
use std::{io, thread};

use parlor_protocol::inputs::{Input, Inputs, Next};

/// Something that happened.
#[derive(Debug)]
pub enum Signal {
    /// The process wrote a line to stdout.
    Line(String),
    /// The process is gone.
    Ended {
        /// How, in words.
        how: String,
        /// The end of its stderr.
        said: String,
    },
    /// Follow-ups from the host.
    Inputs(Vec<Input>),
    /// The host wants the run to end.
    Close,
}

/// Sends a signal for the host's follow-ups and for its close, which is the last.
///
/// # Errors
/// When the watching thread cannot be started.
pub fn watch_inputs(mut inputs: Inputs, to: Sender<Signal>) -> io::Result<()> {
    let watch = move || {
        loop {
            let (signal, last) = match inputs.wait() {
                Next::Inputs(list) => (Signal::Inputs(list), false),
                Next::Close => (Signal::Close, true),
            };
            if to.send(signal).is_err() || last {
                return;
            }
        }
    };
    thread::Builder::new().name("inputs".into()).spawn(watch).map(drop)
}
