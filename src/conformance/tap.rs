//! An engine that records: it wraps the configured engine, feeds stdin in pieces of odd sizes, and listens to stdout
//! on the way to the host's decoder.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parlor_protocol::{OUTPUT_END, OUTPUT_START, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use zeroize::Zeroizing;

use crate::container::engine::image_store::ImageStore;
use crate::container::engine::spec::RunSpec;
use crate::container::engine::{Attached, Capabilities, ContainerEngine, EngineError};
use crate::container::run::output::{self, Decoder, Frame, Warning};

/// The sizes of the pieces of stdin, repeated in this order.
const PIECES: [usize; 7] = [1, 2, 3, 5, 7, 11, 13];
/// The pause between two pieces.
const BETWEEN: Duration = Duration::from_millis(1);
/// White space after the JSON. It is more than all pipes can hold, so an agent that does not read to the end is
/// noticed; an agent that does ignores it.
const TRAIL: usize = 2 << 20;
const TRAIL_PIECE: usize = 8191;
/// The size of the input's buffer; every input of the check is smaller.
const INPUT: usize = 1 << 20;
/// The number of faults that are kept.
const KEEP: usize = 20;

/// The records of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) frames: usize,
    pub(super) heartbeats: usize,
    pub(super) errors: usize,
    pub(super) error_kinds: usize,
    pub(super) bad: Vec<String>,
    pub(super) stray: Option<String>,
    pub(super) early: bool,
    pub(super) stdin_taken: bool,
}

pub(super) type Ears = Arc<Mutex<Heard>>;

pub(super) fn lock(ears: &Ears) -> MutexGuard<'_, Heard> {
    ears.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The recording engine; each run has its own.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) engine: Arc<dyn ContainerEngine>,
    pub(super) ears: Ears,
    /// The largest output, in bytes.
    pub(super) limit: usize,
}

#[async_trait]
impl ContainerEngine for Tap {
    fn name(&self) -> &str {
        self.engine.name()
    }
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        self.engine.probe().await
    }
    async fn start(&self, spec: &RunSpec) -> Result<Attached, EngineError> {
        let attached = self.engine.start(spec).await?;
        let (ours, theirs) = tokio::io::duplex(INPUT);
        tokio::spawn(feed(theirs, attached.stdin, self.ears.clone()));
        let stdout = Listening {
            pipe: attached.stdout,
            decoder: Decoder::new(self.limit),
            line: Vec::new(),
            inside: false,
            ears: self.ears.clone(),
        };
        Ok(Attached { stdin: Box::new(ours), stdout: Box::new(stdout), ..attached })
    }
    fn describe(&self, spec: &RunSpec) -> Vec<String> {
        self.engine.describe(spec)
    }
    async fn ran_out_of_memory(&self, name: &str, since: DateTime<Utc>) -> bool {
        self.engine.ran_out_of_memory(name, since).await
    }
    async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        self.engine.stop(name, grace).await
    }
    async fn kill(&self, name: &str) -> Result<(), EngineError> {
        self.engine.kill(name).await
    }
    async fn exists(&self, name: &str) -> Result<bool, EngineError> {
        self.engine.exists(name).await
    }
    async fn list(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError> {
        self.engine.list(label, value).await
    }
    async fn remove(&self, names: &[String]) -> Result<(), EngineError> {
        self.engine.remove(names).await
    }
    fn images(&self) -> &dyn ImageStore {
        self.engine.images()
    }
}

/// Writes the input in pieces, and white space after it.
async fn feed(mut from: DuplexStream, mut to: Box<dyn AsyncWrite + Send + Unpin>, ears: Ears) {
    // The input may hold secrets.
    let mut json = Zeroizing::new(Vec::new());
    if from.read_to_end(&mut json).await.is_err() {
        return;
    }
    let trail = vec![b'\n'; TRAIL];
    let mut rest = json.as_slice();
    for size in PIECES.iter().copied().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        if to.write_all(piece).await.is_err() || to.flush().await.is_err() {
            return;
        }
        rest = tail;
        tokio::time::sleep(BETWEEN).await;
    }
    for piece in trail.chunks(TRAIL_PIECE) {
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
    // Set before the agent can see the end of stdin.
    lock(&ears).stdin_taken = true;
    let _ = to.shutdown().await;
}

