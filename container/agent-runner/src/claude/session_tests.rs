use parlor_protocol::{Status, Turn};
use proptest::prelude::*;

use super::*;

fn session() -> Session {
    let mut session = Session::new(None);
    session.started(0.0);
    session
}

fn message(id: &str, name: Option<&str>) -> Message {
    Message { id: id.into(), name: name.map(str::to_owned), content: vec![id.into()] }
}

fn give(session: &mut Session, id: &str, name: Option<&str>) -> Vec<Step> {
    session.give(vec![message(id, name)])
}

fn taken(uuid: &str) -> Event {
    Event::Taken { uuid: uuid.into() }
}

fn result(text: &str, total: f64) -> Event {
    Event::Result(Box::new(TurnResult {
        result: Some(text.into()),
        session_id: Some("s".into()),
        total_cost_usd: Some(total),
        ..TurnResult::default()
    }))
}

fn refusal(text: &str, status: Option<u16>) -> Event {
    Event::Result(Box::new(TurnResult {
        is_error: true,
        result: Some(text.into()),
        api_error_status: status,
        session_id: Some("bad".into()),
        ..TurnResult::default()
    }))
}

fn at(session: &mut Session, event: Event) -> Vec<Step> {
    session.event(event, DateTime::from_timestamp(0, 0).unwrap())
}

fn output(step: &Step) -> &Output {
    let Step::Put(output) = step else { panic!("{step:?}") };
    output
}

#[test]
fn result_settles_only_messages_taken_before_it() {
    let mut s = session();
    give(&mut s, "u0", None);
    assert!(at(&mut s, taken("u0")).is_empty());
    give(&mut s, "u1", Some("1.json"));
    give(&mut s, "u2", Some("2.json"));
    let steps = at(&mut s, result("one", 0.1));
    let first = output(&steps[0]);
    assert_eq!((first.result.as_deref(), first.turn, first.consumed.len()), (Some("one"), Some(Turn::Done), 0));
    assert_eq!(steps[1], Step::StillWorking);
    at(&mut s, taken("u1"));
    at(&mut s, taken("u2"));
    let steps = at(&mut s, result("two and three", 0.3));
    assert_eq!(output(&steps[0]).consumed, ["1.json", "2.json"]);
    assert!((output(&steps[0]).cost_usd.unwrap() - 0.2).abs() < 1e-9);
    assert_eq!(steps.len(), 1);
    assert!(!s.has_pending());
}

#[test]
fn follow_up_that_joined_a_turn_is_settled_by_its_result() {
    let mut s = session();
    give(&mut s, "u0", None);
    at(&mut s, taken("u0"));
    give(&mut s, "u1", Some("1.json"));
    at(&mut s, taken("u1"));
    let steps = at(&mut s, result("both", 0.1));
    assert_eq!(output(&steps[0]).consumed, ["1.json"]);
}

#[test]
fn unsolicited_answer_settles_nothing() {
    let mut s = session();
    give(&mut s, "u0", None);
    at(&mut s, taken("u0"));
    at(&mut s, result("first", 0.1));
    let steps = at(&mut s, result("a background job is done", 0.2));
    let extra = output(&steps[0]);
    assert_eq!((extra.turn, extra.consumed.len(), steps.len()), (Some(Turn::Done), 0, 1));
    give(&mut s, "u1", Some("1.json"));
    let steps = at(&mut s, result("another is", 0.3));
    assert!(output(&steps[0]).consumed.is_empty());
    assert_eq!(steps[1], Step::StillWorking);
}

#[test]
fn result_before_any_message_was_taken_settles_nothing() {
    let mut s = session();
    give(&mut s, "u0", None);
    give(&mut s, "u1", Some("1.json"));
    let steps = at(&mut s, result("what was broken off is over", 0.0));
    assert_eq!((output(&steps[0]).turn, output(&steps[0]).consumed.len()), (Some(Turn::Open), 0));
    assert_eq!(steps[1], Step::StillWorking);
    at(&mut s, taken("u0"));
    at(&mut s, taken("u1"));
    let steps = at(&mut s, result("x", 0.0));
    assert_eq!((output(&steps[0]).turn, output(&steps[0]).consumed.len()), (Some(Turn::Done), 1));
}

