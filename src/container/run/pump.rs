//! The streams of a run: stdin is written, stdout decoded and parsed, stderr kept; each in a task of its own.

use std::sync::{Arc, Mutex, PoisonError};

use parlor_agent_runner::protocol::{Output, RunInput};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use zeroize::Zeroizing;

use crate::container::output::{self, Decoder, Frame};
use crate::container::run_log::{Capture, Tail};

/// Bytes of outputs that may be on their way from one run to the store.
pub(super) const IN_TRANSIT: usize = 64 << 20;
const READ: usize = 64 << 10;

/// An output, or why there is none.
pub(super) enum Pumped {
    Output {
        output: Box<Output>,
        share: OwnedSemaphorePermit,
    },
    Unreadable {
        /// What is wrong.
        why: String,
        /// Whether it looks like the end of a turn.
        ends: bool,
    },
}

/// stdout as the log keeps it.
pub(super) type Kept = Arc<Mutex<Capture>>;
/// stderr as the log and errors keep it.
pub(super) type KeptErr = Arc<Mutex<(Capture, Tail)>>;

/// Writes the one JSON object and ends the stream. An agent that does not read it only blocks this.
pub(super) async fn stdin(mut pipe: Box<dyn AsyncWrite + Send + Unpin>, input: RunInput) {
    let Ok(json) = serde_json::to_vec(&input).map(Zeroizing::new) else { return };
    drop(input);
    if let Err(error) = pipe.write_all(&json).await {
        // The agent is gone already; how it ended tells why.
        tracing::debug!("an agent did not read its input: {error}");
    }
    let _ = pipe.shutdown().await;
}

/// Decodes stdout until it ends. `budget` bounds what may be on its way, in bytes.
pub(super) async fn stdout(
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    limit: usize,
    kept: Kept,
    budget: Arc<Semaphore>,
    found: mpsc::Sender<Pumped>,
) {
    let mut decoder = Decoder::new(limit);
    let mut buffer = vec![0; READ];
    let mut ready: Vec<Read> = Vec::new();
    loop {
        let n = match pipe.read(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                tracing::warn!("reading an agent's output: {error}");
                break;
            }
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..n]);
        decoder.push(&buffer[..n], &mut |frame| collect(&frame, &mut ready));
        if !forward(&mut ready, &budget, &found).await {
            return;
        }
    }
    decoder.finish(&mut |frame| collect(&frame, &mut ready));
    forward(&mut ready, &budget, &found).await;
}

/// What was read between two markers with its length, or why there is nothing and whether it ends a turn.
type Read = Result<(Output, usize), (String, bool)>;

fn collect(frame: &Frame<'_>, ready: &mut Vec<Read>) {
    ready.push(match frame {
        Frame::Output(json) => match output::parse(json) {
            Ok(output) => Ok((output, json.len())),
            Err(error) => Err((error.to_string(), output::ends_turn(json))),
        },
        Frame::TooLong { limit, edges } => {
            Err((format!("an output is longer than {limit} bytes and is dropped"), output::ends_turn(edges)))
        }
        Frame::Warning(warning) => Err((warning.to_string(), false)),
    });
}

async fn forward(ready: &mut Vec<Read>, budget: &Arc<Semaphore>, found: &mpsc::Sender<Pumped>) -> bool {
    for result in ready.drain(..) {
        let pumped = match result {
            Ok((output, bytes)) => {
                // An output larger than all of the budget takes all of it.
                let share = u32::try_from(bytes.clamp(1, IN_TRANSIT)).unwrap_or(1);
                let Ok(share) = budget.clone().acquire_many_owned(share).await else { return false };
                Pumped::Output { output: Box::new(output), share }
            }
            Err((why, ends)) => Pumped::Unreadable { why, ends },
        };
        if found.send(pumped).await.is_err() {
            return false;
        }
    }
    true
}

/// Keeps stderr until it ends; always reads, so that an agent never blocks on it.
pub(super) async fn stderr(mut pipe: Box<dyn AsyncRead + Send + Unpin>, kept: KeptErr) {
    let mut buffer = vec![0; READ];
    while let Ok(n) = pipe.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.push(&buffer[..n]);
        kept.1.push(&buffer[..n]);
    }
}
