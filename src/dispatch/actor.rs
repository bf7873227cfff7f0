//! The actor of one group. `select!` only turns sources into events, the [`Machine`] decides, and the actor carries
//! out the effects. Slow work comes back as an event, so the actor hears every order at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::desk::Desk;
use super::event::{AgentOutput, AskId, Effect, Event, Opened, Remains};
use super::hold::Now;
use super::jobs::{Answer, Facts, Job, Then};
use super::machine::{Ids, Machine};
use super::slots::{Slot, Ticket};
use super::start::{self, NotOpened, StartRequest, Started};
use super::steps::Routes;
use super::{Deps, GroupActivity};
use crate::container::run::{Item, RunEvent, RunHandle};
use crate::domain::ids::{ChatJid, RunId};
use crate::domain::run::Lane as LaneKind;
use crate::domain::typing::Typing;
use crate::store::{Connection, StoreError, Tx};

/// The wait between two tries of a failing store.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// A request from another part of the host.
#[derive(Debug)]
pub(super) enum Verb {
    /// End the current runs, as `/stop` does; the answer is true if something ran.
    Stop(oneshot::Sender<bool>),
    /// End one run.
    StopRun(RunId, oneshot::Sender<bool>),
    /// Retry at once what failed.
    GoOn,
    /// Report the group's current activity.
    Activity(oneshot::Sender<GroupActivity>),
}

pub(super) struct GroupActor {
    deps: Arc<Deps>,
    machine: Machine,
    notify: Arc<Notify>,
    verbs: mpsc::Receiver<Verb>,
    evictions: mpsc::UnboundedReceiver<Ticket>,
    evict: mpsc::UnboundedSender<Ticket>,
    chat: Hands,
    task: Hands,
    desk: Desk,
    /// The job that the store does now.
    job: Option<BoxFuture<'static, Answer>>,
    /// The open questions, each with the sender of its answer.
    asks: HashMap<AskId, oneshot::Sender<bool>>,
    asked: u64,
    heard_soft: bool,
    heard_hard: bool,
}

/// The handles that an actor holds for a lane.
#[derive(Default)]
struct Hands {
    slot: Option<Slot>,
    at: At,
    /// The memory permits of outputs that are not stored yet.
    shares: Vec<OwnedSemaphorePermit>,
}

/// The source of a lane's next event.
#[derive(Default)]
enum At {
    #[default]
    Nothing,
    Queue(oneshot::Receiver<Slot>),
    Opening {
        task: JoinHandle<Result<Started, NotOpened>>,
        /// The opening task checks this wherever it may wait long.
        cancel: CancellationToken,
        /// Dropped with the actor, because then nobody needs the room.
        #[expect(dead_code, reason = "what counts is its end")]
        wanted: DropGuard,
    },
    Live(RunHandle, mpsc::Receiver<RunEvent>),
    Clearing(BoxFuture<'static, ()>),
}

impl Hands {
    /// Returns the lane's next event. If `listens`, outputs of its run count as events, too.
    async fn next(&mut self, lane: LaneKind, listens: bool) -> Event {
        match &mut self.at {
            At::Queue(slot) => {
                let Ok(slot) = slot.await else { return std::future::pending().await };
                let ticket = slot.ticket();
                (self.slot, self.at) = (Some(slot), At::Nothing);
                Event::Slot(lane, ticket)
            }
            At::Opening { task, .. } => {
                let (at, opened) = opened(task.await);
                self.at = at;
                Event::Opened(lane, opened)
            }
            At::Live(_, events) if listens => match events.recv().await {
                Some(RunEvent::Outputs(items)) => {
                    let items = items.into_iter().map(|item| self.take_share(item)).collect();
                    Event::Outputs(lane, items)
                }
                Some(RunEvent::Ended(outcome)) => {
                    self.at = At::Nothing;
                    Event::Ended(lane, Some(outcome))
                }
                None => {
                    self.at = At::Nothing;
                    Event::Ended(lane, None)
                }
            },
            At::Clearing(clearing) => {
                clearing.await;
                self.at = At::Nothing;
                Event::Cleared(lane)
            }
            At::Live(..) | At::Nothing => std::future::pending().await,
        }
    }

