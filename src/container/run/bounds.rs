//! Limits an agent's output to the protocol's bounds, when the host decodes it. Pure.

use std::sync::Arc;

use parlor_protocol::Output;
use parlor_protocol::limits::{MAX_CONSUMED, MAX_ERROR, MAX_INPUT_NAME, MAX_TIME, MAX_TOKENS, MAX_USD, MODEL};

use crate::domain::{text, usage};

/// The most characters of a complaint, which quotes the unreadable text.
const MAX_COMPLAINT: usize = 300;

/// Removes secrets from text. Returns None if there is none.
pub type Redact = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

type Clean<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Cleans an output and cuts fields that are over their limit. Returns the names of those fields.
///
/// Texts are cleaned before the search for secrets, because a control character would hide one, and cut after it,
/// because half a secret is not found.
pub fn hold(output: &mut Output, redact: Clean<'_>) -> Vec<&'static str> {
    let mut over = Vec::new();
    if let Some(result) = &mut output.result {
        clean(result, redact);
    }
    if let Some(error) = output.error.take() {
        let (line, cut) = line(&error, MAX_ERROR, redact);
        if cut {
            over.push("error");
        }
        output.error = Some(line).filter(|line| !line.is_empty());
    }
    if let Some(id) = &mut output.new_session_id
        && let Some(redacted) = redact(id)
    {
        *id = redacted;
    }
    let named = output.consumed.len();
    output.consumed.truncate(MAX_CONSUMED);
    output.consumed.retain(|name| name.len() <= MAX_INPUT_NAME);
    if output.consumed.len() < named {
        over.push("consumed");
    }
    if output.retry_at.take_if(|at| at.len() > MAX_TIME).is_some() {
        over.push("retryAt");
    }
    if let Some(counts) = output.usage.as_mut().and_then(|usage| usage.as_object_mut()) {
        let reported = counts.len();
        counts.retain(|name, count| match count.as_str() {
            // The price is found by the model's name.
            Some(model) => name == MODEL && usage::is_model(model),
            None => count.as_u64().is_some_and(|count| count <= MAX_TOKENS),
        });
        if counts.len() < reported {
            over.push("usage");
        }
    }
    if output.cost_usd.take_if(|usd| !(0.0..=MAX_USD).contains(usd)).is_some() {
        over.push("costUsd");
    }
    over
}

/// Returns, as one line, why something could not be read. It quotes the agent, so it is limited.
pub fn complaint(why: &str, redact: Clean<'_>) -> String {
    line(why, MAX_COMPLAINT, redact).0
}

fn clean(text: &mut String, redact: Clean<'_>) {
    if let std::borrow::Cow::Owned(visible) = text::visible(text) {
        *text = visible;
    }
    if let Some(redacted) = redact(text) {
        *text = redacted;
    }
}

/// Returns one line, and whether it was cut.
fn line(text: &str, max: usize, redact: Clean<'_>) -> (String, bool) {
    let mut whole = text::one_line(text, usize::MAX - 1);
    if let Some(redacted) = redact(&whole) {
        whole = redacted;
    }
    let cut = whole.chars().nth(max).is_some();
    (if cut { text::one_line(&whole, max) } else { whole }, cut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn over(change: impl FnOnce(&mut Output)) -> (Output, Vec<&'static str>) {
        let mut output = Output { result: Some("kept".into()), ..Output::default() };
        change(&mut output);
        let over = hold(&mut output, &none);
        assert_eq!(output.result.as_deref(), Some("kept"), "a field over its limit costs nothing else");
        (output, over)
    }

    #[test]
    fn each_field_is_held_to_its_limit_and_no_more() {
        let error = |n: usize| over(|o| o.error = Some("é".repeat(n)));
        assert_eq!(error(MAX_ERROR).1, [""; 0]);
        let (output, cut) = error(MAX_ERROR + 1);
        assert_eq!((output.error.unwrap().chars().count(), cut), (MAX_ERROR, vec!["error"]));
        let consumed = |n: usize, len: usize| over(|o| o.consumed = vec!["x".repeat(len); n]);
        assert_eq!(consumed(MAX_CONSUMED, MAX_INPUT_NAME).1, [""; 0]);
        let (output, cut) = consumed(MAX_CONSUMED + 1, 1);
        assert_eq!((output.consumed.len(), cut), (MAX_CONSUMED, vec!["consumed"]));
        assert!(consumed(1, MAX_INPUT_NAME + 1).0.consumed.is_empty());
        let at = |n: usize| over(|o| o.retry_at = Some("9".repeat(n)));
        assert_eq!((at(MAX_TIME).1, at(MAX_TIME + 1).1), (vec![], vec!["retryAt"]));
        let tokens = |n: serde_json::Value| over(|o| o.usage = Some(json!({"input_tokens": n, "output_tokens": 7})));
        assert_eq!(tokens(json!(MAX_TOKENS)).1, [""; 0]);
        for odd in [json!(MAX_TOKENS + 1), json!(u64::MAX), json!(-5), json!(0.5), json!("5")] {
            let (output, cut) = tokens(odd);
            assert_eq!((output.usage.unwrap(), cut), (json!({"output_tokens": 7}), vec!["usage"]));
        }
        let model = |name: &str| over(|o| o.usage = Some(json!({"model": name, "output_tokens": 7})));
        let (output, cut) = model("vendor/m-1:free");
        assert_eq!((output.usage.unwrap()["model"].as_str(), cut), (Some("vendor/m-1:free"), vec![]));
        for odd in ["", "two words", "a\nb", &"m".repeat(257)] {
            let (output, cut) = model(odd);
            assert_eq!((output.usage.unwrap(), cut), (json!({"output_tokens": 7}), vec!["usage"]), "{odd}");
        }
        for fine in [0.0, 0.25, MAX_USD] {
            assert_eq!(over(|o| o.cost_usd = Some(fine)).1, [""; 0]);
        }
        for odd in [-0.01, MAX_USD * 1.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (output, cut) = over(|o| o.cost_usd = Some(odd));
            assert_eq!((output.cost_usd, cut), (None, vec!["costUsd"]), "{odd}");
        }
    }

    #[test]
    fn texts_keep_their_lines_and_errors_have_one() {
        let mut output = Output {
            result: Some("a\n\tb\u{1b}[31m\0c".into()),
            error: Some("it\nfailed \u{1b}]0;x\u{7}badly".into()),
            ..Output::default()
        };
        assert_eq!(hold(&mut output, &none), [""; 0]);
        assert_eq!(output.result.as_deref(), Some("a\n\tbc"));
        assert_eq!(output.error.as_deref(), Some("it failed badly"));
        let mut empty = Output { error: Some(" \u{7}\n".into()), ..Output::default() };
        hold(&mut empty, &none);
        assert_eq!(empty.error, None);
        assert_eq!(complaint(&"x".repeat(9_000), &none).chars().count(), MAX_COMPLAINT);
    }

    #[test]
    fn secrets_are_found_despite_control_characters_and_cuts() {
        let redact = |text: &str| text.contains("sk-secret").then(|| text.replace("sk-secret", "[redacted]"));
        let error = format!("{}sk-se\0cret", "x".repeat(MAX_ERROR - 5));
        let mut output = Output { result: Some("sk-\u{7}secret".into()), error: Some(error), ..Output::default() };
        hold(&mut output, &redact);
        assert_eq!(output.result.as_deref(), Some("[redacted]"));
        let error = output.error.unwrap();
        assert!(error.ends_with("x[red…") && !error.contains("sk"), "{error}");
        assert_eq!(complaint("sk-\u{1b}[msecret?", &redact), "[redacted]?");
    }
}
