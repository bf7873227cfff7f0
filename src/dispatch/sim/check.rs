//! The invariants that must hold when a history has come to rest.

use std::collections::BTreeMap;

use super::world::World;

/// Returns an error for a violated invariant.
pub(super) fn all(world: &World<'_>) -> Result<(), String> {
    if let Some(broken) = &world.broken {
        return Err(broken.clone());
    }
    world.is_at_rest()?;
    if world.typing.contains(&true) {
        return Err("a chat shows typing for ever".into());
    }
    messages(world)?;
    turns(world)?;
    tasks(world)?;
    let live = world.db.read(crate::store::runs::live);
    if let Some(run) = live.first() {
        return Err(format!("run {} of {} lives for ever", run.id, run.folder));
    }
    Ok(())
}

struct Message {
    seq: i64,
    platform_id: String,
    role: String,
    state: String,
}

/// Every accepted message has one end: answered once, given up with a notice, or taken back.
fn messages(world: &World<'_>) -> Result<(), String> {
    let all: Vec<Message> = world.db.read(|db| {
        let mut rows = db.prepare_cached("SELECT seq, platform_id, role, state FROM inbound ORDER BY seq")?;
        let rows = rows.query_map([], |row| {
            Ok(Message { seq: row.get(0)?, platform_id: row.get(1)?, role: row.get(2)?, state: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    });
    if all.len() as u64 != world.accepted {
        return Err(format!("{} messages of {} are there", all.len(), world.accepted));
    }
    let texts: Vec<(String, String, Option<String>, Option<String>)> = world.db.read(|db| {
        let mut rows = db.prepare_cached("SELECT text, kind, run_id, reply_to FROM outbox")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    });
    let mut answers: BTreeMap<i64, u32> = BTreeMap::new();
    for (text, ..) in &texts {
        for seq in text.split(' ').filter_map(|word| word.strip_prefix("re:")?.parse().ok()) {
            *answers.entry(seq).or_default() += 1;
        }
    }
    for message in &all {
        let Message { seq, platform_id, role, state } = message;
        let answered = answers.get(seq).copied().unwrap_or(0);
        if answered > 1 + u32::from(world.orphaned.contains(seq)) {
            return Err(format!("message {seq} is answered {answered} times"));
        }
        let replies = texts.iter().filter(|text| text.3.as_ref() == Some(platform_id) && text.1 == "notice").count();
        match (state.as_str(), role.as_str()) {
            (other, _) if other != "cancelled" && world.taken_back.contains(seq) => {
                return Err(format!("message {seq} was taken back by /stop, and is {other}"));
            }
            ("done", "command") if replies == 1 || replies == 2 && world.orphaned.contains(seq) => {}
            ("done", "command") => return Err(format!("command {seq} is answered {replies} times")),
            ("done", _) if answered == 1 || spoke(world, &texts, *seq) => {}
            ("done", _) => return Err(format!("message {seq} is done, and nobody answered it")),
            ("failed" | "cancelled", _) => {}
            (other, _) => return Err(format!("message {seq} is {other} for ever")),
        }
    }
    Ok(())
}

/// Returns true if a run that had the message sent something before it broke off.
fn spoke(world: &World<'_>, texts: &[(String, String, Option<String>, Option<String>)], seq: i64) -> bool {
    let runs: Vec<String> = world.given.get(&seq).into_iter().flatten().map(ToString::to_string).collect();
    texts.iter().any(|(.., run, _)| run.as_ref().is_some_and(|run| runs.contains(run)))
}

/// Every follower that saw a turn's begin saw its end.
fn turns(world: &World<'_>) -> Result<(), String> {
    let events: Vec<(String, String, i64, Option<String>)> = world.db.read(|db| {
        let mut rows = db.prepare_cached(
            "SELECT jid, body ->> 'state', body ->> 'throughSeq', body ->> 'reason' FROM events
             WHERE name = 'turn' ORDER BY seq",
        )?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    });
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for (jid, state, through, reason) in events {
        if state == "started" {
            let last = open.entry(jid).or_insert(through);
            *last = through.max(*last);
        } else if reason.as_deref() != Some("command") && open.get(&jid).is_some_and(|last| *last <= through) {
            open.remove(&jid);
        }
    }
    match open.first_key_value() {
        Some((jid, through)) => Err(format!("{jid}: the turn through message {through} ends for nobody")),
        None => Ok(()),
    }
}

/// Every firing has ended.
fn tasks(world: &World<'_>) -> Result<(), String> {
    let open: i64 = world.db.read(|db| {
        let count = "SELECT count(*) FROM fires WHERE state IN ('claimed', 'running')";
        Ok(db.query_row(count, [], |row| row.get(0))?)
    });
    if open > 0 { Err(format!("{open} firings never end")) } else { Ok(()) }
}
