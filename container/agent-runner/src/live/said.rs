//! The answer of a program on its way to the chat: without thoughts, and with a note if it is not whole.

use crate::thought;

/// Told when the model said nothing at all.
pub const SILENT: &str = "[You said nothing. Answer the last message now: your text is sent to the chat. When nothing needs \
                          to be said, answer with <internal>nothing to say</internal>.]";
/// What the chat hears where there is no answer.
pub const NO_ANSWER: &str =
    "(The model gave no answer, though it was asked twice. Write again, or choose another model.)";

/// Names of the host's tools that say something in the chat, and the command that does.
const SPEAKING: [&str; 3] = ["send_message", "send_file", "parlor-tool send"];

/// Returns true if a call of a tool, as the program tells of it, says something in the chat.
pub fn speaks(call: &str) -> bool {
    SPEAKING.iter().any(|name| call.contains(name))
}

/// The answer for the chat. `stop` is the vendor's word for how it ended, where the program passes it on.
pub fn answer(text: Option<&str>, stop: Option<&str>) -> Option<String> {
    let said = text.map(thought::without).unwrap_or_default();
    let note = match stop.unwrap_or_default() {
        "max_tokens" | "length" => {
            "(The answer was cut off here: it is longer than the model may answer at once. Claude Code takes that from \
             CLAUDE_CODE_MAX_OUTPUT_TOKENS; write “go on” for the rest.)"
        }
        "model_context_window_exceeded" => {
            "(The conversation does not fit the model any more: `/new` begins a new one.)"
        }
        "refusal" | "content_filter" => {
            "(The model's server held the answer back: its content filter says “refusal”. Say it in other words, or begin \
             anew with `/new`.)"
        }
        _ => "",
    };
    let whole = format!("{}\n\n{note}", said.trim());
    let whole = whole.trim();
    (!whole.is_empty()).then(|| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_go_and_what_was_cut_or_held_back_is_named() {
        assert_eq!(answer(Some("<think>x</think>\nHello. "), Some("end_turn")).as_deref(), Some("Hello."));
        assert_eq!((answer(Some(" "), None), answer(None, Some("end_turn"))), (None, None));
        let cut = answer(Some("So far"), Some("max_tokens")).unwrap();
        assert!(cut.starts_with("So far\n\n(") && cut.contains("CLAUDE_CODE_MAX_OUTPUT_TOKENS"), "{cut}");
        assert!(answer(None, Some("refusal")).unwrap().contains("content filter"));
        assert!(speaks("mcp__parlor__send_message") && !speaks("Bash"));
    }
}
