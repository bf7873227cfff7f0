//! Checks that every agent must pass.

use super::{Found, missing, no_occasion, not_seen, ok, why_not, wrong};
use crate::conformance::seen::{Seen, Why};

pub(super) fn user(seen: &Seen) -> Found {
    let uid = seen.uid;
    if seen.frames > 0 || seen.first.is_ok() {
        return ok(format!("works as user {uid}"));
    }
    match seen.as_node {
        Some(true) => wrong(
            format!("says nothing as user {uid}, and answers as user 1000"),
            "the user's number depends on the host: do not look it up in passwd, change user, or own what you need; only \
             /tmp, /home/node and the mounted folders are writable",
        ),
        _ => not_seen(format!("it said nothing as user {uid}"), ""),
    }
}

pub(super) fn stdin(seen: &Seen) -> Found {
    const TODO: &str = "read stdin until its end, however many pieces it comes in, and answer then";
    if seen.early {
        return wrong("an output came before stdin had ended", TODO);
    }
    if !seen.stdin_taken && matches!(seen.first, Err(Why::Silence(_))) {
        return wrong("stdin was not read to its end", TODO);
    }
    if (seen.frames > 0 || seen.first.is_ok()) && seen.stdin_taken {
        return ok("read to its end, in pieces of odd sizes");
    }
    no_occasion()
}

pub(super) fn markers(seen: &Seen) -> Found {
    const TODO: &str =
        "write ---NANOCLAW_OUTPUT_START---, the JSON and ---NANOCLAW_OUTPUT_END--- each on lines of their own";
    if let Some(line) = &seen.stray {
        return wrong(format!("a marker does not stand alone on its line: {line:?}"), TODO);
    }
    match (seen.frames, &seen.first) {
        (0, Err(Why::Ended(_))) => no_occasion(),
        (0, Ok(_)) => {
            wrong("the answer came without marker lines, which is read only after the agent has exited", TODO)
        }
        (0, _) => missing("no output between marker lines came", TODO),
        (frames, _) => ok(format!("{frames} outputs, each between lines of their own")),
    }
}

pub(super) fn json(seen: &Seen) -> Found {
    if let Some(first) = seen.bad.first() {
        return wrong(
            format!("{} outputs could not be read; the first: {first}", seen.bad.len()),
            "an output is one JSON object with status (success or error), result (text or null), newSessionId, error",
        );
    }
    if seen.frames == 0 { no_occasion() } else { ok("every output is as the protocol has it") }
}

pub(super) fn answer(seen: &Seen) -> Found {
    match &seen.first {
        Ok(turn) if turn.replies > 0 => ok(format!("the prompt was answered after {:.1} s", turn.took.as_secs_f64())),
        Ok(_) => missing("the turn ended without a text", "put the answer into result; null is sent to nobody"),
        Err(why @ Why::Failed(..)) => {
            wrong(why_not(why), "give it what it needs: --secrets passes keys and the network, --say another prompt")
        }
        Err(why) => {
            missing(why_not(why), "answer each prompt with an output of status success; --timeout gives more time")
        }
    }
}

pub(super) fn follow_up(seen: &Seen) -> Found {
    const TODO: &str = "look into /workspace/ipc/input while waiting: read *.json in the order of their names, remove each, \
                        answer";
    let Some(follow) = &seen.follow else { return no_occasion() };
    match &follow.answer {
        Ok(_) if follow.removed => ok("read, removed by the agent, and answered"),
        Ok(_) => wrong("answered, but its file is still there", TODO),
        Err(why) if follow.removed => wrong(format!("its file was removed, but {}", why_not(why)), TODO),
        Err(why) => missing(why_not(why), TODO),
    }
}

pub(super) fn last_input(seen: &Seen) -> Found {
    const TODO: &str =
        "look for _close first and obey it after the files have been read: nothing before it is lost then";
    let Some(closing) = &seen.closing else { return no_occasion() };
    match &closing.answer {
        None => no_occasion(),
        Some(Ok(_)) => ok("a follow-up that was written just before _close was answered"),
        Some(Err(why)) if closing.removed => {
            wrong(format!("a follow-up just before _close was removed, but {}", why_not(why)), TODO)
        }
        Some(Err(_)) => wrong("a follow-up that was written just before _close was not answered", TODO),
    }
}

