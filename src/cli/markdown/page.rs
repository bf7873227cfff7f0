//! The blocks of a text in order, each after the marks of its quotes and list items.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::inline::Inline;
use super::table::Table;
use super::within::{Container, behind_marks};
use super::wrap::{Line, Long, Style, wrap};

/// The smallest width of text, however deep it is nested.
const MIN_COLUMNS: usize = 10;
/// The width of a horizontal rule.
const RULE: usize = 40;

/// The page written so far.
#[derive(Debug)]
pub(super) struct Page<'a> {
    source: &'a str,
    columns: usize,
    colours: bool,
    out: String,
    within: Vec<Container>,
    /// The smallest nesting depth since the last line.
    shallow: usize,
    /// The next number of each open list; None for bullets.
    lists: Vec<Option<u64>>,
    inline: Inline<'a>,
    block: Block,
    /// The end of the shown part of the source.
    seen: usize,
}

/// The open block.
#[derive(Debug)]
enum Block {
    /// Text, also that of an item without its own paragraph.
    Text,
    Code {
        text: String,
        info: Option<String>,
    },
    Table(Table),
}

impl<'a> Page<'a> {
    pub(super) fn new(source: &'a str, columns: usize, colours: bool) -> Self {
        Self {
            source,
            columns,
            colours,
            out: String::new(),
            within: Vec::new(),
            shallow: 0,
            lists: Vec::new(),
            inline: Inline::new(source, colours),
            block: Block::Text,
            seen: 0,
        }
    }

    pub(super) fn event(&mut self, event: Event<'a>, range: Range<usize>) {
        match (&mut self.block, event) {
            (Block::Code { text, .. }, Event::Text(more)) => text.push_str(&more),
            (Block::Table(_), event) => self.table(event, range),
            (_, Event::Start(tag)) => self.start(tag, range),
            (_, Event::End(tag)) => self.end_of(tag, range),
            (_, Event::Rule) => {
                self.flush();
                self.arrive(&range);
                self.rule(&range);
            }
            (_, event) => self.text(event, range),
        }
    }

    /// Returns the finished page.
    pub(super) fn end(mut self) -> String {
        self.flush();
        self.within.clear();
        self.shallow = 0;
        self.definitions(self.source.len());
        self.out.truncate(self.out.trim_end_matches('\n').len());
        self.out
    }

    fn start(&mut self, tag: Tag<'a>, range: Range<usize>) {
        match tag {
            Tag::Paragraph => {
                self.flush();
                self.arrive(&range);
                self.margin(range.start);
            }
            Tag::HtmlBlock => {
                self.flush();
                self.arrive(&range);
            }
            Tag::Heading { .. } => {
                self.flush();
                self.arrive(&range);
                let whole = self.whole(&range);
                let marks = whole.len() - whole.trim_start_matches('#').len();
                let marks = &self.source[range.start..range.start + marks];
                if !marks.is_empty() {
                    self.inline.push(&format!("{marks} "));
                }
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                self.arrive(&range);
                let info = match kind {
                    CodeBlockKind::Fenced(info) => Some(info.into_string()),
                    CodeBlockKind::Indented => None,
                };
                self.block = Block::Code { text: String::new(), info };
            }
            Tag::Table(alignments) => {
                self.flush();
                self.arrive(&range);
                self.block = Block::Table(Table::new(alignments));
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                let mark = self.item_mark(range.start);
                self.within.push(Container::Item { mark, shown: false, start: range.start });
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.within.push(Container::Quote { lines: 0, start: range.start });
            }
            tag => self.text(Event::Start(tag), range),
        }
    }

