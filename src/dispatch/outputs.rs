//! The outputs of a live run.

use parlor_protocol::Output;

use super::event::{AgentOutput, Effect};
use super::failed_turn::{self, At, HeldBack};
use super::failure::Failure;
use super::jobs::Then;
use super::lane::Exit;
use super::live::{Effects, Given};
use super::machine::Machine;
use super::spend;
use super::steps::Step;
use crate::domain::delivery::DeliveryKind;
use crate::domain::run::Lane as LaneKind;
use crate::domain::usage;

/// The number of unreadable outputs that the chat is notified of; the run's log has the others.
const UNREADABLE_TOLD: u64 = 3;

impl Machine {
    /// Stores an agent's outputs, in order, in one transaction.
    pub(super) fn outputs(&mut self, lane: LaneKind, items: Vec<AgentOutput>) {
        let mut effects = Effects::default();
        let mut held = Vec::new();
        for item in items {
            match item {
                AgentOutput::Unreadable { why, settled, open } => {
                    let Some(live) = self.lane(lane).live_mut() else { return };
                    live.unreadable += 1;
                    let told = live.unreadable <= UNREADABLE_TOLD;
                    live.conversation.open = open;
                    let ids = self.ids.clone();
                    let Some(conversation) = self.lane(lane).conversation_mut() else { return };
                    // If the output settles nothing, the chat gets a notice, but only a few.
                    if let Some(settled) = settled.filter(|settled| !settled.is_empty()) {
                        conversation.unreadable(&why, &settled, open, &ids, &mut effects);
                    } else if told {
                        let text = format!("Something the agent put out could not be read: {why}.");
                        effects.steps.push(conversation.say(text, DeliveryKind::Notice, false, &ids));
                    }
                }
                AgentOutput::Output { output, settled, open } => {
                    self.spend(lane, &output, &mut effects);
                    let (ids, ends) = (self.ids.clone(), settled.is_some());
                    let Some(live) = self.lane(lane).live_mut() else { return };
                    live.conversation.output(*output, settled.as_ref(), open, &ids, &mut effects);
                    if ends && effects.failed.is_none() {
                        live.conversation.answered(&ids, &mut effects);
                        let folder = live.conversation.folder.clone();
                        if std::mem::take(&mut self.lane(lane).probes) > 0 {
                            effects.steps.push(Step::Pause { folder, pause: None });
                        }
                    }
                    if let Some((given, failure)) = effects.failed.take() {
                        held.extend(self.live_turn_failed(lane, &given, &failure, &mut effects));
                    }
                }
            }
        }
        if let Some(live) = self.lane(lane).live_mut() {
            live.storing = true;
        }
        self.commit(effects.steps, Then::Outputs(lane));
        for pause in held {
            self.hold(lane, pause);
        }
    }

    /// Continues once outputs are stored: an idle run makes room if another group waits.
    pub(super) fn outputs_stored(&mut self, lane: LaneKind) {
        let Some(live) = self.lane(lane).live_mut() else { return };
        live.storing = false;
        let idle = live.is_idle();
        self.effect(Effect::SetIdle(lane, idle));
        self.show_typing();
        if idle {
            self.make_room(lane);
            self.look();
        }
    }

    fn spend(&mut self, lane: LaneKind, output: &Output, effects: &mut Effects) {
        let day = usage::day(self.now.wall, self.settings.timezone);
        let settings = self.settings.clone();
        let Some(live) = self.lane(lane).live_mut() else { return };
        let Some((used, unpriced)) = spend::of_turn(&settings.prices, live.conversation.provider, output) else {
            return;
        };
        if used.cost_usd > 0.0 {
            *live.row.cost_usd.get_or_insert(0.0) += used.cost_usd;
        }
        live.row.tokens += used.tokens();
        let folder = live.conversation.folder.clone();
        effects.steps.push(Step::Usage { folder, day, used, unpriced });
    }

    /// Handles a failed turn of a live run. Its room has been asked to close with that output.
    fn live_turn_failed(
        &mut self,
        lane: LaneKind,
        given: &[Given],
        failure: &Failure,
        effects: &mut Effects,
    ) -> Option<HeldBack> {
        let live = self.lane(lane).live_mut()?;
        live.exit = live.exit.max(Exit::Asked);
        // The agent has reported the same failure before.
        if given.is_empty() && live.conversation.failed.is_some() {
            return None;
        }
        let (ids, now, zone) = (self.ids.clone(), self.now.wall, self.settings.timezone);
        let lane = self.lane(lane);
        let mut probes = lane.probes;
        let mut at = At { now, zone, ids: &ids, probes: &mut probes };
        let held = failed_turn::consequences(&mut lane.live_mut()?.conversation, given, failure, &mut at, effects);
        lane.probes = probes;
        held
    }
}
