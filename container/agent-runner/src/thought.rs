//! A model's private thought, as far as it stands in the answer itself: `<think>…</think>` before the first word. Only
//! there: a tag later in a text, or in code, is a part of what is said.

/// What opens a thought, and what closes it.
const TAGS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

/// Passes on an answer that comes in pieces, without the thoughts at its beginning.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// What came and is not decided yet.
    held: String,
    /// A thought is over: what comes next is not to begin with the space after it.
    thought: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Nothing was said yet.
    #[default]
    Before,
    /// In a thought, up to this tag.
    Inside(&'static str),
    /// Everything is passed on.
    Said,
}

impl Filter {
    /// Takes a piece; gives what can be passed on of all that came.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        loop {
            match self.state {
                State::Said => return std::mem::take(&mut self.held),
                State::Inside(close) => {
                    let Some(at) = self.held.find(close) else {
                        // Its end may be in two pieces.
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

    /// Returns what is left at the end. A thought that never ended was one.
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

/// A whole answer without its thoughts. Some servers leave out the tag that opens the first one: then the closing tag
/// has a line of its own.
pub fn without(answer: &str) -> String {
    let mut filter = Filter::default();
    let said = filter.push(answer) + &filter.finish();
    after_lone_close(&said).map_or(said.clone(), str::to_owned)
}

/// Returns what comes after a closing tag that nothing opened, outside of code.
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
    fn thoughts_at_the_beginning_go_and_everything_else_stays() {
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
        /// However an answer is cut into pieces, the same is passed on of it.
        #[test]
        fn pieces_make_no_difference(
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

        /// What does not begin with a thought is not touched.
        #[test]
        fn nothing_else_is_lost(answer in "[a-z`*\n][ -~\n]{0,40}") {
            let mut filter = Filter::default();
            let said = filter.push(&answer) + &filter.finish();
            prop_assert_eq!(said, answer);
        }
    }
}
