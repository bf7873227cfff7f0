//! The verdicts on the observations. Pure.

mod extras;
mod v1;

use super::seen::{Seen, Why};

/// The agents that must pass a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every agent; `NanoClaw` v1's runners pass these checks.
    V1,
    /// Parlor's additions: an agent without them works, with less comfort.
    Parlor,
}

impl Level {
    /// The name in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Parlor => "parlor",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The agent passed.
    Ok,
    /// The agent lacks the feature.
    Missing,
    /// The agent does something else.
    Wrong,
    /// The check could not be made.
    NotSeen,
}

impl Verdict {
    /// The name in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::NotSeen => "not seen",
        }
    }
}

/// A check's result, with its reason and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The short name of the check.
    pub name: &'static str,
    /// The agents that must pass.
    pub level: Level,
    /// The result.
    pub verdict: Verdict,
    /// The observation behind the verdict.
    pub why: String,
    /// The remedy; empty if there is none.
    pub todo: String,
}

/// A result before it has a name: verdict, reason, remedy.
type Found = (Verdict, String, &'static str);

fn ok(why: impl Into<String>) -> Found {
    (Verdict::Ok, why.into(), "")
}
fn wrong(why: impl Into<String>, todo: &'static str) -> Found {
    (Verdict::Wrong, why.into(), todo)
}
fn missing(why: impl Into<String>, todo: &'static str) -> Found {
    (Verdict::Missing, why.into(), todo)
}
fn not_seen(why: impl Into<String>, todo: &'static str) -> Found {
    (Verdict::NotSeen, why.into(), todo)
}

/// A check's name and its function.
type Named = (&'static str, fn(&Seen) -> Found);

/// The result of checks that need an earlier answer.
fn no_occasion() -> Found {
    not_seen("what comes before it did not work", "")
}

/// Makes all checks, in the order in which an agent meets them.
pub fn judge(seen: &Seen) -> Vec<Check> {
    let v1: [Named; 13] = [
        ("user", v1::user),
        ("stdin", v1::stdin),
        ("markers", v1::markers),
        ("json", v1::json),
        ("answer", v1::answer),
        ("follow-up", v1::follow_up),
        ("last input", v1::last_input),
        ("_close", v1::close),
        ("session", v1::session),
        ("signal", v1::signal),
        ("folders", v1::folders),
        ("snapshots", v1::snapshots),
        ("requests", v1::requests),
    ];
    let extras: [Named; 5] = [
        ("turn", extras::turn),
        ("consumed", extras::consumed),
        ("heartbeat", extras::heartbeat),
        ("errorKind", extras::error_kind),
        ("results", extras::results),
    ];
    let named = |level: Level| {
        move |(name, check): Named| {
            let (verdict, why, todo) = check(seen);
            Check { name, level, verdict, why, todo: todo.to_owned() }
        }
    };
    v1.into_iter().map(named(Level::V1)).chain(extras.into_iter().map(named(Level::Parlor))).collect()
}

/// Returns true if no check of the level is missing or wrong.
pub fn holds(checks: &[Check], level: Level) -> bool {
    let good = |check: &Check| matches!(check.verdict, Verdict::Ok | Verdict::NotSeen);
    checks.iter().filter(|check| check.level == level).all(good)
}

/// Explains to people why there is no answer.
fn why_not(why: &Why) -> String {
    match why {
        Why::Silence(limit) => format!("nothing came within {} s", limit.as_secs()),
        Why::Ended(how) => format!("the container ended: {how}"),
        Why::Failed(error, _) => format!("the agent reports an error: {error}"),
    }
}

#[cfg(test)]
mod tests;
