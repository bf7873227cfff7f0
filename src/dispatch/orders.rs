//! Orders that end what a lane does, or is about to do: a shutdown, the end of one run, a group that is gone or changed, a slot
//! that another group waits for.

use super::event::{AskId, Effect};
use super::jobs::Then;
use super::lane::{Exit, LaneState};
use super::machine::{LANES, Machine, Shutdown};
use super::slots::Ticket;
use crate::container::run::EndReason;
use crate::domain::group::Group;
use crate::domain::ids::RunId;
use crate::domain::run::Lane as LaneKind;

impl Machine {
    pub(super) fn shut(&mut self, how: Shutdown) {
        self.shutdown = self.shutdown.max(how);
        for lane in LANES {
            self.lane(lane).release();
            self.stop_waiting(lane);
            match (how, self.lane_ref(lane).state()) {
                (Shutdown::Soft, LaneState::Live(_)) => self.close(lane),
                _ => self.end(lane, EndReason::Shutdown),
            }
        }
    }

    /// Leaves the queue for a slot, or returns an unused slot.
    pub(super) fn stop_waiting(&mut self, lane: LaneKind) {
        if matches!(self.lane_ref(lane).state(), LaneState::Waiting | LaneState::Ready(_)) {
            self.free(lane);
        }
    }

    pub(super) fn stop_waiting_if_ready(&mut self, lane: LaneKind) {
        if matches!(self.lane_ref(lane).state(), LaneState::Ready(_)) {
            self.free(lane);
        }
    }

    /// Closes the room once the run owes nothing.
    pub(super) fn close(&mut self, lane: LaneKind) {
        match self.lane(lane).state_mut() {
            LaneState::Taking(taking) => taking.orders.closing = true,
            LaneState::Starting(starting) => starting.orders.closing = true,
            LaneState::Live(live) if live.exit == Exit::No => {
                live.exit = Exit::Asked;
                self.effect(Effect::Close(lane));
            }
            _ => {}
        }
    }

    /// Ends the lane's run now, live or about to start. Later work belongs to the next run.
    pub(super) fn end(&mut self, lane: LaneKind, reason: EndReason) {
        self.stop_waiting(lane);
        match self.lane(lane).state_mut() {
            LaneState::Taking(taking) => {
                taking.orders.ended.get_or_insert(reason);
            }
            LaneState::Starting(starting) if starting.orders.ended.is_none() => {
                starting.orders.ended = Some(reason);
                self.effect(Effect::CancelOpening(lane));
            }
            LaneState::Live(live) if live.exit < Exit::Ended => {
                live.exit = Exit::Ended;
                self.effect(Effect::End(lane, reason));
            }
            _ => {}
        }
    }

    /// Ends runs of a group that is gone, even if another group has its chat now.
    pub(super) fn stop_strays(&mut self, group: Option<&Group>) {
        for lane in LANES {
            let of = if let LaneState::Taking(taking) = self.lane_ref(lane).state() {
                let group = &taking.group;
                Some((&group.folder, group.created_at, group.is_main, &group.container_config))
            } else {
                let conversation = self.lane_ref(lane).conversation();
                conversation.map(|one| (&one.folder, one.registered, one.is_main, &one.config))
            };
            let (stray, changed) = match (group, of) {
                (Some(group), Some((folder, registered, is_main, config))) => (
                    *folder != group.folder || registered != group.created_at,
                    is_main != group.is_main || !config.opens_the_same_room(&group.container_config),
                ),
                (Some(_), None) => (false, false),
                (None, _) => (true, false),
            };
            if stray {
                self.lane(lane).release();
                self.end(lane, EndReason::Stopped);
            } else if changed {
                // The room has the group's old mounts and limits; the next run gets the new ones.
                self.close(lane);
            }
        }
    }

    pub(super) fn stop_run(&mut self, run: RunId, ask: AskId) {
        let Some(lane) = self.lane_of(run) else { return self.effect(Effect::Answer(ask, false)) };
        let steps = self.take_back(lane).into_iter().collect();
        self.end(lane, EndReason::Stopped);
        self.commit(steps, Then::Answer(ask));
        self.show_typing();
    }

    /// Another group needs the slot.
    pub(super) fn evicted(&mut self, ticket: Ticket) {
        for lane in LANES {
            if let Some(live) = self.lane(lane).live_mut().filter(|live| live.ticket == ticket) {
                live.must_make_room = true;
                self.make_room(lane);
            }
        }
    }

    /// Closes a room whose slot another group waits for, once the run owes nothing.
    pub(super) fn make_room(&mut self, lane: LaneKind) {
        if self.lane_ref(lane).live().is_some_and(|live| live.must_make_room && live.is_idle()) {
            self.close(lane);
        }
    }
}
