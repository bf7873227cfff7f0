//! Removes a model's private thoughts from its answer: `<think>…</think>` before the first word. Tags later in a
//! text, or in code, belong to the answer.

/// The tags that begin and end a thought.
const TAGS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

/// Passes on an answer piece by piece, without the thoughts at its beginning.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// Text that is not decided yet.
    held: String,
    /// True after a thought: the space that follows it is dropped.
    thought: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// The answer has not begun.
    #[default]
    Before,
    /// Inside a thought, up to this tag.
    Inside(&'static str),
    /// The answer has begun; everything is passed on.
    Said,
}

impl Filter {
    /// Takes a piece; returns the text that can be passed on now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        loop {
            match self.state {
                State::Said => return std::mem::take(&mut self.held),
                State::Inside(close) => {
                    let Some(at) = self.held.find(close) else {
                        // The closing tag may be split between two pieces.
                        let keep = self.held.char_indices().rev().nth(close.len() - 2).map_or(0, |(at, _)| at);
                        self.held.drain(..keep);
                        return String::new();
                    };
                    self.held.drain(..at + close.len());
                    (self.state, self.thought) = (State::Before, true);
                }
                State::Before => {
                    let start = self.held.trim_start();
                    if let Some((open, close)) = TAGS.into_iter().find(|(open, _)| start.starts_with(open)) {
                        let at = self.held.len() - start.len() + open.len();
                        self.held.drain(..at);
                        self.state = State::Inside(close);
                    } else if TAGS.iter().any(|(open, _)| open.starts_with(start)) {
                        return String::new();
                    } else {
                        self.trim();
                        self.state = State::Said;
                    }
                }
            }
        }
    }

    /// Returns the rest at the end. A thought without an end is dropped.
    pub fn finish(mut self) -> String {
        if matches!(self.state, State::Inside(_)) {
            return String::new();
        }
        self.trim();
        self.held
    }

    fn trim(&mut self) {
        if self.thought {
            self.held.drain(..self.held.len() - self.held.trim_start().len());
        }
    }
}

/// Returns an answer without its thoughts. Some servers leave out the first opening tag: then the closing tag has a
/// line of its own.
pub fn without(answer: &str) -> String {
    let mut filter = Filter::default();
    let said = filter.push(answer) + &filter.finish();
    after_lone_close(&said).map_or(said.clone(), str::to_owned)
}

/// Returns the text after a closing tag without an opening one, outside of code.
fn after_lone_close(text: &str) -> Option<&str> {
    let (mut at, mut code) = (0, false);
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        at += line.len();
        if word.starts_with("```") || word.starts_with("~~~") {
            code = !code;
        }
        let Some((open, _)) = TAGS.iter().find(|(_, close)| word == *close).filter(|_| !code) else { continue };
        let before = &text[..at - line.len()];
        return (!before.contains(open)).then(|| text[at..].trim_start());
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thoughts_at_the_beginning_are_removed() {
        for (answer, said) in [
            ("<think>hm</think>Hello.", "Hello."),
            ("\n<think>\nhm < 3 </thin </think>\n\nHello.", "Hello."),
            ("<thinking>a</thinking> <think>b</think>\nHello.", "Hello."),
            ("<think></think>", ""),
            ("<think>never ends", ""),
            ("  Hello.", "  Hello."),
            ("Hello <think>x</think>.", "Hello <think>x</think>."),
            ("`<think>` opens a thought.", "`<think>` opens a thought."),
            ("```\n<think>\n</think>\n```", "```\n<think>\n</think>\n```"),
            ("<thin ice", "<thin ice"),
            ("<", "<"),
            ("<think>a</think>See `</think>`.", "See `</think>`."),
            ("I must think.\n</think>\n\nHello.", "Hello."),
            ("```\nx\n</think>\n```", "```\nx\n</think>\n```"),
            ("A <think> and then\n</think>\nb", "A <think> and then\n</think>\nb"),
            ("", ""),
        ] {
            assert_eq!(without(answer), said, "{answer:?}");
        }
    }

    proptest! {
        /// However an answer is split into pieces, the same text is passed on.
        #[test]
        fn pieces_give_the_same_text_as_the_whole(
            answer in "(\\s{0,2}<think(ing)?>[a-z<>/ ä\n]{0,12}(</think(ing)?>)?)?[<>/a-zä \n]{0,12}(</?think>)?[a-zä]{0,5}",
            cuts in proptest::collection::vec(0usize..60, 0..12),
        ) {
            let mut whole = Filter::default();
            let expected = whole.push(&answer) + &whole.finish();
            let mut filter = Filter::default();
            let mut said = String::new();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| answer.is_char_boundary(*at)).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for to in cuts.into_iter().chain([answer.len()]) {
                said += &filter.push(&answer[from..to]);
                from = to;
            }
            said += &filter.finish();
            prop_assert_eq!(said, expected);
        }

        /// An answer that does not begin with a thought is unchanged.
        #[test]
        fn answer_without_thoughts_is_unchanged(answer in "[a-z`*\n][ -~\n]{0,40}") {
            let mut filter = Filter::default();
            let said = filter.push(&answer) + &filter.finish();
            prop_assert_eq!(said, answer);
        }
    }
}
