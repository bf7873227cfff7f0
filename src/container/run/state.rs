//! The decisions of a run: its turns, its timers and its end. It has no engine, pipe or file; the time is passed in.
//!
//! ```text
//! Running ──order or timer──▶ Ending ──client gone, name gone──▶ Drained ──streams ended──▶ outcome
//!    └───────────client ends by itself────────────────────────────▲
//! ```

use std::collections::BTreeSet;

use parlor_protocol::{InputFile, Output, Status};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::pump::{self, Pumped};
use super::{EndReason, Item, Order, Outcome, Redact};
use crate::container::engine::Exit;
use crate::container::run::bounds;
use crate::container::run::outcome::{Facts, classify};
use crate::container::run::timers::{Due, Limits, Timers};
use crate::container::run::turn::Turns;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The container works.
    Running,
    /// The host is ending the container.
    Ending(EndReason),
    /// The container is gone. Its earlier output still counts.
    Drained {
        /// How the engine's client ended. None if it was abandoned.
        exit: Option<Exit>,
        /// Why the host ended the container. None if it ended by itself.
        ended_for: Option<EndReason>,
    },
}

impl Phase {
    fn may_become(&self, next: &Self) -> bool {
        matches!(
            (self, next),
            (Self::Running, Self::Ending(_)) | (Self::Running | Self::Ending(_), Self::Drained { .. })
        )
    }
}

/// An event of a run.
pub(crate) enum Event {
    /// An order of the group. None if the group's actor is gone, so that nobody needs an answer.
    Order(Option<Order>),
    /// A follow-up's file was written, or could not be.
    Written {
        /// The name of the file.
        name: String,
        /// True if it was written.
        well: bool,
    },
    /// The agent printed something. For an output that does not name its inputs, with the files that the agent has
    /// removed.
    Found(Pumped, Vec<String>),
    /// A timer may be due.
    Timer,
    /// The engine's client has ended, or was abandoned.
    Gone(Option<Exit>),
}

/// An effect that a run asks for.
pub(crate) enum Effect {
    /// Write a follow-up into the input folder; [`Event::Written`] follows.
    Write(String, InputFile),
    /// Ask the agent to exit.
    Close,
    /// End the container; [`Event::Gone`] follows.
    End(EndReason),
    /// Report this to the group.
    Report(Item),
}

#[derive(Debug)]
pub(crate) struct State {
    phase: Phase,
    turns: Turns,
    timers: Timers,
    outputs: u64,
    unreadable: u64,
    /// Fields of outputs that were over their limit; each is logged once.
    over: BTreeSet<&'static str>,
}

