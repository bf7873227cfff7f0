//! The meaning of a vendor's error: for the host, for the chat, and for a retry within the turn.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use genai::Error;
use genai::webc;
use parlor_protocol::{ErrorKind, Output, Status};
use serde_json::Value;

use super::vendor::without_logins;
use crate::refusal::{self, Meaning, Refusal};

/// The longest pause that is waited for inside the turn.
const SHORT: Duration = Duration::from_secs(20);
/// Characters of a vendor's message that are shown.
const SHOWN: usize = 500;

/// The change that may make the request succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// None that the runner could make.
    None,
    /// Send the same request again, after this pause at least.
    Again(Duration),
    /// Shorten the conversation.
    Compact,
    /// Send fewer bytes: without pictures if there are any, else with a shorter conversation.
    Smaller,
    /// Send the same request without pictures.
    NoImages,
    /// Send the same request without tools.
    NoTools,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of error, for the host.
    pub kind: ErrorKind,
    /// The error for people.
    pub text: String,
    /// The pause that the vendor asks for.
    pub retry_after: Option<Duration>,
    /// The change that may help.
    pub remedy: Remedy,
}

impl Fault {
    /// A fault without a remedy.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after: None, remedy: Remedy::None }
    }

    /// Returns the output of a turn that failed with this fault.
    pub fn output(&self, now: DateTime<Utc>) -> Output {
        let retry_at = self.retry_after.and_then(|wait| now.checked_add_signed(chrono::Duration::from_std(wait).ok()?));
        Output {
            status: Status::Error,
            error: Some(self.text.clone()),
            error_kind: Some(self.kind),
            retry_at: retry_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
            ..Output::default()
        }
    }

    /// Converts an error of the client; `server` is the name of the server that was asked.
    pub fn of(error: &Error, server: &str, now: DateTime<Utc>) -> Self {
        // The status of a streamed answer is in the inner error.
        if let Error::WebStream { error: inner, .. } = error {
            return match inner.downcast_ref::<Error>() {
                Some(inner) => Self::of(inner, server, now),
                None => Self::unreachable(server, &chain(inner.as_ref())),
            };
        }
        let body = match error {
            Error::HttpError { body, .. }
            | Error::WebModelCall { webc_error: webc::Error::ResponseFailedStatus { body, .. }, .. }
            | Error::WebAdapterCall { webc_error: webc::Error::ResponseFailedStatus { body, .. }, .. } => body.clone(),
            Error::ChatResponse { body, .. } => body.to_string(),
            Error::WebModelCall { webc_error: webc::Error::Reqwest(inner), .. } => {
                return Self::unreachable(server, &chain(inner));
            }
            Error::NoAuthData { .. } | Error::RequiresApiKey { .. } | Error::NoAuthResolver { .. } => {
                return Self::new(ErrorKind::Auth, format!("{server} needs a key: put it into .env."));
            }
            other => return Self::new(ErrorKind::Other, format!("{server}: {}", shorten(&other.to_string()))),
        };
        let status = error.status().map_or(0, |status| status.as_u16());
        let after = error.headers().and_then(|headers| {
            let text = |name: &str| headers.get(name)?.to_str().ok();
            let millis = text("retry-after-ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
            millis.or_else(|| retry_after(text("retry-after")?, now))
        });
        Self::read(status, &body, after, server)
    }

    /// A server that cannot be reached.
    pub fn unreachable(server: &str, why: &str) -> Self {
        let mut text = format!("{server} cannot be reached: {}.", shorten(why));
        if is_here(server) {
            text += " In a room that address is the room itself: write this machine's address in its network into .env, \
                     such as http://192.168.1.5:11434, and let the server listen there.";
        }
        Self { remedy: Remedy::Again(Duration::from_millis(500)), ..Self::new(ErrorKind::Unreachable, text) }
    }

    /// Converts a status, which is 0 if an open answer failed, and the body that came with it.
    pub fn read(status: u16, body: &str, retry_after: Option<Duration>, server: &str) -> Self {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let word = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| json.pointer(key)?.as_str());
            found.unwrap_or_default().to_lowercase()
        };
        let code = format!(
            "{} {}",
            word(&["/error/type", "/type", "/error/status", "/status"]),
            word(&["/error/code", "/code"])
        );
        let said = ["/error/message", "/message", "/error"].iter().find_map(|key| json.pointer(key)?.as_str());
        let said = said.map_or_else(|| body.trim().to_owned(), str::to_owned);
        let meaning = refusal::meaning(Refusal { status, code: &code, said: &said, waits: retry_after.is_some() });
        let soon = |wait: Duration| if wait <= SHORT { Remedy::Again(wait) } else { Remedy::None };
        let remedy = match meaning {
            Meaning::TooLong => Remedy::Compact,
            Meaning::TooLarge => Remedy::Smaller,
            Meaning::NoPictures => Remedy::NoImages,
            Meaning::NoTools => Remedy::NoTools,
            // Without a named pause the host waits.
            Meaning::RateLimit => retry_after.map_or(Remedy::None, soon),
            Meaning::Busy => soon(retry_after.unwrap_or(Duration::from_secs(1))),
            _ => Remedy::None,
        };
        let status = if status == 0 { String::new() } else { format!(" (status {status})") };
        let said = if said.is_empty() { "no reason was given".to_owned() } else { shorten(&said) };
        let text = format!("{server} says{status}: {said}.{}", meaning.remedy());
        Self { kind: meaning.kind(), text, retry_after, remedy }
    }
}

