//! Picks the provider that answers in a run, and the fallback while that one fails.
//!
//! A provider that fails is out for a while; the next run takes the first one that is not out. The chat is notified
//! once of each change.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use parlor_protocol::ErrorKind;

use super::failure::{Failure, sentence};
use super::hold;
use super::live::{Conversation, Effects, Given, Work};
use super::machine::Ids;
use super::steps::Step;
use crate::config::answering::{self, Choice, Keys};
use crate::config::settings::Settings;
use crate::domain::delivery::DeliveryKind;
use crate::domain::group::{ContainerConfig, Group};
use crate::store::fallbacks::{self, Outage};
use crate::store::{Connection, TxResult};

/// How long a provider is out that is unreachable, or is rate-limited without a time.
const BRIEF: TimeDelta = TimeDelta::minutes(5);
/// How long a provider is out that needs money or a key.
const LONG: TimeDelta = TimeDelta::hours(1);
/// The longest outage that a vendor's own time can cause.
const LONGEST: TimeDelta = TimeDelta::days(7);

/// The stored outages and fallbacks of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    outages: Vec<Outage>,
    told: Option<String>,
}

impl Known {
    pub(super) fn of(db: &Connection, group: &Group) -> TxResult<Self> {
        Ok(Self { outages: fallbacks::outages(db, &group.folder)?, told: fallbacks::told(db, &group.folder)? })
    }
}

/// The provider that answers in a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering {
    /// Its name; None if there is no fallback.
    name: Option<String>,
    /// True if it is a fallback for the group's own provider.
    stands_in: bool,
    /// The next provider if this one fails.
    next: Option<Choice>,
    /// The fallback that the chat was last notified of; None for the group's own provider.
    told: Option<String>,
    /// True if the store holds an outage of it that is over.
    was_out: bool,
    /// When to try an earlier provider again.
    back_at: Option<DateTime<Utc>>,
}

impl Answering {
    /// Returns true if an earlier provider is due for another try, so that the room should close.
    pub(super) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.back_at.is_some_and(|at| at <= now)
    }
}

/// Picks the provider that answers, and changes the group's settings to a fallback's. Returns true, too, if the
/// group's own choice of a model does not fit the provider. Reads `.env`.
pub(super) fn pick(settings: &Settings, group: &mut Group, known: Known, now: DateTime<Utc>) -> (Answering, bool) {
    let config = &group.container_config;
    if config.fallback.as_ref().unwrap_or(&settings.fallback).is_empty() {
        return (Answering { told: known.told, ..Answering::default() }, false);
    }
    let keys = Keys::read(&settings.home, &settings.secret_keys);
    let chain = answering::chain(settings, config, &keys).unwrap_or_default();
    let (answering, choice) = choose(&chain.all, known, now);
    match choice.filter(|_| answering.stands_in) {
        None => (answering, false),
        Some(choice) => {
            let foreign_model = choice.model.is_none();
            let (provider, model) = (Some(choice.provider.to_owned()), choice.model.clone());
            group.container_config = ContainerConfig { provider, model, ..config.clone() };
            (answering, foreign_model)
        }
    }
}

/// Returns the first provider that is not out, else the one whose outage ends first.
fn choose(all: &[Choice], known: Known, now: DateTime<Utc>) -> (Answering, Option<&Choice>) {
    let outage = |choice: &Choice| known.outages.iter().find(|outage| outage.choice == choice.name());
    let until = |choice: &Choice| outage(choice).map(|outage| outage.until).filter(|until| *until > now);
    let free = all.iter().position(|choice| until(choice).is_none());
    let soonest = || (0..all.len()).min_by_key(|at| until(&all[*at]));
    let Some(at) = free.or_else(soonest) else {
        return (Answering { told: known.told, ..Answering::default() }, None);
    };
    let answering = Answering {
        name: Some(all[at].name()),
        stands_in: at > 0,
        next: all[at + 1..].iter().find(|choice| until(choice).is_none()).cloned(),
        was_out: outage(&all[at]).is_some(),
        back_at: all[..at].iter().filter_map(until).min(),
        told: known.told,
    };
    (answering, Some(&all[at]))
}

/// Returns how long a failure puts a provider out; None if the provider is not the cause.
fn lasts(failure: &Failure, now: DateTime<Utc>) -> Option<TimeDelta> {
    let otherwise = match failure.kind {
        ErrorKind::RateLimit | ErrorKind::Overloaded | ErrorKind::Unreachable => BRIEF,
        ErrorKind::Quota | ErrorKind::Auth => LONG,
        _ => return None,
    };
    let named = failure.retry_at.map(|at| at - now).filter(|wait| *wait > TimeDelta::zero());
    Some(named.map_or(otherwise, |wait| wait.min(LONGEST)))
}

/// Returns the lines for people about the fallbacks in use.
pub(super) fn stand_ins(db: &Connection, group: &Group, now: DateTime<Utc>, zone: Tz) -> TxResult<Vec<String>> {
    let known = Known::of(db, group)?;
    let out = known.outages.iter().filter(|outage| outage.until > now).map(|outage| {
        let until = hold::until(outage.until, now, zone);
        format!("{} cannot answer {until}: {}", outage.choice, sentence(&outage.reason))
    });
    Ok(known.told.iter().map(|who| format!("{who} answers in this chat.")).chain(out).collect())
}

