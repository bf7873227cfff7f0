//! The steps that follow a failed turn.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use parlor_protocol::ErrorKind;

use super::failure::{self, Facts, Failure, Verdict};
use super::hold;
use super::live::{Conversation, Effects, Given, Work};
use super::machine::Ids;
use super::steps::Step;
use crate::domain::delivery::DeliveryKind;
use crate::domain::event::TurnState;
use crate::domain::group::Pause;
use crate::domain::message::InboundState;

/// How a lane is held back after a failure.
pub(super) struct HeldBack {
    pub(super) wait: Duration,
    pub(super) why: String,
    /// True if the group's pause is stored, too.
    pub(super) is_pause: bool,
}

/// The circumstances of a failure.
pub(super) struct At<'a> {
    pub(super) now: DateTime<Utc>,
    pub(super) zone: Tz,
    pub(super) ids: &'a Ids,
    /// The number of failures of the engine or vendor in a row in this lane.
    pub(super) probes: &'a mut u32,
}

/// Adds the consequences of a failed turn to the effects. Returns how the lane is held back.
pub(super) fn consequences(
    conversation: &mut Conversation,
    given: &[Given],
    failure: &Failure,
    at: &mut At<'_>,
    effects: &mut Effects,
) -> Option<HeldBack> {
    conversation.failed.get_or_insert_with(|| failure.error.clone());
    tracing::info!("group {}: a turn of run {} failed ({:?})", conversation.folder, conversation.run, failure.kind);
    conversation.drop_session();
    if conversation.hand_over(given, failure, (at.now, at.zone, at.ids), effects) {
        return None;
    }
    if let Work::Task { task, due } = &conversation.work {
        let nothing_said = !conversation.said && conversation.last_text.is_none() && !conversation.fire_ended;
        let unusable = matches!(failure.kind, ErrorKind::SessionMissing | ErrorKind::SessionRefused);
        let lost = unusable && conversation.had_session && conversation.keeps_session;
        if lost && nothing_said {
            // Retries without the lost session.
            effects.steps.push(conversation.lose_session());
            effects.steps.push(Step::Unstart { task: task.clone(), due: *due });
            conversation.fire_ended = true;
        } else {
            conversation.last_error = Some(failure.error.clone());
        }
        return None;
    }
    let facts = Facts {
        folder: &conversation.folder,
        said: conversation.said,
        tries: given.iter().map(|g| g.tries).max().unwrap_or(0),
        had_session: conversation.had_session,
        probes: *at.probes,
        now: at.now,
        zone: at.zone,
    };
    let verdict = failure::decide(failure, facts);
    apply(verdict, conversation, (given, &failure.error), at, effects)
}

fn apply(
    verdict: Verdict,
    conversation: &mut Conversation,
    (given, error): (&[Given], &str),
    at: &mut At<'_>,
    effects: &mut Effects,
) -> Option<HeldBack> {
    let reason = Some(error.to_owned());
    match verdict {
        Verdict::Done { notice } => {
            effects.steps.push(conversation.say(notice, DeliveryKind::Notice, false, at.ids));
            conversation.settle(given, InboundState::Done, TurnState::Failed, reason, effects);
            None
        }
        Verdict::GiveUp { notice } => {
            effects.steps.push(conversation.say(notice, DeliveryKind::Notice, false, at.ids));
            conversation.settle(given, InboundState::Failed, TurnState::Failed, reason, effects);
            None
        }
        Verdict::Retry { after, counts, pause, forget_session, notice } => {
            let seqs = given.iter().map(|g| g.seq).collect();
            effects.steps.push(Step::PutBack { seqs, counts });
            if let Some(notice) = notice {
                effects.steps.push(conversation.say(notice, DeliveryKind::Notice, false, at.ids));
            }
            let folder = conversation.folder.clone();
            if forget_session {
                effects.steps.push(conversation.lose_session());
            }
            if let Some(reason) = pause {
                let until = hold::after(at.now, after);
                effects.steps.push(Step::Pause { folder, pause: Some(Pause { until, reason: reason.clone() }) });
                *at.probes += 1;
                return Some(HeldBack { wait: after, why: reason, is_pause: true });
            }
            (after > Duration::ZERO).then(|| HeldBack { wait: after, why: error.to_owned(), is_pause: false })
        }
    }
}
