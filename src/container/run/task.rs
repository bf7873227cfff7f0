//! The task inside a run: `select!` turns sources into calls of small synchronous functions.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parlor_protocol::{Output, Status};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::pump::{self, Forward, Kept, KeptErr, Pumped};
use super::{EndReason, Item, Order, Outcome, Plan, RunEvent, ending, log};
use crate::container::bounds;
use crate::container::capture::{Capture, Tail};
use crate::container::engine::{Attached, Client, ContainerEngine, Exit};
use crate::container::outcome::{Facts, classify};
use crate::container::output;
use crate::container::run_log::Record;
use crate::container::timers::{Due, Timers};
use crate::container::turn::Turns;
use crate::domain::clock::SharedClock;
use crate::domain::text;

/// Outputs handled in one go.
const BATCH: usize = 256;
/// Characters of stderr that an error may be made of.
const STDERR: usize = 4_096;
/// How long streams may stay open after the container is gone.
const DRAIN: Duration = Duration::from_secs(2);

type Ending = Pin<Box<dyn Future<Output = bool> + Send>>;

pub(super) struct RunTask {
    engine: Arc<dyn ContainerEngine>,
    plan: Plan,
    client: Box<dyn Client>,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<RunEvent>,
    found: mpsc::Receiver<Pumped>,
    /// What outputs on their way to the store may still take.
    budget: Arc<Semaphore>,
    kept: Kept,
    kept_err: KeptErr,
    stderr_task: tokio::task::JoinHandle<()>,
    /// The run is ending: what is still in the pipes is read quickly.
    hurry: CancellationToken,
    started: DateTime<Utc>,
    started_at: Instant,
    turns: Turns,
    timers: Timers,
    waiting: VecDeque<Item>,
    outputs: u64,
    unreadable: u64,
    /// Fields of outputs that were over their limit; each is logged once.
    over: BTreeSet<&'static str>,
    exit: Option<Exit>,
    ended_for: Option<EndReason>,
    streams_done: bool,
}

enum Happened {
    Order(Option<Order>),
    Found(usize),
    Accepted,
    Exited(std::io::Result<Exit>),
    Ended(bool),
    Timer,
}

impl RunTask {
    pub(super) fn new(
        engine: Arc<dyn ContainerEngine>,
        clock: &SharedClock,
        mut plan: Plan,
        attached: Attached,
        orders: mpsc::UnboundedReceiver<Order>,
        events: mpsc::Sender<RunEvent>,
    ) -> Self {
        let capture = || Capture::new(plan.max_log, plan.log_dir.clone(), plan.redact.clone());
        let kept = Arc::new(Mutex::new(capture()));
        let kept_err = Arc::new(Mutex::new((capture(), Tail::default())));
        let (found_tx, found) = mpsc::channel(BATCH);
        let budget = Arc::new(Semaphore::new(pump::IN_TRANSIT));
        let input = std::mem::take(&mut plan.input);
        plan.input.prompt.clone_from(&input.prompt);
        plan.input.session_id.clone_from(&input.session_id);
        tokio::spawn(pump::stdin(attached.stdin, input));
        let hurry = CancellationToken::new();
        let to = Forward { budget: budget.clone(), found: found_tx };
        tokio::spawn(pump::stdout(attached.stdout, plan.max_output, kept.clone(), to, hurry.clone()));
        let live = Live::new(&plan.log_dir, plan.id, plan.max_log, plan.redact.clone());
        let stderr_task = tokio::spawn(pump::stderr(attached.stderr, kept_err.clone(), live, hurry.clone()));
        let now = Instant::now();
        Self {
            engine,
            client: attached.client,
            orders,
            events,
            found,
            budget,
            kept,
            kept_err,
            stderr_task,
            hurry,
            started: clock.now(),
            started_at: now,
            turns: Turns::default(),
            timers: Timers::new(plan.limits, now),
            waiting: VecDeque::new(),
            outputs: 0,
            unreadable: 0,
            over: BTreeSet::new(),
            exit: None,
            ended_for: None,
            streams_done: false,
            plan,
        }
    }

    pub(super) async fn run(mut self) {
        let mut ending: Option<Ending> = None;
        let mut batch = Vec::new();
        while self.exit.is_none() {
            let events = self.events.clone();
            let due = self.timers.next();
            let happened = tokio::select! {
                biased;
                order = self.orders.recv(), if self.ended_for.is_none() => Happened::Order(order),
                gone = wait_for(&mut ending) => Happened::Ended(gone),
                permit = events.reserve(), if !self.waiting.is_empty() => {
                    if let Ok(permit) = permit {
                        permit.send(RunEvent::Outputs(self.waiting.drain(..).collect()));
                    }
                    Happened::Accepted
                }
                n = self.found.recv_many(&mut batch, BATCH), if !self.streams_done && self.waiting.is_empty() => Happened::Found(n),
                exit = self.client.wait() => Happened::Exited(exit),
                () = sleep_until(due.0), if self.ended_for.is_none() => Happened::Timer,
            };
            match happened {
                Happened::Order(order) => self.order(order, &mut ending),
                Happened::Found(0) => self.streams_done = true,
                Happened::Found(_) => batch.drain(..).for_each(|pumped| self.found(pumped)),
                Happened::Accepted => {}
                Happened::Exited(Ok(exit)) => self.exit = Some(exit),
                Happened::Exited(Err(error)) => {
                    tracing::warn!("waiting for {}: {error}", self.plan.spec.name);
                    self.exit = Some(Exit::Code(125));
                }
                Happened::Ended(gone) => {
                    ending = None;
                    if !self.client_follows().await {
                        self.client.abandon();
                        // A client that goes on had perhaps not made its container when that was looked for.
                        self.end_again().await;
                    }
                    tracing::debug!("{} ended by the host, gone: {gone}", self.plan.spec.name);
                    break;
                }
                Happened::Timer => self.due(due.1, &mut ending),
            }
        }
        self.hurry.cancel();
        self.prove_gone(ending).await;
        self.drain().await;
        self.finish().await;
    }