    fn end_of(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush(),
            TagEnd::Heading(_) => self.heading(&range),
            TagEnd::CodeBlock => self.code(&range),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Item | TagEnd::BlockQuote(_) => {
                self.flush();
                if self.within.last().is_some_and(Container::is_bare) {
                    self.definitions(range.end);
                }
                if self.within.last().is_some_and(Container::is_bare) {
                    self.gap(range.start);
                    self.line("");
                    self.seen = self.seen.max(range.start + 1);
                }
                self.within.pop();
                self.shallow = self.shallow.min(self.within.len());
            }
            tag => self.text(Event::End(tag), range),
        }
    }

    /// Handles text of a block, or of an item without a block.
    fn text(&mut self, event: Event<'a>, range: Range<usize>) {
        if self.inline.is_empty() && range.start >= self.seen {
            self.arrive(&range);
        }
        self.seen = self.seen.max(range.end);
        let margin = self.within.is_empty();
        self.inline.event(event, range, margin);
    }

    /// Begins a new element: first shows the skipped source before it.
    fn arrive(&mut self, range: &Range<usize>) {
        self.definitions(range.start);
        self.gap(range.start);
        self.seen = self.seen.max(range.end);
    }

    /// Writes a blank line if the source has one.
    fn gap(&mut self, until: usize) {
        let before = self.source[..self.seen.min(until)].trim_end().len();
        let between = &self.source[before..until];
        let blank = |line: &str| line.trim_matches(BLANK).is_empty();
        let lines = between.split('\n').count();
        if !self.out.is_empty() && between.split('\n').skip(1).take(lines.saturating_sub(2)).any(blank) {
            let prefix = self.prefix_of_gap();
            self.out.push_str(prefix.trim_end());
            self.out.push('\n');
        }
    }

    /// Shows definitions of links before the next element. Markdown readers hide them, but a list of sources may
    /// consist only of them.
    fn definitions(&mut self, until: usize) {
        let Some(between) = self.source.get(self.seen..until) else { return };
        let mut within = false;
        let mut at = self.seen;
        for line in between.split_inclusive('\n') {
            let text = behind_marks(line).trim_end();
            within = text.starts_with('[') || within && !text.is_empty();
            if within {
                self.gap(at);
                let inside = self.within.last().is_some_and(|last| last.is_bare() && last.start() < at + line.len());
                if inside {
                    self.line(text);
                } else {
                    let prefix = self.prefix_of_gap();
                    self.out.extend([&prefix, text, "\n"]);
                }
                self.seen = at + line.len();
            }
            at += line.len();
        }
    }

    fn margin(&mut self, start: usize) {
        if self.within.is_empty() {
            let line = self.source[..start].rfind('\n').map_or(0, |at| at + 1);
            if self.source[line..start].trim().is_empty() {
                self.inline.margin(line);
            }
        }
    }

    /// Writes the collected text.
    fn flush(&mut self) {
        if !self.inline.is_empty() {
            let text = self.inline.take();
            self.lines(&text);
        }
        self.inline.take();
    }

    fn lines(&mut self, text: &Line) {
        let mut lines = wrap(text, self.room(), Long::Over);
        while lines.last().is_some_and(Line::is_blank) {
            lines.pop();
        }
        for line in lines {
            let painted = line.paint(self.colours);
            self.line(&painted);
        }
    }

    fn heading(&mut self, range: &Range<usize>) {
        let mut text = self.inline.take();
        text.restyle(Style::BOLD);
        self.lines(&text);
        // A heading with an underline.
        let whole = self.whole(range);
        if !whole.starts_with('#')
            && let Some(under) = whole.trim_end().lines().last()
        {
            let under = under.trim_start_matches(BLANK).trim().to_owned();
            let painted = Style::DIM.paint(&under, self.colours);
            self.line(&painted);
        }
    }

    fn rule(&mut self, range: &Range<usize>) {
        let line = if self.colours {
            Style::DIM.paint(&"─".repeat(RULE.min(self.room())), true)
        } else {
            self.whole(range).trim().to_owned()
        };
        self.line(&line);
    }

    /// Writes a code block line by line, unchanged.
    fn code(&mut self, range: &Range<usize>) {
        let Block::Code { text, info } = std::mem::replace(&mut self.block, Block::Text) else { return };
        let whole = self.whole(range);
        let fence = whole.lines().next().unwrap_or_default().trim();
        let fenced = info.is_some() && (!self.colours || text.trim().is_empty());
        let info = info.unwrap_or_default();
        if fenced {
            let fence = Style::DIM.paint(fence, self.colours);
            self.line(&fence);
        } else if !info.is_empty() {
            let info = Style::DIM.paint(&info, self.colours);
            self.line(&info);
        }
        let indent = if whole.starts_with(['`', '~']) { "" } else { "    " };
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n').filter(|_| !text.is_empty()) {
            let line = Style::CODE
                .paint(&if line.is_empty() { String::new() } else { format!("{indent}{line}") }, self.colours);
            self.line(&line);
        }
        let marks = &fence[..fence.len() - fence.trim_start_matches(['`', '~']).len()];
        let closed = whole.lines().nth(1).is_some() && whole.trim_end().ends_with(marks);
        if fenced && closed {
            let marks = Style::DIM.paint(marks, self.colours);
            self.line(&marks);
        }
    }

    fn table(&mut self, event: Event<'a>, range: Range<usize>) {
        let Block::Table(table) = &mut self.block else { return };
        match event {
            Event::Start(Tag::TableHead | Tag::TableRow) => table.row(range.start),
            Event::Start(Tag::TableCell) => {}
            Event::End(TagEnd::TableCell) => table.cell(self.inline.take(), range.end),
            // Cells beyond the columns of the heading.
            Event::End(TagEnd::TableHead | TagEnd::TableRow) => table.rest(&self.source[..range.end]),
            Event::End(TagEnd::Table) => {
                let Block::Table(table) = std::mem::replace(&mut self.block, Block::Text) else { return };
                match table.lines(self.room(), self.colours) {
                    Some(lines) => lines.iter().for_each(|line| self.line(line)),
                    // Too many columns: shown as written.
                    None => self.whole(&range).lines().for_each(|line| self.line(line.trim())),
                }
            }
            event => self.inline.event(event, range, false),
        }
    }

    fn whole(&self, range: &Range<usize>) -> &'a str {
        &self.source[range.clone()]
    }

    /// The mark of an item as written; numbers are counted on.
    fn item_mark(&mut self, start: usize) -> String {
        let text = self.source[start..].trim_start();
        let Some(Some(number)) = self.lists.last_mut() else {
            return text.get(..1).filter(|mark| matches!(*mark, "-" | "*" | "+")).unwrap_or("-").to_owned();
        };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let end = text.get(digits..=digits).unwrap_or(".");
        let mark = format!("{number}{end}");
        *number += 1;
        mark
    }

    /// The width for text.
    fn room(&self) -> usize {
        let marks = self.within.iter().map(Container::columns);
        self.columns.saturating_sub(marks.sum()).max(MIN_COLUMNS)
    }

    /// Writes a line after its marks.
    fn line(&mut self, text: &str) {
        let colours = self.colours;
        let prefix: String = self.within.iter_mut().map(|container| container.next_mark(colours)).collect();
        let prefix = if text.is_empty() { prefix.trim_end() } else { &prefix };
        self.out.extend([prefix, text, "\n"]);
        self.shallow = self.within.len();
    }

    /// The marks before a line between two blocks: those that both have.
    fn prefix_of_gap(&self) -> String {
        self.within.iter().take(self.shallow).map(|container| container.gap_mark(self.colours)).collect()
    }
}

/// The characters of lines between blocks.
const BLANK: [char; 4] = [' ', '\t', '\n', '>'];