impl State {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            phase: Phase::Running,
            turns: Turns::default(),
            timers: Timers::new(limits, now),
            outputs: 0,
            unreadable: 0,
            over: BTreeSet::new(),
        }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns the number of outputs so far, without heartbeats.
    pub(crate) fn outputs(&self) -> u64 {
        self.outputs
    }

    /// Returns when [`Event::Timer`] is due. None once the run ends.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        (self.phase == Phase::Running).then(|| self.timers.next().0)
    }

    /// Returns the input files to check for what an output has settled; none if the output itself names its inputs.
    pub(crate) fn looks_for(&self, found: &Pumped) -> Vec<String> {
        let by_files = match found {
            Pumped::Output { output, .. } => !output.heartbeat && Turns::goes_by_files(output),
            Pumped::Unreadable { ends, .. } => *ends,
        };
        if by_files { self.turns.unsettled().inputs } else { Vec::new() }
    }

    /// Returns the effects of an event. `name` is the container's, for the log.
    pub(crate) fn apply(&mut self, event: Event, name: &str, redact: &Redact, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            // An agent that was asked to exit may not look again. This input is not delivered and not settled, and
            // goes to the next run.
            Event::Order(Some(Order::Deliver { .. })) if self.timers.is_closed() => {}
            Event::Order(Some(Order::Deliver { name, file })) => effects.push(Effect::Write(name, file)),
            Event::Order(Some(Order::Close)) | Event::Written { well: false, .. } => self.close(now, &mut effects),
            Event::Order(Some(Order::End(reason))) => self.end(reason, &mut effects),
            Event::Order(None) => self.end(EndReason::Shutdown, &mut effects),
            Event::Written { name, well: true } => {
                self.turns.delivered(name);
                self.timers.input(now);
            }
            Event::Found(Pumped::Unreadable { why, ends }, gone) => {
                let why = bounds::complaint(&why, &**redact);
                self.unreadable(why, ends, &gone, now, name, &mut effects);
            }
            Event::Found(Pumped::Output { mut output, share }, gone) => {
                if !output.heartbeat {
                    for field in bounds::hold(&mut output, &**redact) {
                        if self.over.insert(field) {
                            tracing::warn!("{name}: {field} of an output is over its limit and is cut");
                        }
                    }
                }
                self.output(output, share, &gone, now, &mut effects);
            }
            Event::Timer => self.due(now, &mut effects),
            Event::Gone(exit) => {
                let ended_for = match self.phase {
                    Phase::Ending(reason) => Some(reason),
                    Phase::Running | Phase::Drained { .. } => None,
                };
                self.enter(Phase::Drained { exit, ended_for });
            }
        }
        effects
    }

    fn enter(&mut self, next: Phase) {
        assert!(self.phase.may_become(&next), "a run goes from {:?} to {next:?}", self.phase);
        self.phase = next;
    }

    fn due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.timers.next() {
            (at, _) if at > now => {}
            (_, Due::Close) => self.close(now, effects),
            (_, Due::HardTimeout) => self.end(EndReason::HardTimeout, effects),
            (_, Due::TurnLimit) => self.end(EndReason::TurnLimit, effects),
            (_, Due::CloseGrace) => self.end(EndReason::CloseGrace, effects),
        }
    }

    fn close(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.timers.is_closed() {
            self.timers.closed(now);
            effects.push(Effect::Close);
        }
    }

    fn end(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Running {
            self.enter(Phase::Ending(reason));
            effects.push(Effect::End(reason));
        }
    }

    fn unreadable(
        &mut self,
        why: String,
        ends: bool,
        gone: &[String],
        now: Instant,
        name: &str,
        effects: &mut Vec<Effect>,
    ) {
        self.unreadable += 1;
        if self.unreadable <= pump::UNREADABLE {
            tracing::warn!("{name}: {why}");
        }
        let mut settled = None;
        if ends {
            settled = self.turns.output(&Output::default(), |input| gone.iter().any(|one| one == input));
            self.timers.output(now, self.turns.open(), true, true);
            self.turns.closed();
        }
        effects.push(Effect::Report(Item::Unreadable { why, settled, open: self.turns.open() }));
    }

    fn output(
        &mut self,
        output: Box<Output>,
        share: OwnedSemaphorePermit,
        gone: &[String],
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if output.heartbeat {
            return self.timers.output(now, self.turns.open(), false, false);
        }
        self.outputs += 1;
        let settled = self.turns.output(&output, |input| gone.iter().any(|one| one == input));
        let open = self.turns.open();
        self.timers.output(now, open, settled.is_some(), output.result.is_some());
        if settled.is_some() {
            self.turns.closed();
        }
        let failed = output.status == Status::Error;
        effects.push(Effect::Report(Item::Output { output, settled, open, share }));
        if failed {
            // A new run retries a failed turn.
            self.close(now, effects);
        }
    }

    /// Returns how the run ended. `taken` returns true for an unanswered input that the agent took.
    pub(crate) fn outcome(&self, end: &End<'_>, taken: impl Fn(&str) -> bool) -> Outcome {
        let ended_for = match self.phase {
            Phase::Drained { ended_for, .. } => ended_for,
            Phase::Ending(reason) => Some(reason),
            Phase::Running => None,
        };
        let (state, error, cause) = classify(&Facts {
            exit: end.exit,
            ended_for,
            open: self.turns.open(),
            replied: self.turns.replied(),
            timeout: self.timers.configured(),
            stderr: end.stderr,
            out_of_memory: end.out_of_memory,
            image: end.image,
            memory: end.memory,
            outputs: self.outputs,
            engine: end.engine,
        });
        let unsettled = self.turns.unsettled();
        let taken = unsettled.inputs.iter().filter(|name| taken(name)).cloned().collect();
        let exit_code = match end.exit {
            Some(Exit::Code(code)) => Some(*code),
            Some(Exit::EngineRefused(refusal)) => refusal.code,
            Some(Exit::Signal(_)) | None => None,
        };
        let (outputs, duration) = (self.outputs, end.duration);
        Outcome { state, error, cause, exit_code, unsettled, taken, outputs, duration }
    }
}

