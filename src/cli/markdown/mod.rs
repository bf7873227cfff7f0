//! Renders Markdown for a terminal.
//!
//! Nothing is lost. Elements without a special look stay as written (bullets, hashes, HTML, definitions of links).
//! Emphasis loses its marks only if they cannot mean anything else; without colours they stay, too. Code is never
//! wrapped, so that it can be copied.

mod inline;
mod page;
mod table;
#[cfg(test)]
mod tests;
mod within;
mod wrap;

use pulldown_cmark::{Options, Parser};

use super::visible::harmless;

/// Renders a text for a terminal of this width.
pub(super) fn render(text: &str, columns: usize, colours: bool) -> String {
    let source = harmless(text);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut page = page::Page::new(&source, columns, colours);
    for (event, range) in Parser::new_ext(&source, options).into_offset_iter() {
        page.event(event, range);
    }
    page.end()
}
