//! The decoder: bytes of a run's stdout in, framed outputs out. Does no I/O and knows nothing of JSON.
//!
//! A marker counts only as a whole line, so a marker's text inside a JSON string is data (JSON strings hold no raw
//! newline). The work is linear in the bytes whatever the chunks, and memory is bounded by one output's limit.

use parlor_agent_runner::json;
use parlor_agent_runner::protocol::{OUTPUT_END, OUTPUT_START, Output};
use thiserror::Error;

/// The longest line that can be a marker, with its `\r`.
const MARKER_LINE: usize =
    if OUTPUT_START.len() > OUTPUT_END.len() { OUTPUT_START.len() } else { OUTPUT_END.len() } + 1;
/// A buffer that grew beyond this is given back after its output.
const KEEP_CAPACITY: usize = 1 << 20;
/// Bytes that are kept of the beginning and the end of an output over the limit.
const EDGE: usize = 512;

/// What a line that belongs to no output counts as beside its bytes: the shortest ones are the most work.
const LINE: u64 = 16;

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The bytes between two marker lines.
    Output(&'a [u8]),
    /// An output over the limit, which is dropped but for its edges.
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// How it began, and how it ended.
        edges: &'a [u8],
    },
    /// Something that is not as the protocol says; the run goes on.
    Warning(Warning),
}

/// What was not as the protocol says.
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
    /// In an output that is over the limit: its bytes are dropped until its end.
    Skipping,
}

/// See the module.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    state: State,
    /// The open output.
    open: Vec<u8>,
    /// Beginning and end of the output that is dropped.
    edges: Vec<u8>,
    /// How much of that is the beginning.
    begun: usize,
    /// Where the current line begins in `open`.
    line_start: usize,
    /// The current line as far as it may still be a marker.
    head: [u8; MARKER_LINE],
    head_len: usize,
    /// The current line is longer than any marker.
    long_line: bool,
    /// Bytes since they were last asked for that belong to no output, or to one that is dropped.
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

    /// Bytes since the last call that belong to no output, or to one that is dropped.
    pub fn take_noise(&mut self) -> u64 {
        std::mem::take(&mut self.noise)
    }

    /// Takes the next bytes; calls `found` for each frame they complete.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Frame<'_>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.take(&bytes[..at], true);
            self.end_line(found);
            bytes = &bytes[at + 1..];
        }
        self.take(bytes, false);
    }

    /// The stream ended.
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
            // A marker line at the very limit still has to fit.
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

    /// Keeps the last of what is dropped.
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
            // The marker itself was no part of what is dropped.
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

/// Why an output's JSON was not taken.
#[derive(Debug, Error)]
#[error("an output of {bytes} bytes is not valid: {reason}")]
pub struct BadOutput {
    /// Its length.
    pub bytes: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads the JSON of one output, also where a strict reader refuses it.
pub fn parse(json: &[u8]) -> Result<Output, BadOutput> {
    json::from_slice(json).map_err(|e| BadOutput { bytes: json.len(), reason: e.to_string() })
}

/// The same without mending anything.
pub fn strict(json: &[u8]) -> Result<Output, BadOutput> {
    serde_json::from_slice(json).map_err(|e| BadOutput { bytes: json.len(), reason: e.to_string() })
}

/// Whether what could not be read was the last output of a turn, as far as it shows: it has a status, and says neither that
/// the turn goes on nor that it is only a sign of life. A turn whose end is lost would otherwise wait for the timeout.
pub fn ends_turn(json: &[u8]) -> bool {
    let says = |key: &[u8], value: &[u8]| {
        memchr::memmem::find_iter(json, key).any(|at| {
            let rest = json[at + key.len()..].trim_ascii_start();
            rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(value))
        })
    };
    says(b"\"status\"", b"") && !says(b"\"turn\"", b"\"open\"") && !says(b"\"heartbeat\"", b"true")
}