/// The engine's and the machine's facts about a run's end.
pub(crate) struct End<'a> {
    pub(crate) stderr: &'a str,
    pub(crate) out_of_memory: bool,
    pub(crate) image: &'a str,
    pub(crate) memory: &'a str,
    pub(crate) engine: &'a str,
    /// How it ended, by the judgement of the engine's client. None if the client was abandoned.
    pub(crate) exit: Option<&'a Exit>,
    pub(crate) duration: std::time::Duration,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parlor_protocol::Turn;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::run::RunState;

    const S: Duration = Duration::from_secs(1);

    struct Run(State, Instant);

    impl Run {
        fn new() -> Self {
            let now = Instant::now();
            Self(State::new(Limits::new(30 * S, 60 * S, 600 * S, false), now), now)
        }

        fn at(&mut self, seconds: u32, event: Event) -> Vec<String> {
            let keep: Redact = Arc::new(|_| None);
            let effects = self.0.apply(event, "room", &keep, self.1 + seconds * S);
            let name = |effect: &Effect| match effect {
                Effect::Write(name, _) => format!("write {name}"),
                Effect::Close => "close".into(),
                Effect::End(reason) => format!("end {reason:?}"),
                Effect::Report(Item::Output { open, .. }) => format!("output, open {open}"),
                Effect::Report(Item::Unreadable { why, .. }) => why.clone(),
            };
            effects.iter().map(name).collect()
        }

        fn says(&mut self, seconds: u32, output: Output) -> Vec<String> {
            let share = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            self.at(seconds, Event::Found(Pumped::Output { output: Box::new(output), share }, Vec::new()))
        }
    }

    fn deliver(name: &str) -> Event {
        let file = InputFile::Message { text: "more".into(), images: Vec::new() };
        Event::Order(Some(Order::Deliver { name: name.into(), file }))
    }

    fn done() -> Output {
        Output { turn: Some(Turn::Done), result: Some("yes".into()), ..Output::default() }
    }

    fn end() -> End<'static> {
        let (stderr, image, memory, engine) = ("", "image", "1g", "engine");
        End { stderr, out_of_memory: false, image, memory, engine, exit: None, duration: S }
    }

    #[test]
    fn closing_agent_gets_no_more_inputs() {
        let mut run = Run::new();
        assert_eq!(run.at(0, deliver("1")), ["write 1"]);
        run.at(0, Event::Written { name: "1".into(), well: true });
        assert_eq!(run.at(1, Event::Order(Some(Order::Close))), ["close"]);
        assert_eq!(run.at(1, Event::Order(Some(Order::Close))), [""; 0]);
        assert_eq!(run.at(2, deliver("2")), [""; 0]);
        run.at(3, Event::Gone(Some(Exit::Code(0))));
        let outcome = run.0.outcome(&end(), |name| name == "1");
        assert_eq!((outcome.unsettled.inputs, outcome.taken), (vec!["1".to_owned()], vec!["1".to_owned()]));
    }

    #[test]
    fn failed_follow_up_closes_the_room_and_is_not_settled() {
        let mut run = Run::new();
        run.at(0, deliver("1"));
        assert_eq!(run.at(0, Event::Written { name: "1".into(), well: false }), ["close"]);
        run.says(1, done());
        run.at(2, Event::Gone(Some(Exit::Code(0))));
        assert_eq!(run.0.outcome(&end(), |_| false).unsettled.inputs, [""; 0]);
    }

    #[test]
    fn failed_turn_is_reported_before_the_close() {
        let mut run = Run::new();
        let failed = Output { status: Status::Error, ..done() };
        assert_eq!(run.says(1, failed), ["output, open false", "close"]);
    }

    #[test]
    fn first_reason_to_end_a_run_counts() {
        let mut run = Run::new();
        assert_eq!(run.at(1, Event::Order(Some(Order::End(EndReason::Stopped)))), ["end Stopped"]);
        assert_eq!(run.0.next_timer(), None);
        assert_eq!(run.at(2, Event::Order(None)), [""; 0]);
        assert_eq!(run.at(9000, Event::Timer), [""; 0]);
        // Output that was in the pipe still counts.
        assert_eq!(run.says(3, done()), ["output, open false"]);
        run.at(4, Event::Gone(None));
        let outcome = run.0.outcome(&end(), |_| false);
        assert_eq!((outcome.state, outcome.exit_code, outcome.outputs), (RunState::Stopped, None, 1));
    }

    #[test]
    fn silent_run_ends_at_its_hard_timeout() {
        let mut run = Run::new();
        assert_eq!(run.at(89, Event::Timer), [""; 0]);
        run.says(89, Output { heartbeat: true, ..Output::default() });
        assert_eq!((run.0.outputs(), run.at(90, Event::Timer)), (0, vec![]));
        assert_eq!(run.at(179, Event::Timer), ["end HardTimeout"]);
    }

    #[test]
    fn files_are_checked_only_for_outputs_without_inputs() {
        let mut run = Run::new();
        run.at(0, Event::Written { name: "1".into(), well: true });
        let looks = |run: &Run, output: Output| {
            let share = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            run.0.looks_for(&Pumped::Output { output: Box::new(output), share })
        };
        assert_eq!(looks(&run, Output::default()), ["1"]);
        assert_eq!(looks(&run, done()), [""; 0]);
        assert_eq!(looks(&run, Output { turn: Some(Turn::Open), ..Output::default() }), [""; 0]);
        assert_eq!(looks(&run, Output { heartbeat: true, ..Output::default() }), [""; 0]);
    }
}
