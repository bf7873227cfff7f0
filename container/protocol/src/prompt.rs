//! Parses a prompt: the `<messages>` XML that the host writes, or plain text.
//!
//! The parser is tolerant: a prompt of another form is one message without a sender.

/// A message of a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The author's name; empty if the prompt does not have it.
    pub sender: String,
    /// The time, RFC 3339; empty if the prompt does not have it.
    pub time: String,
    /// The text, unescaped.
    pub text: String,
    /// True for a background message (`context="true"`), which must not be acted on.
    pub context: bool,
    /// True for a message of somebody who may not trigger (`denied="true"`), which must not be acted on.
    pub denied: bool,
}

impl Message {
    /// Returns true if the message may be acted on.
    pub fn is_request(&self) -> bool {
        !self.context && !self.denied
    }
}

/// Returns the messages of a prompt in order.
///
/// The host escapes texts, so a `<` inside one cannot begin a tag. Lines between `<message>` elements (the host's
/// notes) are skipped. Without any element the whole prompt is one message.
pub fn parse(prompt: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = prompt;
    while let Some(start) = rest.find("<message ").or_else(|| rest.find("<message>")) {
        let body = &rest[start + "<message".len()..];
        let Some(tag_end) = body.find('>') else { break };
        let Some(close) = body.find("</message>") else { break };
        if close < tag_end {
            rest = &body[close..];
            continue;
        }
        messages.push(message(&body[..tag_end], &body[tag_end + 1..close]));
        rest = &body[close + "</message>".len()..];
    }
    let text = without_context(prompt).trim();
    if messages.is_empty() && !text.starts_with("<messages>") {
        messages.push(Message { text: text.to_owned(), ..Message::default() });
    }
    messages
}

/// Returns the prompt without its line about time and place.
fn without_context(prompt: &str) -> &str {
    let Some(rest) = prompt.strip_prefix("<context ") else { return prompt };
    rest.split_once("/>\n").filter(|(line, _)| !line.contains('\n')).map_or(prompt, |(_, rest)| rest)
}

fn message(attributes: &str, text: &str) -> Message {
    let is_set = |name| attribute(attributes, name).is_some_and(|value| value == "true");
    Message {
        sender: attribute(attributes, "sender").unwrap_or_default(),
        time: attribute(attributes, "time").unwrap_or_default(),
        text: unescape(text),
        context: is_set("context"),
        denied: is_set("denied"),
    }
}

/// Returns an attribute's value. Values are quoted, with `"` escaped inside, so going from quote to quote finds every
/// name.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    while let Some(equals) = rest.find("=\"") {
        let name = rest[..equals].trim();
        let value = &rest[equals + 2..];
        let end = value.find('"')?;
        if name == wanted {
            return Some(unescape(&value[..end]));
        }
        rest = &value[end + 1..];
    }
    None
}

/// Undoes the host's escaping in one pass, so that `&amp;lt;` becomes `&lt;` and not `<`.
pub fn unescape(text: &str) -> String {
    const ENTITIES: [(&str, char); 6] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\''), ("&#39;", '\'')];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((entity, char)) = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity)) {
            plain.push(*char);
            rest = &rest[entity.len()..];
        } else {
            plain.push('&');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    plain
}

/// Returns the text without a leading `@<name>`; None if it does not begin with it.
///
/// As on the host, case is ignored, and the next character must not be a letter or digit.
pub fn strip_trigger<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text.trim_start().strip_prefix('@')?.chars();
    let mut wanted = name.chars();
    loop {
        let tail = rest.as_str();
        let Some(want) = wanted.next() else {
            let ends_word = tail.chars().next().is_none_or(|next| !next.is_alphanumeric());
            return ends_word.then(|| tail.trim_start_matches([',', ':', ' ', '\t', '\n']));
        };
        if !rest.next()?.to_lowercase().eq(want.to_lowercase()) {
            return None;
        }
    }
}

/// Returns the requests among a prompt's messages, without their triggers.
///
/// The host marks messages that are not requests; every other message needs an answer, with or without a trigger.
pub fn requests(prompt: &str, name: &str) -> Vec<Message> {
    let stripped = |message: Message| match strip_trigger(&message.text, name) {
        Some(text) => Message { text: text.to_owned(), ..message },
        None => message,
    };
    parse(prompt).into_iter().filter(Message::is_request).map(stripped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_with_senders_times_and_marks() {
        let prompt = "<messages>\n\
            <message sender=\"Ann &quot;A&quot;\" time=\"2026-01-02T03:04:05Z\" context=\"true\">a &lt;b&gt; &amp;lt;</message>\n\
            <message denied=\"true\" sender=\"Eve\" time=\"t\">x</message>\n\
            <message sender=\"Bob\" time=\"t\">two\nlines</message>\n</messages>";
        let messages = parse(prompt);
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0].sender, "Ann \"A\"");
        assert_eq!(messages[0].time, "2026-01-02T03:04:05Z");
        assert_eq!(messages[0].text, "a <b> &lt;");
        assert!(messages[0].context && !messages[0].is_request());
        assert!(messages[1].denied && !messages[1].is_request());
        assert_eq!(messages[2].text, "two\nlines");
        assert!(messages[2].is_request());
    }

    #[test]
    fn escaped_end_tag_in_a_text_or_name_is_data() {
        let prompt = "<messages>\n<message sender=\"a&gt; context=&quot;true&quot;\" time=\"t\">&lt;/message&gt;</message>\n</messages>";
        let messages = parse(prompt);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].text, "</message>");
        assert!(messages[0].is_request());
    }

    #[test]
    fn plain_text_is_one_message_and_an_empty_list_has_none() {
        assert_eq!(parse(" hello \n")[0].text, "hello");
        assert!(parse("<messages>\n</messages>").is_empty());
    }

    #[test]
    fn trigger_is_matched_like_on_the_host() {
        assert_eq!(strip_trigger("@Andy hi", "andy"), Some("hi"));
        assert_eq!(strip_trigger("  @ANDY, hi", "Andy"), Some("hi"));
        assert_eq!(strip_trigger("@Andyx hi", "Andy"), None);
        assert_eq!(strip_trigger("@Zoë\u{301} hi", "Zoë"), Some("\u{301} hi"));
        assert_eq!(strip_trigger("hi @Andy", "Andy"), None);
        assert_eq!(strip_trigger("@Andy", "Andy"), Some(""));
    }

    #[test]
    fn requests_are_all_messages_that_need_an_answer() {
        let line =
            |attributes: &str, text: &str| format!("<message sender=\"s\" time=\"t\"{attributes}>{text}</message>\n");
        let prompt = format!(
            "<messages>\n{}{}{}{}</messages>",
            line(" context=\"true\"", "@Andy old"),
            line(" denied=\"true\"", "@Andy evil"),
            line("", "chatter"),
            line("", "@andy list tasks"),
        );
        let texts = |prompt: &str| requests(prompt, "Andy").into_iter().map(|m| m.text).collect::<Vec<_>>();
        assert_eq!(texts(&prompt), ["chatter", "list tasks"]);
        let untriggered = format!("<messages>\n{}{}</messages>", line("", "a"), line("", "b"));
        assert_eq!(texts(&untriggered), ["a", "b"]);
    }
}
