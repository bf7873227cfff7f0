//! Finds the code fences of a Markdown text, so that the splitter can keep code blocks whole or cut them properly.

/// A fenced code block. All positions are byte offsets into the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel) struct Fence<'a> {
    /// The start of the opening line.
    pub start: usize,
    /// The start of the line after the opening line.
    pub body: usize,
    /// The end of the closing line, without its line break; the text's end if nothing closes the block.
    pub end: usize,
    /// The opening line with its info string, without a line break.
    pub open: &'a str,
    /// The marker: backticks or tildes.
    marker: &'a str,
}

impl Fence<'_> {
    /// Returns the beginning of a part that continues the block.
    pub fn reopen(&self) -> String {
        format!("{}\n", self.open)
    }

    /// Returns the end of a part inside the block.
    pub fn close(&self) -> String {
        let indent = &self.open[..self.open.len() - self.open.trim_start().len()];
        format!("\n{indent}{}", self.marker)
    }

    /// Returns the number of characters that a cut adds to each part.
    pub fn overhead(&self) -> usize {
        self.reopen().chars().count() + self.close().chars().count()
    }
}

/// The most blocks of one text; later ones are plain text. This limits the memory that a hostile text can use.
const MAX_FENCES: usize = 10_000;

/// Returns the fences of a text, in order.
pub(in crate::channel) fn find(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut open: Option<Fence<'_>> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if fences.len() == MAX_FENCES {
            break;
        }
        let bare = line.trim_end_matches(['\n', '\r']);
        match open.take() {
            None => {
                open = marker(bare).map(|marker| Fence { start, body: at, end: text.len(), open: bare, marker });
            }
            Some(fence) if closes(bare, fence.marker) => fences.push(Fence { end: start + bare.len(), ..fence }),
            Some(fence) => open = Some(fence),
        }
    }
    fences.extend(open);
    fences
}

/// Returns the marker of an opening line.
fn marker(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '\t']);
    let sign = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(sign).len();
    let info = &line[length..];
    (length >= 3 && !(sign == '`' && info.contains('`'))).then(|| &line[..length])
}

/// Returns true if a text begins with a marker.
pub(in crate::channel) fn begins(text: &str) -> bool {
    text.starts_with("```") || text.starts_with("~~~")
}

fn closes(line: &str, marker: &str) -> bool {
    let line = line.trim();
    line.len() >= marker.len() && line.starts_with(marker) && line.bytes().all(|b| b == marker.as_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_found_by_the_rules_of_markdown() {
        let text = "a\n```rust\nlet x;\n```\nb\n~~~~\n```\n~~~\n~~~~\n``` not`\n  ```\nopen";
        let found: Vec<&str> = find(text).iter().map(|f| &text[f.start..f.end]).collect();
        assert_eq!(found, ["```rust\nlet x;\n```", "~~~~\n```\n~~~\n~~~~", "  ```\nopen"]);
        assert_eq!(find(text)[0].reopen(), "```rust\n");
        assert_eq!(find(text)[2].close(), "\n  ```");
    }
}
