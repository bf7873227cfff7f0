//! A database in memory, used from one thread, for tests that need the store's code and thousands of databases.
#![expect(clippy::missing_panics_doc, reason = "tests end with a panic")]

use rusqlite::Connection;

use super::{StoreError, Tx, TxResult, Wake, from_tx, migrate, prepare};

/// A store without a file.
#[derive(Debug)]
pub struct Memory {
    connection: Connection,
    /// The statements that empty every table. After a rollback, SQLite would prepare every statement anew.
    empty: String,
}

impl Default for Memory {
    /// An empty database.
    fn default() -> Self {
        let mut connection = Connection::open_in_memory().expect("memory");
        prepare(&connection).expect("pragmas");
        connection.set_prepared_statement_cache_capacity(512);
        migrate::migrate(&mut connection, ":memory:".as_ref()).expect("schema");
        let empty = connection
            .query_row(
                "SELECT group_concat('DELETE FROM ' || name, ';') FROM sqlite_master
                 WHERE type = 'table' AND name NOT IN ('meta') AND (name NOT LIKE 'sqlite_%' OR name = 'sqlite_sequence')",
                [],
                |row| row.get(0),
            )
            .expect("tables");
        connection.execute_batch("BEGIN").expect("transaction");
        Self { connection, empty }
    }
}

impl Memory {
    /// Deletes all rows.
    pub fn clear(&self) {
        self.connection.execute_batch(&self.empty).expect("deletes");
    }

    /// Runs a closure in a transaction. Returns its result and the wake-ups.
    pub fn write<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> TxResult<T>) -> Result<(T, Vec<Wake>), StoreError> {
        self.run("SAVEPOINT job");
        let mut tx = Tx::on(&self.connection);
        let result = work(&mut tx);
        let wakes = tx.into_wakes();
        if result.is_err() {
            self.run("ROLLBACK TO job");
        }
        self.run("RELEASE job");
        result.map(|value| (value, wakes)).map_err(|error| from_tx(":memory:".as_ref(), error))
    }

    fn run(&self, sql: &str) {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).expect("savepoint");
    }

    /// Runs a closure that only reads.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> TxResult<T>) -> T {
        work(&self.connection).expect("a read")
    }
}