/// The single output of a run that nobody followed as it came: the first marker pair, else the last line that is not
/// empty.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Owned {
        Output(Vec<u8>),
        TooLong(Vec<u8>),
        Warning(Warning),
    }

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Owned> {
        let mut all = Vec::new();
        let mut decoder = Decoder::new(limit);
        let mut keep = |frame: Frame<'_>| {
            all.push(match frame {
                Frame::Output(bytes) => Owned::Output(bytes.to_vec()),
                Frame::TooLong { edges, .. } => Owned::TooLong(edges.to_vec()),
                Frame::Warning(w) => Owned::Warning(w),
            });
        };
        for chunk in chunks {
            decoder.push(chunk, &mut keep);
        }
        decoder.finish(&mut keep);
        all
    }

    fn frame(body: &str) -> String {
        format!("{OUTPUT_START}\n{body}\n{OUTPUT_END}\n")
    }

    fn out(body: &str) -> Owned {
        Owned::Output(format!("{body}\n").into_bytes())
    }

    #[test]
    fn markers_count_only_as_whole_lines() {
        let inside = format!("{{\"result\":\"{OUTPUT_END} and {OUTPUT_START}\"}}");
        let text = format!("log {OUTPUT_START}\n{}{OUTPUT_END} tail\n", frame(&inside));
        assert_eq!(decode([text.as_bytes()], 1000), [out(&inside)]);
    }

    #[test]
    fn carriage_returns_are_allowed_and_json_may_span_lines() {
        let text = format!("{OUTPUT_START}\r\n{{\r\n}}\r\n{OUTPUT_END}\r\n");
        assert_eq!(decode([text.as_bytes()], 1000), [Owned::Output(b"{\r\n}\r\n".to_vec())]);
    }

    #[test]
    fn disorder_is_a_warning_and_the_rest_is_delivered() {
        let text = format!("{OUTPUT_END}\n{OUTPUT_START}\nlost\n{}{OUTPUT_START}\nopen", frame("kept"));
        assert_eq!(
            decode([text.as_bytes()], 1000),
            [
                Owned::Warning(Warning::StrayEnd),
                Owned::Warning(Warning::NestedStart),
                out("kept"),
                Owned::Warning(Warning::Unfinished)
            ]
        );
    }

    #[test]
    fn an_output_over_the_limit_is_dropped_and_the_next_one_is_not() {
        let text = frame(&"x".repeat(5000)) + &frame("{}");
        let found = decode([text.as_bytes()], 100);
        assert!(
            matches!(&found[0], Owned::TooLong(edges) if edges.len() == 100 + EDGE - OUTPUT_END.len() - 1),
            "{found:?}"
        );
        assert_eq!(found[1..], [out("{}")]);
        let exact = frame(&"x".repeat(99));
        assert_eq!(decode([exact.as_bytes()], 100), [out(&"x".repeat(99))]);
        let above = frame(&"x".repeat(100));
        assert_eq!(decode([above.as_bytes()], 100), [Owned::TooLong(format!("{}\n", "x".repeat(100)).into_bytes())]);
        let whole = format!("{}{}{}", "a".repeat(EDGE), "b".repeat(9000), "c".repeat(EDGE));
        for (cut, limit) in [(1, 1000), (7, 1000), (100, 10), (5000, 4000)] {
            let text = frame(&whole);
            let found = decode(text.as_bytes().chunks(cut), limit);
            let [Owned::TooLong(kept)] = &found[..] else { panic!("{found:?}") };
            let kept = String::from_utf8_lossy(kept);
            assert!(kept.starts_with("aaaa") && kept.ends_with("cccc\n"), "{cut}, {limit}: {kept}");
            assert!(kept.len() <= 2 * EDGE, "{cut}, {limit}");
        }
        let endless = format!("{OUTPUT_START}\n{}", "x".repeat(5000));
        assert_eq!(decode([endless.as_bytes()], 1000), [Owned::TooLong(vec![b'x'; 2 * EDGE])]);
        let nested = format!("{endless}\n{}", frame("{}"));
        assert_eq!(decode([nested.as_bytes()], 100).last(), Some(&out("{}")));
        assert_eq!(decode([nested.as_bytes()], 100).len(), 2);
    }

    #[test]
    fn the_end_of_a_turn_shows_in_what_cannot_be_read() {
        for (json, ends) in [
            (r#"{"status":"success","result":"x"#, true),
            (r#"{"status": "maybe"}"#, true),
            (r#"{"status":"success","result":"\"turn\":\"open\"","turn":"done""#, true),
            (r#"{"status":"success","result":5,"turn" : "open"}"#, false),
            (r#"{"status":"success","result":5,"heartbeat":true}"#, false),
            ("null", false),
            ("", false),
            (r#"{"result":"\"status\":"}"#, false),
        ] {
            assert_eq!(ends_turn(json.as_bytes()), ends, "{json}");
        }
    }

    #[test]
    fn half_a_character_costs_that_character_alone() {
        let read = |json: &[u8]| parse(json).unwrap().result.unwrap();
        assert_eq!(read(br#"{"status":"success","result":"cut \ud83d"}"#), "cut \u{fffd}");
        assert_eq!(read(b"{\"status\":\"success\",\"result\":\"cut \xf0\x9f\"}"), "cut \u{fffd}");
    }

    #[test]
    fn the_last_end_needs_no_newline() {
        let text = format!("{OUTPUT_START}\n{{}}\n{OUTPUT_END}");
        assert_eq!(decode([text.as_bytes()], 100), [out("{}")]);
    }

    #[test]
    fn a_gibibyte_without_a_newline_needs_no_memory() {
        let chunk = vec![b'x'; 1 << 20];
        let mut decoder = Decoder::new(1 << 20);
        for _ in 0..64 {
            decoder.push(&chunk, &mut |_| panic!("nothing is there to find"));
        }
        assert_eq!(decoder.open.capacity(), 0);
    }

    #[test]
    fn a_single_output_is_the_first_pair_or_the_last_line() {
        let json = r#"{"status":"success","result":"hi"}"#;
        let paired = format!("noise\n{}{}", frame(json), frame(r#"{"status":"error","result":null}"#));
        assert_eq!(single(paired.as_bytes(), 1000).unwrap().result.as_deref(), Some("hi"));
        assert_eq!(single(format!("noise\n{json}\n\n").as_bytes(), 1000).unwrap().result.as_deref(), Some("hi"));
        assert!(single(b"noise\n", 1000).is_none());
    }

    #[test]
    fn what_is_no_output_is_counted_as_noise() {
        let noise = |text: &str| {
            let mut decoder = Decoder::new(100);
            decoder.push(text.as_bytes(), &mut |_| {});
            decoder.take_noise() as usize
        };
        let line = LINE as usize;
        let start = OUTPUT_START.len() + line;
        assert_eq!(noise("a\nbc"), 3 + line);
        assert_eq!(noise(&frame("{}")), start);
        assert_eq!(noise(&frame(&"x".repeat(5000))), start + 5001 + OUTPUT_END.len() + line);
        // The output that another one's start broke off, with that start.
        assert_eq!(noise(&format!("{OUTPUT_START}\nlost\n{}", frame("kept"))), start + 5 + OUTPUT_START.len() + 1);
        let mut decoder = Decoder::new(100);
        decoder.push(b"a", &mut |_| {});
        assert_eq!((decoder.take_noise(), decoder.take_noise()), (1, 0));
    }

    fn pieces() -> impl Strategy<Value = Vec<String>> {
        let piece = prop_oneof![
            Just(format!("{OUTPUT_START}\n")),
            Just(format!("{OUTPUT_END}\n")),
            Just(format!("{OUTPUT_END}\r\n")),
            Just(OUTPUT_START.to_owned()),
            Just("\n".to_owned()),
            "[a-zé😀\u{0}-]{0,40}\n?",
        ];
        proptest::collection::vec(piece, 0..30)
    }

    proptest! {
        #[test]
        fn chunk_borders_change_nothing(pieces in pieces(), cuts in proptest::collection::vec(1usize..17, 1..40)) {
            let text = pieces.concat().into_bytes();
            let whole = decode([text.as_slice()], 200);
            let mut chunks = Vec::new();
            let (mut rest, mut n) = (text.as_slice(), 0);
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
                chunks.push(chunk);
                (rest, n) = (tail, n + 1);
            }
            prop_assert_eq!(decode(chunks, 200), whole);
        }

        #[test]
        fn every_framed_body_arrives_in_order(bodies in proptest::collection::vec("\\{[a-z \"é😀]{0,60}\\}", 0..20)) {
            let text: String = bodies.iter().map(|b| frame(b)).collect();
            let all: Vec<Owned> = bodies.iter().map(|b| out(b)).collect();
            prop_assert_eq!(decode([text.as_bytes()], 1000), all);
        }
    }
}