/// Joins the whole chain of causes: the outermost text of a network error says little.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

/// Reads the header `retry-after`: seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let seconds = text.trim().parse::<f64>().ok().filter(|s| (0.0..=31_536_000.0).contains(s));
    seconds.map(Duration::from_secs_f64).or_else(|| {
        let until = DateTime::parse_from_rfc2822(text.trim()).ok()?.with_timezone(&Utc);
        Some((until - now).to_std().unwrap_or_default())
    })
}

/// Returns true if a server's name ends in an address of the asking machine itself.
fn is_here(server: &str) -> bool {
    let Some((_, rest)) = server.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Shortens another program's text for the chat.
fn shorten(text: &str) -> String {
    let text = without_logins(text);
    let text = text.trim().trim_end_matches('.');
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str, after: Option<u64>) -> Fault {
        Fault::read(status, body, after.map(Duration::from_secs), "the server")
    }

    #[test]
    fn address_of_the_room_itself_is_reported() {
        for (server, here) in [
            ("the model server at http://localhost:11434/v1", true),
            ("the model server at http://127.0.0.1:1", true),
            ("the model server at http://[::1]:1/", true),
            ("the model server at http://localhost.lan:1", false),
            ("the model server at http://192.168.1.5:11434", false),
            ("Anthropic's server", false),
        ] {
            let fault = Fault::unreachable(server, "connection refused");
            assert_eq!(fault.text.contains("is the room itself"), here, "{}", fault.text);
        }
    }

    #[test]
    fn kind_of_each_error_is_known() {
        let anthropic = |kind: &str, message: &str| {
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#)
        };
        let kind = |status, body: &str| read(status, body, None).kind;
        assert_eq!(kind(401, &anthropic("authentication_error", "invalid x-api-key")), ErrorKind::Auth);
        assert_eq!(kind(400, &anthropic("invalid_request_error", "Your credit balance is too low")), ErrorKind::Quota);
        assert_eq!(kind(429, r#"{"error":{"message":"x","code":"insufficient_quota"}}"#), ErrorKind::Quota);
        assert_eq!(kind(429, &anthropic("rate_limit_error", "slow down")), ErrorKind::RateLimit);
        assert_eq!(kind(529, &anthropic("overloaded_error", "Overloaded")), ErrorKind::Overloaded);
        assert_eq!(kind(0, &anthropic("overloaded_error", "Overloaded")), ErrorKind::Overloaded);
        assert_eq!(
            kind(400, r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid"}}"#),
            ErrorKind::Auth
        );
        assert_eq!(kind(404, &anthropic("not_found_error", "model: x")), ErrorKind::Refused);
        assert!(read(404, "", None).text.contains("PARLOR_MODEL"));
        assert_eq!(kind(418, "<html>"), ErrorKind::Refused);
        assert_eq!(
            kind(400, r#"{"error":{"message":"m does not support tools","type":"api_error"}}"#),
            ErrorKind::Refused
        );
        assert_eq!(kind(404, r#"{"error":"model 'x' not found"}"#), ErrorKind::Refused);
        assert_eq!(read(400, r#"{"error":"No."}"#, None).text, "the server says (status 400): No.");
    }

    #[test]
    fn remedy_of_each_error_is_known() {
        let too_long = r#"{"error":{"code":"context_length_exceeded","message":"m"}}"#;
        assert_eq!(read(400, too_long, None).remedy, Remedy::Compact);
        assert_eq!(read(413, too_long, None).remedy, Remedy::Compact);
        assert_eq!(read(413, "<html>", None).remedy, Remedy::Smaller);
        assert_eq!(read(429, "{}", Some(3)).remedy, Remedy::Again(Duration::from_secs(3)));
        assert_eq!(read(429, "{}", Some(300)).remedy, Remedy::None);
        assert_eq!(read(503, "", None).remedy, Remedy::Again(Duration::from_secs(1)));
        assert_eq!(read(400, r#"{"error":{"message":"image input is not supported"}}"#, None).remedy, Remedy::NoImages);
        assert_eq!(read(400, r#"{"error":"m does not support tools"}"#, None).remedy, Remedy::NoTools);
        assert_eq!(read(401, "", None).remedy, Remedy::None);
    }

    #[test]
    fn retry_pause_is_reported_as_a_time() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Fri, 02 Jan 2026 03:05:05 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("soon", now), None);
        let output = read(429, "{}", Some(60)).output(now);
        assert_eq!(output.retry_at.as_deref(), Some("2026-01-02T03:05:05Z"));
    }
}
