//! The consequences of a failed turn. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use parlor_protocol::ErrorKind;

use super::{backoff, hold};
use crate::domain::ids::GroupFolder;

/// How a turn failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure, or `Other` if the agent named none.
    pub kind: ErrorKind,
    /// The error, for people.
    pub error: String,
    /// The time that the vendor gave for the next try.
    pub retry_at: Option<DateTime<Utc>>,
}

/// The facts about a failed batch.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The folder of the batch's group.
    pub folder: &'a GroupFolder,
    /// True if this turn has already sent something to the chat.
    pub said: bool,
    /// The number of failed tries of the batch before this one.
    pub tries: u32,
    /// True if the turn resumed a session.
    pub had_session: bool,
    /// The number of failures of the engine or vendor in a row before this one.
    pub probes: u32,
    /// The time of the failure.
    pub now: DateTime<Utc>,
    /// The time zone of notices.
    pub zone: Tz,
}

/// The decision about a failed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The batch counts as answered; a notice says that the answer broke off.
    Done {
        /// The notice for the chat.
        notice: String,
    },
    /// The batch is retried.
    Retry {
        /// The wait before the retry.
        after: Duration,
        /// True if it counts as a try.
        counts: bool,
        /// The group shows as paused, for this reason.
        pause: Option<String>,
        /// The stored session is forgotten first.
        forget_session: bool,
        /// The notice for the chat, if there is news.
        notice: Option<String>,
    },
    /// The batch is given up and kept; a notice says so.
    GiveUp {
        /// The notice for the chat.
        notice: String,
    },
}

/// Decides about a batch whose turn failed.
pub fn decide(failure: &Failure, facts: Facts<'_>) -> Verdict {
    let Failure { kind, error, retry_at } = failure;
    if facts.said {
        return Verdict::Done { notice: format!("The answer ended early: {error}") };
    }
    let told = sentence(error);
    match kind {
        ErrorKind::SessionMissing if facts.had_session => Verdict::Retry {
            after: Duration::ZERO,
            counts: false,
            pause: None,
            forget_session: true,
            notice: Some("The earlier conversation is gone; a new one begins.".into()),
        },
        ErrorKind::SessionRefused if facts.had_session => Verdict::Retry {
            after: Duration::ZERO,
            counts: false,
            pause: None,
            forget_session: true,
            notice: Some(format!(
                "The model's server refuses the conversation so far: {told} I answer this in a new one, as after `/new`."
            )),
        },
        ErrorKind::SessionRefused | ErrorKind::Refused => Verdict::GiveUp {
            notice: format!(
                "This cannot be answered: {told} It is kept: `parlor runs retry {}` tries again.",
                facts.folder
            ),
        },
        ErrorKind::Auth => Verdict::GiveUp {
            notice: format!(
                "The agent's credentials were refused: {told} {}rite again or use `parlor runs retry {}`.",
                // This error already says where the key belongs.
                if error.contains(".env") { "Then w" } else { "Check the key in .env, then w" },
                facts.folder
            ),
        },
        ErrorKind::Quota if retry_at.is_none_or(|at| at <= facts.now) => {
            Verdict::GiveUp { notice: format!("The agent's quota is used up: {error}") }
        }
        ErrorKind::Quota | ErrorKind::RateLimit | ErrorKind::Overloaded => limited(*kind, error, *retry_at, facts),
        ErrorKind::SessionMissing | ErrorKind::Unreachable | ErrorKind::Other => {
            match backoff::retry(facts.tries + 1) {
                Some(after) => {
                    // A first failure often heals by itself; the chat is notified of the second.
                    let notice = (facts.tries == 1)
                        .then(|| format!("This failed twice: {told} I try again in {} s, and go on.", after.as_secs()));
                    Verdict::Retry { after, counts: true, pause: None, forget_session: false, notice }
                }
                None => Verdict::GiveUp {
                    notice: format!(
                        "This could not be answered after {} tries: {told} It is kept: `parlor runs retry {}` tries again.",
                        facts.tries + 1,
                        facts.folder
                    ),
                },
            }
        }
    }
}

