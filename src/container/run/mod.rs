//! One run's life: start, streams, timers, end. A handle with verbs outside, one task inside.
//!
//! The task never waits for anyone but the engine: outputs that the group's actor has no time for stay in the pipe, and
//! orders and timers are heard meanwhile. `state.rs` has the phases of a run.

mod ending;
mod live;
mod log;
mod pace;
pub(crate) mod pump;
pub(crate) mod state;
mod task;

use std::path::PathBuf;
use std::sync::Arc;

use parlor_protocol::{ImageAttachment, InputFile, Output, RunInput};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub use super::bounds::Redact;
use super::engine::{ContainerEngine, EngineError};
use super::inputs::Inputs;
pub use super::outcome::{Cause, EndReason, Outcome};
use super::spec::RunSpec;
use super::timers::Limits;
use super::turn::Settled;
use crate::domain::clock::SharedClock;
use crate::domain::ids::RunId;

/// Everything a run needs.
pub struct Plan {
    /// Its id.
    pub id: RunId,
    /// What to start.
    pub spec: RunSpec,
    /// What goes to stdin; holds the secrets.
    pub input: RunInput,
    /// Its input folder.
    pub inputs: Inputs,
    /// Its timers.
    pub limits: Limits,
    /// Bytes one output may have.
    pub max_output: usize,
    /// Bytes of each stream the log keeps.
    pub max_log: usize,
    /// Where its log goes.
    pub log_dir: PathBuf,
    /// True if the log holds everything but secrets.
    pub verbose: bool,
    /// Takes the run's secrets out of what the agent prints.
    pub redact: Redact,
}

/// An order to a run.
#[derive(Debug)]
pub(crate) enum Order {
    Deliver { name: String, file: InputFile },
    Close,
    End(EndReason),
}

/// Verbs of a live run.
#[derive(Debug, Clone)]
pub struct RunHandle {
    orders: mpsc::UnboundedSender<Order>,
}

impl RunHandle {
    /// Writes a follow-up with its pictures into the run's input folder. What the run does not answer is in its
    /// outcome.
    pub fn deliver(&self, name: String, text: String, images: Vec<ImageAttachment>) {
        let file = InputFile::Message { text, images };
        // A run that is gone has its outcome on the way.
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

/// What a run tells its group, in order.
#[derive(Debug)]
pub enum RunEvent {
    /// What the agent put out since the last event.
    Outputs(Vec<Item>),
    /// It is gone; nothing follows.
    Ended(Box<Outcome>),
}

/// One thing the agent put out.
#[derive(Debug)]
pub enum Item {
    /// An output.
    Output {
        /// It, with secrets taken out.
        output: Box<Output>,
        /// What it settles, when it ends a turn.
        settled: Option<Settled>,
        /// True if a turn is open after it.
        open: bool,
        /// Its share of the memory that outputs on their way may use.
        share: OwnedSemaphorePermit,
    },
    /// Something that was not an output, for a notice in the chat.
    Unreadable {
        /// What is wrong with it.
        why: String,
        /// What is settled with it, where it was the end of a turn: nobody will hear a better one.
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