    fn end_again(&self) -> impl Future<Output = bool> + use<> {
        ending::end(self.engine.clone(), self.plan.spec.name.clone(), EndReason::Stopped)
    }

    /// After the container is gone its client ends by itself, unless it hangs.
    async fn client_follows(&mut self) -> bool {
        match timeout(DRAIN, self.client.wait()).await {
            Ok(Ok(exit)) => {
                self.exit = Some(exit);
                true
            }
            _ => false,
        }
    }

    fn order(&mut self, order: Option<Order>, ending: &mut Option<Ending>) {
        match order {
            // An agent that was asked to exit may not look again. What is not delivered is not settled either, and goes
            // to the next run.
            Some(Order::Deliver { .. }) if self.timers.is_closed() => {}
            Some(Order::Deliver { name, file }) => match self.plan.inputs.deliver(&name, &file) {
                Ok(()) => {
                    self.turns.delivered(name);
                    self.timers.input(Instant::now());
                }
                Err(error) => {
                    tracing::warn!("{}: a follow-up could not be written: {error}", self.plan.spec.name);
                    self.close();
                }
            },
            Some(Order::Close) => self.close(),
            Some(Order::End(reason)) => self.end(reason, ending),
            // The group's actor is gone: nobody would hear the answer.
            None => self.end(EndReason::Shutdown, ending),
        }
    }

    fn due(&mut self, due: Due, ending: &mut Option<Ending>) {
        match due {
            Due::Close => self.close(),
            Due::HardTimeout => self.end(EndReason::HardTimeout, ending),
            Due::TurnLimit => self.end(EndReason::TurnLimit, ending),
            Due::CloseGrace => self.end(EndReason::CloseGrace, ending),
        }
    }

    fn close(&mut self) {
        if self.timers.is_closed() {
            return;
        }
        self.timers.closed(Instant::now());
        if let Err(error) = self.plan.inputs.close() {
            tracing::warn!("{}: asking it to exit: {error}", self.plan.spec.name);
        }
    }

    fn end(&mut self, reason: EndReason, ending: &mut Option<Ending>) {
        self.ended_for = Some(reason);
        self.hurry.cancel();
        *ending = Some(Box::pin(ending::end(self.engine.clone(), self.plan.spec.name.clone(), reason)));
    }

    fn found(&mut self, pumped: Pumped) {
        let now = Instant::now();
        match pumped {
            Pumped::Unreadable { why, ends } => {
                let why = bounds::complaint(&why, &*self.plan.redact);
                self.unreadable += 1;
                if self.unreadable <= pump::UNREADABLE {
                    tracing::warn!("{}: {why}", self.plan.spec.name);
                }
                let mut settled = None;
                if ends {
                    let inputs = &self.plan.inputs;
                    settled = self.turns.output(&Output::default(), |name| inputs.gone(name));
                    self.timers.output(now, self.turns.open(), true, true);
                    self.turns.closed();
                }
                self.waiting.push_back(Item::Unreadable { why, settled, open: self.turns.open() });
            }
            Pumped::Output { output, .. } if output.heartbeat => {
                let open = self.turns.open();
                self.timers.output(now, open, false, false);
                drop(output);
            }
            Pumped::Output { mut output, share } => {
                self.outputs += 1;
                for field in bounds::hold(&mut output, &*self.plan.redact) {
                    if self.over.insert(field) {
                        tracing::warn!("{}: {field} of an output is over its limit and is cut", self.plan.spec.name);
                    }
                }
                let inputs = &self.plan.inputs;
                let settled = self.turns.output(&output, |name| inputs.gone(name));
                let open = self.turns.open();
                self.timers.output(now, open, settled.is_some(), output.result.is_some());
                if settled.is_some() {
                    self.turns.closed();
                }
                let failed = output.status == Status::Error;
                self.waiting.push_back(Item::Output { output, settled, open, share });
                if failed {
                    // A failed turn is retried by a fresh run.
                    self.close();
                }
            }
        }
    }

