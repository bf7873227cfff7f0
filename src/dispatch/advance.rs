//! The next step of a group's lanes, from the store's view of the group: a follow-up, a request for a slot, or a
//! pause.

use chrono::TimeDelta;

use super::event::Effect;
use super::failed_turn::HeldBack;
use super::hold;
use super::jobs::Job;
use super::lane::{Exit, LaneState, Live, Phase, Wanted};
use super::live::Work;
use super::look::Look;
use super::machine::Machine;
use crate::domain::group::Group;
use crate::domain::run::Lane as LaneKind;

/// The longest pause of a group.
const PAUSE_MOST: TimeDelta = TimeDelta::days(7);

impl Machine {
    pub(super) fn advance_chat(&mut self, group: &Group, look: &Look) {
        let wanted = look.message_waits || look.chat_fire.is_some();
        match self.chat.state().phase() {
            Phase::Live => self.advance_live_chat(look),
            Phase::Waiting if !wanted => self.stop_waiting(LaneKind::Chat),
            Phase::Free if wanted && !self.held_back(LaneKind::Chat, group) => self.ask_for_slot(LaneKind::Chat),
            Phase::Ready if !wanted || self.held_back(LaneKind::Chat, group) => self.stop_waiting(LaneKind::Chat),
            Phase::Ready => {
                // Messages and tasks with the group's context take turns.
                let turn_of_task = !look.message_waits || self.chat.last_was_messages;
                let work = match &look.chat_fire {
                    Some(fire) if turn_of_task => Wanted::Task(Box::new(fire.clone())),
                    _ => Wanted::Messages,
                };
                self.take(LaneKind::Chat, group, work);
            }
            _ => {}
        }
    }

    fn advance_live_chat(&mut self, look: &Look) {
        let (now, used_up) = (self.now, look.used_up.is_some());
        let Some(live) = self.chat.live_mut() else { return };
        let (is_chat, idle) = (matches!(live.conversation.work, Work::Messages), live.is_idle());
        // A provider earlier in the order may work again, so it is asked next.
        let over = look.message_waits && idle && live.conversation.answering.is_over(now.wall);
        let follows_up = look.message_waits && is_chat && !over && live.exit == Exit::No && !used_up;
        if follows_up {
            if live.giving.is_none() && !live.debounces(now.monotonic) {
                self.follow_up();
            }
        } else if over || idle && (look.message_waits && !is_chat || look.chat_fire.is_some()) {
            // The lane has other work, and its run owes nothing.
            self.close(LaneKind::Chat);
        }
    }

    pub(super) fn advance_task(&mut self, group: &Group, look: &Look) {
        let Some(fire) = &look.task_fire else { return self.stop_waiting(LaneKind::Task) };
        match self.task.state().phase() {
            Phase::Live if self.task.live().is_some_and(Live::is_idle) => self.close(LaneKind::Task),
            Phase::Free if !self.held_back(LaneKind::Task, group) => self.ask_for_slot(LaneKind::Task),
            Phase::Ready if self.held_back(LaneKind::Task, group) => self.stop_waiting(LaneKind::Task),
            Phase::Ready => self.take(LaneKind::Task, group, Wanted::Task(Box::new(fire.clone()))),
            _ => {}
        }
    }

    fn ask_for_slot(&mut self, lane: LaneKind) {
        self.lane(lane).enter(LaneState::Waiting);
        self.effect(Effect::AskForSlot(lane));
    }

    /// Gives the waiting messages to the live run.
    fn follow_up(&mut self) {
        let Some(live) = self.chat.live_mut() else { return };
        let (run, input, told) = (live.row.id, live.conversation.next_name(), live.conversation.told);
        live.giving = Some(input.clone());
        self.effect(Effect::Store(Job::FollowUp { run, input, told }));
    }

    /// Returns true if a back-off, or a pause that may have been stored before a restart, holds the lane.
    fn held_back(&mut self, lane: LaneKind, group: &Group) -> bool {
        let now = self.now;
        let lane = self.lane(lane);
        if lane.held_back(now) {
            return true;
        }
        if let Some(pause) = &group.paused {
            lane.pause(pause.until.min(now.wall + PAUSE_MOST), now, pause.reason.clone());
        }
        lane.held_back(now)
    }

    /// Holds a lane back after a failure.
    pub(super) fn hold(&mut self, lane: LaneKind, held: HeldBack) {
        let now = self.now;
        let (until, lane) = (hold::after(now.wall, held.wait), self.lane(lane));
        if held.is_pause {
            lane.pause(until, now, held.why);
        } else {
            lane.hold_until(until, now, held.why);
        }
    }

    /// Releases every hold except the day's budget, so that failed work is retried now.
    pub(super) fn go_on(&mut self) {
        for lane in [&mut self.chat, &mut self.task] {
            lane.release();
            lane.probes = 0;
        }
    }

    /// Ends a pause once the operator has acted: cleared the stored pause, or changed the settings.
    pub(super) fn heed(&mut self, group: &Group) {
        if group.paused.is_none() {
            self.chat.end_pause();
            self.task.end_pause();
        }
        if self.config.replace(group.container_config.clone()).is_some_and(|before| before != group.container_config) {
            self.go_on();
        }
    }
}
