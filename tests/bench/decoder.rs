//! Measures the decoder alone: a GiB of outputs in pieces of random size.

use std::time::Instant;

use parlor::container::run::output::{Decoder, Frame};
use parlor_protocol::{Output, Turn};

use crate::Effort;
use crate::harness::process;
use crate::report::{Figure, Report, Target};

const GIB: usize = 1 << 30;
/// Pieces have 1 to 64 KiB; this is the smallest size.
const SHORTEST: u64 = 1 << 10;
const LONGEST: u64 = 64 << 10;

pub fn measure(effort: Effort, report: &mut Report) {
    let total = effort.samples(GIB, GIB / 8);
    let stream = stream();
    let me = std::process::id();
    let mut rates = Vec::new();
    process::reset_peak(me);
    let before = process::peak_kib(me);
    for seed in 0..effort.samples(5, 1) {
        rates.push(rate(&stream, total, seed as u64));
    }
    let more = process::peak_kib(me).saturating_sub(before);
    report.add(Figure::new("decoder: framing 1 GiB in pieces of 1 to 64 KiB", "GiB/s", Target::AtLeast(1.0), rates));
    report.add(Figure::one("– memory it took", "MiB", Target::AtMost(4.0), more as f64 / 1024.0));
}

/// Makes whole frames of different lengths with log lines between them.
fn stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..4000_usize {
        let output = Output {
            result: Some("A sentence of an answer. ".repeat(1 + number * 37 % 160)),
            turn: Some(Turn::Open),
            new_session_id: Some(format!("session-{number}")),
            ..Output::default()
        };
        bytes.extend_from_slice(b"a line of the agent's log\n");
        bytes.extend_from_slice(output.to_frame().as_bytes());
    }
    bytes
}

fn rate(stream: &[u8], total: usize, seed: u64) -> f64 {
    let mut decoder = Decoder::new(128 << 20);
    let mut random = seed.wrapping_mul(2).wrapping_add(1);
    let (mut done, mut at, mut frames) = (0, 0, 0_usize);
    let started = Instant::now();
    while done < total {
        // xorshift64: piece sizes vary, but are the same in each run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let size = (SHORTEST + random % (LONGEST - SHORTEST + 1)) as usize;
        let piece = &stream[at..stream.len().min(at + size)];
        decoder.push(piece, &mut |frame| frames += usize::from(matches!(frame, Frame::Output(_))));
        done += piece.len();
        at = if at + piece.len() == stream.len() { 0 } else { at + piece.len() };
    }
    let elapsed = started.elapsed();
    let expected = done / stream.len() * 4000;
    assert!((expected..=expected + 4000).contains(&frames), "{frames} frames of {expected}");
    done as f64 / GIB as f64 / elapsed.as_secs_f64()
}
