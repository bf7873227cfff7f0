//! The store's view of a group. It is read at every wake-up, so decisions never depend on the cause of the wake-up.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::budget::{self, UsedUp};
use super::hold;
use super::jobs::Facts;
use crate::domain::group::Group;
use crate::domain::message::Inbound;
use crate::domain::task::{ContextMode, Fire, Task};
use crate::domain::usage;
use crate::store::{Connection, TxResult, groups, inbound, tasks};

/// The group as it is stored.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) group: Option<Group>,
    pub(super) commands: Vec<Inbound>,
    pub(super) message_waits: bool,
    /// When waiting messages begin a turn, if they still wait for more.
    pub(super) settles_at: Option<DateTime<Utc>>,
    pub(super) chat_fire: Option<(Fire, Task)>,
    pub(super) task_fire: Option<(Fire, Task)>,
    pub(super) used_up: Option<UsedUp>,
}

/// Reads the view.
pub(super) fn look(db: &Connection, facts: &Facts<'_>) -> TxResult<Look> {
    let Facts { jid, settings, now, .. } = *facts;
    let group = groups::by_jid(db, jid)?;
    let fires = match &group {
        Some(group) => tasks::claimed(db, &group.folder)?,
        None => Vec::new(),
    };
    let (mut chat_fire, mut task_fire) = (None, None);
    for (fire, task) in fires {
        let place = if task.context_mode == ContextMode::Group { &mut chat_fire } else { &mut task_fire };
        place.get_or_insert((fire, task));
    }
    let used_up = match &group {
        Some(group) => budget::used_up(db, group, settings, usage::day(now, settings.timezone))?,
        None => None,
    };
    let own = group.as_ref().and_then(|group| group.container_config.settle);
    let settle = own.map_or(settings.settle, Duration::from_millis);
    let settles_at = match inbound::waiting_since(db, jid)? {
        Some((first, last)) if !settle.is_zero() => Some(settled(first, last, settle)).filter(|at| *at > now),
        _ => None,
    };
    Ok(Look {
        commands: inbound::commands(db, jid)?,
        message_waits: settles_at.is_none() && inbound::first_trigger(db, jid)?.is_some(),
        settles_at,
        group,
        chat_fire,
        task_fire,
        used_up,
    })
}

/// A chat that is never quiet gets an answer after this many times the quiet period.
const AT_MOST: u32 = 10;

/// Returns when waiting messages begin a turn: a quiet period after the last of them.
fn settled(first: DateTime<Utc>, last: DateTime<Utc>, quiet: Duration) -> DateTime<Utc> {
    hold::after(last, quiet).min(hold::after(first, quiet * AT_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;

    #[test]
    fn messages_wait_for_quiet_but_not_for_ever() {
        let quiet = Duration::from_millis(300);
        assert_eq!(settled(from_ms(1000), from_ms(1000), quiet), from_ms(1300));
        assert_eq!(settled(from_ms(1000), from_ms(2500), quiet), from_ms(2800));
        assert_eq!(settled(from_ms(1000), from_ms(3990), quiet), from_ms(4000));
    }
}
