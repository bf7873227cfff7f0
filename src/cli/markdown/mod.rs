//! Markdown on a terminal.
//!
//! Nothing is lost: what has no look of its own on a terminal stays as it is written (bullets, hashes, HTML,
//! definitions of links), and emphasis, which does, loses its marks only where they can be nothing else. Without
//! colours the marks of emphasis stay, too. Code is never wrapped, so that it can be copied.

mod inline;
mod page;
mod table;
#[cfg(test)]
mod tests;
mod within;
mod wrap;

use pulldown_cmark::{Options, Parser};

use super::visible::harmless;

/// A text as a terminal of so many columns shows it.
pub(super) fn render(text: &str, columns: usize, colours: bool) -> String {
    let source = harmless(text);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut page = page::Page::new(&source, columns, colours);
    for (event, range) in Parser::new_ext(&source, options).into_offset_iter() {
        page.event(event, range);
    }
    page.end()
}