    fn take_share(&mut self, item: Item) -> AgentOutput {
        match item {
            Item::Output { output, settled, open, share } => {
                self.shares.push(share);
                AgentOutput::Output { output, settled, open }
            }
            Item::Unreadable { why, settled, open } => AgentOutput::Unreadable { why, settled, open },
        }
    }
}

/// Splits an opened room into the actor's handles and the machine's facts.
fn opened(result: Result<Result<Started, NotOpened>, JoinError>) -> (At, Result<Opened, String>) {
    match result {
        Ok(Ok(Started { handle, events, provider, answering, session })) => {
            (At::Live(handle, events), Ok(Opened { provider, answering, session }))
        }
        Ok(Err(NotOpened::Failed(error))) => (At::Nothing, Err(format!("{error:#}"))),
        Ok(Err(error @ NotOpened::Cancelled)) => (At::Nothing, Err(error.to_string())),
        Err(error) => (At::Nothing, Err(format!("a defect of Parlor: {error}; the log of the host says where"))),
    }
}

impl GroupActor {
    pub(super) fn new(deps: Arc<Deps>, jid: ChatJid, notify: Arc<Notify>, verbs: mpsc::Receiver<Verb>) -> Self {
        let (evict, evictions) = mpsc::unbounded_channel();
        let (clock, registry) = (deps.clock.clone(), deps.registry.clone());
        let ids = Ids(Arc::new(move || clock.ulid()));
        let routes: Routes = Arc::new(move |jid| registry.route(jid));
        let machine = Machine::new(deps.settings.clone(), jid, ids, routes, Now::of(&*deps.clock));
        Self {
            deps,
            machine,
            notify,
            verbs,
            evictions,
            evict,
            chat: Hands::default(),
            task: Hands::default(),
            desk: Desk::default(),
            job: None,
            asks: HashMap::new(),
            asked: 0,
            heard_soft: false,
            heard_hard: false,
        }
    }

    /// Runs until the group has nothing to do. Then `leave` decides, under the registry's lock, whether the actor may
    /// go.
    pub(super) async fn run(mut self, leave: impl Fn(&mpsc::Receiver<Verb>) -> bool) {
        let notify = self.notify.clone();
        let (soft, hard) = (self.deps.shutdown.soft.clone(), self.deps.shutdown.hard.clone());
        loop {
            let timer = self.machine.next_timer();
            let listens = self.desk.listens();
            // Not `biased`: neither a busy agent nor a busy chat may starve the other.
            let event = tokio::select! {
                () = hard.cancelled(), if !self.heard_hard => {
                    self.heard_hard = true;
                    Event::Hard
                }
                () = soft.cancelled(), if !self.heard_soft => {
                    self.heard_soft = true;
                    Event::Soft
                }
                Some(verb) = self.verbs.recv() => match self.ask(verb) {
                    Some(event) => event,
                    None if self.may_leave() && leave(&self.verbs) => return,
                    None => continue,
                },
                answer = wait_for(&mut self.job) => self.job_done(answer),
                event = self.chat.next(LaneKind::Chat, listens) => event,
                event = self.task.next(LaneKind::Task, listens) => event,
                Some(ticket) = self.evictions.recv() => Event::Evicted(ticket),
                () = notify.notified() => Event::Wake,
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Event::Timer,
            };
            if matches!(event, Event::Outputs(..) | Event::Ended(..)) {
                self.desk.hears();
            }
            for effect in self.machine.apply(event, Now::of(&*self.deps.clock)) {
                self.perform(effect);
            }
            self.next_job();
            if self.may_leave() && leave(&self.verbs) {
                return;
            }
        }
    }

    /// Turns a question into an event, or answers it here if the machine need not change.
    fn ask(&mut self, verb: Verb) -> Option<Event> {
        match verb {
            Verb::Stop(answer) => Some(Event::Stop(self.remember(answer))),
            Verb::StopRun(run, answer) => Some(Event::StopRun(run, self.remember(answer))),
            Verb::GoOn => Some(Event::GoOn),
            Verb::Activity(answer) => {
                let _ = answer.send(self.machine.activity(Now::of(&*self.deps.clock)));
                None
            }
        }
    }

    fn remember(&mut self, answer: oneshot::Sender<bool>) -> AskId {
        self.asked += 1;
        self.asks.insert(AskId(self.asked), answer);
        AskId(self.asked)
    }

    fn may_leave(&self) -> bool {
        self.machine.is_idle() && self.desk.is_empty()
    }

    fn next_job(&mut self) {
        if let Some(job) = self.desk.begin() {
            let (deps, jid, routes) = (self.deps.clone(), self.machine.jid.clone(), self.machine.routes.clone());
            self.job = Some(store(deps, jid, routes, job).boxed());
        }
    }

