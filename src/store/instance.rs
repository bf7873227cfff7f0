//! The identity of an installation: a random id, bound to its folder.

use rusqlite::OptionalExtension;

use super::{Tx, TxResult};

/// Returns the installation's id. A folder that was copied or moved (its path or inode has changed) gets `new_id`, so
/// that two installations never take each other's containers for their own.
pub fn instance_id(tx: &Tx<'_>, home: &str, inode: u64, new_id: &str) -> TxResult<String> {
    let place = format!("{inode}:{home}");
    let get = |key: &str| -> TxResult<Option<String>> {
        Ok(tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
    };
    if let (Some(id), Some(old)) = (get("instance_id")?, get("instance_place")?)
        && old == place
    {
        return Ok(id);
    }
    let mut put = tx.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
    put.execute(["instance_id", new_id])?;
    put.execute(["instance_place", &place])?;
    Ok(new_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn the_id_stays_with_its_place() {
        let (_dir, store, _wakes) = testing::store();
        let mut ids = Vec::new();
        for (home, inode, new) in
            [("/a", 1, "one"), ("/a", 1, "two"), ("/b", 1, "three"), ("/b", 2, "four"), ("/b", 2, "x")]
        {
            ids.push(store.write(move |tx| instance_id(tx, home, inode, new)).await.unwrap());
        }
        assert_eq!(ids, ["one", "one", "three", "four", "four"]);
    }
}
