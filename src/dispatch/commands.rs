//! `/stop`, `/new` and `/status`.

use super::group_actor::GroupActor;
use super::hold::{self, Now};
use super::look::Look;
use super::steps::Step;
use crate::container::run::EndReason;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::event::{Event, TurnState};
use crate::domain::group::Group;
use crate::domain::ids::DeliveryId;
use crate::domain::message::{Inbound, InboundState};
use crate::domain::run::Lane as LaneKind;
use crate::domain::words;
use crate::policy::trigger::{self, Command, Trigger};
use crate::store::{events, groups, inbound, tasks};

impl GroupActor {
    /// Does what commands ask, in order; each ends in the transaction of its effect.
    pub(super) async fn commands(&mut self, group: &Group, look: &Look) {
        let trigger = Trigger::of(group.trigger.as_deref(), &self.deps.settings.assistant_name);
        for message in &look.commands {
            match trigger::command(&message.text, &trigger) {
                Some(Command::Stop) => {
                    let ran = self.stop_all(message.seq, Some(message)).await;
                    tracing::info!("{}: /stop ({})", group.folder, if ran { "stopped" } else { "nothing ran" });
                }
                Some(Command::New) => self.new_session(group, message).await,
                Some(Command::Status) => self.status(group, message).await,
                None => self.commit(vec![done(message)]).await,
            }
        }
    }

    /// Takes back what came before `seq` and ends both lanes. With a message, it is answered and done.
    pub(super) async fn stop_all(&mut self, seq: i64, message: Option<&Inbound>) -> bool {
        let ran = self.chat.work().is_some_and(|(_, talk)| talk.open) || self.task.work().is_some();
        let (jid, now) = (self.jid.clone(), self.deps.clock.now());
        let cancelled = self
            .deps
            .store
            .write(move |tx| {
                let last = inbound::cancel_before(tx, &jid, seq)?;
                if let Some(group) = groups::by_jid(tx, &jid)?
                    && group.paused.is_some()
                {
                    // Nothing waits for its end any more, and the next message finds out by itself.
                    groups::set_pause(tx, &group.folder, None)?;
                }
                if let Some(through_seq) = last {
                    let event = Event::Turn {
                        chat_jid: jid,
                        state: TurnState::Cancelled,
                        through_seq,
                        reason: Some("/stop".into()),
                    };
                    events::append(tx, &event, now)?;
                }
                Ok(last.is_some())
            })
            .await
            .unwrap_or_else(|error| {
                tracing::warn!("{}: /stop: {error}", self.jid);
                false
            });
        for lane in [LaneKind::Chat, LaneKind::Task] {
            self.cancel_lane(lane, true).await;
        }
        self.chat.release();
        if let Some(message) = message {
            let text = if ran || cancelled { "Stopped." } else { "Nothing is running." };
            self.answer(message, text.to_owned(), Vec::new()).await;
        }
        self.show_typing();
        ran || cancelled
    }

    /// Ends what lives in a lane now, and takes back what it was to answer. An idle room just closes.
    /// `told` says that the chat's followers know of the end of its turn.
    pub(super) async fn cancel_lane(&mut self, lane: LaneKind, told: bool) {
        let Some(talk) = self.lane(lane).talk_mut() else { return self.lane(lane).end(EndReason::Stopped) };
        let seqs: Vec<i64> = talk.take_unsettled().iter().map(|g| g.seq).collect();
        // First, so that what comes meanwhile is the next run's.
        self.lane(lane).end(EndReason::Stopped);
        let Some(through_seq) = seqs.iter().copied().max() else { return };
        let mut steps = vec![Step::Settle { seqs, state: InboundState::Cancelled }];
        if !told {
            let (jid, reason) = (self.jid.clone(), Some("stopped".to_owned()));
            steps.push(Step::Turn { jid, state: TurnState::Cancelled, through_seq, reason });
        }
        self.commit(steps).await;
    }

    async fn new_session(&mut self, group: &Group, message: &Inbound) {
        if let Some(talk) = self.chat.talk_mut() {
            // What the live run still says is answered, but its session is not kept.
            talk.forget_session();
            self.chat.close();
        }
        // What made earlier tries fail may have been in the old one.
        self.go_on();
        let forget = Step::ForgetSession(group.folder.clone());
        let resume = Step::Pause { folder: group.folder.clone(), pause: None };
        self.answer(message, "A new conversation begins.".into(), vec![forget, resume]).await;
    }

    async fn status(&mut self, group: &Group, message: &Inbound) {
        let text = self.status_text(group).await;
        self.answer(message, text, Vec::new()).await;
    }

    async fn status_text(&self, group: &Group) -> String {
        let (mut lines, zone) = (Vec::new(), self.deps.settings.timezone);
        for lane in [&self.chat, &self.task] {
            if let Some((row, talk)) = lane.work() {
                let doing = match lane.live() {
                    None => "is being opened",
                    Some(_) if talk.open => "works",
                    Some(_) => "is open and idle",
                };
                let what = match row.lane {
                    LaneKind::Chat => "The room",
                    LaneKind::Task => "A task's room",
                };
                let minutes = (self.deps.clock.now() - row.started_at).num_minutes();
                lines.push(format!("{what} {doing} (run {}, since {minutes} min).", row.id));
            } else if let Some(why) = lane.why_waiting(Now::of(&*self.deps.clock), zone) {
                lines.push(format!("Something {why}."));
            }
        }
        if lines.is_empty() {
            lines.push("Nothing is running.".into());
        }
        let (jid, folder) = (self.jid.clone(), group.folder.clone());
        let counts = self
            .deps
            .store
            .read(move |db| Ok((inbound::count_waiting(db, &jid)?, tasks::list(db, Some(&folder), false)?.len())))
            .await;
        if let Ok((waiting, tasks)) = counts {
            // The command itself waits, too.
            let waiting = words::count((waiting - 1).max(0).unsigned_abs(), "waiting message");
            lines.push(format!("{waiting}, {}.", words::count(tasks as u64, "scheduled task")));
        }
        lines.extend(self.stand_ins(group).await);
        let (queue, used) = self.deps.slots.load();
        let groups = words::count(queue as u64, "group");
        let wait = if queue == 1 { "waits" } else { "wait" };
        lines.push(format!("{used} of {} containers in use, {groups} {wait}.", self.deps.settings.max_containers));
        if let Some(pause) = &group.paused
            && pause.until > self.deps.clock.now()
        {
            let until = hold::until(pause.until, self.deps.clock.now(), zone);
            lines.push(format!("Paused {until}: {}", pause.reason));
        }
        lines.join("\n")
    }

    async fn answer(&self, message: &Inbound, text: String, mut steps: Vec<Step>) {
        let new = NewDelivery {
            id: DeliveryId(self.deps.clock.ulid()),
            jid: self.jid.clone(),
            text,
            sender: None,
            reply_to: Some(message.platform_id.clone()),
            file: None,
            kind: DeliveryKind::Notice,
            run_id: None,
        };
        steps.push(Step::Say { new, route: self.deps.registry.route(&self.jid), turn_open: false });
        steps.push(done(message));
        steps.push(Step::Turn {
            jid: self.jid.clone(),
            state: TurnState::Done,
            through_seq: message.seq,
            // Tells a command, which ends alone, from a turn, which ends everything before it, too.
            reason: Some("command".into()),
        });
        self.commit(steps).await;
    }
}

fn done(message: &Inbound) -> Step {
    Step::Settle { seqs: vec![message.seq], state: InboundState::Done }
}
