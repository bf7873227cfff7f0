//! Splits a text into messages of a platform's length. Pure.
//!
//! Cuts are at the best border of the second half of a part, else of the first: between paragraphs, lines, sentences,
//! words, and only then graphemes. A code block stays whole if a message can hold it; if not, it is closed at the end
//! of a part and opened again, with its info string, at the start of the next.
//!
//! Nothing is lost: [`Piece::range`] has the bytes of the text that a part shows. The ranges are in order and do not
//! overlap; between them is only white space, which the border between two messages replaces.

use std::ops::Range;
use std::path::{Path, PathBuf};

use unicode_segmentation::UnicodeSegmentation;

use super::fence::{self, Fence};
use crate::channel::{Capabilities, Part};
use crate::domain::delivery::FileInfo;
use crate::domain::ids::DeliveryId;

/// The most messages of one text; a longer one is sent as a file, or cut.
pub const MAX_PARTS: usize = 10;

/// A text in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The parts, in order.
    pub pieces: Vec<Piece>,
    /// True if the parts hold the whole text; false if it needs more parts than allowed.
    pub complete: bool,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The bytes of the text that this part shows.
    pub range: Range<usize>,
    /// Opens the code block again in which the part begins; else empty.
    pub prefix: String,
    /// Closes the code block in which the part ends; else empty.
    pub suffix: String,
}

impl Piece {
    /// Returns the part as it is sent.
    pub fn render(&self, text: &str) -> String {
        [&self.prefix, text.get(self.range.clone()).unwrap_or_default(), &self.suffix].concat()
    }
}

/// Splits a text into at most `max_parts` parts of at most `max_chars` characters. A blank text has no parts.
pub fn split(text: &str, max_chars: usize, max_parts: usize) -> Split {
    let max = max_chars.max(1);
    let mut fences = fence::find(text);
    // A block whose opening line fills most of a message is better shown as plain text.
    fences.retain(|f| f.overhead() <= max / 2);
    let splitter = Splitter { text, max, fences };
    let mut split = Split { pieces: Vec::new(), complete: true };
    let mut pos = 0;
    while pos < text.len() {
        let Some((piece, next)) = splitter.next(pos) else { break };
        if let Some(piece) = piece {
            if split.pieces.len() == max_parts {
                split.complete = false;
                break;
            }
            split.pieces.push(piece);
        }
        pos = next;
    }
    split
}

/// Returns what a channel is to send for a text: the text in as many parts as its length asks for; beyond [`MAX_PARTS`]
/// a file where it takes files, else the beginning and a notice that says where the whole is. `place` says where a file of
/// a name lies; the caller puts the text there.
///
/// Pure, so that a retry after a restart finds the same parts in the same order.
pub fn parts(text: &str, caps: Capabilities, id: DeliveryId, place: impl Fn(&str) -> PathBuf) -> Vec<Part> {
    let Some(max) = caps.max_length else { return vec![Part::Text(text.to_owned())] };
    let split = split(text, max, MAX_PARTS);
    if split.complete {
        return split.pieces.iter().map(|p| Part::Text(p.render(text))).collect();
    }
    let total = text.chars().count();
    if caps.files {
        let name = format!("{}.md", id.to_string().to_lowercase());
        let notice = fit(&format!("A text of {total} characters, too long for messages, is in the file {name}."), max);
        let path = place(&name);
        return vec![Part::Text(notice), Part::File { name, path }];
    }
    let shown = &split.pieces[..MAX_PARTS - 1];
    let count: usize = shown.iter().map(|p| text[p.range.clone()].chars().count()).sum();
    let notice = format!("(Cut after {count} of {total} characters. The whole text: `parlor outbox show {id}`)");
    shown.iter().map(|p| p.render(text)).chain([fit(&notice, max)]).map(Part::Text).collect()
}