impl Conversation {
    /// Hands a failed turn over to the next provider. Returns true if there is one; nothing else must follow then.
    pub(super) fn hand_over(
        &mut self,
        given: &[Given],
        failure: &Failure,
        (now, zone, ids): (DateTime<Utc>, Tz, &Ids),
        effects: &mut Effects,
    ) -> bool {
        let (Some(name), Some(lasts)) = (self.answering.name.clone(), lasts(failure, now)) else { return false };
        let until = now + lasts;
        let folder = self.folder.clone();
        let outage = Outage { choice: name.clone(), until, reason: failure.error.clone() };
        effects.steps.push(Step::Outage { folder: folder.clone(), outage });
        let said = self.said || (matches!(self.work, Work::Task { .. }) && self.last_text.is_some());
        let Some(next) = self.answering.next.clone().filter(|_| !said && !self.fire_ended) else { return false };
        match &self.work {
            Work::Messages => {
                let seqs = given.iter().map(|one| one.seq).collect();
                effects.steps.push(Step::PutBack { seqs, counts: false });
            }
            Work::Task { task, due } => {
                effects.steps.push(Step::Unstart { task: task.clone(), due: *due });
                self.fire_ended = true;
            }
        }
        let next_name = next.name();
        tracing::warn!("{folder}: {name} cannot answer until {until}, {next_name} does: {}", failure.error);
        if self.answering.told.as_ref() != Some(&next_name) {
            let text = format!(
                "{name} cannot answer: {} {next_name} answers in its place, at least {}.{}",
                sentence(&failure.error),
                hold::until(until, now, zone),
                if next.provider == self.provider { "" } else { " It has a conversation of its own." }
            );
            effects.steps.push(self.say(text, DeliveryKind::Notice, false, ids));
            self.tell(Some(next_name), effects);
        }
        true
    }

    /// Notes that the provider answered well, and notifies the chat of a change that it does not know.
    pub(super) fn answered(&mut self, ids: &Ids, effects: &mut Effects) {
        let Some(name) = self.answering.name.clone() else {
            // No fallback is in use any more.
            if self.answering.told.is_some() {
                self.tell(None, effects);
            }
            return;
        };
        if std::mem::take(&mut self.answering.was_out) {
            effects.steps.push(Step::OutageOver { folder: self.folder.clone(), choice: name.clone() });
        }
        let who = self.answering.stands_in.then(|| name.clone());
        if self.answering.told == who {
            return;
        }
        let text = if who.is_some() {
            format!("{name} answers now, in the place of those before it.")
        } else {
            format!("{name} answers again.")
        };
        let say = self.say(text, DeliveryKind::Notice, false, ids);
        // The notice goes before the turn's end, which a waiting client takes for the last event.
        let end = effects.steps.iter().rposition(|step| matches!(step, Step::Settle { .. }));
        effects.steps.insert(end.unwrap_or(effects.steps.len()), say);
        self.tell(who, effects);
    }

    fn tell(&mut self, who: Option<String>, effects: &mut Effects) {
        effects.steps.push(Step::StandIn { folder: self.folder.clone(), choice: who.clone() });
        self.answering.told = who;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;

    fn chain() -> Vec<Choice> {
        ["claude", "llm:a", "llm:b"].map(|name| Choice::parse(name, "llm").unwrap()).to_vec()
    }

    fn known(out: &[(&str, i64)]) -> Known {
        let outage = |(choice, until): &(&str, i64)| Outage {
            choice: (*choice).to_owned(),
            until: from_ms(*until),
            reason: "busy".into(),
        };
        Known { outages: out.iter().map(outage).collect(), told: None }
    }

    #[test]
    fn first_provider_without_an_outage_answers() {
        let all = chain();
        let now = from_ms(1000);
        for (out, who, next, back) in [
            (&[][..], "claude", Some("llm:a"), None),
            (&[("claude", 1000)], "claude", Some("llm:a"), None),
            (&[("claude", 1001)], "llm:a", Some("llm:b"), Some(1001)),
            (&[("llm:a", 5000)], "claude", Some("llm:b"), None),
            (&[("claude", 3000), ("llm:a", 2000)], "llm:b", None, Some(2000)),
            (&[("claude", 3000), ("llm:a", 2000), ("llm:b", 4000)], "llm:a", None, Some(3000)),
            (&[("llm:x", 9000)], "claude", Some("llm:a"), None),
        ] {
            let (answering, choice) = choose(&all, known(out), now);
            assert_eq!(choice.unwrap().name(), who, "{out:?}");
            assert_eq!(answering.name.as_deref(), Some(who));
            assert_eq!(answering.next.map(|next| next.name()).as_deref(), next, "{out:?}");
            assert_eq!((answering.stands_in, answering.back_at), (who != "claude", back.map(from_ms)), "{out:?}");
        }
        assert!(choose(&[], known(&[]), now).1.is_none());
    }

    #[test]
    fn fallback_only_follows_failures_of_the_provider() {
        let now = from_ms(0);
        let of = |kind, retry_at: Option<i64>| {
            lasts(&Failure { kind, error: "x".into(), retry_at: retry_at.map(from_ms) }, now)
        };
        assert_eq!(of(ErrorKind::Overloaded, None), Some(BRIEF));
        assert_eq!(of(ErrorKind::RateLimit, Some(30_000)), Some(TimeDelta::seconds(30)));
        assert_eq!(of(ErrorKind::Unreachable, Some(-1)), Some(BRIEF));
        assert_eq!((of(ErrorKind::Auth, None), of(ErrorKind::Quota, None)), (Some(LONG), Some(LONG)));
        assert_eq!(of(ErrorKind::Quota, Some(i64::from(i32::MAX) * 1000)), Some(LONGEST));
        for kind in [ErrorKind::Other, ErrorKind::SessionMissing, ErrorKind::Refused, ErrorKind::SessionRefused] {
            assert_eq!(of(kind, None), None, "{kind:?}");
        }
    }
}
