//! The usage of turns, by group and day.

use chrono::NaiveDate;
use rusqlite::{Connection, OptionalExtension, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Tx, TxResult};
use crate::domain::ids::GroupFolder;
use crate::domain::usage::Usage;

/// The usage of a group on one day.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    /// The folder of the group, which may be gone.
    pub folder: GroupFolder,
    /// The day in the host's time zone.
    pub day: NaiveDate,
    /// The sum of the day's turns.
    #[serde(flatten)]
    pub used: Usage,
    /// The model of the last turn without a known price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<String>,
    /// True if the chat was notified that the day's budget is used up.
    #[serde(skip)]
    pub told: bool,
}

const COLUMNS: &str = "turns, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd";

fn used(row: &Row<'_>) -> rusqlite::Result<Usage> {
    let tokens = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
    Ok(Usage {
        turns: tokens("turns")?,
        input_tokens: tokens("input_tokens")?,
        output_tokens: tokens("output_tokens")?,
        cache_read_tokens: tokens("cache_read_tokens")?,
        cache_write_tokens: tokens("cache_write_tokens")?,
        cost_usd: row.get("cost_usd")?,
    })
}

fn number(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Adds the usage of a turn to its group's day, and the turn's model if its price is unknown. Sums stop at the
/// largest number that the database holds: an overflow in SQL would fail the transaction, and so lose the turn's
/// outputs.
pub fn add(tx: &Tx<'_>, folder: &GroupFolder, day: NaiveDate, turn: &Usage, unpriced: Option<&str>) -> TxResult<()> {
    let before = of_day(tx, folder, day)?.map(|day| day.used).unwrap_or_default();
    let sum = before.plus(turn);
    tx.prepare_cached(&format!(
        "INSERT INTO usage (folder, day, {COLUMNS}, unpriced) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (folder, day) DO UPDATE SET
           turns = excluded.turns, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
           cache_read_tokens = excluded.cache_read_tokens, cache_write_tokens = excluded.cache_write_tokens,
           cost_usd = excluded.cost_usd, unpriced = coalesce(excluded.unpriced, usage.unpriced)"
    ))?
    .execute(rusqlite::params![
        folder,
        day.to_string(),
        number(sum.turns),
        number(sum.input_tokens),
        number(sum.output_tokens),
        number(sum.cache_read_tokens),
        number(sum.cache_write_tokens),
        sum.cost_usd,
        unpriced,
    ])?;
    Ok(())
}

/// Returns a group's day, or None if nothing was used on it.
pub fn of_day(db: &Connection, folder: &GroupFolder, day: NaiveDate) -> TxResult<Option<Day>> {
    let mut s =
        db.prepare_cached(&format!("SELECT {COLUMNS}, unpriced, told FROM usage WHERE folder = ?1 AND day = ?2"))?;
    let found = s.query_row((folder, day.to_string()), |row| {
        Ok(Day {
            folder: folder.clone(),
            day,
            used: used(row)?,
            unpriced: row.get("unpriced")?,
            told: row.get("told")?,
        })
    });
    Ok(found.optional()?)
}

/// Notes that the chat was notified that the day's budget is used up.
pub fn set_told(tx: &Tx<'_>, folder: &GroupFolder, day: NaiveDate) -> TxResult<()> {
    tx.execute("UPDATE usage SET told = 1 WHERE folder = ?1 AND day = ?2", (folder, day.to_string()))?;
    Ok(())
}

/// Returns the days from `from` on, of a group or of all groups, newest first.
pub fn since(db: &Connection, from: NaiveDate, folder: Option<&GroupFolder>) -> TxResult<Vec<Day>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT folder, day, {COLUMNS}, unpriced FROM usage WHERE day >= ?1 AND (?2 IS NULL OR folder = ?2)
         ORDER BY day DESC, cost_usd DESC, folder"
    ))?;
    let rows = s.query_map((from.to_string(), folder), |row| {
        let day: String = row.get("day")?;
        let day = day.parse().map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::<chrono::ParseError>::new(e))
        })?;
        Ok(Day { folder: row.get("folder")?, day, used: used(row)?, unpriced: row.get("unpriced")?, told: false })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn usage_sums_saturate_instead_of_failing() {
        let (_dir, store, _wakes) = testing::store();
        let folder: GroupFolder = "a".parse().unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 11, 28).unwrap();
        store
            .write(move |tx| {
                let turn = Usage { turns: 1, input_tokens: 2, cost_usd: 0.5, ..Usage::default() };
                add(tx, &folder, day, &turn, Some("new"))?;
                add(tx, &folder, day, &turn, None)?;
                let found = of_day(tx, &folder, day)?.unwrap();
                assert_eq!((found.used.turns, found.used.input_tokens, found.used.cost_usd), (2, 4, 1.0));
                assert_eq!(found.unpriced.as_deref(), Some("new"));

                let huge = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, cost_usd: f64::MAX, ..turn };
                add(tx, &folder, day, &huge, None)?;
                add(tx, &folder, day, &huge, None)?;
                let found = of_day(tx, &folder, day)?.unwrap().used;
                assert_eq!((found.turns, found.input_tokens, found.cost_usd), (4, i64::MAX.unsigned_abs(), f64::MAX));
                assert_eq!(Usage { cache_read_tokens: 5, ..found }.tokens(), u64::MAX);
                Ok(())
            })
            .await
            .unwrap();
    }
}
