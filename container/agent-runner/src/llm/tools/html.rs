//! Extracts the readable text of an HTML page. It is a scanner, not a browser: errors in a page cost words, but never
//! time.

/// Elements whose content is not text.
const SILENT: [&str; 7] = ["script", "style", "noscript", "template", "svg", "head", "iframe"];
/// Elements that begin a new line.
const BLOCKS: [&str; 25] = [
    "p",
    "div",
    "br",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "blockquote",
    "pre",
    "hr",
    "dt",
    "dd",
];

/// Returns the page's text.
pub(super) fn text(page: &str) -> String {
    let title = between(page, "<title", "</title>").map(|title| decode(title.trim()));
    let mut out = title.map_or_else(String::new, |title| format!("{title}\n\n"));
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        push(&mut out, &rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end + 3..]);
            continue;
        }
        let inner = rest[1..].strip_prefix('/').unwrap_or(&rest[1..]);
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!') {
            push(&mut out, "<");
            rest = &rest[1..];
            continue;
        }
        let name: String =
            inner.chars().take_while(char::is_ascii_alphanumeric).take(16).collect::<String>().to_ascii_lowercase();
        let closes = rest.starts_with("</");
        let Some(end) = rest.find('>') else { break };
        rest = &rest[end + 1..];
        if !closes && SILENT.contains(&name.as_str()) {
            rest = skip(rest, &name);
        } else if BLOCKS.contains(&name.as_str()) && !out.ends_with("\n\n") {
            out.push_str(if name == "li" && !closes { "\n- " } else { "\n" });
        } else if matches!(name.as_str(), "td" | "th") && !closes {
            out.push_str(" | ");
        }
    }
    push(&mut out, rest);
    tidy(&out)
}

/// Returns the rest after an element's end.
fn skip<'a>(rest: &'a str, name: &str) -> &'a str {
    let mut from = rest;
    while let Some(at) = from.find("</") {
        let tail = &from[at + 2..];
        if tail.as_bytes().get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes())) {
            return tail.find('>').map_or("", |end| &tail[end + 1..]);
        }
        from = tail;
    }
    ""
}

fn between<'a>(page: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = page.find(start)?;
    let from = from + page[from..].find('>')? + 1;
    let to = page[from..].find(end)?;
    Some(&page[from..from + to])
}

/// Adds text, with each run of white space as one space.
fn push(out: &mut String, text: &str) {
    let decoded = decode(text);
    for char in decoded.chars() {
        if char.is_whitespace() {
            if !out.ends_with(char::is_whitespace) && !out.is_empty() {
                out.push(' ');
            }
        } else {
            out.push(char);
        }
    }
}

fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.as_bytes().iter().take(12).position(|byte| *byte == b';').map(|end| &rest[1..end]);
        if let Some((length, char)) = entity.and_then(|entity| Some((entity.len(), character(entity)?))) {
            out.push(char);
            rest = &rest[length + 2..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    if let Some(number) = entity.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = hex.map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())?;
        return char::from_u32(code);
    }
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "mdash" => '—',
        "ndash" => '–',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "bull" => '•',
        "middot" => '·',
        "copy" => '©',
        "euro" => '€',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        _ => return None,
    })
}

/// Removes spaces at the ends of lines, and all but one of several empty lines.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim) {
        empty = if line.is_empty() || line == "-" { empty + 1 } else { 0 };
        if empty < 2 && line != "-" {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_part_of_a_page_is_returned() {
        let page = "<html><head><title>A &amp; B</title><style>p{}</style></head><body><h1>Hello</h1><script>if (a<b) \
                    x('</p>')</script><p>One <b>two</b>&nbsp;three &#8364; &#x20AC; &bogus; a < b<ul><li>x<li>y</ul>\
                    <!-- no --><table><tr><td>1<td>2</table>";
        let text = text(page);
        assert_eq!(text, "A & B\n\nHello\n\nOne two three € € &bogus; a < b\n\n- x\n- y\n\n| 1 | 2");
    }

    proptest! {
        #[test]
        fn scanner_survives_any_text(page in "[<>/!a-z &;#x0-9\\-é]{0,300}") {
            let _ = text(&page);
        }
    }
}
