//! The streams of a run: stdin is written, stdout decoded and parsed, stderr kept; each in its own task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlor_protocol::{Output, RunInput};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::live::Live;
use super::pace::{self, Pace};
use crate::container::run::capture::{Capture, Tail};
use crate::container::run::output::{self, Decoder, Frame};

/// The most bytes of outputs between one run and the store.
pub(super) const IN_TRANSIT: usize = 64 << 20;
const READ: usize = 64 << 10;
/// The most complaints of a run about unreadable output, beside those that end a turn; the rest is only in its log.
pub(super) const UNREADABLE: u64 = 10;

/// An output, or why it is unreadable.
pub(crate) enum Pumped {
    Output {
        output: Box<Output>,
        share: OwnedSemaphorePermit,
    },
    Unreadable {
        /// The error.
        why: String,
        /// True if it looks like the end of a turn.
        ends: bool,
    },
}

/// stdout, as the log keeps it.
pub(super) type Kept = Arc<Mutex<Capture>>;
/// stderr, as the log and errors keep it.
pub(super) type KeptErr = Arc<Mutex<(Capture, Tail)>>;

/// Writes the JSON object and closes the stream. An agent that does not read it blocks only this task.
pub(super) async fn stdin(mut pipe: Box<dyn AsyncWrite + Send + Unpin>, input: RunInput) {
    let Ok(json) = serde_json::to_vec(&input).map(Zeroizing::new) else { return };
    drop(input);
    if let Err(error) = pipe.write_all(&json).await {
        // The agent is gone; its exit shows why.
        tracing::debug!("an agent did not read its input: {error}");
    }
    let _ = pipe.shutdown().await;
}

/// Decodes stdout until it ends. `budget` limits the bytes of outputs on their way. Noise is read at its pace, and
/// `hurry` switches to the quick one.
pub(super) async fn stdout(
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    limit: usize,
    kept: Kept,
    to: Forward,
    hurry: CancellationToken,
) {
    let mut decoder = Decoder::new(limit);
    let mut buffer = vec![0; READ];
    let mut ready = Ready::default();
    let mut pace = Pace::new(lock(&kept).limit(), Instant::now());
    loop {
        let n = match pipe.read(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                tracing::warn!("cannot read an agent's output: {error}");
                break;
            }
        };
        lock(&kept).push(&buffer[..n]);
        decoder.push(&buffer[..n], &mut |frame| ready.take(&frame));
        if !to.forward(&mut ready).await {
            return;
        }
        let noise = decoder.take_noise() + ready.take_noise();
        wait(&mut pace, (n as u64, noise), &hurry).await;
    }
    decoder.finish(&mut |frame| ready.take(&frame));
    to.forward(&mut ready).await;
}

/// Waits as long as bytes and noise require; without a wait, yields to other tasks before more is read.
async fn wait(pace: &mut Pace, (bytes, noise): (u64, u64), hurry: &CancellationToken) {
    let ends = hurry.is_cancelled();
    if ends {
        pace.ends();
    }
    let pause = pace.spend(if ends { noise.min(bytes) } else { noise }, Instant::now());
    if pause.is_zero() {
        yield_now().await;
    } else if ends {
        sleep(pause).await;
    } else {
        // A useless wait does no harm.
        let _ = timeout(pause, hurry.cancelled()).await;
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An output with its length, or an error and whether it ends a turn.
type Read = Result<(Output, usize), (String, bool)>;

/// The result of one read of the pipe.
#[derive(Default)]
struct Ready {
    found: Vec<Read>,
    unreadable: u64,
    noise: u64,
}

impl Ready {
    fn take(&mut self, frame: &Frame<'_>) {
        let read = match frame {
            Frame::Output(json) => output::parse(json).map(|output| (output, json.len())).map_err(|error| {
                self.noise += json.len() as u64;
                (error.to_string(), output::ends_turn(json))
            }),
            Frame::TooLong { limit, edges } => {
                Err((format!("an output is longer than {limit} bytes and is dropped"), output::ends_turn(edges)))
            }
            Frame::Warning(warning) => Err((warning.to_string(), false)),
        };
        match &read {
            Ok((output, _)) if output.result.is_some() => {}
            Ok(_) => self.noise += pace::SILENT,
            Err((_, ends)) => {
                self.noise += pace::BROKEN;
                self.unreadable += 1;
                if self.unreadable > UNREADABLE && !ends {
                    return;
                }
            }
        }
        self.found.push(read);
    }

    fn take_noise(&mut self) -> u64 {
        std::mem::take(&mut self.noise)
    }
}

/// The way from the pump to the run.
pub(super) struct Forward {
    pub(super) budget: Arc<Semaphore>,
    pub(super) found: mpsc::Sender<Pumped>,
}

impl Forward {
    async fn forward(&self, ready: &mut Ready) -> bool {
        for read in ready.found.drain(..) {
            let pumped = match read {
                Ok((output, bytes)) => {
                    // An output larger than the whole budget takes all of it.
                    let share = u32::try_from(bytes.clamp(1, IN_TRANSIT)).unwrap_or(1);
                    let Ok(share) = self.budget.clone().acquire_many_owned(share).await else { return false };
                    Pumped::Output { output: Box::new(output), share }
                }
                Err((why, ends)) => Pumped::Unreadable { why, ends },
            };
            if self.found.send(pumped).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Keeps stderr until it ends. Beyond the log's limit it is still read, but slowly.
pub(super) async fn stderr(
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    kept: KeptErr,
    mut live: Live,
    hurry: CancellationToken,
) {
    let mut buffer = vec![0; READ];
    let mut pace = Pace::new(lock(&kept).0.limit(), Instant::now());
    while let Ok(n) = pipe.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        live.push(&buffer[..n]);
        {
            let mut kept = lock(&kept);
            kept.0.push(&buffer[..n]);
            kept.1.push(&buffer[..n]);
        }
        wait(&mut pace, (n as u64, n as u64), &hurry).await;
    }
}