    /// A client that ended otherwise than with its container's success may have left it running.
    async fn prove_gone(&mut self, ending: Option<Ending>) {
        if let Some(ending) = ending {
            ending.await;
        } else if self.ended_for.is_none() && self.exit != Some(Exit::Code(0)) {
            self.end_again().await;
        }
    }

    /// What the agent printed before it ended still counts.
    async fn drain(&mut self) {
        while !self.streams_done {
            // Silence ends it, not the time that storing takes.
            match timeout(DRAIN, self.found.recv()).await {
                Ok(Some(pumped)) => self.found(pumped),
                // The pump may be waiting for room, which storing makes.
                Err(_) if self.budget.available_permits() < pump::IN_TRANSIT => self.hand_over().await,
                Ok(None) | Err(_) => self.streams_done = true,
            }
            if self.waiting.len() >= BATCH {
                self.hand_over().await;
            }
        }
        let _ = timeout(DRAIN, &mut self.stderr_task).await;
        if self.outputs == 0 && self.exit == Some(Exit::Code(0)) && self.ended_for.is_none() {
            self.take_single();
        }
        self.hand_over().await;
    }

    /// A run that ended well without a single framed output may have printed its one answer bare.
    fn take_single(&mut self) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes();
        if let Ok(kept) = kept
            && let Some(output) = output::single(&kept, self.plan.max_output)
            && let Ok(share) = Arc::new(Semaphore::new(1)).try_acquire_owned()
        {
            self.found(Pumped::Output { output: Box::new(output), share });
        }
    }

    async fn hand_over(&mut self) {
        if !self.waiting.is_empty() {
            // An actor that is gone no longer needs them.
            let _ = self.events.send(RunEvent::Outputs(self.waiting.drain(..).collect())).await;
        }
    }

    async fn finish(self) {
        let stderr = self.kept_err.lock().unwrap_or_else(PoisonError::into_inner).1.text();
        let stderr = text::visible(&stderr);
        let stderr = (self.plan.redact)(&stderr).unwrap_or_else(|| stderr.into_owned());
        let refusal = match self.exit {
            Some(Exit::Code(code @ 125..=127)) => self.engine.refusal(code, &stderr).map(|error| error.to_string()),
            _ => None,
        };
        let killed = self.exit == Some(Exit::Code(137)) && self.ended_for.is_none();
        let out_of_memory = killed && self.engine.ran_out_of_memory(&self.plan.spec.name, self.started).await;
        let (state, error, cause) = classify(&Facts {
            exit: self.exit,
            ended_for: self.ended_for,
            open: self.turns.open(),
            replied: self.turns.replied(),
            timeout: self.timers.configured(),
            stderr: &text::one_line(&stderr, STDERR),
            out_of_memory,
            image: &self.plan.spec.image,
            memory: self.plan.spec.memory.as_deref().unwrap_or("this machine"),
            outputs: self.outputs,
            engine: self.engine.name(),
            refusal: refusal.as_deref(),
        });
        let unsettled = self.turns.unsettled();
        let taken = unsettled.inputs.iter().filter(|name| self.plan.inputs.gone(name)).cloned().collect();
        let outcome = Outcome {
            state,
            error,
            cause,
            exit_code: match self.exit {
                Some(Exit::Code(code)) => Some(code),
                _ => None,
            },
            unsettled,
            taken,
            replied: self.turns.replied(),
            outputs: self.outputs,
            duration: self.started_at.elapsed(),
        };
        self.write_log(&outcome);
        let _ = self.events.send(RunEvent::Ended(Box::new(outcome))).await;
    }

    fn write_log(&self, outcome: &Outcome) {
        let exit = match (self.ended_for, self.exit) {
            (Some(reason), _) => format!("ended by the host: {reason:?}"),
            (None, Some(Exit::Code(code))) => code.to_string(),
            (None, Some(Exit::Signal(signal))) => format!("signal {signal}"),
            (None, None) => "unknown".into(),
        };
        let (stdout, stderr) = (
            std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner)),
            std::mem::take(&mut self.kept_err.lock().unwrap_or_else(PoisonError::into_inner).0),
        );
        let argv = self.engine.describe(&self.plan.spec);
        let (dir, run, started) = (self.plan.log_dir.clone(), self.plan.id, self.started);
        let (spec, redact, verbose) = (self.plan.spec.clone(), self.plan.redact.clone(), self.plan.verbose);
        let (prompt, session) = (self.plan.input.prompt.clone(), self.plan.input.session_id.clone());
        let (error, outputs, duration) = (outcome.error.clone(), outcome.outputs, outcome.duration);
        tokio::task::spawn_blocking(move || {
            let record = Record {
                run,
                spec: &spec,
                argv: &argv,
                prompt: &prompt,
                session: session.as_deref(),
                started,
                duration,
                exit: &exit,
                error: error.as_deref(),
                outputs,
                stdout: &stdout,
                stderr: &stderr,
                verbose,
            };
            log::write(&dir, &record, &redact);
        });
    }
}

/// Waits for an ending under way; for ever when there is none.
async fn wait_for(ending: &mut Option<Ending>) -> bool {
    match ending {
        Some(ending) => ending.await,
        None => std::future::pending().await,
    }
}
