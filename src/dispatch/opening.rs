//! The start of a live run, once its room is open.

use super::event::{Effect, Opened};
use super::lane::{Exit, LaneState, Live, Starting};
use super::live::Work;
use super::machine::Machine;
use super::start::Sees;
use super::steps::Step;
use crate::domain::run::{Lane as LaneKind, RunState};

impl Machine {
    /// Makes the lane's run live.
    pub(super) fn opened(&mut self, lane: LaneKind, opened: Opened) {
        let LaneState::Starting(starting) = self.lane(lane).state_mut() else { return };
        let orders = std::mem::take(&mut starting.orders);
        let now = self.now.wall;
        let Opened { provider, answering, session } = opened;
        self.lane(lane).turn(|state| {
            let LaneState::Starting(starting) = state else { return state };
            let Starting { mut row, mut conversation, ticket, .. } = *starting;
            (conversation.provider, conversation.had_session) = (provider, session.is_some());
            conversation.answering = answering;
            (row.started_at, row.state, row.session_id) = (now, RunState::Running, session);
            LaneState::Live(Box::new(Live {
                row,
                conversation,
                ticket,
                sees: Sees::of(provider),
                giving: None,
                last_follow_up: None,
                follow_up_at: None,
                exit: Exit::No,
                must_make_room: false,
                storing: false,
                unreadable: 0,
            }))
        });
        if let Some(live) = self.lane_ref(lane).live() {
            let (row, folder, run) = (live.row.clone(), &live.row.folder, live.row.id);
            match &live.conversation.work {
                Work::Messages => tracing::info!("group {folder}: run {run} started"),
                Work::Task { task, .. } => tracing::info!("group {folder}: run {run} started for task {task}"),
            }
            self.effect(Effect::StoreSoon(Box::new(Step::Run(Box::new(row)))));
        }
        if orders.closing {
            self.close(lane);
        }
        if let Some(reason) = orders.ended {
            self.end(lane, reason);
        }
        self.show_typing();
        self.look();
    }
}
