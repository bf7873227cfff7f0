//! The outages of groups' providers, and the fallback that each chat was last notified of.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Ms, Tx, TxResult};
use crate::domain::clock::rfc3339;
use crate::domain::ids::GroupFolder;

/// A provider that cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outage {
    /// The provider and its model: `llm:gpt-5.4`.
    pub choice: String,
    /// The time of the next try.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "DateTime<Utc>")]
    pub until: DateTime<Utc>,
    /// The reason, for people.
    pub reason: String,
}

fn as_text<S: serde::Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*at))
}

/// Returns a group's outages, current and past.
pub fn outages(db: &Connection, folder: &GroupFolder) -> TxResult<Vec<Outage>> {
    let mut s = db.prepare_cached("SELECT choice, until, reason FROM outages WHERE folder = ?1 ORDER BY choice")?;
    let rows = s.query_map([folder], |row| {
        Ok(Outage { choice: row.get(0)?, until: row.get::<_, Ms>(1)?.0, reason: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Fallbacks and outages of every group, by folder.
#[derive(Debug, Default)]
pub struct StandIns {
    /// The fallback that each chat was last notified of.
    pub told: HashMap<String, String>,
    /// The current outages.
    pub outages: HashMap<String, Vec<Outage>>,
}

impl StandIns {
    /// Reads them from the store.
    pub fn of_all(db: &Connection, now: DateTime<Utc>) -> TxResult<Self> {
        let mut all = Self::default();
        let mut s = db.prepare_cached("SELECT folder, choice FROM stand_ins")?;
        let mut rows = s.query([])?;
        while let Some(row) = rows.next()? {
            all.told.insert(row.get(0)?, row.get(1)?);
        }
        let mut s = db.prepare_cached(
            "SELECT folder, choice, until, reason FROM outages WHERE until > ?1 ORDER BY folder, choice",
        )?;
        let mut rows = s.query([Ms(now)])?;
        while let Some(row) = rows.next()? {
            let outage = Outage { choice: row.get(1)?, until: row.get::<_, Ms>(2)?.0, reason: row.get(3)? };
            all.outages.entry(row.get(0)?).or_default().push(outage);
        }
        Ok(all)
    }
}

/// Notes an outage.
pub fn begin(tx: &Tx<'_>, folder: &GroupFolder, outage: &Outage) -> TxResult<()> {
    tx.execute(
        "INSERT INTO outages (folder, choice, until, reason) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (folder, choice) DO UPDATE SET until = excluded.until, reason = excluded.reason",
        (folder, &outage.choice, Ms(outage.until), &outage.reason),
    )?;
    Ok(())
}

/// Removes an outage, because the provider answers again.
pub fn end(tx: &Tx<'_>, folder: &GroupFolder, choice: &str) -> TxResult<()> {
    tx.execute("DELETE FROM outages WHERE folder = ?1 AND choice = ?2", (folder, choice))?;
    Ok(())
}

/// Removes all outages of a group, because the operator changed something.
pub fn end_all(tx: &Tx<'_>, folder: &GroupFolder) -> TxResult<()> {
    tx.execute("DELETE FROM outages WHERE folder = ?1", [folder])?;
    Ok(())
}

/// Returns the fallback that the chat was last notified of; None for the group's own provider.
pub fn told(db: &Connection, folder: &GroupFolder) -> TxResult<Option<String>> {
    let mut s = db.prepare_cached("SELECT choice FROM stand_ins WHERE folder = ?1")?;
    Ok(s.query_row([folder], |row| row.get(0)).optional()?)
}

/// Notes the fallback that the chat was notified of; None for the group's own provider.
pub fn set_told(tx: &Tx<'_>, folder: &GroupFolder, choice: Option<&str>) -> TxResult<()> {
    match choice {
        None => tx.execute("DELETE FROM stand_ins WHERE folder = ?1", [folder])?,
        Some(choice) => tx.execute(
            "INSERT INTO stand_ins (folder, choice) VALUES (?1, ?2)
             ON CONFLICT (folder) DO UPDATE SET choice = excluded.choice",
            (folder, choice),
        )?,
    };
    Ok(())
}

/// Removes everything about a group that is removed.
pub fn forget(tx: &Tx<'_>, folder: &GroupFolder) -> TxResult<()> {
    end_all(tx, folder)?;
    set_told(tx, folder, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;
    use crate::store::testing;

    #[tokio::test]
    async fn outages_begin_are_extended_and_end() {
        let (_dir, store, _wakes) = testing::store();
        let folder: GroupFolder = "a".parse().unwrap();
        store
            .write(move |tx| {
                let outage =
                    |until: i64| Outage { choice: "llm:x".into(), until: from_ms(until), reason: "busy".into() };
                begin(tx, &folder, &outage(1000))?;
                begin(tx, &folder, &outage(2000))?;
                assert_eq!(outages(tx, &folder)?, [outage(2000)]);
                end(tx, &folder, "llm:y")?;
                assert_eq!(outages(tx, &folder)?.len(), 1);
                end(tx, &folder, "llm:x")?;
                assert_eq!((outages(tx, &folder)?, told(tx, &folder)?), (vec![], None));
                set_told(tx, &folder, Some("guide"))?;
                set_told(tx, &folder, Some("llm:x"))?;
                assert_eq!(told(tx, &folder)?.as_deref(), Some("llm:x"));
                begin(tx, &folder, &outage(1000))?;
                forget(tx, &folder)?;
                assert_eq!((outages(tx, &folder)?, told(tx, &folder)?), (vec![], None));
                Ok(())
            })
            .await
            .unwrap();
    }
}