pub(super) fn close(seen: &Seen) -> Found {
    const TODO: &str =
        "exit with code 0 when /workspace/ipc/input/_close is there and the files beside it are answered";
    let Some(closing) = &seen.closing else { return no_occasion() };
    match (closing.by_itself, closing.code) {
        (true, Some(0)) => ok(format!("exited with code 0 after {:.1} s", closing.took.as_secs_f64())),
        (true, Some(code)) => wrong(format!("exited with code {code} instead of 0"), TODO),
        (true, None) => {
            wrong(closing.why.clone().unwrap_or_else(|| "the engine did not say how it ended".to_owned()), TODO)
        }
        (false, _) => wrong(format!("was still running {} s after _close", closing.took.as_secs()), TODO),
    }
}

pub(super) fn session(seen: &Seen) -> Found {
    const TODO: &str = "start from sessionId when it is given, keep its state in the mounted folders, and return the id as \
                        newSessionId";
    match (&seen.session, &seen.again) {
        (_, None) => no_occasion(),
        (None, Some(Ok(_))) => not_seen("no output named a session: each room starts anew", TODO),
        (Some(_), Some(Ok(turn))) if turn.session == seen.session => {
            ok("taken up in a second container, with the same id")
        }
        (Some(_), Some(Ok(turn))) if turn.session.is_some() => ok("taken up in a second container, under a new id"),
        (Some(_), Some(Ok(_))) => ok("taken up in a second container, which named no id"),
        (_, Some(Err(why))) => wrong(format!("in a second container {}", why_not(why)), TODO),
    }
}

pub(super) fn signal(seen: &Seen) -> Found {
    const TODO: &str = "exit at once on SIGTERM; a shell that waits for a child needs a trap";
    let Some(signal) = &seen.signal else { return no_occasion() };
    match signal.code {
        Some(137) => wrong("did not end on SIGTERM and had to be killed after 10 s", TODO),
        Some(code) => ok(format!("ended on SIGTERM, with code {code}")),
        None => not_seen("the engine did not say how it ended", ""),
    }
}

pub(super) fn folders(seen: &Seen) -> Found {
    let reads = seen.follow.as_ref().is_some_and(|follow| follow.removed);
    let mut written = seen.wrote.join(", ");
    if reads {
        let inputs = "/workspace/ipc/input is read and written";
        written = if written.is_empty() { inputs.into() } else { format!("{inputs}; new files in {written}") };
    }
    if seen.follow.is_none() {
        return no_occasion();
    }
    if written.is_empty() { not_seen("nothing in the mounted folders was touched", "") } else { ok(written) }
}

pub(super) fn snapshots(seen: &Seen) -> Found {
    if seen.follow.is_none() {
        return no_occasion();
    }
    if seen.snapshots_read {
        return ok("current_tasks.json or available_groups.json was read");
    }
    not_seen("nothing asked for them", "--ipc with a prompt that makes the agent list its tasks")
}

pub(super) fn requests(seen: &Seen) -> Found {
    const TODO: &str =
        "write under another name (x.json.tmp) into /workspace/ipc/messages or tasks, and rename it to x.json";
    if let Some(bad) = seen.asked.iter().find(|asked| asked.what.is_err()) {
        let why = bad.what.as_ref().err().cloned().unwrap_or_default();
        return wrong(format!("{} cannot be understood: {why}", bad.path), TODO);
    }
    if let Some(partial) = seen.partial.first() {
        return wrong(format!("{partial} was written and never renamed to *.json"), TODO);
    }
    if let Some(asked) = seen.asked.first() {
        let what = asked.what.as_deref().unwrap_or_default();
        return ok(format!("{} understood; the first: {what}", seen.asked.len()));
    }
    match &seen.requests {
        Some(requests) => match &requests.answer {
            Ok(_) => missing("the turn of --ipc ended without a file for the host", TODO),
            Err(why) => missing(format!("in the turn of --ipc {}", why_not(why)), TODO),
        },
        None => not_seen("nobody told the agent to ask the host for something", "--ipc with a prompt that does"),
    }
}
