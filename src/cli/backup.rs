//! `parlor backup` and `parlor restore`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args;
use serde_json::json;

use super::output::{harmless, say, say_json, tell};
use super::{Done, Failure};
use crate::backup::{self, Packed, Wish};
use crate::config::allowlists;
use crate::config::settings::Settings;
use crate::domain::words::count;

/// Write the installation into one file; a host may run meanwhile
///
/// In it are the database, the groups' folders, the agents' homes, files of messages under way, and parlor.toml. The
/// keys of .env only with --keys. Not in it are logs, and the allowlists, which lie outside the installation. The file
/// is read back as a whole before the command ends.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "shown to people as it is")]
pub(super) struct Backup {
    /// The file [default: parlor-backup-<time>.tar.gz here, or in data/backups when this is the installation]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Put .env with its keys into it, too
    #[arg(long)]
    keys: bool,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Put a backup back; no host may run for the installation
///
/// The backup is checked as a whole before anything is written. Cursors of events that were given out before are no
/// longer valid after it, and in another folder than before the installation gets an id of its own.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "shown to people as it is")]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Move what is in the installation into a folder beside it, and put the backup in its place
    #[arg(long)]
    replace: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        let here = std::env::current_dir().map_err(|e| Failure::Failed(format!("the current folder: {e}")))?;
        let now = Utc::now();
        let file = if let Some(file) = self.file {
            here.join(file)
        } else {
            let inside = here.starts_with(settings.home.root());
            let folder = if inside { settings.home.data().join("backups") } else { here };
            folder.join(format!("parlor-backup-{}.tar.gz", now.format("%Y%m%d-%H%M%S")))
        };
        out_of_sight(&file, settings)?;
        let wish = Wish { home: settings.home.clone(), file: file.clone(), keys: self.keys, replace: self.force, now };
        let packed = blocking(move || backup::pack(&wish)).await?;
        if self.json {
            return say_json(&json!({
                "file": file, "bytes": packed.bytes, "entries": packed.entries, "changed": packed.changed,
                "leftOut": packed.left_out, "leftOutCount": packed.left_out_count,
            }));
        }
        say(&report(&file, &packed))?;
        for name in [allowlists::SENDERS, allowlists::MOUNTS] {
            let path = settings.config_dir.join(name);
            if path.exists() {
                tell(&format!(
                    "parlor: {} lies outside the installation and is not in it: keep a copy",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a backup file that the main group's agent could read: it sees the installation, except `data/`.
fn out_of_sight(file: &Path, settings: &Settings) -> Done {
    let folder = file.parent().unwrap_or(file);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if folder.starts_with(settings.home.root()) && !folder.starts_with(settings.home.data()) {
        return Err(Failure::Usage(format!(
            "{} lies in the installation, where the main group's agent could read it: choose another folder",
            file.display()
        )));
    }
    Ok(())
}

fn report(file: &Path, packed: &Packed) -> String {
    let mut out = format!(
        "Wrote {}: {}, {} kB, read back and in order.\n",
        file.display(),
        count(packed.entries, "entry"),
        packed.bytes.div_ceil(1000)
    );
    if packed.changed > 0 {
        // Writing into memory cannot fail.
        let _ = writeln!(out, "Became shorter while being read: {}.", count(packed.changed, "file"));
    }
    if packed.left_out_count > 0 {
        let _ = writeln!(out, "Left out: {}", packed.left_out_count);
        for line in &packed.left_out {
            out.extend(["  ", &harmless(line).replace('\n', " "), "\n"]);
        }
    }
    out
}

impl Restore {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        let (home, file, replace) = (settings.home.clone(), self.file.clone(), self.replace);
        let restored = blocking(move || backup::restore(&file, &home, replace, Utc::now())).await?;
        let manifest = &restored.manifest;
        let home = settings.home.root();
        if self.json {
            return say_json(&json!({
                "home": home, "aside": restored.aside, "created": manifest.created, "from": manifest.home,
                "keys": manifest.keys, "entries": manifest.entries.len(),
            }));
        }
        say(&format!(
            "Restored {} of {} ({}) to {}.\n",
            count(manifest.entries.len() as u64, "entry"),
            harmless(&manifest.home),
            super::times::at(&json!(manifest.created)),
            home.display()
        ))?;
        if let Some(aside) = restored.aside {
            say(&format!("What was there before lies in {}.\n", aside.display()))?;
        }
        if !manifest.keys && !settings.home.env_file().exists() {
            say("The keys are not in the backup: write .env, or run `parlor setup`.\n")?;
        }
        say("Start the host with `parlor up`, or its service.\n")
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, backup::BackupError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Failure::Failed(format!("a defect of Parlor: {error}"))),
    }
}
