//! Prepares a program's answer for the chat: without thoughts, and with a note if it is incomplete.

use crate::thought;

/// Sent to the model after an empty answer.
pub const SILENT: &str = "[You said nothing. Answer the last message now: your text is sent to the chat. When nothing needs \
                          to be said, answer with <internal>nothing to say</internal>.]";
/// Sent to the chat if there is no answer.
pub const NO_ANSWER: &str =
    "(The model gave no answer, though it was asked twice. Write again, or choose another model.)";

/// The host's tools that send something to the chat.
const SPEAKING: [&str; 2] = ["send_message", "send_file"];
/// The shell command that does the same.
const COMMAND: &str = "parlor-tool send";
/// The name of the host's tools as an MCP server.
pub const SERVER: &str = "parlor";

/// Returns true if a tool of this name sends something to the chat. Programs put the server's name before the tool's;
/// another server's tool of the same name does not count.
pub fn speaks(name: &str) -> bool {
    let server = SPEAKING.iter().find_map(|tool| name.strip_suffix(tool));
    server.is_some_and(|server| {
        let name = server.trim_end_matches('_');
        server.is_empty() || name.len() < server.len() && (name == SERVER || name.ends_with("_parlor"))
    })
}

/// Returns true if a shell command sends something to the chat.
pub fn command_speaks(command: &str) -> bool {
    command.contains(COMMAND)
}

/// Returns the answer for the chat. `stop` is the vendor's word for its end, if the program passes it on.
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
    fn answer_loses_thoughts_and_notes_a_cut_or_a_filter() {
        assert_eq!(answer(Some("<think>x</think>\nHello. "), Some("end_turn")).as_deref(), Some("Hello."));
        assert_eq!((answer(Some(" "), None), answer(None, Some("end_turn"))), (None, None));
        let cut = answer(Some("So far"), Some("max_tokens")).unwrap();
        assert!(cut.starts_with("So far\n\n(") && cut.contains("CLAUDE_CODE_MAX_OUTPUT_TOKENS"), "{cut}");
        assert!(answer(None, Some("refusal")).unwrap().contains("content filter"));
    }

    #[test]
    fn call_speaks_by_its_tools_name_alone() {
        for name in
            ["send_message", "send_file", "mcp__parlor__send_message", "mcp_parlor_send_file", "parlor__send_file"]
        {
            assert!(speaks(name), "{name}");
        }
        for name in ["Bash", "", "mcp__chat__send_message", "resend_message", "send_messages", "unparlor_send_file"] {
            assert!(!speaks(name), "{name}");
        }
        assert!(command_speaks("cd x && parlor-tool send hi") && !command_speaks("grep send_message x.py"));
    }
}
