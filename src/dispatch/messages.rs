//! The work of a run: waiting messages or a task's firing from the store, and follow-ups.

use super::event::{Effect, FollowUp};
use super::jobs::{First, Job, News, Take, Then};
use super::lane::{LaneState, Orders, Starting, Taking, Wanted};
use super::live::{Conversation, Given, Work};
use super::machine::{LOOK_AGAIN, Machine};
use super::prompt::{self, View};
use super::start::{self, Past, Sees, StartRequest};
use super::steps::Step;
use crate::container::run::EndReason;
use crate::domain::group::Group;
use crate::domain::ids::ChatJid;
use crate::domain::message::Batch;
use crate::domain::run::{Lane as LaneKind, RunState};
use crate::domain::task::{ContextMode, FireState};
use crate::store::StoreError;
use crate::store::runs::Run;
use crate::store::tasks::FireEnd;

impl Machine {
    /// Has the store give work to a lane that has a slot.
    pub(super) fn take(&mut self, lane: LaneKind, group: &Group, wanted: Wanted) {
        let LaneState::Ready(ticket) = *self.lane_ref(lane).state() else { return };
        let mut row = self.row(group, lane);
        let job = match &wanted {
            Wanted::Messages => Job::TakeMessages(Box::new(Take { row: row.clone(), group: group.clone() })),
            Wanted::Task(of) => {
                let (fire, task) = &**of;
                (row.task_id, row.due, row.jid) = (Some(task.id.clone()), Some(fire.due), task.jid.clone());
                let in_group = task.context_mode == ContextMode::Group;
                let (task, due) = (task.id.clone(), fire.due);
                let of = Box::new(Take { row: row.clone(), group: group.clone() });
                Job::TakeTask { of, task, due, in_group }
            }
        };
        let taking = Taking { row, group: group.clone(), wanted, orders: Orders::default(), ticket };
        self.lane(lane).enter(LaneState::Taking(Box::new(taking)));
        self.effect(Effect::Store(job));
    }

    /// Handles the messages that the store gave to a new run.
    pub(super) fn took_messages(&mut self, first: Result<Option<Box<First>>, StoreError>) {
        let lane = LaneKind::Chat;
        let Some((taking, first)) = self.taken(lane, first) else { return };
        let First { batch, past, said, news } = *first;
        let mut conversation = self.conversation(&taking, Work::Messages, true);
        conversation.begin(&batch);
        conversation.told = news.through;
        let request = StartRequest {
            group: taking.group.clone(),
            run: taking.row.id,
            lane,
            prompt: prompt::format(&batch, None),
            news: news.told,
            now: self.now.wall,
            images: prompt::images(&batch),
            batch: Some(batch),
            past,
            resumed: said,
            task: false,
        };
        self.lane(lane).last_was_messages = true;
        self.open(*taking, conversation, request);
    }

    /// Handles the task's firing that the store gave to a new run.
    pub(super) fn took_task(&mut self, lane: LaneKind, past: Result<Option<Box<Past>>, StoreError>) {
        let Some((taking, past)) = self.taken(lane, past) else { return };
        let Wanted::Task(of) = &taking.wanted else { return };
        let (fire, task) = (&of.0, &of.1);
        let work = Work::Task { task: task.id.clone(), due: fire.due };
        let mut conversation = self.conversation(&taking, work, task.context_mode == ContextMode::Group);
        conversation.jid = task.jid.clone();
        let request = StartRequest {
            group: taking.group.clone(),
            run: taking.row.id,
            lane,
            prompt: task.prompt.clone(),
            news: Vec::new(),
            now: self.now.wall,
            images: Vec::new(),
            batch: None,
            past: *past,
            resumed: Vec::new(),
            task: true,
        };
        self.lane(lane).last_was_messages = false;
        self.open(*taking, conversation, request);
    }

    /// Takes the work out of the lane, if the store has given some; otherwise frees the lane.
    fn taken<T>(&mut self, lane: LaneKind, answer: Result<Option<T>, StoreError>) -> Option<(Box<Taking>, T)> {
        let LaneState::Taking(taking) = self.lane(lane).state_mut() else { return None };
        match answer {
            Ok(Some(given)) => Some((taking.clone(), given)),
            // The work was taken back meanwhile.
            Ok(None) => {
                self.free(lane);
                self.look();
                None
            }
            Err(error) => {
                let what = match &taking.wanted {
                    Wanted::Messages => "messages".to_owned(),
                    Wanted::Task(of) => format!("task {}", of.1.id),
                };
                tracing::warn!("{}: cannot take {what} for a run: {error}", self.jid);
                let again = self.now.monotonic + LOOK_AGAIN;
                self.lane(lane).hold(again, error.to_string());
                self.free(lane);
                None
            }
        }
    }

