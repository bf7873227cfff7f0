use parlor_protocol::{Status, Turn};
use proptest::prelude::*;

use serde_json::json;

use super::super::events::Tokens;
use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000, 0).unwrap()
}

fn line(event: Event) -> Line {
    Line { thread: Some("t".into()), event }
}

fn message(id: &str, name: Option<&str>) -> Vec<Message> {
    vec![Message { id: id.into(), name: name.map(str::to_owned), content: Vec::new() }]
}

fn opened(id: &str) -> Line {
    let result = json!({ "thread": { "id": id } });
    Line { thread: None, event: Event::Answered { id: requests::THREAD, result: Ok(result) } }
}

fn refused(id: u64, why: &str) -> Line {
    Line { thread: None, event: Event::Answered { id, result: Err(why.into()) } }
}

/// Returns a session with an open thread and the run's first prompt.
fn session(resume: Option<&str>) -> Session {
    let mut session = Session::new(Setup::default(), resume.map(str::to_owned));
    session.started();
    session.give(message("first", None));
    session.event(opened("t"), now());
    session
}

fn taken(id: &str) -> Line {
    line(Event::Taken { message: id.into() })
}

fn said(text: &str) -> Line {
    line(Event::Said { text: text.into(), aside: false })
}

fn ended() -> Line {
    line(Event::Ended { fault: None, text: None })
}

fn fault(kind: &str, status: Option<u16>) -> Fault {
    Fault { message: "why".into(), kind: kind.into(), status }
}

fn put(steps: &[Step]) -> &Output {
    let Some(Step::Put(output)) = steps.first() else { panic!("{steps:?}") };
    output
}

#[test]
fn messages_wait_for_the_thread_and_keep_their_order() {
    let mut session = Session::new(Setup::default(), None);
    assert!(matches!(&session.started()[..], [Step::Write(line)] if line.contains("initialize")));
    assert_eq!(session.give(message("first", None)), []);
    assert_eq!(session.give(message("second", Some("1.json"))), []);
    let greeted = Line { thread: None, event: Event::Answered { id: requests::GREETING, result: Ok(json!({})) } };
    let steps = session.event(greeted, now());
    assert!(matches!(steps.last(), Some(Step::Write(line)) if line.contains("thread/start")), "{steps:?}");
    let written: Vec<bool> = session
        .event(opened("t"), now())
        .iter()
        .zip(["first", "second"])
        .map(|(step, id)| matches!(step, Step::Write(line) if line.contains(id) && line.contains("turn/start")))
        .collect();
    assert_eq!(written, [true, true]);
    assert!(matches!(&session.give(message("third", None))[..], [Step::Write(_)]));
}

#[test]
fn cli_that_does_not_open_fails_the_turn_and_is_ended() {
    let mut session = Session::new(Setup::default(), None);
    session.started();
    session.give(message("first", None));
    session.give(message("second", Some("1.json")));
    session.event(Line { thread: None, event: Event::Text("locked".into()) }, now());
    assert!(!session.is_ready());
    let steps = session.stuck(now());
    let output = put(&steps);
    assert_eq!((output.error_kind, output.consumed.len()), (Some(ErrorKind::Other), 1));
    assert!(output.error.as_deref().unwrap().contains("in time and was ended: locked"), "{output:?}");
    assert_eq!((steps.len(), session.has_pending()), (1, false));
    assert_eq!(session.stuck(now()), [], "nobody waits");
}

#[test]
fn answer_settles_only_messages_taken_before_it() {
    let mut session = session(None);
    session.give(message("late", Some("1.json")));
    session.event(taken("first"), now());
    session.event(line(Event::Said { text: "I look".into(), aside: true }), now());
    session.event(line(Event::Worked), now());
    session.event(said("hi"), now());
    let steps = session.event(ended(), now());
    let output = put(&steps);
    assert_eq!((output.result.as_deref(), output.new_session_id.as_deref()), (Some("hi"), Some("t")));
    assert_eq!((output.turn, output.consumed.len()), (Some(Turn::Done), 0));
    assert_eq!(steps[1], Step::StillWorking);
    session.event(taken("late"), now());
    let steps = session.event(line(Event::Ended { fault: None, text: Some("late too".into()) }), now());
    assert_eq!((put(&steps).result.as_deref(), put(&steps).consumed.len()), (Some("late too"), 1));
    assert!(!session.has_pending() && steps.len() == 1);
}

