//! Verdicts over what was seen. Pure.

mod extras;
mod v1;

use super::seen::{Seen, Why};

/// Which agents must do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every agent; `NanoClaw` v1's runners do.
    V1,
    /// What Parlor adds: an agent without it is served, with less comfort.
    Parlor,
}

impl Level {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Parlor => "parlor",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Ok,
    /// The agent does not do it.
    Missing,
    /// The agent does something else.
    Wrong,
    /// There was no occasion.
    NotSeen,
}

impl Verdict {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::NotSeen => "not seen",
        }
    }
}

/// A check's outcome: what was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its short name.
    pub name: &'static str,
    /// Who must do it.
    pub level: Level,
    /// How it ended.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// What to do; empty when there is nothing to do.
    pub todo: String,
}

/// An outcome before it has a name: verdict, why, what to do.
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

/// A check: its name, and what it makes of what was seen.
type Named = (&'static str, fn(&Seen) -> Found);

/// For checks that need an answer before.
fn no_occasion() -> Found {
    not_seen("what comes before it did not work", "")
}

/// Judges everything, in the order in which an agent meets it.
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

/// Returns true if nothing of a level is missing or wrong.
pub fn holds(checks: &[Check], level: Level) -> bool {
    let good = |check: &Check| matches!(check.verdict, Verdict::Ok | Verdict::NotSeen);
    checks.iter().filter(|check| check.level == level).all(good)
}

/// Returns why there is no answer, for people.
fn why_not(why: &Why) -> String {
    match why {
        Why::Silence(limit) => format!("nothing came within {} s", limit.as_secs()),
        Why::Ended(how) => format!("the container ended: {how}"),
        Why::Failed(error, _) => format!("the agent reports an error: {error}"),
    }
}

#[cfg(test)]
mod tests;
