//! The decoder: bytes of a run's stdout in, framed outputs out. It does no I/O and does not parse JSON.
//!
//! A marker counts only as a whole line, so a marker's text inside a JSON string is data (JSON strings hold no raw
//! newline). The work is linear in the bytes for any chunks, and memory is bounded by one output's limit.

use parlor_protocol::json;
use parlor_protocol::{OUTPUT_END, OUTPUT_START, Output};
use thiserror::Error;

/// The length of the longest line that can be a marker, with its `\r`.
const MARKER_LINE: usize =
    if OUTPUT_START.len() > OUTPUT_END.len() { OUTPUT_START.len() } else { OUTPUT_END.len() } + 1;
/// A larger buffer is freed after its output.
const KEEP_CAPACITY: usize = 1 << 20;
/// The bytes that are kept of the beginning and of the end of an output over the limit.
const EDGE: usize = 512;

/// The cost of a line outside any output, beside its bytes: the shortest lines are the most work.
const LINE: u64 = 16;

/// A result of the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The bytes between two marker lines.
    Output(&'a [u8]),
    /// An output over the limit, which is dropped except for its edges.
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// Its first and its last bytes.
        edges: &'a [u8],
    },
    /// A violation of the protocol; the run goes on.
    Warning(Warning),
}

/// A violation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Warning {
    /// A start inside an open output.
    #[error("an output began inside another one, which is dropped")]
    NestedStart,
    /// An end without a start.
    #[error("an output ended that had not begun")]
    StrayEnd,
    /// The stream ended inside an output.
    #[error("the stream ended inside an output")]
    Unfinished,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    /// Inside an output over the limit: bytes are dropped until its end.
    Skipping,
}

/// Finds outputs in a stream of bytes.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    state: State,
    /// The bytes of the open output.
    open: Vec<u8>,
    /// The beginning and the end of an output that is being dropped.
    edges: Vec<u8>,
    /// How many of these bytes are the beginning.
    begun: usize,
    /// The start of the current line in `open`.
    line_start: usize,
    /// The current line, as far as it may still be a marker.
    head: [u8; MARKER_LINE],
    head_len: usize,
    /// True if the current line is longer than any marker.
    long_line: bool,
    /// Bytes since the last [`take_noise`](Self::take_noise) that belong to no output, or to a dropped one.
    noise: u64,
}

