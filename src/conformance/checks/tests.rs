use std::time::Duration;

use super::*;
use crate::conformance::seen::{Answer, Asked, Closing, Follow, Long, Signalled, Turn};

fn turn() -> Turn {
    Turn { replies: 1, session: Some("s".into()), ..Turn::default() }
}

/// An agent that meets exactly the demands of the first version.
fn good() -> Seen {
    let follow = Follow { name: "1.json".into(), answer: Ok(turn()), removed: true };
    let closing = Closing {
        answer: Some(Ok(turn())),
        removed: true,
        by_itself: true,
        code: Some(0),
        took: Duration::ZERO,
        why: None,
    };
    Seen {
        uid: 54_321,
        first: Ok(turn()),
        frames: 4,
        follow: Some(follow),
        closing: Some(closing),
        session: Some("s".into()),
        again: Some(Ok(turn())),
        signal: Some(Signalled { took: Duration::ZERO, code: Some(143) }),
        ..Seen::default()
    }
}

#[track_caller]
fn verdict(seen: &Seen, name: &str) -> Verdict {
    judge(seen).into_iter().find(|check| check.name == name).unwrap().verdict
}

#[test]
fn v1_agent_passes_the_first_level_and_not_the_second() {
    let checks = judge(&good());
    assert!(holds(&checks, Level::V1), "{checks:?}");
    assert!(!holds(&checks, Level::Parlor));
    assert_eq!(verdict(&good(), "turn"), Verdict::Missing);
    assert_eq!(verdict(&good(), "consumed"), Verdict::Missing);
    assert_eq!(verdict(&good(), "requests"), Verdict::NotSeen);
}

#[test]
fn each_fault_changes_only_its_own_check() {
    type Spoil = fn(&mut Seen);
    let spoils: [(&str, Verdict, Spoil); 9] = [
        ("stdin", Verdict::Wrong, |s| s.early = true),
        ("markers", Verdict::Wrong, |s| s.stray = Some("x".into())),
        ("json", Verdict::Wrong, |s| s.bad.push("not JSON".into())),
        ("answer", Verdict::Missing, |s| s.first = Ok(Turn { replies: 0, ..turn() })),
        ("follow-up", Verdict::Wrong, |s| s.follow.as_mut().unwrap().removed = false),
        ("last input", Verdict::Wrong, |s| s.closing.as_mut().unwrap().answer = Some(Err(Why::default()))),
        ("_close", Verdict::Wrong, |s| s.closing.as_mut().unwrap().by_itself = false),
        ("session", Verdict::Wrong, |s| s.again = Some(Err(Why::Ended("code 1".into())))),
        ("signal", Verdict::Wrong, |s| s.signal.as_mut().unwrap().code = Some(137)),
    ];
    for (name, expected, spoil) in spoils {
        let mut seen = good();
        spoil(&mut seen);
        let checks = judge(&seen);
        let bad = |check: &&Check| check.level == Level::V1 && !matches!(check.verdict, Verdict::Ok | Verdict::NotSeen);
        let bad: Vec<_> = checks.iter().filter(bad).map(|check| (check.name, check.verdict)).collect();
        assert_eq!(bad, [(name, expected)]);
        assert!(checks.iter().filter(|c| c.verdict == Verdict::Wrong).all(|c| !c.todo.is_empty()));
    }
}

#[test]
fn agent_that_works_only_as_user_1000_is_reported() {
    let mut seen = Seen { uid: 54_321, first: Err(Why::Ended("code 1".into())), ..Seen::default() };
    assert_eq!(verdict(&seen, "user"), Verdict::NotSeen);
    seen.as_node = Some(true);
    assert_eq!(verdict(&seen, "user"), Verdict::Wrong);
    assert_eq!(verdict(&seen, "answer"), Verdict::Missing);
    assert_eq!(verdict(&seen, "_close"), Verdict::NotSeen);
}

#[test]
fn ipc_requests_need_names_and_ids() {
    let asked = |what: Result<&str, &str>, with_id| Asked {
        path: "messages/a.json".into(),
        what: what.map(str::to_owned).map_err(str::to_owned),
        with_id,
    };
    let mut seen = good();
    seen.asked = vec![asked(Ok("message"), false)];
    assert_eq!((verdict(&seen, "requests"), verdict(&seen, "results")), (Verdict::Ok, Verdict::Missing));
    seen.asked = vec![asked(Ok("message"), true)];
    assert_eq!(verdict(&seen, "results"), Verdict::Missing);
    seen.results_read = 1;
    assert_eq!(verdict(&seen, "results"), Verdict::Ok);
    seen.partial = vec!["tasks/a".into()];
    assert_eq!(verdict(&seen, "requests"), Verdict::Wrong);
    seen.asked.push(asked(Err("not JSON"), true));
    assert_eq!(verdict(&seen, "requests"), Verdict::Wrong);
}

#[test]
fn heartbeats_are_missed_only_in_long_turns() {
    let long = |seconds, beats| {
        let answer: Answer = Ok(turn());
        Seen { long: Some(Long { answer, took: Duration::from_secs(seconds), beats }), ..good() }
    };
    assert_eq!(verdict(&long(10, 0), "heartbeat"), Verdict::NotSeen);
    assert_eq!(verdict(&long(90, 0), "heartbeat"), Verdict::Missing);
    assert_eq!(verdict(&long(90, 1), "heartbeat"), Verdict::Ok);
}