/// The longest wait that a vendor may ask for: its time may be wrong, and a person can write again.
const LIMIT_MOST: TimeDelta = TimeDelta::days(1);
const QUOTA_MOST: TimeDelta = TimeDelta::days(7);

fn limited(kind: ErrorKind, error: &str, retry_at: Option<DateTime<Utc>>, facts: Facts<'_>) -> Verdict {
    let (what, most) = match kind {
        ErrorKind::Quota => ("The agent's quota is used up", QUOTA_MOST),
        ErrorKind::RateLimit => ("The agent's rate limit is reached", LIMIT_MOST),
        _ => ("The agent's vendor is overloaded", LIMIT_MOST),
    };
    let named = retry_at.and_then(|at| (at - facts.now).min(most).to_std().ok());
    let after = named.unwrap_or_else(|| backoff::probe(facts.probes + 1));
    let when = match named {
        Some(wait) => format!(" {}", hold::until(hold::after(facts.now, wait), facts.now, facts.zone)),
        None => String::new(),
    };
    let notice = format!("{} I go on by myself.", sentence(&format!("{what}{when}: {error}")));
    Verdict::Retry {
        after,
        counts: false,
        forget_session: false,
        notice: (facts.probes == 0).then_some(notice),
        pause: Some(format!("{what}: {error}")),
    }
}