/// A run's stdout on its way to the host.
struct Listening {
    pipe: Box<dyn AsyncRead + Send + Unpin>,
    decoder: Decoder,
    /// The beginning of the current line.
    line: Vec<u8>,
    inside: bool,
    ears: Ears,
}

impl AsyncRead for Listening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.pipe).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let fresh = &buf.filled()[before..];
            self.listen(fresh);
        }
        polled
    }
}

impl Listening {
    fn listen(&mut self, bytes: &[u8]) {
        let Self { decoder, ears, .. } = self;
        let mut heard = lock(ears);
        if bytes.is_empty() {
            decoder.finish(&mut |frame| hear(&frame, &mut heard));
        } else {
            decoder.push(bytes, &mut |frame| hear(&frame, &mut heard));
        }
        drop(heard);
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.line.len() < 4096 {
                self.line.push(*byte);
            }
        }
        if bytes.is_empty() {
            self.end_line();
        }
    }

    /// Looks for a marker among other text. It is then no marker, and within an output it is data.
    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let bare = line.strip_suffix('\r').unwrap_or(&line);
        if bare == OUTPUT_START {
            self.inside = true;
        } else if bare == OUTPUT_END {
            self.inside = false;
        } else if !self.inside && (line.contains(OUTPUT_START) || line.contains(OUTPUT_END)) {
            lock(&self.ears).stray.get_or_insert_with(|| line.chars().take(120).collect());
        }
    }
}

fn hear(frame: &Frame<'_>, heard: &mut Heard) {
    let complaint = match frame {
        Frame::Output(json) => {
            heard.frames += 1;
            heard.early |= !heard.stdin_taken;
            match output::strict(json) {
                Ok(output) => {
                    heard.heartbeats += usize::from(output.heartbeat);
                    if output.status == Status::Error {
                        heard.errors += 1;
                        heard.error_kinds += usize::from(output.error_kind.is_some());
                    }
                    return;
                }
                Err(error) => error.to_string(),
            }
        }
        // A run that is ended may be cut off anywhere.
        Frame::Warning(Warning::Unfinished) => return,
        Frame::Warning(warning) => warning.to_string(),
        Frame::TooLong { limit, .. } => format!("an output is longer than {limit} bytes"),
    };
    if heard.bad.len() < KEEP {
        heard.bad.push(complaint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(stdout: &'static [u8], stdin_taken: bool) -> Heard {
        let ears = Ears::default();
        lock(&ears).stdin_taken = stdin_taken;
        let mut listening = Listening {
            pipe: Box::new(stdout),
            decoder: Decoder::new(1000),
            line: Vec::new(),
            inside: false,
            ears: ears.clone(),
        };
        let mut all = Vec::new();
        listening.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, stdout, "nothing is changed on the way");
        lock(&ears).clone()
    }

    #[tokio::test]
    async fn markers_among_other_text_are_noticed_only_outside_of_outputs() {
        let frame =
            b"---NANOCLAW_OUTPUT_START---\n{\"status\":\"success\",\n\"result\":\"---NANOCLAW_OUTPUT_END---\"}\n\
            ---NANOCLAW_OUTPUT_END---\n";
        let fine = heard(frame, true).await;
        assert_eq!((fine.frames, fine.stray, fine.early, fine.bad.len()), (1, None, false, 0));
        assert!(heard(frame, false).await.early);
        let glued = heard(b"---NANOCLAW_OUTPUT_START---{}---NANOCLAW_OUTPUT_END---", true).await;
        assert_eq!((glued.frames, glued.stray.is_some()), (0, true));
    }

    #[tokio::test]
    async fn stdin_arrives_whole_with_white_space_after_it() {
        let (mut ours, theirs) = tokio::io::duplex(INPUT);
        let (out, mut agent) = tokio::io::duplex(64);
        let ears = Ears::default();
        let feeding = tokio::spawn(feed(theirs, Box::new(out), ears.clone()));
        ours.write_all(b"{\"prompt\": \"hello, hello\"}").await.unwrap();
        drop(ours);
        let mut got = Vec::new();
        agent.read_to_end(&mut got).await.unwrap();
        feeding.await.unwrap();
        assert!(lock(&ears).stdin_taken);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&got).unwrap()["prompt"], "hello, hello");
        assert_eq!(got.len(), 26 + TRAIL);
    }
}
