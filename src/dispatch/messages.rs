//! The chat lane: follow-ups into a live run, and runs that begin with messages or a task.

use tokio::time::Instant;

use super::group_actor::{GroupActor, LOOK_AGAIN};
use super::live::{Conversation, Work};
use super::prompt::{self, View};
use super::slots::Slot;
use super::start::{self, Past, Sees, StartRequest};
use super::steps::Step;
use crate::domain::event::{Event, TurnState};
use crate::domain::group::Group;
use crate::domain::ids::RunId;
use crate::domain::message::Batch;
use crate::domain::run::{Lane as LaneKind, RunState};
use crate::domain::task::{ContextMode, Fire, FireState, Task};
use crate::store::runs::{self, Run};
use crate::store::tasks::FireEnd;
use crate::store::told::Told;
use crate::store::{StoreError, events, groups, inbound, outbox, tasks, told};

/// What a run with messages begins with.
struct First {
    batch: Batch,
    past: Past,
    /// What a broken turn said.
    said: Vec<String>,
    /// What was said in the chat outside its session.
    news: Vec<Told>,
    /// The place in the outbox up to which the prompt tells of it.
    told: i64,
}

impl GroupActor {
    /// Gives what waits to the live run. The batch is in the store as given before the agent can see it.
    pub(super) async fn follow_up(&mut self, group: &Group) {
        let Some(live) = self.chat.live_mut() else { return };
        let (run, name, jid) = (live.talk.run, live.talk.next_name(), self.jid.clone());
        let (input, now, told) = (name.clone(), self.deps.clock.now(), live.talk.told);
        let taken = self
            .deps
            .store
            .write(move |tx| {
                let chat = jid.clone();
                let batch = inbound::take_batch(tx, &jid, run, &input)?;
                if let Some(batch) = &batch {
                    let event = Event::Turn {
                        chat_jid: jid,
                        state: TurnState::Started,
                        through_seq: batch.through(),
                        reason: None,
                    };
                    events::append(tx, &event, now)?;
                }
                let Some(batch) = batch else { return Ok(None) };
                let news = told::news(tx, &chat, told)?;
                Ok(Some((news, told::newest(tx, &chat)?, batch)))
            })
            .await;
        match taken {
            Ok(Some((news, newest, batch))) => {
                let zone = self.deps.settings.timezone;
                let Some(live) = self.chat.live_mut() else { return };
                live.slot.set_idle(false);
                live.last_follow_up = Some(Instant::now());
                live.talk.follow_up(&name, &batch);
                live.talk.told = newest;
                let view = View { ids: live.sees == Sees::Ids, now, zone, told: &news };
                let view = Some(&view).filter(|_| live.sees != Sees::V1);
                live.handle.deliver(name, prompt::format(&batch, view), prompt::images(&batch));
                self.show_typing();
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("{}: messages for the live run: {error}", group.folder);
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Starts a run with what waits in the chat.
    pub(super) async fn start_messages(&mut self, group: &Group, slot: Slot) {
        let run = RunId(self.deps.clock.ulid());
        let First { batch, past, said, news, told } = match self.take_first_batch(group, run).await {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("{}: messages for a run: {error}", group.folder);
                self.chat.hold(Instant::now() + LOOK_AGAIN, error.to_string());
                return;
            }
        };
        let route = self.deps.registry.route(&self.jid);
        let mut talk = Conversation::new(run, group.folder.clone(), self.jid.clone(), route, Work::Messages, true);
        talk.begin(&batch);
        talk.told = told;
        talk.is_main = group.is_main;
        talk.config = group.container_config.clone();
        let request = StartRequest {
            group: group.clone(),
            run,
            lane: LaneKind::Chat,
            prompt: prompt::format(&batch, None),
            news,
            now: self.deps.clock.now(),
            images: prompt::images(&batch),
            batch: Some(batch),
            past,
            resumed: said,
            task: false,
        };
        self.chat.last_was_messages = true;
        self.open(LaneKind::Chat, talk, request, slot);
    }

    async fn take_first_batch(&self, group: &Group, run: RunId) -> Result<Option<First>, StoreError> {
        let (jid, folder, now) = (self.jid.clone(), group.folder.clone(), self.deps.clock.now());
        let (was_paused, of) = (group.paused.is_some(), group.clone());
        let row = self.row(group, run, LaneKind::Chat);
        let store = &self.deps.store;
        store
            .write(move |tx| {
                let Some(batch) = inbound::take_batch(tx, &jid, run, "")? else { return Ok(None) };
                if was_paused {
                    groups::set_pause(tx, &folder, None)?;
                }
                let past = Past::of(tx, &of, true)?;
                let mut said = Vec::new();
                let mut earlier: Vec<RunId> = batch.messages.iter().filter_map(|m| m.run_id).collect();
                earlier.dedup();
                for old in earlier {
                    said.extend(outbox::said_in_open_turn(tx, old)?);
                    // Should this try fail, too, the next one looks for it here.
                    outbox::take_over_turn(tx, old, run)?;
                }
                runs::put(tx, &row)?;
                let (news, told) = (told::news(tx, &jid, 0)?, told::newest(tx, &jid)?);
                let event = Event::Turn {
                    chat_jid: jid,
                    state: TurnState::Started,
                    through_seq: batch.through(),
                    reason: None,
                };
                events::append(tx, &event, now)?;
                Ok(Some(First { batch, past, said, news, told }))
            })
            .await
    }

    /// Starts a run for a task's firing. From the commit here on, the firing never starts again for its due time.
    pub(super) async fn start_task(&mut self, lane: LaneKind, group: &Group, fire: (Fire, Task), slot: Slot) {
        let (fire, task) = fire;
        let run = RunId(self.deps.clock.ulid());
        let in_group = task.context_mode == ContextMode::Group;
        let (id, due, of) = (task.id.clone(), fire.due, group.clone());
        let (jid, now) = (task.jid.clone(), self.deps.clock.now());
        let row = Run { task_id: Some(id.clone()), due: Some(due), ..self.row(group, run, lane) };
        let started = self
            .deps
            .store
            .write(move |tx| {
                if !tasks::start(tx, &id, due, run)? {
                    return Ok(None);
                }
                let past = Past::of(tx, &of, in_group)?;
                runs::put(tx, &row)?;
                let event = Event::Task { task_id: id, chat_jid: jid, change: "fired".into() };
                events::append(tx, &event, now)?;
                Ok(Some(past))
            })
            .await;
        let past = match started {
            Ok(Some(past)) => past,
            // Taken back while it waited.
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("{}: task {}: {error}", group.folder, task.id);
                self.lane(lane).hold(Instant::now() + LOOK_AGAIN, error.to_string());
                return;
            }
        };
        let work = Work::Task { task: task.id.clone(), due: fire.due };
        let route = self.deps.registry.route(&task.jid);
        let mut talk = Conversation::new(run, group.folder.clone(), task.jid.clone(), route, work, in_group);
        talk.is_main = group.is_main;
        talk.config = group.container_config.clone();
        let request = StartRequest {
            group: group.clone(),
            run,
            lane,
            prompt: task.prompt,
            news: Vec::new(),
            now,
            images: Vec::new(),
            batch: None,
            past,
            resumed: Vec::new(),
            task: true,
        };
        self.lane(lane).last_was_messages = false;
        self.open(lane, talk, request, slot);
    }

    pub(super) fn row(&self, group: &Group, run: RunId, lane: LaneKind) -> Run {
        Run {
            id: run,
            folder: group.folder.clone(),
            jid: self.jid.clone(),
            lane,
            task_id: None,
            due: None,
            state: RunState::Starting,
            container: start::container_name(&group.folder, run),
            session_id: None,
            started_at: self.deps.clock.now(),
            ended_at: None,
            exit_code: None,
            error: None,
            outputs: 0,
            cost_usd: None,
            tokens: 0,
        }
    }

    /// The end of a task's firing.
    pub(super) fn fire_end(talk: &Conversation, state: FireState, error: Option<String>) -> Option<Step> {
        let Work::Task { task, due } = &talk.work else { return None };
        let end = FireEnd { state, result: talk.last_text.clone(), error };
        Some(Step::FireEnd { task: task.clone(), due: *due, jid: talk.jid.clone(), end })
    }
}
