//! The task inside a run: `select!` turns sources into events, [`State`] decides, and the task carries out the
//! effects.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::pump::{self, Forward, Kept, KeptErr, Pumped};
use super::state::{Effect, End, Event, Phase, State};
use super::{EndReason, Item, Order, Outcome, Plan, RunEvent, ending, log};
use crate::container::engine::{Attached, Client, ContainerEngine, EngineError, Exit, Refusal};
use crate::container::run::capture::{Capture, Tail};
use crate::container::run::outcome::KILLED;
use crate::container::run::output;
use crate::container::run::run_log::Record;
use crate::domain::clock::SharedClock;
use crate::domain::text;

/// The most outputs handled at once.
const BATCH: usize = 256;
/// The most characters of stderr from which an error is made.
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
    streams: Streams,
    state: State,
    /// Items that were not sent to the group yet.
    waiting: VecDeque<Item>,
    started: DateTime<Utc>,
    started_at: Instant,
}

/// The container's output streams.
struct Streams {
    found: mpsc::Receiver<Pumped>,
    /// True once both have ended.
    done: bool,
    /// The rest of the memory for outputs on their way to the store.
    budget: Arc<Semaphore>,
    kept: Kept,
    kept_err: KeptErr,
    stderr_task: tokio::task::JoinHandle<()>,
    /// Cancelled when the run is ending: the rest in the pipes is then read quickly.
    hurry: CancellationToken,
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
        let input = std::mem::take(&mut plan.input);
        plan.input.prompt.clone_from(&input.prompt);
        plan.input.session_id.clone_from(&input.session_id);
        let Attached { stdin, stdout, stderr, client } = attached;
        tokio::spawn(pump::stdin(stdin, input));
        let capture = || Capture::new(plan.max_log, plan.log_dir.clone(), plan.redact.clone());
        let kept = Arc::new(Mutex::new(capture()));
        let kept_err = Arc::new(Mutex::new((capture(), Tail::default())));
        let (found_tx, found) = mpsc::channel(BATCH);
        let budget = Arc::new(Semaphore::new(pump::IN_TRANSIT));
        let hurry = CancellationToken::new();
        let to = Forward { budget: budget.clone(), found: found_tx };
        tokio::spawn(pump::stdout(stdout, plan.max_output, kept.clone(), to, hurry.clone()));
        let live = Live::new(&plan.log_dir, plan.id, plan.max_log, plan.redact.clone());
        let stderr_task = tokio::spawn(pump::stderr(stderr, kept_err.clone(), live, hurry.clone()));
        let streams = Streams { found, done: false, budget, kept, kept_err, stderr_task, hurry };
        let (now, waiting, started) = (Instant::now(), VecDeque::new(), clock.now());
        let state = State::new(plan.limits, now);
        Self { engine, plan, client, orders, events, streams, state, waiting, started, started_at: now }
    }

    pub(super) async fn run(mut self) {
        let mut ending: Option<Ending> = None;
        let mut batch = Vec::new();
        while !matches!(self.state.phase(), Phase::Drained { .. }) {
            let events = self.events.clone();
            let (runs, timer) = (*self.state.phase() == Phase::Running, self.state.next_timer());
            let listens = !self.streams.done && self.waiting.is_empty();
            let happened = tokio::select! {
                biased;
                order = self.orders.recv(), if runs => Happened::Order(order),
                gone = wait_for(&mut ending) => Happened::Ended(gone),
                permit = events.reserve(), if !self.waiting.is_empty() => {
                    if let Ok(permit) = permit {
                        permit.send(RunEvent::Outputs(self.waiting.drain(..).collect()));
                    }
                    Happened::Accepted
                }
                n = self.streams.found.recv_many(&mut batch, BATCH), if listens => Happened::Found(n),
                exit = self.client.wait() => Happened::Exited(exit),
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Happened::Timer,
            };
            match happened {
                Happened::Order(order) => self.apply(Event::Order(order), &mut ending),
                Happened::Found(0) => self.streams.done = true,
                Happened::Found(_) => batch.drain(..).for_each(|pumped| self.found(pumped, &mut ending)),
                Happened::Accepted => {}
                Happened::Exited(Ok(exit)) => self.apply(Event::Gone(Some(exit)), &mut ending),
                Happened::Exited(Err(error)) => {
                    tracing::warn!("waiting for {}: {error}", self.plan.spec.name);
                    let (engine, action) = (self.engine.name().to_owned(), "run".to_owned());
                    let error = EngineError::Failed { engine, action, reason: error.to_string() };
                    let refusal = Refusal { code: None, no_program: false, error };
                    self.apply(Event::Gone(Some(Exit::EngineRefused(refusal))), &mut ending);
                }
                Happened::Ended(gone) => {
                    ending = None;
                    let exit = self.client_follows().await;
                    if exit.is_none() {
                        self.client.abandon();
                        // An abandoned client may have made its container after the last check.
                        self.end_again().await;
                    }
                    tracing::debug!("{} ended by the host, gone: {gone}", self.plan.spec.name);
                    self.apply(Event::Gone(exit), &mut ending);
                }
                Happened::Timer => self.apply(Event::Timer, &mut ending),
            }
        }
        self.streams.hurry.cancel();
        self.prove_gone(ending).await;
        self.drain().await;
        self.finish().await;
    }

    fn end_again(&self) -> impl Future<Output = bool> + use<> {
        ending::end(self.engine.clone(), self.plan.spec.name.clone(), EndReason::Stopped)
    }

    /// Waits for the client, which ends after its container unless it hangs.
    async fn client_follows(&mut self) -> Option<Exit> {
        timeout(DRAIN, self.client.wait()).await.ok()?.ok()
    }

    fn apply(&mut self, event: Event, ending: &mut Option<Ending>) {
        for effect in self.state.apply(event, &self.plan.spec.name, &self.plan.redact, Instant::now()) {
            match effect {
                Effect::Write(name, file) => {
                    let written = self.plan.inputs.deliver(&name, &file);
                    if let Err(error) = &written {
                        tracing::warn!("cannot write a follow-up for {}: {error}", self.plan.spec.name);
                    }
                    self.apply(Event::Written { name, well: written.is_ok() }, ending);
                }
                Effect::Close => {
                    if let Err(error) = self.plan.inputs.close() {
                        tracing::warn!("cannot ask {} to exit: {error}", self.plan.spec.name);
                    }
                }
                Effect::End(reason) => {
                    self.streams.hurry.cancel();
                    *ending = Some(Box::pin(ending::end(self.engine.clone(), self.plan.spec.name.clone(), reason)));
                }
                Effect::Report(item) => self.waiting.push_back(item),
            }
        }
    }

    fn found(&mut self, pumped: Pumped, ending: &mut Option<Ending>) {
        let mut gone = self.state.looks_for(&pumped);
        gone.retain(|name| self.plan.inputs.gone(name));
        self.apply(Event::Found(pumped, gone), ending);
    }

    /// Returns how the container ended, and why the host ended it.
    fn end(&self) -> (Option<Exit>, Option<EndReason>) {
        match self.state.phase() {
            Phase::Drained { exit, ended_for } => (exit.clone(), *ended_for),
            Phase::Ending(reason) => (None, Some(*reason)),
            Phase::Running => (None, None),
        }
    }

    /// Ends a container that may still run, because its client ended without success.
    async fn prove_gone(&mut self, ending: Option<Ending>) {
        if let Some(ending) = ending {
            ending.await;
        } else if !matches!(self.end(), (Some(Exit::Code(0)), _) | (_, Some(_))) {
            self.end_again().await;
        }
    }

    /// Reads the rest of the output, which still counts.
    async fn drain(&mut self) {
        while !self.streams.done {
            // The drain ends with silence; the time for storing does not count.
            match timeout(DRAIN, self.streams.found.recv()).await {
                Ok(Some(pumped)) => self.found(pumped, &mut None),
                // The pump may wait for memory, which storing frees.
                Err(_) if self.streams.budget.available_permits() < pump::IN_TRANSIT => self.hand_over().await,
                Ok(None) | Err(_) => self.streams.done = true,
            }
            if self.waiting.len() >= BATCH {
                self.hand_over().await;
            }
        }
        let _ = timeout(DRAIN, &mut self.streams.stderr_task).await;
        if self.state.outputs() == 0 && self.end() == (Some(Exit::Code(0)), None) {
            self.take_single();
        }
        self.hand_over().await;
    }

    /// Takes a bare answer on stdout, if a run ended well without any framed output.
    fn take_single(&mut self) {
        let kept = self.streams.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes();
        if let Ok(kept) = kept
            && let Some(output) = output::single(&kept, self.plan.max_output)
            && let Ok(share) = Arc::new(Semaphore::new(1)).try_acquire_owned()
        {
            self.found(Pumped::Output { output: Box::new(output), share }, &mut None);
        }
    }

    async fn hand_over(&mut self) {
        if !self.waiting.is_empty() {
            // An actor that is gone does not need them.
            let _ = self.events.send(RunEvent::Outputs(self.waiting.drain(..).collect())).await;
        }
    }

    async fn finish(self) {
        let stderr = self.streams.kept_err.lock().unwrap_or_else(PoisonError::into_inner).1.text();
        let stderr = text::visible(&stderr);
        let stderr = (self.plan.redact)(&stderr).unwrap_or_else(|| stderr.into_owned());
        let (exit, ended_for) = self.end();
        let exit = exit.map(|exit| self.client.judge(exit, &stderr));
        let killed = exit == Some(Exit::Code(KILLED)) && ended_for.is_none();
        let out_of_memory = killed && self.engine.ran_out_of_memory(&self.plan.spec.name, self.started).await;
        let end = End {
            stderr: &text::one_line(&stderr, STDERR),
            out_of_memory,
            image: &self.plan.spec.image,
            memory: self.plan.spec.memory.as_deref().unwrap_or("this machine"),
            engine: self.engine.name(),
            exit: exit.as_ref(),
            duration: self.started_at.elapsed(),
        };
        let outcome = self.state.outcome(&end, |name| self.plan.inputs.gone(name));
        self.write_log(&outcome, exit, ended_for);
        let _ = self.events.send(RunEvent::Ended(Box::new(outcome))).await;
    }

    fn write_log(&self, outcome: &Outcome, exit: Option<Exit>, ended_for: Option<EndReason>) {
        let exit = match (exit, ended_for) {
            (_, Some(reason)) => format!("ended by the host: {reason:?}"),
            (Some(Exit::Code(code) | Exit::EngineRefused(Refusal { code: Some(code), .. })), None) => code.to_string(),
            (Some(Exit::EngineRefused(_)), None) => "not started".into(),
            (Some(Exit::Signal(signal)), None) => format!("signal {signal}"),
            (None, None) => "unknown".into(),
        };
        let (stdout, stderr) = (
            std::mem::take(&mut *self.streams.kept.lock().unwrap_or_else(PoisonError::into_inner)),
            std::mem::take(&mut self.streams.kept_err.lock().unwrap_or_else(PoisonError::into_inner).0),
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

/// Waits for an ending under way; forever if there is none.
async fn wait_for(ending: &mut Option<Ending>) -> bool {
    match ending {
        Some(ending) => ending.await,
        None => std::future::pending().await,
    }
}
