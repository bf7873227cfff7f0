//! The answered inputs of a run: the output that ends a turn, and the inputs that it settles. Pure.

use std::collections::VecDeque;

use parlor_protocol::{Output, Status, Turn};

/// The inputs that one output settles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// True if it settles the run's first prompt.
    pub prompt: bool,
    /// The input files, by name.
    pub inputs: Vec<String>,
}

impl Settled {
    /// Returns true if it settles nothing.
    pub fn is_empty(&self) -> bool {
        !self.prompt && self.inputs.is_empty()
    }
}

/// The inputs of one run that no turn has answered yet.
#[derive(Debug)]
pub struct Turns {
    prompt: bool,
    inputs: VecDeque<String>,
    /// True if an output of the open turn said that it goes on.
    said_open: bool,
    replied: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self { prompt: true, inputs: VecDeque::new(), said_open: false, replied: false }
    }
}

impl Turns {
    /// Notes an input file that was written.
    pub fn delivered(&mut self, name: String) {
        self.inputs.push_back(name);
    }

    /// Returns true if the agent owes an answer.
    pub fn open(&self) -> bool {
        self.prompt || !self.inputs.is_empty() || self.said_open
    }

    /// Returns true if the open turn has already replied to the chat.
    pub fn replied(&self) -> bool {
        self.replied
    }

    /// Returns the inputs that no turn has answered.
    pub fn unsettled(&self) -> Settled {
        Settled { prompt: self.prompt, inputs: self.inputs.iter().cloned().collect() }
    }

    /// Returns true if an output ends a turn without naming its inputs (NanoClaw v1).
    pub fn goes_by_files(output: &Output) -> bool {
        output.turn.is_none() && output.consumed.is_empty()
    }

    /// Handles an output; `gone` returns true if an input file does not exist any more. Returns what the output
    /// settles, or None if the turn goes on.
    ///
    /// An output with `turn` says whether the turn has ended, and lists the turn's inputs in `consumed`. Without it
    /// (NanoClaw v1), every success ends a turn, and its inputs are the removed files.
    pub fn output(&mut self, output: &Output, gone: impl Fn(&str) -> bool) -> Option<Settled> {
        let failed = output.status == Status::Error;
        if output.turn == Some(Turn::Open) && !failed {
            self.said_open = true;
            self.replied |= output.result.is_some();
            return None;
        }
        let by_files = Self::goes_by_files(output);
        let mut settled = Settled { prompt: std::mem::take(&mut self.prompt), inputs: Vec::new() };
        self.inputs.retain(|name| {
            let had = if by_files { gone(name) } else { output.consumed.contains(name) };
            if had {
                settled.inputs.push(name.clone());
            }
            !had
        });
        self.said_open = false;
        Some(settled)
    }

    /// Notes that the turn's end is stored, so that its texts belong to no open turn any more.
    pub fn closed(&mut self) {
        self.replied = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn done(consumed: &[&str]) -> Output {
        Output {
            turn: Some(Turn::Done),
            consumed: consumed.iter().map(ToString::to_string).collect(),
            ..Output::default()
        }
    }

    #[test]
    fn a_turn_settles_the_prompt_and_what_it_consumed() {
        let mut turns = Turns::default();
        turns.delivered("1".into());
        turns.delivered("2".into());
        let first = turns.output(&done(&["1"]), |_| true).unwrap();
        assert_eq!(first, Settled { prompt: true, inputs: vec!["1".into()] });
        assert!(turns.open());
        let second = turns.output(&done(&["2"]), |_| false).unwrap();
        assert_eq!(second, Settled { prompt: false, inputs: vec!["2".into()] });
        assert!(!turns.open());
    }

    #[test]
    fn an_open_turn_settles_nothing_and_remembers_its_reply() {
        let mut turns = Turns::default();
        let open = Output { turn: Some(Turn::Open), result: Some("x".into()), ..Output::default() };
        assert_eq!(turns.output(&open, |_| true), None);
        assert!(turns.open() && turns.replied());
    }

    #[test]
    fn a_v1_success_settles_what_is_gone() {
        let mut turns = Turns::default();
        turns.delivered("1".into());
        turns.delivered("2".into());
        let settled = turns.output(&Output::default(), |name| name == "1").unwrap();
        assert_eq!(settled, Settled { prompt: true, inputs: vec!["1".into()] });
        assert_eq!(turns.unsettled(), Settled { prompt: false, inputs: vec!["2".into()] });
    }

    proptest! {
        /// For any outputs, each input is settled at most once, and unsettled inputs stay known.
        #[test]
        fn nothing_is_lost_or_settled_twice(steps in proptest::collection::vec((0u8..4, proptest::collection::vec(0u8..12, 0..4)), 0..40)) {
            let mut turns = Turns::default();
            let (mut delivered, mut settled) = (Vec::new(), Vec::new());
            let mut prompts = 0;
            for (step, names) in steps {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                let result = match step {
                    0 => {
                        let name = delivered.len().to_string();
                        turns.delivered(name.clone());
                        delivered.push(name);
                        None
                    }
                    1 => turns.output(&Output { turn: Some(Turn::Open), ..Output::default() }, |_| true),
                    2 => turns.output(&Output { turn: Some(Turn::Done), consumed: names, ..Output::default() }, |_| true),
                    _ => turns.output(&Output::default(), |name| names.iter().any(|n| n == name)),
                };
                if let Some(result) = result {
                    prompts += u32::from(result.prompt);
                    settled.extend(result.inputs);
                }
            }
            let open = turns.unsettled();
            prop_assert_eq!(prompts + u32::from(open.prompt), 1);
            let mut all = settled;
            all.extend(open.inputs);
            all.sort_by_key(|n| n.parse::<u32>().unwrap());
            prop_assert_eq!(all, delivered);
        }
    }
}
