//! The language between a group's machine, which decides, and its actor, which acts: events go in, effects come out.

use parlor_protocol::{ImageAttachment, Output};

use super::fallback::Answering;
use super::jobs::{Answer, Job};
use super::slots::Ticket;
use super::start::StartRequest;
use crate::container::run::{EndReason, Outcome};
use crate::container::turn::Settled;
use crate::domain::ids::{GroupFolder, RunId};
use crate::domain::run::Lane as LaneKind;

/// Names a question of another part of the host, which waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AskId(pub(super) u64);

/// What happens to a group.
#[derive(Debug)]
pub(super) enum Event {
    /// Something new may be in the store.
    Wake,
    /// A timer may be due.
    Timer,
    /// Someone asks to end what runs, as `/stop` does.
    Stop(AskId),
    /// Someone asks to end one run.
    StopRun(RunId, AskId),
    /// What failed is to be tried again now.
    GoOn,
    /// The host shuts down: nothing starts any more, and what lives is asked to exit.
    Soft,
    /// The host's patience is over: what lives is ended.
    Hard,
    /// A waiting group needs this slot.
    Evicted(Ticket),
    /// The lane has its slot.
    Slot(LaneKind, Ticket),
    /// The store has done the oldest job.
    Store(Answer),
    /// A room is open, or cannot be.
    Opened(LaneKind, Result<Opened, String>),
    /// An agent put this out.
    Outputs(LaneKind, Vec<AgentOutput>),
    /// A live run is gone. None if its own task is, too: a defect of Parlor.
    Ended(LaneKind, Option<Box<Outcome>>),
    /// The folders of a room that is gone are cleared: what it asked for by file has been handled.
    Cleared(LaneKind),
}

/// A room that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) provider: &'static str,
    pub(super) answering: Answering,
    /// The session that it resumes.
    pub(super) session: Option<String>,
}

/// One thing that an agent put out.
#[derive(Debug)]
pub(super) enum AgentOutput {
    /// An output, with what it settles when it ends a turn, and whether a turn is open after it.
    Output { output: Box<Output>, settled: Option<Settled>, open: bool },
    /// Something that was not an output. It settles something when it was the end of a turn.
    Unreadable { why: String, settled: Option<Settled>, open: bool },
}

/// What a machine wants done. Effects are done in the order in which they are named.
#[derive(Debug)]
pub(super) enum Effect {
    /// The store does this after every earlier job; [`Event::Store`] follows.
    Store(Job),
    /// A run's row is stored. Nobody waits for it.
    StoreSoon(Box<super::steps::Step>),
    /// The lane queues for a slot; [`Event::Slot`] follows.
    AskForSlot(LaneKind),
    /// The lane leaves the queue, or gives its slot back.
    FreeSlot(LaneKind),
    /// The run in the lane's slot is idle, or is not.
    SetIdle(LaneKind, bool),
    /// The room is opened; [`Event::Opened`] follows.
    Open(LaneKind, Box<StartRequest>),
    /// Nobody wants the room any more that is being opened.
    CancelOpening(LaneKind),
    /// The live run gets a follow-up.
    Deliver(LaneKind, FollowUp),
    /// The live run is asked to exit.
    Close(LaneKind),
    /// The live run is ended.
    End(LaneKind, EndReason),
    /// A run that is gone is cleared away; [`Event::Cleared`] follows.
    Clear(LaneKind, Remains),
    /// The engine may have lost its images.
    ForgetImages,
    /// An agent works for the chat, or does no more.
    Typing(bool),
    /// The answer to a question.
    Answer(AskId, bool),
}

/// A follow-up for a live run.
#[derive(Debug)]
pub(super) struct FollowUp {
    /// Its input file.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) images: Vec<ImageAttachment>,
}

/// What a run leaves behind.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) folder: GroupFolder,
    pub(super) run: RunId,
    /// A container that may be there still, because the run's own task is gone.
    pub(super) container: Option<String>,
}
