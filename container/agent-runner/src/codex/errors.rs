//! Sorts the failure of a turn into a kind. Pure.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use parlor_protocol::ErrorKind;

use super::events::Fault;
use crate::live::Sorted;
use crate::refusal::{self, Meaning, Refusal, with_remedy};

/// Longest wait, in seconds, that is accepted from a vendor.
const LONGEST_WAIT: f64 = 86_400.0;

/// Sorts a failure. `resets_at` is when the subscription's limit, if one is used up, begins anew.
pub fn sort(fault: &Fault, resets_at: Option<i64>, now: DateTime<Utc>) -> Sorted {
    let meaning = meaning(fault);
    let kind = meaning.kind();
    let retry_at = match kind {
        ErrorKind::Quota => resets_at.and_then(|at| DateTime::from_timestamp(at, 0)),
        ErrorKind::RateLimit | ErrorKind::Overloaded => named_wait(&fault.message)
            .and_then(|seconds| Duration::try_milliseconds((seconds * 1000.0).ceil() as i64))
            .and_then(|wait| now.checked_add_signed(wait)),
        _ => None,
    };
    let text = with_remedy(&fault.message, meaning);
    Sorted { kind, text, retry_at: retry_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)) }
}

fn meaning(fault: &Fault) -> Meaning {
    refusal::meaning(Refusal {
        status: fault.status.unwrap_or(0),
        code: &fault.kind,
        said: &fault.message,
        waits: named_wait(&fault.message).is_some(),
    })
}

/// Returns true if a retry within the turn is of no use: a wrong key stays wrong, a final refusal stays one, and the
/// host waits for limits.
pub fn is_final(fault: &Fault) -> bool {
    !matches!(meaning(fault).kind(), ErrorKind::Overloaded | ErrorKind::Unreachable | ErrorKind::Other)
}

/// The seconds in the vendor's `Please try again in 7.2s`, or in `1m30s`.
fn named_wait(message: &str) -> Option<f64> {
    let (_, mut rest) = message.split_once("try again in ")?;
    let mut seconds = None;
    while let Some((more, after)) = part(rest) {
        seconds = Some(seconds.unwrap_or(0.0) + more);
        rest = after;
    }
    seconds.filter(|seconds| (0.0..=LONGEST_WAIT).contains(seconds))
}

/// Parses a number with its unit; returns it in seconds, with the rest of the text.
fn part(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let rest = text[end..].trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let unit = match &rest[..end] {
        "ms" => 0.001,
        "s" | "second" | "seconds" => 1.0,
        "m" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        _ => return None,
    };
    Some((number * unit, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: &str, status: Option<u16>) -> Fault {
        Fault { message: "x".into(), kind: kind.into(), status }
    }

    fn at(fault: &Fault, resets_at: Option<i64>) -> (ErrorKind, Option<String>) {
        let sorted = sort(fault, resets_at, DateTime::from_timestamp(1_000_000, 0).unwrap());
        (sorted.kind, sorted.retry_at)
    }

    #[test]
    fn refusals_are_sorted_by_status_and_words() {
        for (fault, expected) in [
            (fault("httpConnectionFailed", Some(401)), ErrorKind::Auth),
            (fault("unauthorized", None), ErrorKind::Auth),
            (fault("responseTooManyFailedAttempts", Some(429)), ErrorKind::RateLimit),
            (fault("rateLimitExceeded", None), ErrorKind::RateLimit),
            (fault("usageLimitExceeded", None), ErrorKind::Quota),
            (fault("serverOverloaded", None), ErrorKind::Overloaded),
            (fault("internalServerError", None), ErrorKind::Overloaded),
            (fault("responseStreamConnectionFailed", Some(502)), ErrorKind::Overloaded),
            (fault("httpConnectionFailed", None), ErrorKind::Unreachable),
            (fault("modelNotFound", None), ErrorKind::Refused),
            (fault("badRequest", Some(400)), ErrorKind::SessionRefused),
            (fault("contextWindowExceeded", None), ErrorKind::SessionRefused),
            (fault("", None), ErrorKind::Other),
        ] {
            assert_eq!(at(&fault, None), (expected, None), "{fault:?}");
        }
        assert!(is_final(&fault("responseStreamDisconnected", Some(429))));
        assert!(!is_final(&fault("responseStreamDisconnected", None)));
        assert!(is_final(&fault("modelNotFound", None)));
        assert!(sort(&fault("modelNotFound", None), None, DateTime::UNIX_EPOCH).text.contains("--model"));
    }

    #[test]
    fn vendors_wait_is_passed_on() {
        let text = "Rate limit reached for gpt-5. Please try again in 7.25s. Visit …";
        let limit = Fault { message: text.into(), ..fault("rateLimitExceeded", None) };
        assert_eq!(at(&limit, Some(5)).1.as_deref(), Some("1970-01-12T13:46:47.250Z"));
        for (text, seconds) in [
            ("try again in 250ms", Some(0.25)),
            ("try again in 2 minutes", Some(120.0)),
            ("try again in 6m", Some(360.0)),
            ("try again in 1m30.5s.", Some(90.5)),
            ("try again in 1h2m3s", Some(3723.0)),
            ("try again in a while", None),
            ("try again in 9999999999s", None),
            ("try again later", None),
        ] {
            assert_eq!(named_wait(text), seconds, "{text}");
        }
        let quota = fault("usageLimitExceeded", None);
        assert_eq!(at(&quota, Some(1_003_600)).1.as_deref(), Some("1970-01-12T14:46:40.000Z"));
    }
}
