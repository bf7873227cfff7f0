//! Checks of groups' budgets in money and of their fallbacks.

use rusqlite::{Connection, OpenFlags};

use super::Finding;
use crate::config::answering::{self, Keys};
use crate::config::settings::Settings;
use crate::store::groups;

/// Checks each group. A fault that concerns all groups is reported as an error of the settings.
pub(super) fn all(settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "spending";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // The check of the store reports a store that cannot be read.
    let Ok(db) = Connection::open_with_flags(settings.home.database(), flags) else { return Vec::new() };
    let Ok(groups) = groups::all(&db) else { return Vec::new() };
    let keys = Keys::read(&settings.home, &settings.secret_keys);
    let wrong = groups.iter().filter_map(|group| {
        let why = answering::check(settings, &group.container_config, &keys).err()?;
        let todo = format!(
            "change it with `parlor groups update {}`, or say in prices.toml what the model costs",
            group.folder
        );
        Some(Finding::bad(WHAT, format!("group {}: {why}", group.folder), todo))
    });
    wrong.collect()
}