/// Returns an agent's or vendor's text as one sentence with one full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', '…', ')', '`']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::domain::clock::from_ms;

    fn facts() -> Facts<'static> {
        static LAB: LazyLock<GroupFolder> = LazyLock::new(|| "lab".parse().unwrap());
        Facts {
            folder: &LAB,
            said: false,
            tries: 0,
            had_session: true,
            probes: 0,
            now: from_ms(1_000_000),
            zone: chrono_tz::UTC,
        }
    }

    fn failure(kind: ErrorKind) -> Failure {
        Failure { kind, error: "boom".into(), retry_at: None }
    }

    #[test]
    fn a_turn_that_replied_is_never_answered_twice() {
        for kind in [ErrorKind::Other, ErrorKind::Auth, ErrorKind::RateLimit, ErrorKind::SessionMissing] {
            assert!(matches!(decide(&failure(kind), Facts { said: true, ..facts() }), Verdict::Done { .. }));
        }
    }

    #[test]
    fn tries_are_counted_and_end() {
        let v = decide(&failure(ErrorKind::Other), Facts { tries: 4, ..facts() });
        assert!(matches!(v, Verdict::Retry { after, counts: true, .. } if after.as_secs() == 80));
        let over = decide(&failure(ErrorKind::Other), Facts { tries: 5, ..facts() });
        assert!(matches!(over, Verdict::GiveUp { notice } if notice.contains("`parlor runs retry lab`")));
    }

    #[test]
    fn credentials_and_quota_are_not_retried() {
        let auth = decide(&failure(ErrorKind::Auth), facts());
        assert!(matches!(auth, Verdict::GiveUp { notice } if notice.contains("`parlor runs retry lab`")));
        assert!(matches!(decide(&failure(ErrorKind::Quota), facts()), Verdict::GiveUp { .. }));
    }

    #[test]
    fn refusals_end_at_once_and_a_refused_session_restarts_once() {
        let refused = decide(&failure(ErrorKind::Refused), facts());
        assert!(matches!(refused, Verdict::GiveUp { notice } if notice.contains(": boom. It is kept")));
        let Verdict::Retry { after, counts, pause, forget_session, notice } =
            decide(&failure(ErrorKind::SessionRefused), facts())
        else {
            panic!()
        };
        assert_eq!((after, counts, pause, forget_session), (Duration::ZERO, false, None, true));
        assert!(
            notice
                .unwrap()
                .contains("refuses the conversation so far: boom. I answer this in a new one, as after `/new`")
        );
        let anew = decide(&failure(ErrorKind::SessionRefused), Facts { had_session: false, ..facts() });
        assert!(matches!(anew, Verdict::GiveUp { .. }));
    }

    #[test]
    fn notices_repeat_neither_words_nor_full_stops() {
        use ErrorKind::{Auth, Other, Overloaded, Quota, RateLimit, Refused, SessionMissing, SessionRefused};
        let errors =
            ["no such key", "No such key.", "Why?", "It needs a key: put it into .env.", "Check the key in .env"];
        for kind in [Auth, Quota, RateLimit, Overloaded, SessionMissing, SessionRefused, Refused, Other] {
            for (error, tries, had_session) in
                errors.iter().flat_map(|error| [(error, 0, true), (error, 9, false), (error, 9, true)])
            {
                let facts = Facts { tries, had_session, ..facts() };
                let notice = match decide(&Failure { error: (*error).into(), ..failure(kind) }, facts) {
                    Verdict::Done { notice } | Verdict::GiveUp { notice } => notice,
                    Verdict::Retry { notice, .. } => notice.unwrap_or_default(),
                };
                for wrong in ["..", "?.", ". .", ".:"] {
                    assert!(!notice.contains(wrong), "{wrong} in {notice}");
                }
                assert!(notice.matches(".env").count() <= 1, "{notice}");
            }
        }
    }

    #[test]
    fn rate_limits_wait_as_asked_and_notify_the_chat_once() {
        let limited = Failure { retry_at: Some(from_ms(1_090_000)), ..failure(ErrorKind::RateLimit) };
        let Verdict::Retry { after, counts, notice, pause, .. } = decide(&limited, facts()) else { panic!() };
        assert_eq!((after.as_secs(), counts, notice.is_some(), pause.is_some()), (90, false, true, true));
        let again = decide(&failure(ErrorKind::Overloaded), Facts { probes: 2, ..facts() });
        assert!(matches!(again, Verdict::Retry { after, notice: None, .. } if after.as_secs() == 20));
    }

    #[test]
    fn retry_times_of_vendors_are_capped() {
        let far = DateTime::parse_from_rfc3339("9999-12-31T23:59:59Z").unwrap().to_utc();
        for (kind, most) in [(ErrorKind::RateLimit, 1), (ErrorKind::Overloaded, 1), (ErrorKind::Quota, 7)] {
            for retry_at in [far, DateTime::<Utc>::MAX_UTC] {
                let failure = Failure { retry_at: Some(retry_at), ..failure(kind) };
                let Verdict::Retry { after, counts: false, pause: Some(_), notice: Some(notice), .. } =
                    decide(&failure, facts())
                else {
                    panic!("{kind:?}")
                };
                assert_eq!(after, Duration::from_secs(most * 86_400));
                assert!(notice.contains(" until 1970-01-0") && !notice.contains("9999"), "{notice}");
            }
        }
        let past = Failure { retry_at: Some(from_ms(1)), ..failure(ErrorKind::Quota) };
        assert!(matches!(decide(&past, facts()), Verdict::GiveUp { .. }));
    }

    #[test]
    fn second_failure_in_a_row_notifies_the_chat() {
        let told: Vec<bool> = (0..5)
            .map(|tries| match decide(&failure(ErrorKind::Other), Facts { tries, ..facts() }) {
                Verdict::Retry { notice, .. } => {
                    notice.is_some_and(|text| text.contains("This failed twice: boom. I try again in 10 s"))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [false, true, false, false, false]);
    }

    #[test]
    fn a_lost_session_is_reset_once() {
        let v = decide(&failure(ErrorKind::SessionMissing), facts());
        assert!(matches!(v, Verdict::Retry { forget_session: true, after: Duration::ZERO, .. }));
        let again = decide(&failure(ErrorKind::SessionMissing), Facts { had_session: false, ..facts() });
        assert!(matches!(again, Verdict::Retry { forget_session: false, counts: true, .. }));
    }
}
