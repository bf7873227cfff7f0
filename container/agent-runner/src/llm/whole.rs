//! Decides what follows an answer that is cut, filtered, garbled, or empty. Pure.

use serde_json::Value;

use super::ending::Ending;
use crate::live::said::{self, NO_ANSWER, SILENT};

/// How often the model may continue an answer that was cut.
const GO_ON: u32 = 3;
/// How often the model is asked again after a call that cannot be parsed.
const AGAIN: u32 = 2;
/// Sent to the model after an answer that was cut.
const CUT: &str = "[Your answer was cut off there: it is longer than an answer may be. Go on exactly where it ended, and do \
                   not repeat anything. A call of a tool that was in it was not carried out: call it again with less.]";
/// Sent to the model after a call that cannot be parsed.
const GARBLED: &str =
    "[Your call of a tool could not be read and was not carried out. Call it again, with arguments in JSON.]";
/// Added for the chat to an answer that stayed cut.
const STAYED_CUT: &str = "(The answer was cut off here: it is longer than the model may answer at once. max_tokens in agent.toml \
                          sets how long that is; write “go on” for the rest.)";

/// The incomplete answers of a turn so far.
#[derive(Debug, Default)]
pub struct Troubles {
    /// The text of the answers that were cut.
    pub said: String,
    cuts: u32,
    garbled: u32,
    silent: bool,
    /// True if a tool sent something to the chat.
    pub spoke: bool,
}

/// The next step after an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask again, with this text.
    Ask(&'static str),
    /// End the turn with this text.
    Say(String),
    /// Carry out the answer's calls; without calls it ends the turn.
    GoOn,
}

impl Troubles {
    /// Decides on an answer. `last` is true if the model may not be asked again.
    pub fn next(&mut self, ending: &Ending, text: &str, has_calls: bool, last: bool) -> Next {
        let note = |said: &str, note: &str| Next::Say(format!("{}\n\n{note}", said.trim()));
        match ending {
            Ending::Cut | Ending::Full if self.cuts < GO_ON && !last => {
                self.cuts += 1;
                self.said.push_str(text);
                Next::Ask(CUT)
            }
            Ending::Cut | Ending::Full => note(&format!("{}{text}", self.said), STAYED_CUT),
            Ending::Filtered(by) => {
                let told = format!(
                    "(The model's server held the answer back: its content filter says “{by}”. Say it in other words, or begin anew with `/new`.)"
                );
                note(&format!("{}{text}", self.said), &told)
            }
            Ending::Garbled if self.garbled < AGAIN && !last => {
                self.garbled += 1;
                Next::Ask(GARBLED)
            }
            Ending::Garbled if text.trim().is_empty() => Next::Say(NO_ANSWER.to_owned()),
            _ if has_calls => {
                self.said.clear();
                Next::GoOn
            }
            _ if text.trim().is_empty() && self.said.is_empty() && !self.spoke && !last => {
                if std::mem::replace(&mut self.silent, true) {
                    Next::Say(NO_ANSWER.to_owned())
                } else {
                    Next::Ask(SILENT)
                }
            }
            _ => Next::GoOn,
        }
    }
}

/// Returns true if a call sends something to the chat.
pub fn speaks(name: &str, args: &Value) -> bool {
    said::speaks(name) || name == "shell" && args["command"].as_str().is_some_and(said::command_speaks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn empty_answer_is_asked_about_once_unless_a_tool_spoke() {
        let mut quiet = Troubles { spoke: true, ..Troubles::default() };
        assert_eq!(quiet.next(&Ending::Whole, " ", false, false), Next::GoOn);
        let mut silent = Troubles::default();
        assert_eq!(silent.next(&Ending::Whole, "", true, false), Next::GoOn, "it calls a tool");
        assert_eq!(silent.next(&Ending::Whole, "", false, false), Next::Ask(SILENT));
        assert_eq!(silent.next(&Ending::Whole, "", false, false), Next::Say(NO_ANSWER.to_owned()));
        assert!(speaks("send_message", &json!({})) && speaks("shell", &json!({"command": "parlor-tool send hi"})));
        assert!(!speaks("shell", &json!({"command": "grep send_message x.py"})));
        assert!(!speaks("shell", &json!({"command": "ls"})) && !speaks("list_tasks", &json!({})));
    }

    #[test]
    fn garbled_call_is_asked_for_again_and_then_reported() {
        let mut garbled = Troubles::default();
        for _ in 0..AGAIN {
            assert_eq!(garbled.next(&Ending::Garbled, "", false, false), Next::Ask(GARBLED));
        }
        assert_eq!(garbled.next(&Ending::Garbled, "", false, false), Next::Say(NO_ANSWER.to_owned()));
        assert_eq!(garbled.next(&Ending::Garbled, "Well.", false, false), Next::GoOn);
    }
}