#[test]
fn answer_before_a_follow_up_is_sent_but_not_talk_before_work() {
    let mut session = session(None);
    session.give(message("late", Some("1.json")));
    session.event(taken("first"), now());
    session.event(said("the answer"), now());
    assert_eq!(session.event(taken("late"), now()), [Step::Say("the answer".into())]);
    session.event(said("I look again"), now());
    session.event(line(Event::Worked), now());
    session.event(said("both"), now());
    let steps = session.event(ended(), now());
    assert_eq!((put(&steps).result.as_deref(), steps.len()), (Some("both"), 1));
}

#[test]
fn failed_turn_fails_all_messages_and_ends_the_cli() {
    let mut session = session(Some("t"));
    session.give(message("late", Some("1.json")));
    session.event(taken("first"), now());
    // The host waits for a limit to pass: the CLI might wait for an hour.
    let again = Event::Trouble { fault: fault("responseStreamDisconnected", Some(429)), again: true };
    let steps = session.event(line(again), now());
    let output = put(&steps);
    assert_eq!((output.status, output.error_kind), (Status::Error, Some(ErrorKind::RateLimit)));
    assert_eq!((output.consumed.len(), output.new_session_id.as_deref()), (1, None));
    assert_eq!(steps[1], Step::End);
    // Later events belong to no message.
    assert_eq!(session.event(line(Event::Ended { fault: Some(fault("x", None)), text: None }), now()), []);
    // What comes while it goes is the next one's alone.
    assert_eq!(session.give(message("after", Some("2.json"))), []);
    assert_eq!((session.ended("killed by signal 15", ""), session.has_pending()), (Vec::new(), true));
    // The next CLI resumes what was there before.
    session.started();
    let greeted = Line { thread: None, event: Event::Answered { id: requests::GREETING, result: Ok(json!({})) } };
    assert!(matches!(session.event(greeted, now()).last(), Some(Step::Write(line)) if line.contains("thread/resume")));
}

#[test]
fn broken_connection_is_retried_by_the_cli() {
    let mut session = session(None);
    let again = Event::Trouble { fault: fault("responseStreamDisconnected", None), again: true };
    assert_eq!(session.event(line(again), now()), []);
    let steps = session.event(line(Event::Ended { fault: Some(fault("serverOverloaded", None)), text: None }), now());
    assert_eq!(put(&steps).error_kind, Some(ErrorKind::Overloaded));
}

#[test]
fn lost_conversation_begins_anew() {
    let mut session = Session::new(Setup::default(), Some("gone".into()));
    session.started();
    session.give(message("first", None));
    let steps = session.event(refused(requests::THREAD, "no rollout found for thread id gone"), now());
    assert_eq!((put(&steps).error_kind, &steps[1]), (Some(ErrorKind::SessionMissing), &Step::End));
    session.started();
    let greeted = Line { thread: None, event: Event::Answered { id: requests::GREETING, result: Ok(json!({})) } };
    assert!(matches!(session.event(greeted, now()).last(), Some(Step::Write(line)) if line.contains("thread/start")));
    session.give(message("again", None));
    let steps = session.event(refused(requests::THREAD, "the configuration is wrong"), now());
    assert!(put(&steps).error.as_deref().unwrap().contains("the configuration is wrong"));
    assert_eq!((put(&steps).error_kind, &steps[1]), (Some(ErrorKind::Other), &Step::End));
}

#[test]
fn exit_without_an_answer_is_reported_unless_idle() {
    let mut session = session(None);
    session.event(line(Event::Text("thread main panicked".into())), now());
    let steps = session.ended("exit code 101", "the end of stderr");
    let reason = put(&steps).error.clone().unwrap();
    assert!(reason.contains("exit code 101") && reason.contains("panicked") && reason.contains("stderr"), "{reason}");
    assert_eq!(session.ended("exit code 0", ""), []);
}

