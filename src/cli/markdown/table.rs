//! Tables with aligned columns.

use pulldown_cmark::Alignment;

use super::wrap::{Line, Long, Style, wrap};

/// The smallest width of a cell.
const MIN_CELL: usize = 4;

/// The table read so far.
#[derive(Debug)]
pub(super) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<Line>>,
    /// The end of the last cell in the source.
    end: usize,
}

impl Table {
    pub(super) fn new(alignments: Vec<Alignment>) -> Self {
        Self { alignments, rows: Vec::new(), end: 0 }
    }

    /// Begins a new row.
    pub(super) fn row(&mut self, start: usize) {
        self.rows.push(Vec::new());
        self.end = start;
    }

    pub(super) fn cell(&mut self, cell: Line, end: usize) {
        self.end = self.end.max(end);
        if let Some(row) = self.rows.last_mut() {
            row.push(cell);
        }
    }

    /// Adds the rest of a row as one more cell.
    pub(super) fn rest(&mut self, source: &str) {
        let rest = source.get(self.end..).unwrap_or_default();
        let rest = rest.trim_matches(|c: char| c == '|' || c.is_whitespace());
        if !rest.is_empty() {
            let mut cell = Line::default();
            cell.push(rest, Style::PLAIN);
            self.cell(cell, source.len());
        }
    }

    /// Formats the table. Returns None if it has too many columns for the terminal.
    pub(super) fn lines(mut self, columns: usize, colours: bool) -> Option<Vec<String>> {
        let widths = self.widths(columns)?;
        if let Some(heading) = self.rows.first_mut() {
            for cell in heading {
                cell.restyle(Style::BOLD);
            }
        }
        let (bar, dash, cross) = if colours { ("│", "─", "─┼─") } else { ("|", "-", "-+-") };
        let bar = format!(" {} ", Style::DIM.paint(bar, colours));
        let mut out = Vec::new();
        for (nth, row) in self.rows.iter().enumerate() {
            out.extend(row_lines(row, &widths, &self.alignments, &bar, colours));
            if nth == 0 {
                let rule: Vec<String> = widths.iter().map(|width| dash.repeat(*width)).collect();
                out.push(Style::DIM.paint(&rule.join(cross), colours));
            }
        }
        Some(out)
    }

    /// The width of each column: that of its widest cell, or less if the terminal is too narrow.
    fn widths(&self, columns: usize) -> Option<Vec<usize>> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let natural = |column: usize| {
            let lines =
                self.rows.iter().filter_map(|row| row.get(column)).flat_map(|c| wrap(c, usize::MAX, Long::Over));
            lines.map(|line| line.width).max().unwrap_or(0).max(1)
        };
        let mut widths: Vec<usize> = (0..count).map(natural).collect();
        let room = columns.checked_sub(3 * count.saturating_sub(1))?;
        while widths.iter().sum::<usize>() > room {
            let widest = widths.iter().copied().max()?;
            if widest <= MIN_CELL {
                return None;
            }
            // Shrinks all of the widest columns together, to the next width or to their share of the space.
            let many = widths.iter().filter(|width| **width == widest).count();
            let next = widths.iter().copied().filter(|width| *width < widest).max().unwrap_or(MIN_CELL).max(MIN_CELL);
            let over = widths.iter().sum::<usize>() - room;
            let target = widest.saturating_sub(over.div_ceil(many)).max(next.min(widest - 1));
            widths.iter_mut().filter(|width| **width == widest).for_each(|width| *width = target);
        }
        Some(widths)
    }
}

/// Formats a row in as many lines as its highest cell.
fn row_lines(row: &[Line], widths: &[usize], alignments: &[Alignment], bar: &str, colours: bool) -> Vec<String> {
    let cells: Vec<Vec<Line>> = widths
        .iter()
        .enumerate()
        .map(|(n, width)| row.get(n).map(|c| wrap(c, *width, Long::Broken)).unwrap_or_default())
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |nth: usize| {
        let mut parts = Vec::with_capacity(cells.len());
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let (text, used) = cell.get(nth).map_or((String::new(), 0), |line| (line.paint(colours), line.width));
            let gap = width.saturating_sub(used);
            let left = match alignments.get(column) {
                Some(Alignment::Right) => gap,
                Some(Alignment::Center) => gap / 2,
                _ => 0,
            };
            // No padding at the end of a line.
            let right = if column + 1 == widths.len() { 0 } else { gap - left };
            parts.push(format!("{:left$}{text}{:right$}", "", ""));
        }
        parts.join(bar).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}
