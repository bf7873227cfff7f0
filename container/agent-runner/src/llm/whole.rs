//! The consequences of an answer that is cut, held back, garbled, or empty. Pure.

use serde_json::Value;

use super::ending::Ending;
use crate::live::said::{self, NO_ANSWER, SILENT};

/// How often an answer that was cut is gone on with.
const GO_ON: u32 = 3;
/// How often a model is asked again for a call that nobody could read.
const AGAIN: u32 = 2;
/// Told when an answer was cut.
const CUT: &str = "[Your answer was cut off there: it is longer than an answer may be. Go on exactly where it ended, and do \
                   not repeat anything. A call of a tool that was in it was not carried out: call it again with less.]";
/// Told when a call could not be read.
const GARBLED: &str =
    "[Your call of a tool could not be read and was not carried out. Call it again, with arguments in JSON.]";
/// What the chat hears of an answer that stayed cut.
const STAYED_CUT: &str = "(The answer was cut off here: it is longer than the model may answer at once. max_tokens in agent.toml \
                          sets how long that is; write “go on” for the rest.)";

/// What of a turn's answers was not as it should be, so far.
#[derive(Debug, Default)]
pub struct Troubles {
    /// What was said before it was cut.
    pub said: String,
    cuts: u32,
    garbled: u32,
    silent: bool,
    /// A tool has said something in the chat.
    pub spoke: bool,
}

/// What an answer leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask again, after this.
    Ask(&'static str),
    /// The turn's text.
    Say(String),
    /// Carry out its calls; without any it is the turn's last.
    GoOn,
}

impl Troubles {
    /// Decides. `last` is set when the model is not asked again.
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

/// Returns true if a call says something in the chat.
pub fn speaks(name: &str, args: &Value) -> bool {
    said::speaks(name) || name == "shell" && args["command"].as_str().is_some_and(said::command_speaks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn silence_is_right_after_a_tool_that_spoke_and_else_asked_about_once() {
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
    fn a_garbled_call_is_asked_for_again_and_then_told() {
        let mut garbled = Troubles::default();
        for _ in 0..AGAIN {
            assert_eq!(garbled.next(&Ending::Garbled, "", false, false), Next::Ask(GARBLED));
        }
        assert_eq!(garbled.next(&Ending::Garbled, "", false, false), Next::Say(NO_ANSWER.to_owned()));
        assert_eq!(garbled.next(&Ending::Garbled, "Well.", false, false), Next::GoOn);
    }
}
