//! Sorts the failure of a request into a kind. Pure.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use parlor_protocol::ErrorKind;

use super::events::Fault;
use crate::live::Sorted;
use crate::refusal::{self, Refusal};

/// Characters of a reason that are shown.
const SHOWN: usize = 500;
/// Words before the time to wait: the CLI's and the vendor's.
const WAITS: [&str; 2] = ["suggested retry after ", "please retry in "];
/// Longest wait, in seconds.
const LONGEST_WAIT_S: f64 = 31_536_000.0;

/// Sorts what the CLI says of a request; `resuming` tells whether it was to read in an earlier session.
pub fn sort(fault: &Fault, resuming: bool, now: DateTime<Utc>) -> Sorted {
    let wait = wait(&fault.message.to_lowercase());
    let meaning = refusal::meaning(Refusal {
        // JSON-RPC codes are not HTTP statuses.
        status: u16::try_from(fault.code).ok().filter(|code| (100..600).contains(code)).unwrap_or(0),
        code: "",
        said: &fault.message,
        waits: wait.is_some(),
    });
    let kind = if resuming && refusal::is_lost(&fault.message) { ErrorKind::SessionMissing } else { meaning.kind() };
    let hint = match kind {
        ErrorKind::Auth => " Check GEMINI_API_KEY in .env.",
        ErrorKind::Unreachable => {
            " The vendor's server cannot be reached: look at the room's network, and at GEMINI_BASE_URL in .env."
        }
        _ => meaning.remedy(),
    };
    let status = if fault.code > 0 { format!(" (status {})", fault.code) } else { String::new() };
    let retry_at = wait
        .filter(|_| matches!(kind, ErrorKind::RateLimit | ErrorKind::Overloaded))
        .and_then(|seconds| now.checked_add_signed(Duration::milliseconds((seconds * 1000.0) as i64)))
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    Sorted { kind, text: format!("Gemini CLI says{status}: {}.{hint}", shorten(&fault.message)), retry_at }
}

/// Seconds that the vendor wants to be left alone.
fn wait(low: &str) -> Option<f64> {
    let rest = WAITS.iter().find_map(|words| low.split_once(words).map(|(_, rest)| rest))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
    let seconds = if rest[end..].starts_with("ms") { number / 1000.0 } else { number };
    (0.0..=LONGEST_WAIT_S).contains(&seconds).then_some(seconds)
}

fn shorten(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    match text.char_indices().nth(SHOWN) {
        _ if text.is_empty() => "no reason was given".to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: i64, message: &str) -> Sorted {
        sort(&Fault { code, message: message.into() }, false, DateTime::from_timestamp(1_000_000, 0).unwrap())
    }

    #[test]
    fn refusals_are_sorted_by_status_and_words() {
        for (code, message, expected) in [
            (400, "API key not valid. Please pass a valid API key.", ErrorKind::Auth),
            (-32000, "Gemini API key is missing or not configured.", ErrorKind::Auth),
            (403, "Permission denied on this project.", ErrorKind::Auth),
            (429, "Resource exhausted.", ErrorKind::RateLimit),
            (429, "You exceeded your current quota.\nSuggested retry after 7s.", ErrorKind::RateLimit),
            (429, "You have exhausted your daily quota on this model.", ErrorKind::Quota),
            (429, "You exceeded your current quota, please check your plan and billing details.", ErrorKind::Quota),
            (503, "The model is overloaded. Please try again later.", ErrorKind::Overloaded),
            (500, "An internal error has occurred.", ErrorKind::Overloaded),
            (0, "models/x is not found for API version v1beta", ErrorKind::Refused),
            (0, "exception TypeError: fetch failed sending request", ErrorKind::Unreachable),
            (400, "Request contains an invalid argument.", ErrorKind::SessionRefused),
            (-32603, "Internal error", ErrorKind::Other),
        ] {
            assert_eq!(sorted(code, message).kind, expected, "{code} {message}");
        }
    }

    #[test]
    fn failure_names_the_remedy() {
        assert!(sorted(404, "").text.contains("no reason was given") && sorted(404, "").text.contains("model's name"));
        assert!(sorted(0, "exception TypeError: fetch failed").text.contains("GEMINI_BASE_URL"));
        assert_eq!(sorted(400, "Bad.").text, "Gemini CLI says (status 400): Bad.");
        assert!(sorted(403, "No").text.ends_with("No. Check GEMINI_API_KEY in .env."));
        assert!(sorted(400, &"ä".repeat(2000)).text.chars().count() < SHOWN + 50);
    }

    #[test]
    fn vendors_wait_is_passed_on() {
        let at = |code, message: &str| sorted(code, message).retry_at;
        assert_eq!(at(429, "x\nSuggested retry after 60s.").as_deref(), Some("1970-01-12T13:47:40Z"));
        assert_eq!(at(503, "Please retry in 1500.5ms").as_deref(), Some("1970-01-12T13:46:41Z"));
        assert_eq!(at(429, "Please retry in a while."), None);
        assert_eq!(at(429, "Suggested retry after 99999999999999s."), None);
        assert_eq!(at(400, "Please retry in 60s"), None);
    }

    #[test]
    fn session_missing_needs_a_session_to_resume() {
        let fault = Fault { code: -32603, message: "Invalid session identifier \"x\".".into() };
        assert_eq!(sort(&fault, true, Utc::now()).kind, ErrorKind::SessionMissing);
        assert_eq!(sort(&fault, false, Utc::now()).kind, ErrorKind::Other);
    }
}