#[test]
fn refused_turn_fails_all_messages_and_ends_the_cli() {
    let mut s = session();
    give(&mut s, "u0", None);
    give(&mut s, "u1", Some("1.json"));
    at(&mut s, taken("u0"));
    at(&mut s, Event::Refused { error: "server_error".into() });
    let steps = at(&mut s, refusal("529", Some(529)));
    let failed = output(&steps[0]);
    assert_eq!((failed.status, failed.error_kind), (Status::Error, Some(ErrorKind::Overloaded)));
    assert_eq!((failed.consumed.len(), failed.new_session_id.as_deref()), (1, None));
    assert_eq!(steps[1], Step::End);
    assert_eq!(s.to_resume(), None, "the id of a failed turn is not kept");
    // The next turn's failure is sorted by its own facts.
    s.started(0.0);
    give(&mut s, "u2", Some("2.json"));
    let steps = at(&mut s, refusal("boom", None));
    assert_eq!(output(&steps[0]).error_kind, Some(ErrorKind::Other));
}

#[test]
fn used_up_limit_and_missing_session_are_reported() {
    let mut s = Session::new(Some("old".into()));
    s.started(0.0);
    give(&mut s, "u0", None);
    at(&mut s, Event::LimitReached { resets_at: 60 });
    let steps = at(&mut s, refusal("limit", Some(429)));
    assert_eq!(output(&steps[0]).error_kind, Some(ErrorKind::Quota));
    assert_eq!(output(&steps[0]).retry_at.as_deref(), Some("1970-01-01T00:01:00Z"));
    assert_eq!(s.to_resume(), Some("old"));
    s.started(0.0);
    give(&mut s, "u0", None);
    let missing = TurnResult { is_error: true, errors: vec!["No conversation found".into()], ..TurnResult::default() };
    let steps = at(&mut s, Event::Result(Box::new(missing)));
    assert_eq!(output(&steps[0]).error_kind, Some(ErrorKind::SessionMissing));
    assert_eq!(s.to_resume(), None);
}

#[test]
fn exit_without_a_result_is_reported_unless_idle() {
    let now = DateTime::from_timestamp(0, 0).unwrap();
    let mut s = session();
    assert!(s.ended("exit code 0", "", now).is_empty());
    let mut s = session();
    give(&mut s, "u0", None);
    at(&mut s, Event::Text("error: unknown option".into()));
    let steps = s.ended("exit code 1", "usage", now);
    let error = output(&steps[0]).error.clone().unwrap();
    assert_eq!(error, "Claude Code ended with exit code 1: error: unknown option\nusage");
    assert!(!s.has_pending());
}

#[test]
fn cost_of_a_resumed_conversation_is_billed_once() {
    let mut s = Session::new(Some("old".into()));
    s.started(1.5);
    give(&mut s, "u0", None);
    let steps = at(&mut s, result("x", 1.75));
    assert_eq!(output(&steps[0]).cost_usd, Some(0.25));
    s.started(1.75);
    give(&mut s, "u1", Some("1"));
    let steps = at(&mut s, result("x", 0.5));
    assert_eq!(output(&steps[0]).cost_usd, Some(0.5), "it began to count anew");
}

#[test]
fn cost_of_a_failed_turn_belongs_to_its_conversation() {
    let mut s = Session::new(Some("old".into()));
    s.started(1.5);
    assert_eq!(s.spent(), None);
    give(&mut s, "u0", None);
    let Event::Result(mut failed) = refusal("400", Some(400)) else { unreachable!() };
    failed.session_id = Some("old".into());
    failed.total_cost_usd = Some(1.75);
    let steps = at(&mut s, Event::Result(failed));
    assert_eq!((output(&steps[0]).cost_usd, s.spent()), (Some(0.25), Some(("old", 1.75))));
    // A program that exits without a result has reported no cost.
    s.started(1.75);
    give(&mut s, "u1", Some("1"));
    s.ended("signal 9", "", DateTime::from_timestamp(0, 0).unwrap());
    assert_eq!(s.spent(), None);
}

