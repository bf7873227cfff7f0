//! Texts of a chat on a terminal.

use termimad::MadSkin;

use super::super::output::harmless;

/// Markdown as a terminal shows it; as it is where there is no terminal.
pub(super) fn text(text: &str, terminal: bool, colours: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    let safe = harmless(text);
    let skin = if colours { MadSkin::default() } else { MadSkin::no_style() };
    skin.term_text(&safe).to_string().trim_end().to_owned()
}

/// Something of less weight than the conversation.
pub(super) fn aside(text: &str, colours: bool) -> String {
    let safe = harmless(text);
    if colours { format!("\u{1b}[2m{safe}\u{1b}[0m") } else { safe.into_owned() }
}
