//! The next step of a group's lanes, by the store's view of the group: a follow-up, a slot to ask for, or a pause.

use chrono::TimeDelta;
use tokio::time::Instant;

use super::group_actor::GroupActor;
use super::hold::{self, Now};
use super::lane::LaneState;
use super::live::Work;
use super::look::Look;
use super::outputs::HeldBack;
use crate::domain::group::Group;
use crate::domain::run::Lane as LaneKind;

/// The longest pause of a group.
const PAUSE_MOST: TimeDelta = TimeDelta::days(7);

impl GroupActor {
    pub(super) async fn advance_chat(&mut self, group: &Group, look: &Look) {
        let waiting = matches!(self.chat.state(), LaneState::Waiting(_));
        if let Some(live) = self.chat.live_mut() {
            let is_chat = matches!(live.talk.work, Work::Messages);
            if look.message_waits && !live.talk.open && live.answering.is_over(self.deps.clock.now()) {
                // Who comes before this one is asked again.
                live.close();
            }
            if look.message_waits && is_chat && !live.closing && look.used_up.is_none() {
                if !live.waits_for_company(Instant::now()) {
                    self.follow_up(group).await;
                }
            } else if !live.talk.open && (look.message_waits && !is_chat || look.chat_fire.is_some()) {
                // The lane is wanted for something else, and nothing is owed in it.
                live.close();
            }
        }
        let wanted = look.message_waits || look.chat_fire.is_some();
        if waiting && !wanted {
            self.chat.stop_waiting();
        } else if self.chat.is_free() && wanted && !self.held_back(LaneKind::Chat, group) {
            self.chat.wait(self.deps.slots.request(self.evict.clone()));
        }
    }

    /// Returns true if a back-off, or a pause that may have been stored before a restart, holds a lane.
    fn held_back(&mut self, lane: LaneKind, group: &Group) -> bool {
        let now = Now::of(&*self.deps.clock);
        let lane = self.lane(lane);
        if lane.held_back(now) {
            return true;
        }
        if let Some(pause) = &group.paused {
            lane.pause(pause.until.min(now.wall + PAUSE_MOST), now, pause.reason.clone());
        }
        lane.held_back(now)
    }

    /// Holds a lane after a failure.
    pub(super) fn hold(&mut self, lane: LaneKind, held: HeldBack) {
        let now = Now::of(&*self.deps.clock);
        let (until, lane) = (hold::after(now.wall, held.wait), self.lane(lane));
        if held.is_pause {
            lane.pause(until, now, held.why);
        } else {
            lane.hold_until(until, now, held.why);
        }
    }

    /// Nothing is held back any more but by the day's budget: what failed is tried again.
    pub(super) fn go_on(&mut self) {
        for lane in [&mut self.chat, &mut self.task] {
            lane.release();
            lane.probes = 0;
        }
    }

    /// Pauses end with what the operator does about them: with the pause in the store, or with other settings.
    pub(super) fn heed(&mut self, group: &Group) {
        if group.paused.is_none() {
            self.chat.end_pause();
            self.task.end_pause();
        }
        if self.config.replace(group.container_config.clone()).is_some_and(|before| before != group.container_config) {
            self.go_on();
        }
    }

    pub(super) fn advance_task(&mut self, group: &Group, look: &Look) {
        if look.task_fire.is_none() {
            return self.task.stop_waiting();
        }
        if let Some(live) = self.task.live_mut().filter(|live| !live.talk.open) {
            live.close();
        } else if self.task.is_free() && !self.held_back(LaneKind::Task, group) {
            self.task.wait(self.deps.slots.request(self.evict.clone()));
        }
    }
}
