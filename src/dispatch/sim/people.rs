//! People of the virtual world: they write, command and administer.

use super::world::{MS, What, World};
use crate::dispatch::event::{AskId, Event};
use crate::dispatch::tests::house;
use crate::domain::message::{NewMessage, Role};
use crate::store::{Tx, groups, inbound};

impl World<'_> {
    pub(super) fn person(&mut self, index: usize) {
        if self.calm {
            return;
        }
        let next = self.soon(self.scale.between);
        self.plan(next, What::Person(index));
        self.writes(index);
    }

    /// A person writes, and often more while the first is being looked at.
    pub(super) fn writes(&mut self, index: usize) {
        if self.calm {
            return;
        }
        if self.rng.chance(300) {
            let after = self.rng.time(MS / 20, 10 * MS);
            self.plan(after, What::More(index));
        }
        if self.dead || self.shutting_down.is_some() || self.at < self.store_back {
            return;
        }
        let text = match self.rng.below(100) {
            0..8 => "/stop",
            8..12 => "/new",
            12..17 => "/status",
            17..20 => return self.operator(index),
            _ => "hello",
        };
        let (jid, now, id) = (self.actors[index].jid.clone(), self.now().wall, (self.ids.0)().to_string());
        for number in 0..=self.rng.below(3) {
            let new = NewMessage {
                jid: jid.clone(),
                platform_id: format!("{id}-{number}"),
                sender: "ann".into(),
                sender_name: "Ann".into(),
                text: text.into(),
                attachments: Vec::new(),
                quoted: None,
                sent_at: now,
            };
            let role = if text.starts_with('/') { Role::Command } else { Role::Trigger };
            let accept = |tx: &mut Tx<'_>| match groups::by_jid(tx, &new.jid)? {
                Some(_) => inbound::insert(tx, &new, role, now).map(Some),
                None => Ok(None),
            };
            if let Some(Some(seq)) = self.write(accept) {
                self.accepted += 1;
                self.note(|| format!("message {seq} to {jid}: {text}"));
            }
            if text.starts_with('/') {
                break;
            }
        }
    }

    pub(super) fn operator(&mut self, index: usize) {
        let (jid, folder) = (self.actors[index].jid.clone(), format!("g{index}").parse().unwrap());
        match self.rng.below(5) {
            0 if !self.actors[index].down => self.apply(index, Event::Stop(AskId(0))),
            1 => {
                let retry = |tx: &mut Tx<'_>| match groups::by_jid(tx, &jid)? {
                    Some(_) => inbound::retry_failed(tx, &jid).map(drop),
                    None => Ok(()),
                };
                if self.write(retry).is_some()
                    && self.write(|tx| groups::set_pause(tx, &folder, None)).is_some()
                    && !self.actors[index].down
                {
                    self.apply(index, Event::GoOn);
                }
            }
            2 => {
                let megabytes = 100 + self.rng.below(5);
                let Some(mut group) = self.db.read(|db| groups::by_folder(db, &folder)) else { return };
                group.container_config.memory = Some(format!("{megabytes}m"));
                self.write(|tx| groups::update(tx, &group));
            }
            3 if index > 0 => {
                let now = self.now().wall;
                let under_way: Vec<i64> = self.db.read(|db| {
                    let mut rows = db.prepare_cached(
                        "SELECT seq FROM inbound WHERE jid = ?1 AND state IN ('pending', 'in_flight')",
                    )?;
                    let seqs = rows.query_map([&jid], |row| row.get(0))?;
                    Ok(seqs.collect::<Result<_, _>>()?)
                });
                self.orphaned.extend(under_way);
                self.write(|tx| groups::remove(tx, &folder, now));
                let mut group = house::group(folder.as_str());
                group.created_at = now;
                if self.rng.chance(500) {
                    self.write(|tx| groups::register(tx, &group));
                }
            }
            _ => {
                let mut group = house::group(folder.as_str());
                group.is_main = index == 0;
                self.write(|tx| groups::register(tx, &group));
            }
        }
    }
}