impl Decoder {
    /// A decoder for outputs of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: State::Outside,
            open: Vec::new(),
            edges: Vec::new(),
            begun: 0,
            line_start: 0,
            head: [0; MARKER_LINE],
            head_len: 0,
            long_line: false,
            noise: 0,
        }
    }

    /// Returns the bytes since the last call that belong to no output, or to a dropped one.
    pub fn take_noise(&mut self) -> u64 {
        std::mem::take(&mut self.noise)
    }

    /// Takes the next bytes; calls `found` for each completed frame.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Frame<'_>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.take(&bytes[..at], true);
            self.end_line(found);
            bytes = &bytes[at + 1..];
        }
        self.take(bytes, false);
    }

    /// Ends the stream.
    pub fn finish(&mut self, found: &mut impl FnMut(Frame<'_>)) {
        if self.head_len > 0 || self.long_line {
            self.end_line(found);
        }
        match self.state {
            State::Inside => found(Frame::Warning(Warning::Unfinished)),
            State::Skipping => self.too_long(found),
            State::Outside => {}
        }
        self.open = Vec::new();
        self.state = State::Outside;
    }

    fn take(&mut self, bytes: &[u8], whole_line: bool) {
        if !self.long_line {
            if self.head_len + bytes.len() <= MARKER_LINE {
                self.head[self.head_len..self.head_len + bytes.len()].copy_from_slice(bytes);
                self.head_len += bytes.len();
            } else {
                self.long_line = true;
            }
        }
        if self.state == State::Inside {
            self.open.extend_from_slice(bytes);
            if whole_line {
                self.open.push(b'\n');
            }
            // A marker line at the very limit must still fit.
            if self.open.len() > self.limit + MARKER_LINE + 1 {
                self.state = State::Skipping;
                let open = std::mem::take(&mut self.open);
                self.noise += open.len() as u64;
                self.begun = EDGE.min(self.limit);
                self.edges = open[..self.begun].to_vec();
                self.skip(&open[self.begun..]);
            }
            return;
        }
        self.noise += bytes.len() as u64 + if whole_line { LINE } else { 0 };
        if self.state == State::Skipping {
            self.skip(bytes);
            if whole_line {
                self.skip(b"\n");
            }
        }
    }

    /// Keeps the last bytes of a dropped output.
    fn skip(&mut self, bytes: &[u8]) {
        self.edges.extend_from_slice(&bytes[bytes.len().saturating_sub(EDGE)..]);
        let surplus = self.edges.len().saturating_sub(self.begun + EDGE);
        self.edges.drain(self.begun..self.begun + surplus);
    }

    fn too_long(&mut self, found: &mut impl FnMut(Frame<'_>)) {
        found(Frame::TooLong { limit: self.limit, edges: &self.edges });
        self.edges = Vec::new();
    }

    fn end_line(&mut self, found: &mut impl FnMut(Frame<'_>)) {
        let line = &self.head[..self.head_len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (start, end) = (line == OUTPUT_START.as_bytes(), line == OUTPUT_END.as_bytes());
        if self.state == State::Skipping && !self.long_line && (start || end) {
            // The marker itself does not belong to the dropped output.
            let edges = self.edges.strip_suffix(b"\n").unwrap_or(&self.edges);
            let kept = edges.strip_suffix(&self.head[..self.head_len]).unwrap_or(edges).len();
            self.edges.truncate(kept);
        }
        if !self.long_line && start {
            match self.state {
                State::Inside => {
                    self.noise += self.open.len() as u64;
                    found(Frame::Warning(Warning::NestedStart));
                }
                State::Skipping => self.too_long(found),
                State::Outside => {}
            }
            self.state = State::Inside;
            self.open.clear();
        } else if !self.long_line && end {
            match self.state {
                State::Inside => {
                    self.open.truncate(self.line_start);
                    if self.open.len() > self.limit {
                        found(Frame::TooLong { limit: self.limit, edges: &self.open });
                    } else {
                        found(Frame::Output(&self.open));
                    }
                }
                State::Outside => found(Frame::Warning(Warning::StrayEnd)),
                State::Skipping => self.too_long(found),
            }
            self.state = State::Outside;
            if self.open.capacity() > KEEP_CAPACITY { self.open = Vec::new() } else { self.open.clear() }
        }
        self.line_start = self.open.len();
        self.head_len = 0;
        self.long_line = false;
    }
}

/// Why an output's JSON was not accepted.
#[derive(Debug, Error)]
#[error("an output of {bytes} bytes is not valid: {reason}")]
pub struct BadOutput {
    /// The length of the output.
    pub bytes: usize,
    /// The error.
    pub reason: String,
}

/// Parses the JSON of one output; mends small errors that a strict parser refuses.
pub fn parse(json: &[u8]) -> Result<Output, BadOutput> {
    json::from_slice(json).map_err(|e| BadOutput { bytes: json.len(), reason: e.to_string() })
}

/// Parses the JSON of one output without mending.
pub fn strict(json: &[u8]) -> Result<Output, BadOutput> {
    serde_json::from_slice(json).map_err(|e| BadOutput { bytes: json.len(), reason: e.to_string() })
}

/// Returns true if an unreadable output looks like the last one of a turn: it has a status, does not say that the
/// turn goes on, and is not a heartbeat. A turn whose end is lost would otherwise wait for the timeout.
pub fn ends_turn(json: &[u8]) -> bool {
    let says = |key: &[u8], value: &[u8]| {
        memchr::memmem::find_iter(json, key).any(|at| {
            let rest = json[at + key.len()..].trim_ascii_start();
            rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(value))
        })
    };
    says(b"\"status\"", b"") && !says(b"\"turn\"", b"\"open\"") && !says(b"\"heartbeat\"", b"true")
}

/// Returns the only output of a complete stdout: the first marker pair, else the last line that is not empty.
pub fn single(stdout: &[u8], limit: usize) -> Option<Output> {
    let mut first = None;
    let mut decoder = Decoder::new(limit);
    let mut keep = |frame: Frame<'_>| {
        if let (Frame::Output(json), None) = (frame, &first) {
            first = Some(parse(json).ok());
        }
    };
    decoder.push(stdout, &mut keep);
    decoder.finish(&mut keep);
    first.unwrap_or_else(|| {
        let line = stdout.split(|b| *b == b'\n').rfind(|line| !line.trim_ascii().is_empty())?;
        parse(line).ok()
    })
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
