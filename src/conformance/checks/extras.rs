//! Checks of Parlor's additions to the protocol.

use std::time::Duration;

use super::{Found, missing, no_occasion, not_seen, ok, why_not, wrong};
use crate::conformance::seen::Seen;

/// The longest turn without a heartbeat.
const BEAT: Duration = Duration::from_secs(75);

pub(super) fn turn(seen: &Seen) -> Found {
    match &seen.first {
        Err(_) => no_occasion(),
        Ok(turn) if turn.said_done => ok("the last output of a turn says so"),
        Ok(_) => missing(
            "outputs do not say whether their turn goes on: each success counts as its end",
            "add \"turn\": \"open\" to outputs that more will follow, \"done\" to the last",
        ),
    }
}

pub(super) fn consumed(seen: &Seen) -> Found {
    const TODO: &str =
        "name the input files that a turn took in with its last output: \"consumed\": [\"00000001.json\"]";
    let Some(follow) = &seen.follow else { return no_occasion() };
    match &follow.answer {
        Err(_) => no_occasion(),
        Ok(turn) if turn.consumed.contains(&follow.name) => ok("the input files of a turn are named"),
        Ok(turn) if turn.consumed.is_empty() => {
            missing("input files are not named: one counts as answered when it is gone as an output comes", TODO)
        }
        Ok(turn) => wrong(format!("{:?} is named instead of {:?}", turn.consumed, follow.name), TODO),
    }
}

pub(super) fn heartbeat(seen: &Seen) -> Found {
    const TODO: &str =
        "put out {\"status\": \"success\", \"result\": null, \"heartbeat\": true} once a minute while a turn works";
    let Some(long) = &seen.long else {
        return not_seen("no turn took over a minute", "--long with a prompt whose turn does");
    };
    if long.beats > 0 {
        return ok(format!("{} in a turn of {} s", long.beats, long.took.as_secs()));
    }
    match &long.answer {
        _ if long.took >= BEAT => missing(format!("none in {} s", long.took.as_secs()), TODO),
        Ok(_) => {
            not_seen(format!("the turn of --long took {} s", long.took.as_secs()), "one of over a minute shows it")
        }
        Err(why) => not_seen(why_not(why), ""),
    }
}

pub(super) fn error_kind(seen: &Seen) -> Found {
    match (seen.errors, seen.error_kinds) {
        (0, _) => not_seen("no turn failed", ""),
        (errors, kinds) if errors == kinds => ok("failed turns say of what kind the failure is"),
        _ => missing(
            "a failed turn does not say of what kind the failure is: it is tried again blindly",
            "add \"errorKind\": auth, rate_limit, quota, overloaded, session_missing, session_refused, refused or other",
        ),
    }
}

pub(super) fn results(seen: &Seen) -> Found {
    const TODO: &str =
        "give requests an \"id\" and wait for /workspace/ipc/results/<id>.json before saying that it is done";
    let with_id = seen.asked.iter().filter(|asked| asked.with_id).count();
    match (seen.asked.len(), with_id, seen.results_read) {
        (0, ..) => not_seen("nothing was asked of the host", "--ipc with a prompt that does"),
        (_, 0, _) => missing("requests have no id: the agent cannot know whether the host did it", TODO),
        (_, _, 0) => missing("requests have an id, but no result was read", TODO),
        (_, ids, _) => ok(format!("{ids} requests had an id, and their results were read")),
    }
}
