//! Inline text of a paragraph, a heading, an item or a cell.

use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Tag, TagEnd};

use super::super::visible::harmless;
use super::wrap::{Line, Style};

/// The text collected so far.
#[derive(Debug)]
pub(super) struct Inline<'a> {
    source: &'a str,
    colours: bool,
    line: Line,
    /// The open styles, each with the text written at its end.
    open: Vec<(Style, Closing)>,
    /// The end of the written part of the source.
    written: usize,
}

/// The text written at the end of a span.
#[derive(Debug)]
enum Closing {
    /// Nothing: only the style ends.
    Nothing,
    /// A mark that is kept.
    Mark(String),
    /// The rest of the span's source after its last part.
    Source,
    /// A link's address, in a lighter colour.
    Address(String),
}

impl<'a> Inline<'a> {
    pub(super) fn new(source: &'a str, colours: bool) -> Self {
        Self { source, colours, line: Line::default(), open: Vec::new(), written: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_blank()
    }

    /// Returns the collected text and begins anew.
    pub(super) fn take(&mut self) -> Line {
        std::mem::take(&mut self.line)
    }

    fn style(&self) -> Style {
        self.open.last().map_or(Style::PLAIN, |(style, _)| *style)
    }

    pub(super) fn push(&mut self, text: &str) {
        self.line.push(&harmless(text), self.style());
    }

    fn push_styled(&mut self, text: &str, style: Style) {
        self.line.push(&harmless(text), self.style().and(style));
    }

    /// Handles an event within a block. `margin`: spaces at the beginning of a line belong to the text.
    pub(super) fn event(&mut self, event: Event<'a>, range: Range<usize>, margin: bool) {
        match event {
            Event::Start(tag) => {
                self.written = range.start;
                return self.start(&tag, &range);
            }
            Event::End(tag) => self.end(tag, &range),
            Event::Code(code) => self.code(&code, &range),
            Event::SoftBreak | Event::HardBreak => {
                if self.source[range.clone()].starts_with('\\') {
                    // Lines of shell commands and of tables end like this.
                    self.push("\\");
                }
                self.push("\n");
                if margin {
                    self.margin(range.end);
                }
            }
            Event::Text(text)
            | Event::InlineHtml(text)
            | Event::Html(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.push(&text),
            Event::Rule | Event::TaskListMarker(_) => self.push(&self.source[range.clone()]),
        }
        self.written = self.written.max(range.end);
    }

    /// Keeps the spaces before the first word of a line.
    pub(super) fn margin(&mut self, from: usize) {
        let rest = &self.source[from..];
        let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.push(&rest[..spaces].replace('\t', "    "));
    }

    fn code(&mut self, code: &str, range: &Range<usize>) {
        if self.colours {
            return self.push_styled(code, Style::CODE);
        }
        let whole = &self.source[range.clone()];
        let fence = &whole[..whole.len() - whole.trim_start_matches('`').len()];
        let pad = if code.starts_with('`') || code.ends_with('`') { " " } else { "" };
        self.push(&format!("{fence}{pad}{code}{pad}{fence}"));
    }

    fn start(&mut self, tag: &Tag<'_>, range: &Range<usize>) {
        let whole = &self.source[range.clone()];
        let (style, marks) = match tag {
            Tag::Emphasis => (Style::ITALIC, 1),
            Tag::Strong => (Style::BOLD, 2),
            Tag::Strikethrough => (Style::STRIKE, if whole.starts_with("~~") { 2 } else { 1 }),
            Tag::Link { link_type, dest_url, title, .. } => return self.link("[", *link_type, dest_url, title, whole),
            Tag::Image { link_type, dest_url, title, .. } => {
                return self.link("![", *link_type, dest_url, title, whole);
            }
            _ => return,
        };
        let mark = whole.get(..marks).unwrap_or_default();
        if self.colours && !is_literal(self.source, range, mark) {
            self.open.push((self.style().and(style), Closing::Nothing));
        } else {
            self.push(mark);
            self.open.push((self.style(), Closing::Mark(mark.to_owned())));
        }
    }

    fn link(&mut self, mark: &str, kind: LinkType, address: &str, title: &str, whole: &str) {
        let style = self.style().and(Style::UNDERLINE);
        let closing = match kind {
            LinkType::Autolink | LinkType::Email if self.colours => Closing::Nothing,
            LinkType::Autolink | LinkType::Email => {
                self.push("<");
                Closing::Mark(">".into())
            }
            LinkType::Inline if self.colours => {
                let title = if title.is_empty() { String::new() } else { format!(" \"{title}\"") };
                // `[address](address)` needs the address only once.
                let same = title.is_empty()
                    && whole.strip_prefix('[').is_some_and(|rest| rest.starts_with(&format!("{address}](")));
                if same { Closing::Nothing } else { Closing::Address(format!(" ({address}{title})")) }
            }
            // A reference to a definition elsewhere in the text.
            _ => {
                self.push(mark);
                Closing::Source
            }
        };
        self.written += mark.len();
        self.open.push((if self.colours { style } else { self.style() }, closing));
    }

    fn end(&mut self, tag: TagEnd, range: &Range<usize>) {
        let spans =
            matches!(tag, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image);
        if !spans {
            return;
        }
        match self.open.pop().map(|(_, closing)| closing) {
            Some(Closing::Mark(mark)) => self.push(&mark),
            Some(Closing::Address(address)) => self.push_styled(&address.replace(['\n', '\r'], " "), Style::DIM),
            Some(Closing::Source) => {
                let rest = self.source.get(self.written..range.end).unwrap_or_default();
                self.push(&rest.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            Some(Closing::Nothing) | None => {}
        }
    }
}

/// Returns true if emphasis marks are probably meant literally: between letters or digits (`2*3*4`), and around parts
/// of paths and patterns (`*.a/*.b`).
fn is_literal(source: &str, range: &Range<usize>, mark: &str) -> bool {
    if mark == "~" {
        return true;
    }
    let before = source[..range.start].chars().next_back();
    let after = source[range.end..].chars().next();
    let inside = source[range.clone()].strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark)).unwrap_or_default();
    let is = |c: Option<char>, set: &str| c.is_some_and(|c| set.contains(c));
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    word(before)
        || word(after)
        || is(before, "/\\.=")
        || is(after, "/\\=")
        || mark.len() == 1 && (is(inside.chars().next(), "./\\,;:=)]}|") || is(inside.chars().next_back(), "/\\=([{|"))
}
