use parlor_protocol::{Status, Turn};
use proptest::prelude::*;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000, 0).unwrap()
}

fn message(text: &str, name: Option<&str>) -> Message {
    Message::new(name.map(str::to_owned), vec![prompt::text(text)])
}

fn setup() -> Setup {
    Setup { cwd: "/workspace/group".into(), servers: json!([]), key: "k".into(), quiet: false, counts: true }
}

/// Returns a written request's method, number, and parameters.
fn written(step: &Step) -> (String, u64, Value) {
    let Step::Write(line) = step else { panic!("{step:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    (line["method"].as_str().unwrap().to_owned(), line["id"].as_u64().unwrap(), line["params"].clone())
}

fn output(step: &Step) -> &Output {
    let Step::Put(output) = step else { panic!("{step:?}") };
    output
}

/// Answers the request in a step.
fn answer(session: &mut Session, step: &Step, result: Value) -> Vec<Step> {
    let (_, id, _) = written(step);
    session.event(Event::Answer { id, result }, now())
}

fn refuse(session: &mut Session, step: &Step, code: i64, message: &str) -> Vec<Step> {
    let (_, id, _) = written(step);
    session.event(Event::Refused { id, fault: Fault { code, message: message.into() } }, now())
}

fn done(input: u64, output: u64) -> Value {
    let count = json!({ "input_tokens": input, "output_tokens": output });
    json!({ "stopReason": "end_turn", "_meta": { "quota": { "token_count": count } } })
}

fn say(session: &mut Session, text: &str) {
    assert!(session.event(Event::Said(text.into()), now()).is_empty());
}

/// Returns an open session, and the step with its first prompt.
fn opened(resume: Option<&str>) -> (Session, Step) {
    let mut s = Session::new(setup(), resume.map(str::to_owned));
    assert!(s.give(vec![message("hello", None)]).is_empty());
    let steps = s.started();
    assert_eq!(written(&steps[0]).0, "initialize");
    let steps = answer(&mut s, &steps[0], json!({}));
    let (method, _, params) = written(&steps[0]);
    assert_eq!((method.as_str(), &params["_meta"]["api-key"]), ("authenticate", &json!("k")));
    let steps = answer(&mut s, &steps[0], json!({}));
    let (method, _, params) = written(&steps[0]);
    assert_eq!(method, if resume.is_some() { "session/load" } else { "session/new" });
    assert_eq!((params["sessionId"].as_str(), params["cwd"].as_str()), (resume, Some("/workspace/group")));
    let result = if resume.is_some() { json!({}) } else { json!({ "sessionId": "fresh" }) };
    let mut steps = answer(&mut s, &steps[0], result);
    (s, steps.remove(0))
}

#[test]
fn answer_has_the_last_text_the_tokens_and_the_session() {
    let (mut s, prompt) = opened(None);
    let (method, _, params) = written(&prompt);
    assert_eq!((method.as_str(), &params["sessionId"]), ("session/prompt", &json!("fresh")));
    say(&mut s, "I look.");
    s.event(Event::Tool { speaks: false }, now());
    say(&mut s, "It is ");
    say(&mut s, "blue.\n");
    let steps = answer(&mut s, &prompt, done(200, 40));
    let said = output(&steps[0]);
    assert_eq!((said.result.as_deref(), said.turn), (Some("It is blue."), Some(Turn::Done)));
    assert_eq!(said.new_session_id.as_deref(), Some("fresh"));
    assert_eq!(said.usage, Some(json!({ "input_tokens": 200, "output_tokens": 40 })));
    assert_eq!((said.cost_usd, steps.len(), s.has_pending()), (None, 1, false));
}

#[test]
fn follow_ups_wait_and_become_one_prompt() {
    let (mut s, first) = opened(None);
    assert!(s.give(vec![message("b", Some("1.json"))]).is_empty());
    assert!(s.give(vec![message("c", Some("2.json"))]).is_empty());
    say(&mut s, "one");
    let steps = answer(&mut s, &first, done(1, 1));
    assert!(output(&steps[0]).consumed.is_empty());
    assert_eq!(steps[1], Step::StillWorking);
    assert_eq!(written(&steps[2]).2["prompt"].as_array().unwrap().len(), 2);
    say(&mut s, "two");
    let steps = answer(&mut s, &steps[2], done(1, 1));
    assert_eq!(output(&steps[0]).consumed, ["1.json", "2.json"]);
    let steps = s.give(vec![message("d", Some("3.json"))]);
    assert_eq!(written(&steps[0]).0, "session/prompt");
}

#[test]
fn replayed_conversation_is_not_an_answer() {
    let (mut s, prompt) = opened(Some("old"));
    say(&mut s, "an answer of yesterday");
    s.event(Event::Tool { speaks: false }, now());
    s.event(Event::Past, now());
    say(&mut s, "today's");
    let steps = answer(&mut s, &prompt, done(1, 1));
    let said = output(&steps[0]);
    assert_eq!((said.result.as_deref(), said.new_session_id.as_deref()), (Some("today's"), Some("old")));
}

#[test]
fn empty_answer_is_asked_about_once_and_then_reported() {
    let (mut s, prompt) = opened(None);
    s.event(Event::Tool { speaks: true }, now());
    let steps = answer(&mut s, &prompt, done(1, 1));
    assert_eq!((output(&steps[0]).status, output(&steps[0]).result.as_deref()), (Status::Success, None));
    let steps = s.give(vec![message("b", Some("1.json"))]);
    s.event(Event::Tool { speaks: false }, now());
    let steps = answer(&mut s, &steps[0], done(1, 1));
    assert!(written(&steps[0]).2["prompt"].to_string().contains("You said nothing"));
    let steps = answer(&mut s, &steps[0], done(1, 1));
    let told = output(&steps[0]);
    assert!(told.result.as_deref().unwrap().contains("gave no answer") && told.consumed == ["1.json"], "{told:?}");
    let steps = s.give(vec![message("c", Some("2.json"))]);
    let steps = answer(&mut s, &steps[0], done(1, 1));
    say(&mut s, "<think>hm</think>at last");
    assert_eq!(output(&answer(&mut s, &steps[0], done(1, 1))[0]).result.as_deref(), Some("at last"));
    let steps = s.give(vec![message("d", Some("3.json"))]);
    say(&mut s, "half an ans");
    let steps = answer(&mut s, &steps[0], json!({ "stopReason": "cancelled" }));
    assert_eq!((output(&steps[0]).status, output(&steps[0]).consumed.len()), (Status::Error, 1));
}

#[test]
fn answer_without_tokens_was_cut_off_if_the_server_counts() {
    for (counts, expected) in [(true, Status::Error), (false, Status::Success)] {
        let (mut s, prompt) = opened(None);
        s.setup.counts = counts;
        say(&mut s, "half an ans");
        let steps = answer(&mut s, &prompt, done(0, 0));
        assert_eq!(output(&steps[0]).status, expected);
        assert_eq!(s.to_resume().is_some(), expected == Status::Success);
    }
}

#[test]
fn turn_that_would_end_the_same_way_is_not_retried() {
    for (reason, told) in
        [("max_tokens", "/new begins"), ("max_turn_requests", "in circles"), ("refusal", "refused to answer")]
    {
        let (mut s, prompt) = opened(None);
        say(&mut s, "so far");
        let steps = answer(&mut s, &prompt, json!({ "stopReason": reason }));
        let said = output(&steps[0]);
        let text = said.result.as_deref().unwrap();
        assert_eq!((said.status, said.new_session_id.as_deref()), (Status::Success, Some("fresh")), "{reason}");
        assert!(text.starts_with("so far\n\n(") && text.contains(told), "{text}");
        let steps = s.give(vec![message("b", Some("1.json"))]);
        let steps = answer(&mut s, &steps[0], json!({ "stopReason": reason }));
        assert!(output(&steps[0]).result.as_deref().unwrap().contains(told) && !s.has_pending());
    }
}

#[test]
fn refused_prompt_fails_all_messages_but_keeps_the_cli() {
    let (mut s, prompt) = opened(None);
    s.give(vec![message("b", Some("1.json"))]);
    let steps = refuse(&mut s, &prompt, 429, "x\nSuggested retry after 60s.");
    let failed = output(&steps[0]);
    assert_eq!((failed.error_kind, failed.retry_at.is_some()), (Some(ErrorKind::RateLimit), true));
    assert_eq!((failed.consumed.len(), failed.new_session_id.as_deref(), steps.len()), (1, None, 1));
    assert!(!s.has_pending());
    assert_eq!(s.to_resume(), None, "the id of a failed turn is not kept");
    let steps = s.give(vec![message("c", Some("2.json"))]);
    say(&mut s, "well");
    assert_eq!(output(&answer(&mut s, &steps[0], done(1, 1))[0]).result.as_deref(), Some("well"));
}

#[test]
fn cli_that_does_not_open_is_ended_and_restarted_without_servers() {
    let mut s = Session::new(setup(), None);
    s.give(vec![message("a", None), message("b", Some("1.json"))]);
    let steps = s.started();
    assert!(!s.is_ready());
    assert_eq!(s.stuck(Some(json!(["ours"]))), []);
    assert!(s.event(Event::Answer { id: written(&steps[0]).1, result: json!({}) }, now()).is_empty());
    assert!(s.ended("signal 15", "").is_empty() && s.has_pending());
    let mut steps = s.started();
    for _ in 0..2 {
        steps = answer(&mut s, &steps[0], json!({}));
    }
    assert_eq!(written(&steps[0]).2["mcpServers"], json!(["ours"]));
    s.event(Event::Text("waiting".into()), now());
    let steps = s.stuck(None);
    let failed = output(&steps[0]);
    assert_eq!((failed.error_kind, failed.consumed.len()), (Some(ErrorKind::Other), 1));
    assert!(failed.error.as_deref().unwrap().contains("in time and was ended: waiting"), "{failed:?}");
    assert_eq!((steps.len(), s.has_pending()), (1, false));
}

#[test]
fn missing_session_is_reported_and_begun_anew() {
    let mut s = Session::new(setup(), Some("gone".into()));
    s.give(vec![message("a", None)]);
    let mut steps = s.started();
    for _ in 0..2 {
        steps = answer(&mut s, &steps[0], json!({}));
    }
    let steps = refuse(&mut s, &steps[0], -32603, "Invalid session identifier \"gone\".");
    assert_eq!(output(&steps[0]).error_kind, Some(ErrorKind::SessionMissing));
    assert_eq!((&steps[1], s.to_resume()), (&Step::End, None));
    // A message that comes while the CLI exits goes to the next one.
    assert!(s.give(vec![message("b", Some("1.json"))]).is_empty());
    assert!(s.ended("signal 15", "").is_empty() && s.has_pending());
    assert_eq!(written(&s.started()[0]).0, "initialize");
}

#[test]
fn exit_in_mid_turn_is_a_failure_unless_idle() {
    let (mut s, prompt) = opened(None);
    s.event(Event::Text("Loaded.".into()), now());
    let steps = s.ended("exit code 1", "out of memory");
    let error = output(&steps[0]).error.clone().unwrap();
    assert!(error.contains("exit code 1") && error.contains("Loaded.\nout of memory"), "{error}");
    assert!(answer(&mut s, &prompt, done(1, 1)).is_empty(), "a late answer settles nothing");
    let (mut s, prompt) = opened(None);
    say(&mut s, "x");
    answer(&mut s, &prompt, done(1, 1));
    assert!(s.ended("exit code 0", "").is_empty());
    assert_eq!(s.to_resume(), Some("fresh"), "the next one goes on with it");
}

#[test]
fn cli_that_refuses_the_key_is_ended() {
    let mut s = Session::new(setup(), None);
    s.give(vec![message("a", None)]);
    let steps = s.started();
    let steps = answer(&mut s, &steps[0], json!({}));
    let steps = refuse(&mut s, &steps[0], -32000, "Gemini API key is missing or not configured.");
    assert_eq!((output(&steps[0]).error_kind, &steps[1]), (Some(ErrorKind::Auth), &Step::End));
    assert!(s.ended("signal 15", "").is_empty());
}

#[test]
fn question_of_the_cli_is_answered() {
    let (mut s, _) = opened(None);
    let asked = Event::Asked { id: json!(0), method: "terminal/create".into(), params: json!({}) };
    assert!(matches!(&s.event(asked, now())[0], Step::Write(line) if line.contains("-32601")));
}

proptest! {
    /// Whatever happens in whatever order: each input is settled at most once, and none is open when all are settled.
    #[test]
    fn input_is_settled_at_most_once(moves in proptest::collection::vec((0u8..7, 0u64..12), 1..60)) {
        let mut s = Session::new(setup(), None);
        let (mut given, mut settled) = (0usize, Vec::new());
        for (what, number) in moves {
            let steps = match what {
                0 => { given += 1; s.give(vec![message("m", Some(&format!("{given}")))]) }
                1 => s.started(),
                2 => s.event(Event::Answer { id: number, result: done(1, 1) }, now()),
                3 => s.event(Event::Refused { id: number, fault: Fault { code: 503, message: "x".into() } }, now()),
                4 => s.event(Event::Said("x".into()), now()),
                5 => s.event(Event::Past, now()),
                _ => s.ended("exit code 1", ""),
            };
            for step in &steps {
                if let Step::Put(output) = step { settled.extend(output.consumed.clone()); }
            }
        }
        let mut unique = settled.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), settled.len());
        prop_assert!(settled.len() <= given);
        prop_assert_eq!(s.has_pending(), settled.len() < given);
    }
}