    fn job_done(&mut self, answer: Answer) -> Event {
        self.job = None;
        self.desk.done();
        if let Answer::Committed(Then::Outputs(lane)) = answer {
            self.hands(lane).shares.clear();
        }
        Event::Store(answer)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Store(job) => self.desk.push(job),
            Effect::StoreSoon(step) => {
                let (deps, jid) = (self.deps.clone(), self.machine.jid.clone());
                let (routes, now) = (self.machine.routes.clone(), deps.clock.now());
                let (settings, load) = (deps.settings.clone(), deps.slots.load());
                deps.store.write_soon(move |tx| {
                    step.apply(tx, &Facts { jid: &jid, settings: &settings, routes: &routes, now, load })
                });
            }
            Effect::AskForSlot(lane) => {
                let queue = self.deps.slots.request(self.evict.clone());
                self.hands(lane).at = At::Queue(queue);
            }
            Effect::FreeSlot(lane) => {
                *self.hands(lane) = Hands::default();
            }
            Effect::SetIdle(lane, idle) => {
                if let Some(slot) = &self.hands(lane).slot {
                    slot.set_idle(idle);
                }
            }
            Effect::Open(lane, request) => self.open(lane, *request),
            Effect::CancelOpening(lane) => {
                if let At::Opening { cancel, .. } = &self.hands(lane).at {
                    cancel.cancel();
                }
            }
            Effect::Deliver(lane, input) => {
                self.with_run(lane, |run| run.deliver(input.name, input.text, input.images));
            }
            Effect::Close(lane) => self.with_run(lane, RunHandle::close),
            Effect::End(lane, reason) => self.with_run(lane, |run| run.end(reason)),
            Effect::Clear(lane, remains) => {
                let clearing = clear(self.deps.clone(), remains).boxed();
                self.hands(lane).at = At::Clearing(clearing);
            }
            Effect::ForgetImages => self.deps.rooms.doubt_image(),
            Effect::Typing(on) => {
                // There may be no receiver.
                let _ = self.deps.typing.send(Typing { jid: self.machine.jid.clone(), on });
            }
            Effect::Answer(ask, yes) => {
                if let Some(answer) = self.asks.remove(&ask) {
                    let _ = answer.send(yes);
                }
            }
        }
    }

    fn open(&mut self, lane: LaneKind, request: StartRequest) {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(start::start(self.deps.clone(), request, cancel.clone()));
        let wanted = cancel.clone().drop_guard();
        self.hands(lane).at = At::Opening { task, cancel, wanted };
    }

    fn with_run(&mut self, lane: LaneKind, order: impl FnOnce(&RunHandle)) {
        if let At::Live(run, _) = &self.hands(lane).at {
            order(run);
        }
    }

    fn hands(&mut self, lane: LaneKind) -> &mut Hands {
        match lane {
            LaneKind::Chat => &mut self.chat,
            LaneKind::Task => &mut self.task,
        }
    }
}

async fn wait_for(job: &mut Option<BoxFuture<'static, Answer>>) -> Answer {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}

/// Gives a job to the store. If the machine already relies on the job, a failing store is retried until it works.
/// Nothing is lost meanwhile, because the agent's next output stays in the pipe.
async fn store(deps: Arc<Deps>, jid: ChatJid, routes: Routes, job: Job) -> Answer {
    let mut job = Arc::new(job);
    let mut reported = false;
    loop {
        let (now, load, settings) = (deps.clock.now(), deps.slots.load(), deps.settings.clone());
        let (jid_too, routes, job_too) = (jid.clone(), routes.clone(), job.clone());
        let result = if matches!(*job, Job::Look) {
            let look = move |db: &Connection| {
                Job::look(db, &Facts { jid: &jid_too, settings: &settings, routes: &routes, now, load })
            };
            deps.store.read(look).await
        } else {
            let perform = move |tx: &mut Tx<'_>| {
                job_too.perform(tx, &Facts { jid: &jid_too, settings: &settings, routes: &routes, now, load })
            };
            deps.store.write(perform).await
        };
        let error = match result {
            Ok(answer) => return answer,
            Err(error) => error,
        };
        if !job.must_be_done() {
            return Arc::unwrap_or_clone(job).failed(error);
        }
        match error {
            StoreError::Panicked { reason } => match job.without_its_command() {
                // The command would panic again, so it is dropped without an answer, and the group continues.
                Some((rest, command)) => {
                    tracing::error!("{jid}: the command {command} is given up: a defect of Parlor: {reason}");
                    job = Arc::new(rest);
                }
                // This job cannot be dropped, so the actor ends and is replaced.
                None => std::panic::resume_unwind(Box::new(reason)),
            },
            error if error.is_temporary() && !deps.shutdown.hard.is_cancelled() => {
                if !std::mem::replace(&mut reported, true) {
                    tracing::error!("the store fails at a job for {jid}, retrying: {error}");
                }
                sleep(STORE_RETRY).await;
            }
            error => {
                tracing::error!("cannot store a job for {jid}: {error}");
                return Arc::unwrap_or_clone(job).failed(error);
            }
        }
    }
}

/// Clears away what a run left behind.
async fn clear(deps: Arc<Deps>, remains: Remains) {
    let Remains { folder, run, container } = remains;
    if let Some(name) = container
        && let Err(error) = deps.engine.remove(std::slice::from_ref(&name)).await
    {
        tracing::error!("cannot end container {name}: {error}; `parlor doctor` says what to do");
    }
    start::clean_up(&deps, &folder, run).await;
}