/// Returns a caption with the place of a file that the channel cannot accept.
pub fn with_place(caption: &str, file: &FileInfo, path: &Path, id: DeliveryId) -> String {
    let FileInfo { name, size } = file;
    let gap = if caption.is_empty() { "" } else { "\n\n" };
    let path = path.display();
    format!(
        "{caption}{gap}(The file {name}, {size} bytes, cannot be shown here. It is on the host: {path}, delivery {id}.)"
    )
}

fn fit(notice: &str, max: usize) -> String {
    notice.chars().take(max).collect()
}

/// The quality of a border; later is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Word,
    Sentence,
    Line,
    Paragraph,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Border {
    rank: Rank,
    /// The end of the part before the border.
    end: usize,
    /// The start of the part after the border.
    next: usize,
}

struct Splitter<'a> {
    text: &'a str,
    max: usize,
    fences: Vec<Fence<'a>>,
}

impl Splitter<'_> {
    /// Returns the part that begins at a position, and the start of the next one. The part is None if only white
    /// space was skipped; the result is None if only white space is left.
    fn next(&self, pos: usize) -> Option<(Option<Piece>, usize)> {
        let inside = self.fence_at(pos).filter(|f| f.start < pos);
        if inside.is_none() {
            let rest = &self.text[pos..];
            let first = rest.find(|c: char| !c.is_whitespace())?;
            if rest[..first].chars().nth(self.max - 1).is_some() {
                // An opening line keeps its indentation.
                return Some((None, self.fence_at(pos + first).map_or(pos + first, |f| f.start)));
            }
        }
        let prefix = inside.map(Fence::reopen).unwrap_or_default();
        let room = self.max - prefix.chars().count();
        let limit = self.forward(pos, room);
        let plain = |end: usize, next: usize| {
            let blank = inside.is_none() && self.text[pos..end].trim().is_empty();
            let piece = Piece { range: pos..end, prefix: prefix.clone(), suffix: String::new() };
            Some(((!blank).then_some(piece), next))
        };
        if limit == self.text.len() {
            return plain(limit, limit);
        }
        if let Some(fence) = inside.filter(|f| f.end > limit) {
            return Some(self.cut_body(fence, pos, prefix, room));
        }
        if let Some(fence) = self.fence_at(limit).filter(|f| f.start < limit) {
            let before = &self.text[pos..fence.start];
            if before.trim().is_empty() && fence.start > pos {
                return Some((None, fence.start));
            }
            let whole = self.forward(fence.start, self.max) >= fence.end;
            if !before.is_empty() && (whole || inside.is_some() || before.chars().count() > self.max / 4) {
                return plain(pos + before.trim_end().len(), fence.start);
            }
            return Some(self.cut_body(fence, pos, prefix, room));
        }
        let floor = inside.map_or(pos, |f| f.end);
        let border = self.best_border(pos, floor, limit).unwrap_or_else(|| {
            let cut = self.grapheme_cut(pos, limit);
            Border { rank: Rank::Word, end: cut, next: cut }
        });
        plain(border.end, border.next)
    }

    /// Splits a code block longer than a message: between lines, or inside a line that is itself too long.
    fn cut_body(&self, fence: &Fence<'_>, pos: usize, prefix: String, room: usize) -> (Option<Piece>, usize) {
        let suffix = fence.close();
        let limit = self.forward(pos, room - suffix.chars().count());
        let body = pos.max(fence.body);
        // The line break itself may be beyond the limit, because it is not shown.
        let window = self.text.as_bytes().get(body..(limit + 1).min(self.text.len())).unwrap_or_default();
        let (end, next) = match memchr::memrchr(b'\n', window) {
            Some(at) if at > 0 => (body + at, body + at + 1),
            _ => {
                let cut = self.grapheme_cut(pos, limit).max(body);
                (cut, cut)
            }
        };
        (Some(Piece { range: pos..end, prefix, suffix }), next)
    }

    /// Returns the last good border in the second half of a part, else the best one there is.
    fn best_border(&self, pos: usize, floor: usize, limit: usize) -> Option<Border> {
        let half = self.forward(pos, self.max / 2);
        // Of each rank, the last one in the second half, else the last one.
        let mut best: Option<Border> = None;
        for border in self.borders(pos, limit) {
            let better = best.is_none_or(|b| (border.end > half, border.rank) >= (b.end > half, b.rank));
            if border.end >= floor && better {
                best = Some(border);
            }
        }
        best
    }

    /// Returns every border after `pos` up to `limit` that is not inside a code block.
    fn borders(&self, pos: usize, limit: usize) -> Vec<Border> {
        let mut borders = Vec::new();
        let mut run: Option<usize> = None;
        let mut last_sign: Option<char> = None;
        for (offset, grapheme) in self.text[pos..].grapheme_indices(true) {
            let at = pos + offset;
            if is_space(grapheme) {
                run.get_or_insert(at);
                continue;
            }
            if let Some(start) = run.take() {
                borders.extend(self.border_of_run(start, at, last_sign).filter(|b| b.end > pos && b.end <= limit));
            } else if last_sign.is_some_and(is_wide_sentence_end) && at > pos && at <= limit && !self.in_fence(at) {
                borders.push(Border { rank: Rank::Sentence, end: at, next: at });
            }
            if at >= limit {
                return borders;
            }
            last_sign = grapheme.chars().next();
        }
        let end = self.text.len();
        if let Some(start) = run {
            borders.extend(self.border_of_run(start, end, last_sign).filter(|b| b.end > pos && b.end <= limit));
        }
        borders
    }

    fn border_of_run(&self, start: usize, end: usize, before: Option<char>) -> Option<Border> {
        if self.in_fence(start) {
            return None;
        }
        let run = &self.text[start..end];
        let breaks = memchr::memchr_iter(b'\n', run.as_bytes()).count();
        // White space after a line break is the next line's indentation, and stays.
        let next = run.rfind('\n').map_or(end, |at| start + at + 1);
        let ended = self.fences.partition_point(|f| f.end < start);
        let at_fence = self.fence_at(next).is_some_and(|f| f.start == next)
            || self.fences.get(ended).is_some_and(|f| f.end == start);
        // A marker inside a line must not get to the beginning of one.
        if breaks == 0 && fence::begins(&self.text[end..]) {
            return None;
        }
        let rank = match breaks {
            _ if at_fence => Rank::Paragraph,
            0 if before.is_some_and(|c| matches!(c, '.' | '!' | '?' | '…') || is_wide_sentence_end(c)) => {
                Rank::Sentence
            }
            0 => Rank::Word,
            1 => Rank::Line,
            _ => Rank::Paragraph,
        };
        Some(Border { rank, end: start, next })
    }

    /// Returns the last grapheme border up to the limit, or the limit itself inside a grapheme longer than a part.
    fn grapheme_cut(&self, pos: usize, limit: usize) -> usize {
        let mut cut = limit;
        for (offset, grapheme) in self.text[pos..].grapheme_indices(true) {
            let start = pos + offset;
            if start + grapheme.len() > limit {
                cut = if start > pos { start } else { limit };
                break;
            }
        }
        cut
    }

    /// Returns the position `chars` characters later, or the end.
    fn forward(&self, pos: usize, chars: usize) -> usize {
        self.text[pos..].char_indices().nth(chars).map_or(self.text.len(), |(offset, _)| pos + offset)
    }

    /// Returns the code block at a position; its first byte counts, its end does not.
    fn fence_at(&self, pos: usize) -> Option<&Fence<'_>> {
        let index = self.fences.partition_point(|f| f.end <= pos);
        self.fences.get(index).filter(|f| f.start <= pos)
    }

    fn in_fence(&self, pos: usize) -> bool {
        self.fence_at(pos).is_some_and(|f| f.start < pos)
    }
}

/// Returns true for white space at which a text may break.
fn is_space(grapheme: &str) -> bool {
    grapheme.chars().all(|c| c.is_whitespace() && !matches!(c, '\u{a0}' | '\u{2007}' | '\u{202f}'))
}

/// Returns true for signs that end a sentence without white space after them.
fn is_wide_sentence_end(sign: char) -> bool {
    matches!(sign, '。' | '！' | '？')
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