#[test]
fn sub_agents_settle_nothing_but_their_tokens_count() {
    let mut session = session(None);
    session.event(taken("first"), now());
    session.event(line(Event::Started { turn: "n".into() }), now());
    session.event(said("mine"), now());
    let sub = |event| Line { thread: Some("sub".into()), event };
    let tokens = Tokens { input: 7, ..Tokens::default() };
    session.event(sub(Event::Used { turn: "n".into(), total: tokens, last: tokens }), now());
    session.event(sub(Event::Said { text: "theirs".into(), aside: false }), now());
    assert_eq!(session.event(sub(Event::Ended { fault: None, text: Some("theirs".into()) }), now()), []);
    let steps = session.event(ended(), now());
    assert_eq!(put(&steps).result.as_deref(), Some("mine"));
    assert_eq!(put(&steps).usage.as_ref().unwrap()["input_tokens"], 7);
}

#[test]
fn unsolicited_answer_does_not_settle_the_first_prompt() {
    let mut session = session(Some("t"));
    session.give(message("late", Some("1.json")));
    session.event(taken("late"), now());
    session.event(said("out of order"), now());
    let steps = session.event(ended(), now());
    assert_eq!((put(&steps).turn, &steps[1]), (Some(Turn::Open), &Step::StillWorking));
    assert_eq!(put(&steps).consumed, ["1.json"]);
}

#[test]
fn turn_end_before_any_message_was_taken_settles_nothing() {
    let mut session = session(None);
    session.event(said("of its own accord"), now());
    let steps = session.event(ended(), now());
    assert_eq!((put(&steps).turn, &steps[1]), (Some(Turn::Open), &Step::StillWorking));
    session.event(taken("first"), now());
    session.event(said("hi"), now());
    assert_eq!(put(&session.event(ended(), now())).turn, Some(Turn::Done));
    assert!(!session.has_pending());
}

proptest! {
    #[test]
    fn input_is_settled_once_and_never_too_early(moves in proptest::collection::vec(0_u8..6, 0..60)) {
        let mut session = session(None);
        let (mut given, mut settled, mut taken_ids) = (0, Vec::new(), vec!["first".to_owned()]);
        session.event(taken("first"), now());
        for step in moves {
            let mut steps = Vec::new();
            match step {
                0 | 1 => {
                    given += 1;
                    steps = session.give(message(&format!("m{given}"), Some(&format!("{given}.json"))));
                }
                2 => {
                    let id = format!("m{}", taken_ids.len());
                    steps = session.event(taken(&id), now());
                    if taken_ids.len() <= given { taken_ids.push(id); }
                }
                3 => steps = session.event(said("x"), now()),
                4 => steps = session.event(ended(), now()),
                _ => drop(session.event(line(Event::Worked), now())),
            }
            for step in steps {
                let Step::Put(output) = step else { continue };
                for name in output.consumed {
                    let id = format!("m{}", name.trim_end_matches(".json"));
                    prop_assert!(taken_ids.contains(&id), "{id} of {taken_ids:?}");
                    prop_assert!(!settled.contains(&name));
                    settled.push(name);
                }
            }
        }
    }
}

#[test]
fn empty_answer_is_asked_about_once_and_then_reported() {
    let mut s = session(None);
    s.event(taken("first"), now());
    let asked = s.event(ended(), now());
    assert_eq!(asked, [Step::Ask(said::SILENT)]);
    s.give(message("again", None));
    let steps = s.event(ended(), now());
    assert!(put(&steps).result.as_deref().unwrap().contains("gave no answer"), "{steps:?}");
    s.event(taken("again"), now());
    s.event(said("at last"), now());
    assert_eq!(put(&s.event(ended(), now())).result.as_deref(), Some("at last"));
    s.give(message("second", Some("1.json")));
    s.event(taken("second"), now());
    s.event(line(Event::Spoke), now());
    let steps = s.event(ended(), now());
    assert_eq!((put(&steps).result.as_deref(), put(&steps).consumed.len()), (None, 1));
}
