//! The interface between a group's machine, which decides, and its actor, which acts: events go in, effects come out.

use parlor_protocol::{ImageAttachment, Output};

use super::fallback::Answering;
use super::jobs::{Answer, Job};
use super::slots::Ticket;
use super::start::StartRequest;
use crate::container::run::turn::Settled;
use crate::container::run::{EndReason, Outcome};
use crate::domain::ids::{GroupFolder, RunId};
use crate::domain::run::Lane as LaneKind;

/// Identifies a question of another part of the host, which waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AskId(pub(super) u64);

/// An event of a group.
#[derive(Debug)]
pub(super) enum Event {
    /// Something new may be in the store.
    Wake,
    /// A timer may be due.
    Timer,
    /// Another part of the host asks to end the current runs, as `/stop` does.
    Stop(AskId),
    /// Another part of the host asks to end one run.
    StopRun(RunId, AskId),
    /// Failed work is to be retried now.
    GoOn,
    /// The host shuts down: nothing new starts, and live runs are asked to exit.
    Soft,
    /// The shutdown's deadline has passed: live runs are ended.
    Hard,
    /// Another group waits for this slot.
    Evicted(Ticket),
    /// The lane has its slot.
    Slot(LaneKind, Ticket),
    /// The store has done the oldest job of the group.
    Store(Answer),
    /// A room is open, or could not be opened.
    Opened(LaneKind, Result<Opened, String>),
    /// Outputs of an agent.
    Outputs(LaneKind, Vec<AgentOutput>),
    /// A live run has ended. None if its own task ended without an outcome, which is a bug in Parlor.
    Ended(LaneKind, Option<Box<Outcome>>),
    /// The folders of an ended run's room are cleared, and its IPC files have been handled.
    Cleared(LaneKind),
}

/// An open room.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) provider: &'static str,
    pub(super) answering: Answering,
    /// The session that the run resumes.
    pub(super) session: Option<String>,
}

/// One item of an agent's output.
#[derive(Debug)]
pub(super) enum AgentOutput {
    /// An output, what it settles if it ends a turn, and whether a turn is open after it.
    Output { output: Box<Output>, settled: Option<Settled>, open: bool },
    /// Something that cannot be parsed as an output. It settles something if it was the end of a turn.
    Unreadable { why: String, settled: Option<Settled>, open: bool },
}

/// An effect that a machine asks for. The actor carries out effects in their order.
#[derive(Debug)]
pub(super) enum Effect {
    /// The store does this job after every earlier one; [`Event::Store`] follows.
    Store(Job),
    /// A run's row is stored; there is no answer.
    StoreSoon(Box<super::steps::Step>),
    /// The lane asks for a slot; [`Event::Slot`] follows.
    AskForSlot(LaneKind),
    /// The lane leaves the queue, or returns its slot.
    FreeSlot(LaneKind),
    /// The run in the lane's slot becomes idle, or busy.
    SetIdle(LaneKind, bool),
    /// Open the room; [`Event::Opened`] follows.
    Open(LaneKind, Box<StartRequest>),
    /// The room that is being opened is not needed any more.
    CancelOpening(LaneKind),
    /// Give the live run a follow-up.
    Deliver(LaneKind, FollowUp),
    /// Ask the live run to exit.
    Close(LaneKind),
    /// End the live run.
    End(LaneKind, EndReason),
    /// Clear away what an ended run left; [`Event::Cleared`] follows.
    Clear(LaneKind, Remains),
    /// The engine may have lost its images, so they are looked up again.
    ForgetImages,
    /// Typing in the chat starts or stops.
    Typing(bool),
    /// The answer to a question.
    Answer(AskId, bool),
}

/// A follow-up for a live run.
#[derive(Debug)]
pub(super) struct FollowUp {
    /// The name of its input file.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) images: Vec<ImageAttachment>,
}

/// The remains of a run.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) folder: GroupFolder,
    pub(super) run: RunId,
    /// A container that may still exist, because the run's own task is gone.
    pub(super) container: Option<String>,
}
