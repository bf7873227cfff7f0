//! The actor of one group: owns its two lanes, their runs and their timers.
//!
//! `select!` only turns sources into [`Happened`]; what to do next is always found by looking into the store
//! ([`GroupActor::advance`]), so that start, wake-up, retry and recovery are one path.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::hold::Now;
use super::lane::{Lane, News};
use super::slots::{Slot, Ticket};
use super::{Deps, Doing, GroupActivity, RunActivity};
use crate::container::run::{EndReason, Outcome, RunEvent};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, RunId};
use crate::domain::run::Lane as LaneKind;

/// Between two looks at a store that is out of order.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What others ask an actor.
#[derive(Debug)]
pub(super) enum Verb {
    /// End what runs, as `/stop` does; answers whether something ran.
    Stop(oneshot::Sender<bool>),
    /// End one run.
    StopRun(RunId, oneshot::Sender<bool>),
    /// Try again now what failed.
    GoOn,
    /// What it does at the moment.
    Activity(oneshot::Sender<GroupActivity>),
}

pub(super) struct GroupActor {
    pub(super) deps: Arc<Deps>,
    pub(super) jid: ChatJid,
    pub(super) chat: Lane,
    pub(super) task: Lane,
    notify: Arc<Notify>,
    verbs: mpsc::Receiver<Verb>,
    evictions: mpsc::UnboundedReceiver<Ticket>,
    pub(super) evict: mpsc::UnboundedSender<Ticket>,
    /// When to look again, after a look failed.
    pub(super) look_at: Option<Instant>,
    /// When messages that wait for more have waited enough.
    settled_at: Option<Instant>,
    closing: bool,
    pub(super) typing: bool,
    /// The group's settings at the last look.
    pub(super) config: Option<ContainerConfig>,
}

enum Happened {
    Wake,
    Verb(Verb),
    Evicted(Ticket),
    Lane(LaneKind, News),
    Timer,
    Soft,
    Hard,
}

impl GroupActor {
    pub(super) fn new(deps: Arc<Deps>, jid: ChatJid, notify: Arc<Notify>, verbs: mpsc::Receiver<Verb>) -> Self {
        let (evict, evictions) = mpsc::unbounded_channel();
        Self {
            deps,
            jid,
            chat: Lane::new(),
            task: Lane::new(),
            notify,
            verbs,
            evictions,
            evict,
            look_at: None,
            settled_at: None,
            closing: false,
            typing: false,
            config: None,
        }
    }

    /// Runs until the group has nothing to do; `leave` then says whether it may go, under the lock of the registry.
    pub(super) async fn run(mut self, leave: impl Fn(&mpsc::Receiver<Verb>) -> bool) {
        let notify = self.notify.clone();
        let (soft, hard) = (self.deps.shutdown.soft.clone(), self.deps.shutdown.hard.clone());
        loop {
            let wake_at = self.next_timer();
            // In no fixed order: neither an agent that never pauses nor a chat that never does keeps the other waiting.
            let happened = tokio::select! {
                () = hard.cancelled(), if !self.chat.ending() || !self.task.ending() => Happened::Hard,
                () = soft.cancelled(), if !self.closing => Happened::Soft,
                Some(verb) = self.verbs.recv() => Happened::Verb(verb),
                news = self.chat.news() => Happened::Lane(LaneKind::Chat, news),
                news = self.task.news() => Happened::Lane(LaneKind::Task, news),
                Some(ticket) = self.evictions.recv() => Happened::Evicted(ticket),
                () = notify.notified() => Happened::Wake,
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => Happened::Timer,
            };
            self.handle(happened).await;
            if self.idle() && leave(&self.verbs) {
                return;
            }
        }
    }

    fn idle(&self) -> bool {
        self.chat.is_free() && self.task.is_free() && self.next_timer().is_none()
    }