#[test]
fn what_comes_while_a_cli_goes_is_the_next_ones_alone() {
    let mut s = Session::new(None);
    assert!(give(&mut s, "u0", None).is_empty(), "there is no CLI yet");
    let written = s.started(0.0);
    assert!(matches!(&written[..], [Step::Write(line)] if line.contains(r#""uuid":"u0""#)), "{written:?}");
    at(&mut s, Event::Began { failed: Vec::new() });
    assert_eq!(at(&mut s, refusal("529", Some(529)))[1], Step::End);
    assert!(give(&mut s, "u1", Some("1.json")).is_empty(), "the one that goes does not get it");
    assert!(s.ended("killed by signal 15", "", DateTime::from_timestamp(0, 0).unwrap()).is_empty() && s.has_pending());
    let written = s.started(0.0);
    assert!(matches!(&written[..], [Step::Write(line)] if line.contains(r#""uuid":"u1""#)), "{written:?}");
}

proptest! {
    /// Whatever the CLI does, each input is told as consumed at most once; and one that is answered was taken before.
    #[test]
    fn no_input_is_settled_twice_or_too_early(steps in proptest::collection::vec((0u8..6, 0usize..8), 0..60)) {
        let mut s = session();
        let (mut given, mut taken_now, mut settled) = (0, Vec::new(), Vec::<String>::new());
        for (what, which) in steps {
            let steps = match what {
                0 => { given += 1; give(&mut s, &format!("u{}", given - 1), Some(&format!("{}", given - 1))) }
                1 if which < given => { taken_now.push(which.to_string()); at(&mut s, taken(&format!("u{which}"))) }
                2 => at(&mut s, result("x", 0.0)),
                3 => at(&mut s, refusal("x", None)),
                4 => s.ended("exit code 1", "", DateTime::from_timestamp(0, 0).unwrap()),
                5 => s.started(0.0),
                _ => Vec::new(),
            };
            for step in steps {
                let Step::Put(output) = step else { continue };
                let answered = output.status == Status::Success;
                for name in &output.consumed { prop_assert!(!answered || taken_now.contains(name)); }
                settled.extend(output.consumed);
            }
        }
        let mut unique = settled.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), settled.len());
        prop_assert_eq!(s.has_pending(), settled.len() < given);
    }
}

#[test]
fn empty_answer_is_asked_about_once_and_then_reported() {
    let mut s = session();
    give(&mut s, "u0", None);
    at(&mut s, taken("u0"));
    assert_eq!(at(&mut s, result("", 0.1)), [Step::Ask(said::SILENT)]);
    assert!(s.has_pending(), "the message waits for its answer");
    give(&mut s, "u1", None);
    at(&mut s, taken("u1"));
    let steps = at(&mut s, result("<think>hm</think> ", 0.3));
    let told = output(&steps[0]);
    assert!(told.result.as_deref().unwrap().contains("gave no answer") && steps.len() == 1, "{steps:?}");
    assert_eq!((told.cost_usd, told.turn), (Some(0.3), Some(Turn::Done)));
    give(&mut s, "u2", Some("1.json"));
    at(&mut s, taken("u2"));
    at(&mut s, Event::Spoke);
    let steps = at(&mut s, result("", 0.3));
    assert_eq!((output(&steps[0]).result.as_deref(), output(&steps[0]).consumed.len()), (None, 1));
    let mut s = session().quiet(true);
    give(&mut s, "u0", None);
    at(&mut s, taken("u0"));
    at(&mut s, result("", 0.1));
    assert_eq!(output(&at(&mut s, result("", 0.1))[0]).result, None, "a task has nothing to say");
}

#[test]
fn cli_that_does_not_open_is_ended_and_reported() {
    let mut s = session();
    give(&mut s, "u0", None);
    assert!(!s.is_ready());
    at(&mut s, Event::Text("waiting for a server".into()));
    let steps = s.stuck(DateTime::from_timestamp(0, 0).unwrap());
    assert!(output(&steps[0]).error.as_deref().unwrap().contains("in time and was ended: waiting for a server"));
    assert_eq!((steps.len(), s.has_pending()), (1, false));
    s.started(0.0);
    at(&mut s, Event::Began { failed: Vec::new() });
    assert!(s.is_ready());
}
