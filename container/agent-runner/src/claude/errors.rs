//! Sorts the failure of a turn into a kind. Pure.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use parlor_protocol::ErrorKind;

use crate::live::Sorted;
use crate::refusal::{self, Meaning, Refusal, with_remedy};

/// Facts collected during a turn that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clues {
    /// The vendor's word for the refusal, as the CLI passes it on: `authentication_failed`, `rate_limit`, …
    pub refused: Option<String>,
    /// HTTP status of the refused request.
    pub status: Option<u16>,
    /// When the subscription's used-up limit starts anew, in seconds since 1970.
    pub resets_at: Option<i64>,
    /// The CLI's own pause before its last try, in milliseconds.
    pub last_wait_ms: u64,
    /// True if the CLI was to resume a session.
    pub resumed: bool,
}

/// A vendor that named a wait as long as this meant it.
const NAMED_WAIT_MS: u64 = 5_000;

/// Sorts a failure by these facts and by the CLI's words.
pub fn sort(clues: &Clues, reason: &str, now: DateTime<Utc>) -> Sorted {
    let kind = kind(clues, reason);
    let retry_at = match kind {
        ErrorKind::Quota => clues.resets_at.and_then(|at| DateTime::from_timestamp(at, 0)),
        ErrorKind::RateLimit | ErrorKind::Overloaded if clues.last_wait_ms >= NAMED_WAIT_MS => {
            Duration::try_milliseconds(clues.last_wait_ms.min(86_400_000) as i64)
                .and_then(|wait| now.checked_add_signed(wait))
        }
        _ => None,
    };
    let text = with_remedy(reason, meaning(clues, reason));
    Sorted { kind, text, retry_at: retry_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)) }
}

fn kind(clues: &Clues, reason: &str) -> ErrorKind {
    if clues.resumed && refusal::is_lost(reason) {
        return ErrorKind::SessionMissing;
    }
    if clues.resets_at.is_some() && (clues.status.is_none() || clues.status == Some(429)) {
        return ErrorKind::Quota;
    }
    meaning(clues, reason).kind()
}

fn meaning(clues: &Clues, reason: &str) -> Meaning {
    refusal::meaning(Refusal {
        status: clues.status.unwrap_or(0),
        code: clues.refused.as_deref().unwrap_or_default(),
        said: reason,
        waits: clues.last_wait_ms >= NAMED_WAIT_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clues: &Clues, reason: &str) -> (ErrorKind, Option<String>) {
        let sorted = sort(clues, reason, DateTime::from_timestamp(1_000_000, 0).unwrap());
        (sorted.kind, sorted.retry_at)
    }

    fn refused(error: &str, status: u16) -> Clues {
        Clues { refused: Some(error.into()), status: Some(status), ..Clues::default() }
    }

    #[test]
    fn refusals_are_sorted_by_status_and_words() {
        for (clues, expected) in [
            (refused("authentication_failed", 401), ErrorKind::Auth),
            (refused("authentication_failed", 403), ErrorKind::Auth),
            (refused("rate_limit", 429), ErrorKind::RateLimit),
            (refused("server_error", 529), ErrorKind::Overloaded),
            (refused("server_error", 500), ErrorKind::Overloaded),
            (refused("unknown", 400), ErrorKind::SessionRefused),
            (refused("model_not_found", 404), ErrorKind::Refused),
            (Clues { refused: Some("server_error".into()), ..Clues::default() }, ErrorKind::Overloaded),
        ] {
            assert_eq!(at(&clues, "x"), (expected, None), "{clues:?}");
        }
        assert_eq!(at(&Clues::default(), "Not logged in · Please run /login").0, ErrorKind::Auth);
        assert_eq!(at(&Clues::default(), "API Error: Connection error.").0, ErrorKind::Unreachable);
        assert_eq!(at(&Clues::default(), "boom").0, ErrorKind::Other);
        let told = sort(&refused("model_not_found", 404), "No such model", DateTime::UNIX_EPOCH).text;
        assert!(told.starts_with("No such model. Is the model's name right?"), "{told}");
    }

    #[test]
    fn session_missing_needs_a_session_to_resume() {
        for reason in [
            "No conversation found with session ID: x",
            "Error: --resume requires a valid session ID or session title when used with --print.",
            "Session IDs must be in UUID format. Provided value \"x\" is not a UUID",
        ] {
            assert_eq!(at(&Clues { resumed: true, ..Clues::default() }, reason).0, ErrorKind::SessionMissing);
            assert_eq!(at(&Clues::default(), reason).0, ErrorKind::Other);
        }
    }

    #[test]
    fn used_up_subscription_reports_when_it_resets() {
        let clues = Clues { resets_at: Some(1_003_600), ..refused("rate_limit", 429) };
        assert_eq!(at(&clues, "limit"), (ErrorKind::Quota, Some("1970-01-12T14:46:40Z".into())));
        let other_trouble = Clues { resets_at: Some(1), ..refused("server_error", 500) };
        assert_eq!(at(&other_trouble, "x").0, ErrorKind::Overloaded);
    }

    #[test]
    fn vendors_wait_is_passed_on() {
        let clues = Clues { last_wait_ms: 60_000, ..refused("rate_limit", 429) };
        assert_eq!(at(&clues, "x").1.as_deref(), Some("1970-01-12T13:47:40Z"));
        assert_eq!(at(&Clues { last_wait_ms: 600, ..clues }, "x").1, None);
    }
}
