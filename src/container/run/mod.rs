//! One run's life: start, streams, timers, end. A handle with verbs outside, one task inside.
//!
//! The task never waits for anything but the engine: outputs that the group's actor has no time for stay in the pipe,
//! and orders and timers are handled meanwhile. `state.rs` has the phases of a run.

pub(in crate::container) mod bounds;
pub(in crate::container) mod capture;
mod ending;
pub mod inputs;
mod live;
mod log;
pub mod orphans;
pub mod outcome;
pub mod output;
mod pace;
pub(crate) mod pump;
pub mod run_log;
pub(crate) mod state;
mod task;
pub mod timers;
pub mod turn;

use std::path::PathBuf;
use std::sync::Arc;

use parlor_protocol::{ImageAttachment, InputFile, Output, RunInput};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub use self::bounds::Redact;
use self::inputs::Inputs;
pub use self::outcome::{Cause, EndReason, Outcome};
use self::timers::Limits;
use self::turn::Settled;
use crate::container::engine::spec::RunSpec;
use crate::container::engine::{ContainerEngine, EngineError};
use crate::domain::clock::SharedClock;
use crate::domain::ids::RunId;

/// Everything a run needs.
pub struct Plan {
    /// The id of the run.
    pub id: RunId,
    /// The container to start.
    pub spec: RunSpec,
    /// The object for stdin; it holds the secrets.
    pub input: RunInput,
    /// Its input folder.
    pub inputs: Inputs,
    /// The limits for its timers.
    pub limits: Limits,
    /// The most bytes of one output.
    pub max_output: usize,
    /// The most bytes of each stream that the log keeps.
    pub max_log: usize,
    /// The folder for its log.
    pub log_dir: PathBuf,
    /// True if the log holds everything except secrets.
    pub verbose: bool,
    /// Removes the run's secrets from the agent's output.
    pub redact: Redact,
}

/// An order to a run.
#[derive(Debug)]
pub(crate) enum Order {
    Deliver { name: String, file: InputFile },
    Close,
    End(EndReason),
}

/// Handle to a live run.
#[derive(Debug, Clone)]
pub struct RunHandle {
    orders: mpsc::UnboundedSender<Order>,
}

impl RunHandle {
    /// Writes a follow-up with its pictures into the run's input folder. If the run does not answer it, the outcome
    /// says so.
    pub fn deliver(&self, name: String, text: String, images: Vec<ImageAttachment>) {
        let file = InputFile::Message { text, images };
        // If the run is gone, its outcome is on the way.
        let _ = self.orders.send(Order::Deliver { name, file });
    }
    /// Asks the agent to finish and exit.
    pub fn close(&self) {
        let _ = self.orders.send(Order::Close);
    }
    /// Ends the run now.
    pub fn end(&self, reason: EndReason) {
        let _ = self.orders.send(Order::End(reason));
    }
}

/// An event of a run for its group, in order.
#[derive(Debug)]
pub enum RunEvent {
    /// The agent's outputs since the last event.
    Outputs(Vec<Item>),
    /// The run has ended; no event follows.
    Ended(Box<Outcome>),
}

/// One item of the agent's output.
#[derive(Debug)]
pub enum Item {
    /// An output.
    Output {
        /// The output, without secrets.
        output: Box<Output>,
        /// The inputs that it settles, if it ends a turn.
        settled: Option<Settled>,
        /// True if a turn is open after it.
        open: bool,
        /// Its share of the memory for outputs on their way.
        share: OwnedSemaphorePermit,
    },
    /// Something that cannot be parsed as an output, for a notice in the chat.
    Unreadable {
        /// The error.
        why: String,
        /// The inputs that it settles if it was the end of a turn, because no better end will follow.
        settled: Option<Settled>,
        /// True if a turn is open after it.
        open: bool,
    },
}

/// Starts a run. Events come on the receiver until [`RunEvent::Ended`].
pub async fn start(
    engine: Arc<dyn ContainerEngine>,
    clock: &SharedClock,
    plan: Plan,
) -> Result<(RunHandle, mpsc::Receiver<RunEvent>), EngineError> {
    let attached = match engine.start(&plan.spec).await {
        Ok(attached) => attached,
        Err(error) => {
            log::not_started(&*engine, clock, plan, &error);
            return Err(error);
        }
    };
    let (orders, order_queue) = mpsc::unbounded_channel();
    let (events, event_queue) = mpsc::channel(4);
    let task = task::RunTask::new(engine, clock, plan, attached, order_queue, events);
    tokio::spawn(task.run());
    Ok((RunHandle { orders }, event_queue))
}