    fn conversation(&self, taking: &Taking, work: Work, keeps_session: bool) -> Conversation {
        let group = &taking.group;
        let mut conversation =
            Conversation::new(taking.row.id, group.folder.clone(), self.jid.clone(), work, keeps_session);
        conversation.is_main = group.is_main;
        conversation.registered = group.created_at;
        conversation.config = group.container_config.clone();
        conversation
    }

    /// Begins to open the room, if it is still needed.
    fn open(&mut self, taking: Taking, mut conversation: Conversation, request: StartRequest) {
        let Taking { row, orders, ticket, .. } = taking;
        let lane = row.lane;
        if orders.forgets_session {
            conversation.forget_session();
        }
        if let Some(reason) = orders.ended {
            let mut steps = Self::unwanted(&mut conversation, reason);
            self.lane(lane).enter(LaneState::Storing(Box::new(row.clone())));
            steps.push(self.unwanted_row(row, reason));
            return self.commit(steps, Then::Free(lane));
        }
        let starting = Starting { row, conversation, orders, ticket };
        self.lane(lane).enter(LaneState::Starting(Box::new(starting)));
        self.effect(Effect::Open(lane, Box::new(request)));
    }

    /// Returns the step that stores the row of a run that never had a room.
    pub(super) fn unwanted_row(&self, mut row: Run, reason: EndReason) -> Step {
        if reason != EndReason::Stopped {
            return Step::Unrun(row.id);
        }
        (row.state, row.ended_at) = (RunState::Stopped, Some(self.now.wall));
        Step::Run(Box::new(row))
    }

    /// Handles the messages that the store gave to the live run.
    pub(super) fn took_follow_up(&mut self, taken: Result<Option<Box<(Batch, News)>>, StoreError>) {
        let (wall, monotonic) = (self.now.wall, self.now.monotonic);
        let zone = self.settings.timezone;
        if let Err(error) = &taken {
            tracing::warn!("{}: cannot take messages for the live run: {error}", self.jid);
            self.look_later();
        }
        match self.chat.state_mut() {
            LaneState::Live(live) => {
                let name = live.giving.take();
                let (Some(name), Ok(Some(given))) = (name, taken) else { return self.make_room(LaneKind::Chat) };
                live.must_make_room = false;
                let (batch, news) = *given;
                live.last_follow_up = Some(monotonic);
                live.conversation.follow_up(&name, &batch);
                live.conversation.told = news.through;
                let view = View { ids: live.sees == Sees::Ids, now: wall, zone, told: &news.told };
                let view = Some(&view).filter(|_| live.sees != Sees::V1);
                let (text, images) = (prompt::format(&batch, view), prompt::images(&batch));
                self.effect(Effect::SetIdle(LaneKind::Chat, false));
                self.effect(Effect::Deliver(LaneKind::Chat, FollowUp { name, text, images }));
                self.show_typing();
            }
            LaneState::Leaving(leaving) => {
                let name = leaving.giving.take();
                if let (Some(name), Ok(Some(given))) = (name, taken) {
                    // The run has ended, so the agent never saw them.
                    leaving.conversation.follow_up(&name, &given.0);
                }
                self.store_end(LaneKind::Chat);
            }
            _ => {}
        }
    }

    pub(super) fn row(&self, group: &Group, lane: LaneKind) -> Run {
        let id = self.ids.run();
        Run {
            id,
            folder: group.folder.clone(),
            jid: self.jid.clone(),
            lane,
            task_id: None,
            due: None,
            state: RunState::Starting,
            container: start::container_name(&group.folder, id),
            session_id: None,
            started_at: self.now.wall,
            ended_at: None,
            exit_code: None,
            error: None,
            outputs: 0,
            cost_usd: None,
            tokens: 0,
        }
    }

    /// Returns the step that takes back a lane's unsettled messages; later outputs do not settle them any more.
    pub(super) fn take_back(&mut self, lane: LaneKind) -> Option<Step> {
        let jid = self.jid.clone();
        let given = self.lane(lane).conversation_mut()?.take_unsettled();
        Some(cancel(jid, &given))
    }

    /// Returns the step that ends a task's firing.
    pub(super) fn fire_end(conversation: &Conversation, state: FireState, error: Option<String>) -> Option<Step> {
        let Work::Task { task, due } = &conversation.work else { return None };
        let end = FireEnd { state, result: conversation.last_text.clone(), error };
        Some(Step::FireEnd { task: task.clone(), due: *due, jid: conversation.jid.clone(), end })
    }
}

/// Returns the step that takes back a run's unsettled messages.
pub(super) fn cancel(jid: ChatJid, given: &[Given]) -> Step {
    Step::Cancel { jid, seqs: given.iter().map(|one| one.seq).collect() }
}
