//! `/stop`, `/new` and `/status`. Each command is done in the transaction of its effect.

use super::event::Effect;
use super::jobs::{AskedBy, Job, Status, Stop, Then};
use super::lane::LaneState;
use super::live::Conversation;
use super::machine::{LANES, Machine};
use super::steps::{self, Step};
use crate::container::run::EndReason;
use crate::domain::group::Group;
use crate::domain::message::Inbound;
use crate::domain::run::Lane as LaneKind;
use crate::policy::trigger::{self, Command, Trigger};

impl Machine {
    /// Carries out a command.
    pub(super) fn command(&mut self, group: &Group, message: &Inbound) {
        let trigger = Trigger::of(group.trigger.as_deref(), &self.settings.assistant_name);
        match trigger::command(&message.text, &trigger) {
            Some(Command::Stop) => {
                let asked_by = AskedBy::Chat(Box::new(message.clone()), self.ids.delivery());
                self.stop_all(message.seq, asked_by);
            }
            Some(Command::New) => self.new_session(group, message),
            Some(Command::Status) => {
                let (lines, id) = (self.status_lines(), self.ids.delivery());
                let status = Status { lines, group: group.clone(), message: message.clone(), id };
                self.effect(Effect::Store(Job::Status(Box::new(status))));
            }
            None => self.commit(vec![steps::done(message)], Then::Nothing),
        }
    }

    /// Takes back the messages before `before`, and ends both lanes. An idle room just closes.
    pub(super) fn stop_all(&mut self, before: i64, asked_by: AskedBy) {
        let ran = self.chat.is_open() || self.task.run().is_some() || self.task.is_open();
        let mut steps = Vec::new();
        for lane in LANES {
            // First take back, so that later messages belong to the next run.
            steps.extend(self.take_back(lane));
            self.end(lane, EndReason::Stopped);
        }
        self.chat.release();
        self.effect(Effect::Store(Job::Stop(Box::new(Stop { before, steps, ran, asked_by }))));
        self.show_typing();
    }

    fn new_session(&mut self, group: &Group, message: &Inbound) {
        // Later answers of the run still go out, but its session is not kept.
        match self.chat.state_mut() {
            LaneState::Taking(taking) => taking.orders.forgets_session = true,
            _ => self.chat.conversation_mut().into_iter().for_each(Conversation::forget_session),
        }
        self.close(LaneKind::Chat);
        // The old session may have caused the earlier failures.
        self.go_on();
        let text = "A new conversation begins.".to_owned();
        let mut steps =
            vec![Step::ForgetSession(group.folder.clone()), Step::Pause { folder: group.folder.clone(), pause: None }];
        steps.extend(steps::answer(&self.jid, message, self.ids.delivery(), text));
        self.commit(steps, Then::Nothing);
    }

    fn status_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for lane in [&self.chat, &self.task] {
            if let Some(row) = lane.run() {
                let doing = match lane.state() {
                    LaneState::Starting(_) => "is being opened",
                    LaneState::Live(live) if live.is_idle() => "is open and idle",
                    LaneState::Leaving(_) | LaneState::Storing(_) => "is being closed",
                    _ => "works",
                };
                let what = match row.lane {
                    LaneKind::Chat => "The room",
                    LaneKind::Task => "A task's room",
                };
                let minutes = (self.now.wall - row.started_at).num_minutes();
                lines.push(format!("{what} {doing} (run {}, since {minutes} min).", row.id));
            } else if let Some(why) = lane.why_waiting(self.now, self.settings.timezone) {
                lines.push(format!("Something {why}."));
            }
        }
        if lines.is_empty() {
            lines.push("Nothing is running.".into());
        }
        lines
    }
}