    /// A time that has passed already counts: handling other things may have taken longer than it was away.
    fn next_timer(&self) -> Option<Instant> {
        if self.closing {
            return None;
        }
        let follow_up_at = self.chat.live().and_then(|live| live.follow_up_at);
        [self.chat.timer(), self.task.timer(), self.look_at, self.settled_at, follow_up_at].into_iter().flatten().min()
    }

    /// Holds that are over are forgotten, so that each rings once.
    fn rung(&mut self) {
        let both = Now::of(&*self.deps.clock);
        self.chat.held_back(both);
        self.task.held_back(both);
        let now = both.monotonic;
        self.look_at = self.look_at.filter(|at| *at > now);
        self.settled_at = self.settled_at.filter(|at| *at > now);
        if let Some(live) = self.chat.live_mut() {
            live.follow_up_at = live.follow_up_at.filter(|at| *at > now);
        }
    }

    async fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Wake => self.advance().await,
            Happened::Timer => {
                self.rung();
                self.advance().await;
            }
            Happened::Verb(verb) => self.verb(verb).await,
            Happened::Evicted(ticket) => self.evicted(ticket),
            Happened::Lane(lane, News::Slot(slot)) => self.slot(lane, slot).await,
            Happened::Lane(lane, News::Opened(result)) => {
                self.opened(lane, result).await;
                self.advance().await;
            }
            Happened::Lane(lane, News::Run(event)) => self.run_event(lane, event).await,
            Happened::Soft => {
                self.closing = true;
                for lane in [&mut self.chat, &mut self.task] {
                    lane.shut();
                }
            }
            Happened::Hard => {
                for lane in [&mut self.chat, &mut self.task] {
                    lane.end(EndReason::Shutdown);
                }
            }
        }
    }

    async fn verb(&mut self, verb: Verb) {
        match verb {
            Verb::Stop(answer) => {
                let ran = self.stop_all(i64::MAX, None).await;
                let _ = answer.send(ran);
            }
            Verb::StopRun(run, answer) => {
                let ran = self.stop_run(run).await;
                let _ = answer.send(ran);
            }
            Verb::GoOn => {
                self.go_on();
                self.advance().await;
            }
            Verb::Activity(answer) => {
                let _ = answer.send(self.activity());
            }
        }
    }

    pub(super) fn activity(&self) -> GroupActivity {
        let lanes = [&self.chat, &self.task];
        let now = Now::of(&*self.deps.clock);
        let activity = |lane: &&Lane| {
            let (row, talk) = lane.work()?;
            let doing = match (lane.live().is_some(), talk.open) {
                (false, _) => Doing::Opening,
                (true, true) => Doing::Working,
                (true, false) => Doing::Idle,
            };
            Some(RunActivity { run: row.id, lane: row.lane, doing })
        };
        GroupActivity {
            runs: lanes.iter().filter_map(activity).collect(),
            waiting: lanes.iter().find_map(|lane| lane.why_waiting(now, self.deps.settings.timezone)),
        }
    }

    /// A waiting group needs the room: an idle run closes at once.
    fn evicted(&mut self, ticket: Ticket) {
        for lane in [&mut self.chat, &mut self.task] {
            lane.evict(ticket);
        }
    }

    /// Looks what is due and does it.
    pub(super) async fn advance(&mut self) {
        let look = match self.look().await {
            Ok(look) => look,
            Err(error) => {
                tracing::warn!("{}: looking for work: {error}", self.jid);
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
                return;
            }
        };
        let Some(group) = &look.group else {
            self.stop_strays(None);
            return;
        };
        self.stop_strays(Some(group));
        if self.deps.shutdown.hard.is_cancelled() {
            return;
        }
        if !look.commands.is_empty() {
            self.commands(group, &look).await;
            // What a command changed is looked at afresh.
            self.notify.notify_one();
            return;
        }
        if self.closing {
            return;
        }
        let quiet = look.settles_at.and_then(|at| (at - self.deps.clock.now()).to_std().ok());
        self.settled_at = quiet.map(|wait| Instant::now() + wait);
        self.heed(group);
        self.keep_to_budget(group, &look).await;
        self.advance_chat(group, &look).await;
        self.advance_task(group, &look);
    }

    /// A slot is there: what to start is looked up now, because it may have changed while waiting.
    async fn slot(&mut self, lane: LaneKind, slot: Option<Slot>) {
        self.lane(lane).stop_waiting();
        let Some(slot) = slot.filter(|_| !self.closing) else { return };
        let Ok(look) = self.look().await else {
            self.look_at = Some(Instant::now() + LOOK_AGAIN);
            return;
        };
        let Some(group) = look.group else { return };
        if look.used_up.is_some() {
            // Since it asked for the slot; the lanes are held at the next look.
            self.notify.notify_one();
            return;
        }
        match (lane, look.message_waits, look.chat_fire, look.task_fire) {
            // Messages and tasks with the group's context take turns.
            (LaneKind::Chat, waits, Some(fire), _) if !waits || self.chat.last_was_messages => {
                self.start_task(LaneKind::Chat, &group, fire, slot).await;
            }
            (LaneKind::Chat, true, ..) => self.start_messages(&group, slot).await,
            (LaneKind::Task, _, _, Some(fire)) => self.start_task(LaneKind::Task, &group, fire, slot).await,
            _ => {}
        }
        self.notify.notify_one();
    }

    async fn run_event(&mut self, lane: LaneKind, event: Option<RunEvent>) {
        match event {
            Some(RunEvent::Outputs(items)) => {
                self.outputs(lane, items).await;
                let owed = self.lane(lane).live().is_some_and(|l| l.talk.open);
                if !owed {
                    self.advance().await;
                }
            }
            Some(RunEvent::Ended(outcome)) => {
                self.ended(lane, *outcome).await;
                self.advance().await;
            }
            None => {
                tracing::error!("a run of {} ended without an outcome: a defect of Parlor", self.jid);
                self.end_container(lane).await;
                self.ended(lane, Outcome::unknown()).await;
                self.advance().await;
            }
        }
    }

    /// Ends the container of a run whose own task cannot any more.
    async fn end_container(&mut self, lane: LaneKind) {
        let Some((row, _)) = self.lane(lane).work() else { return };
        let name = row.container.clone();
        if let Err(error) = self.deps.engine.remove(std::slice::from_ref(&name)).await {
            tracing::error!("cannot end container {name}: {error}; `parlor doctor` says what to do");
        }
    }

    pub(super) fn lane(&mut self, lane: LaneKind) -> &mut Lane {
        match lane {
            LaneKind::Chat => &mut self.chat,
            LaneKind::Task => &mut self.task,
        }
    }

    fn lane_ref(&self, lane: LaneKind) -> &Lane {
        match lane {
            LaneKind::Chat => &self.chat,
            LaneKind::Task => &self.task,
        }
    }

    /// Nothing may run for a group that is gone, also when another one has its chat now.
    fn stop_strays(&mut self, group: Option<&Group>) {
        for lane in [&mut self.chat, &mut self.task] {
            let stray = match (group, lane.work()) {
                (Some(group), Some((_, talk))) => talk.folder != group.folder,
                (Some(_), None) => false,
                (None, _) => true,
            };
            if stray {
                lane.release();
                lane.end(EndReason::Stopped);
            } else if let (Some(group), Some((_, talk))) = (group, lane.work())
                && (talk.is_main != group.is_main || !talk.config.opens_the_same_room(&group.container_config))
            {
                // Its mounts and limits are those of what the group was: the next run has the right ones.
                lane.close();
            }
        }
    }

    async fn stop_run(&mut self, run: RunId) -> bool {
        let lane = [LaneKind::Chat, LaneKind::Task].into_iter().find(|lane| {
            let work = self.lane_ref(*lane).work();
            work.is_some_and(|(row, _)| row.id == run)
        });
        let Some(lane) = lane else { return false };
        self.cancel_lane(lane, false).await;
        self.show_typing();
        true
    }
}
