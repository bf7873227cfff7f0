//! Opening a room beside the actor, which hears orders and commands meanwhile.

use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::group_actor::GroupActor;
use super::lane::{LaneState, Opening};
use super::live::{Conversation, Work};
use super::slots::Slot;
use super::start::{self, NotOpened, StartRequest, Started};
use super::steps::Step;
use crate::container::run::EndReason;
use crate::domain::clock::SharedClock;
use crate::domain::delivery::DeliveryKind;
use crate::domain::run::{Lane as LaneKind, RunState};
use crate::domain::task::FireState;
use crate::store::runs::Run;

impl GroupActor {
    /// Begins to open a room; [`opened`](Self::opened) follows.
    pub(super) fn open(&mut self, lane: LaneKind, talk: Conversation, request: StartRequest, slot: Slot) {
        let mut row = Run { jid: talk.jid.clone(), ..self.row(&request.group, talk.run, lane) };
        if let Work::Task { task, due } = &talk.work {
            (row.task_id, row.due) = (Some(task.clone()), Some(*due));
        }
        let cancel = CancellationToken::new();
        let opened = tokio::spawn(start::start(self.deps.clone(), request, cancel.clone()));
        let opening = Opening::new(row, talk, slot, opened, cancel);
        self.lane(lane).enter(LaneState::Starting(Box::new(opening)));
    }

    /// A room is open, or cannot be.
    pub(super) async fn opened(&mut self, lane: LaneKind, result: Result<Result<Started, NotOpened>, JoinError>) {
        let failure = match result {
            Ok(Ok(started)) => {
                let now = self.deps.clock.now();
                self.lane(lane).open(started, now);
                if let Some((row, talk)) = self.lane(lane).work() {
                    let (folder, run) = (&row.folder, row.id);
                    match &talk.work {
                        Work::Messages => tracing::info!("group {folder}: run {run} started"),
                        Work::Task { task, .. } => tracing::info!("group {folder}: run {run} started for task {task}"),
                    }
                    let step = Step::Run(Box::new(row.clone()));
                    self.deps.store.write_soon(move |tx| step.apply(tx, now));
                }
                self.show_typing();
                return;
            }
            Ok(Err(NotOpened::Failed(error))) => format!("{error:#}"),
            Ok(Err(error @ NotOpened::Cancelled)) => error.to_string(),
            Err(error) => format!("a defect of Parlor: {error}; the log of the host says where"),
        };
        self.not_opened(lane, failure).await;
    }

    async fn not_opened(&mut self, lane: LaneKind, error: String) {
        let probes = self.lane(lane).probes;
        let clock = self.deps.clock.clone();
        let Some(opening) = self.lane(lane).opening_mut() else { return };
        let (mut row, ended) = (opening.row.clone(), opening.ended);
        let (folder, run) = (row.folder.clone(), row.id);
        row.ended_at = Some(clock.now());
        let end = match ended {
            Some(EndReason::Stopped) => {
                row.state = RunState::Stopped;
                Step::Run(Box::new(row))
            }
            Some(_) => Step::Unrun(run),
            None => {
                (row.state, row.error) = (RunState::EngineFailed, Some(error.clone()));
                Step::Run(Box::new(row))
            }
        };
        let mut steps = if let Some(reason) = ended {
            Self::unwanted(&mut opening.talk, reason)
        } else {
            tracing::warn!("cannot open a room for group {folder}: {error}");
            Self::not_started(&mut opening.talk, &error, probes, &clock)
        };
        steps.push(end);
        self.commit(steps).await;
        start::clean_up(&self.deps, &folder, run).await;
        // Frees the slot.
        self.lane(lane).enter(LaneState::Free);
        if ended.is_none() {
            self.hold_for_engine(lane, error);
        }
    }

    /// A room that was taken back before it was open: what `/stop` has not taken back waits again.
    fn unwanted(talk: &mut Conversation, reason: EndReason) -> Vec<Step> {
        let seqs = talk.take_unsettled().iter().map(|g| g.seq).collect();
        let mut steps = vec![Step::PutBack { seqs, counts: false }];
        if reason == EndReason::Stopped {
            steps.extend(Self::fire_end(talk, FireState::Cancelled, None));
        } else if let Work::Task { task, due } = &talk.work {
            steps.push(Step::Unstart { task: task.clone(), due: *due });
        }
        steps
    }

    /// The engine is at fault: what was to run waits again, no try is used up, and the chat hears of it once.
    pub(super) fn not_started(talk: &mut Conversation, error: &str, probes: u32, clock: &SharedClock) -> Vec<Step> {
        let mut steps = Vec::new();
        let seqs: Vec<i64> = talk.take_unsettled().iter().map(|g| g.seq).collect();
        steps.push(Step::PutBack { seqs, counts: false });
        if let Work::Task { task, due } = &talk.work {
            steps.push(Step::Unstart { task: task.clone(), due: *due });
        }
        if probes == 0 {
            let text = format!("The room cannot be opened: {error}. Nothing is lost; I go on trying.");
            steps.push(talk.say(text, DeliveryKind::Notice, false, clock));
        }
        steps
    }

    pub(super) fn hold_for_engine(&mut self, lane: LaneKind, why: String) {
        // It may have lost the image.
        self.deps.rooms.doubt_image();
        let lane = self.lane(lane);
        lane.probes += 1;
        let wait = backoff::probe(lane.probes);
        lane.hold(Instant::now() + wait, why);
    }
}
