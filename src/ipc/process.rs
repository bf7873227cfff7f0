//! From claimed files to their effects: read, parse, act and record in one transaction, answer, remove.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use parlor_protocol::{CommandResult, TaskFile};
use rustix::io::Errno;
use ulid::Ulid;

use super::attach::{self, Taken};
use super::authorize::Denied;
use super::claim::Claimed;
use super::command::{Command, MAX_FILE, Parsed, Unreadable, parse};
use super::files::Files;
use super::pace::Gate;
use super::verbs::{self, Context, Details, Effect};
use super::{Shared, snapshot};
use crate::config::secrets::Redactor;
use crate::domain::ids::{DeliveryId, RunId};
use crate::safe_dir::SafeDir;
use crate::store::{StoreError, Tx, TxError, TxResult, groups, ipc_files};

/// The number of a group's refusals that are kept.
const KEEP_REFUSALS: u32 = 1_000;
/// The tries of a file that the store refuses while it accepts other writes.
const TRIES: u32 = 4;
/// The longest wait between tries while the store accepts nothing.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A claimed file and its content.
#[derive(Debug)]
pub(super) struct Job {
    claimed: Claimed,
    parsed: Result<Parsed, Unreadable>,
    /// The file to send, copied before the commit.
    file: OnceLock<Taken>,
}

/// The result of a file.
#[derive(Debug, Clone)]
struct Outcome {
    /// The answer for the agent, as JSON.
    result: String,
    /// The reason of a refusal.
    refused: Option<String>,
}

#[derive(Debug)]
enum End {
    /// Committed now or before.
    Done(Outcome),
    /// It cannot be handled.
    Bad(String),
    /// It stays claimed: the host shuts down, and the next start handles it.
    Left,
}

impl End {
    /// Returns true if the request was carried out.
    fn is_success(&self) -> bool {
        matches!(self, Self::Done(Outcome { refused: None, .. }))
    }
}

/// The result of a batch.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// True if the asker wants new snapshots.
    pub(super) refresh: bool,
    /// True if files stay claimed because the host shuts down.
    pub(super) left: bool,
}

/// The room's state for a batch.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The run to credit with the effects, if known.
    pub(super) run: Option<RunId>,
    /// Claims whose files are removed; their records go with the next commit.
    pub(super) gone: &'a mut Vec<Ulid>,
    /// Limits the log lines about refusals.
    pub(super) gate: &'a mut Gate,
}

/// Reads and parses claimed files. If memory or descriptors are short, a file is tried again for about ten seconds,
/// and is then unreadable. Secrets are removed from everything that is stored or shown.
pub(super) fn read(claims: &SafeDir, claimed: Vec<Claimed>, redactor: &Redactor) -> Vec<Job> {
    let read = claimed.into_iter().map(|mut claimed| {
        if let Cow::Owned(clean) = redactor.redact(&claimed.name) {
            claimed.name = clean;
        }
        Job { parsed: read_one(claims, &claimed, redactor), claimed, file: OnceLock::new() }
    });
    read.collect()
}

fn read_one(claims: &SafeDir, claimed: &Claimed, redactor: &Redactor) -> Result<Parsed, Unreadable> {
    let mut wait = Duration::from_millis(10);
    loop {
        match claims.read(&claimed.file(), MAX_FILE) {
            Ok(bytes) => return parse(claimed.kind, &bytes, redactor),
            Err(error) if is_shortage(&error) && wait < MAX_WAIT => {
                // This is a thread for blocking work; descriptors are freed when runs end.
                std::thread::sleep(wait);
                wait *= 2;
            }
            Err(error) => return Err(Unreadable { id: None, why: error.to_string() }),
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Handles the files of a batch: effects, answers, removal.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    files: Box<Files>,
    jobs: Vec<Job>,
    batch: &mut Batch<'_>,
) -> io::Result<(Box<Files>, Report)> {
    let jobs: Vec<Arc<Job>> = jobs.into_iter().map(Arc::new).collect();
    let mut taken = 0;
    for job in &jobs {
        job.take_file(shared, &mut taken).await;
    }
    let ends = commit_all(shared, &jobs, batch).await;
    let mut report = Report::default();
    for (job, end) in jobs.iter().zip(&ends) {
        report.left |= matches!(end, End::Left);
        report.refresh |= job.is_refresh() && end.is_success();
        log(job, end, batch.gate);
    }
    let changed = jobs.iter().zip(&ends).find(|(job, end)| job.is_task() && end.is_success());
    if let Some((job, _)) = changed {
        // Before the answer, so that an agent that reads "done" sees the change.
        snapshot::rewrite(shared, &job.claimed.folder, false).await;
    }
    let shared = Arc::clone(shared);
    let finish = move || {
        let mut files = files;
        let gone = finish(&shared, &mut files, &jobs, &ends);
        (files, gone)
    };
    let (files, gone) = tokio::task::spawn_blocking(finish).await.map_err(io::Error::other)?;
    batch.gone.extend(gone);
    Ok((files, report))
}

impl Job {
    fn file_name(&self) -> String {
        format!("{}/{}", self.claimed.kind.folder(), self.claimed.name)
    }

    fn is_task(&self) -> bool {
        matches!(&self.parsed, Ok(Parsed { command: Command::Task(_), .. }))
    }

    /// Copies the file to send, if any; `taken` counts the bytes.
    async fn take_file(&self, shared: &Arc<Shared>, taken: &mut u64) {
        let Ok(parsed) = &self.parsed else { return };
        if let Some(file) = attach::take(shared, &self.claimed, &parsed.command, *taken).await {
            *taken += file.as_ref().map_or(0, |file| file.size);
            let _ = self.file.set(file);
        }
    }

    fn is_refresh(&self) -> bool {
        matches!(&self.parsed, Ok(Parsed { command: Command::Task(TaskFile::RefreshGroups(_)), .. }))
    }
}

/// Commits every file of a batch, in order; retries until the store works or the host shuts down.
async fn commit_all(shared: &Arc<Shared>, jobs: &[Arc<Job>], batch: &mut Batch<'_>) -> Vec<End> {
    let mut ends: Vec<Option<End>> = jobs.iter().map(|_| None).collect();
    let mut wait = Duration::from_millis(50);
    let mut tries = 0;
    let mut forget = std::mem::take(batch.gone);
    loop {
        let open: Vec<usize> = (0..jobs.len()).filter(|i| ends[*i].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let mut gone = std::mem::take(&mut forget);
        let writes = open.iter().map(|i| commit(shared, &jobs[*i], batch.run, std::mem::take(&mut gone)));
        let results = join_all(writes).await;
        let mut trouble = None;
        for (i, result) in open.iter().zip(results) {
            match result {
                Ok(outcome) => {
                    let unreadable = jobs[*i].parsed.as_ref().err();
                    ends[*i] = Some(unreadable.map_or(End::Done(outcome), |file| End::Bad(file.why.clone())));
                }
                Err(StoreError::Closed) => ends[*i] = Some(End::Left),
                Err(error) => trouble = Some((*i, error)),
            }
        }
        let Some((i, error)) = trouble else { continue };
        tries += 1;
        if tries >= TRIES && is_the_files_fault(shared, &jobs[i], &error).await {
            ends[i] = Some(End::Bad(format!("the store does not take it: {error}")));
            continue;
        }
        if tries == 1 {
            tracing::error!("files of group {} wait for the store: {error}", jobs[i].claimed.folder);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(MAX_WAIT),
            () = shared.shutdown.cancelled() => break,
        }
    }
    ends.into_iter().map(|end| end.unwrap_or(End::Left)).collect()
}

/// Returns true if the store accepts other writes, so that the file itself must be the reason.
async fn is_the_files_fault(shared: &Shared, job: &Job, error: &StoreError) -> bool {
    let (folder, now) = (job.claimed.folder.clone(), shared.clock.now());
    let what = job.claimed.name.clone();
    let why = format!("the store does not take it: {error}");
    !matches!(error, StoreError::Full { .. } | StoreError::ReadOnly { .. })
        && shared.store.write(move |tx| ipc_files::refuse(tx, &folder, &what, &why, now)).await.is_ok()
}

async fn commit(shared: &Shared, job: &Arc<Job>, run: Option<RunId>, forget: Vec<Ulid>) -> Result<Outcome, StoreError> {
    let cx = Context {
        claim: job.claimed.id,
        run,
        now: shared.clock.now(),
        zone: shared.timezone,
        channels: shared.channels.clone(),
        file: job.file.get().cloned(),
    };
    let job = Arc::clone(job);
    shared
        .store
        .write(move |tx| {
            for id in forget {
                ipc_files::forget(tx, &id.to_string())?;
            }
            act(tx, &job, &cx)
        })
        .await
}

/// Does one file's effect and records it, in one transaction. For a file that was recorded before, only returns its
/// answer.
fn act(tx: &mut Tx<'_>, job: &Job, cx: &Context) -> TxResult<Outcome> {
    let claim = cx.claim.to_string();
    if let Some(result) = ipc_files::result(tx, &claim)? {
        return Ok(Outcome { result, refused: None });
    }
    let refused = match &job.parsed {
        Ok(parsed) => match attempt(tx, job, parsed, cx) {
            Ok(details) => Ok(details),
            Err(Denied::Store(TxError::Sqlite(error))) => return Err(error.into()),
            Err(denied) => Err((verbs::of(&parsed.command).words(), denied.to_string())),
        },
        Err(unreadable) => Err((job.file_name(), unreadable.why.clone())),
    };
    let (result, refused) = match refused {
        Ok(details) => (CommandResult { ok: true, error: None, details }, None),
        Err((what, why)) => {
            refuse(tx, job, &what, &why, cx.now)?;
            (CommandResult { ok: false, error: Some(why.clone()), details: Details::new() }, Some(why))
        }
    };
    // Only strings and flags: cannot fail.
    let result = serde_json::to_string(&result).unwrap_or_default();
    ipc_files::record(tx, &claim, &job.claimed.folder, &job.claimed.name, &result, cx.now)?;
    Ok(Outcome { result, refused })
}

/// Authorises and carries out a command. An error in the middle leaves no effect.
fn attempt(tx: &mut Tx<'_>, job: &Job, parsed: &Parsed, cx: &Context) -> Result<Details, Denied> {
    let Some(who) = groups::by_folder(tx, &job.claimed.folder)? else {
        return Err(Denied::Refused(format!("folder {} is not a registered group's", job.claimed.folder)));
    };
    let permit = verbs::of(&parsed.command).permit(tx, &who)?;
    tx.execute_batch("SAVEPOINT effect").map_err(TxError::from)?;
    match permit(tx, cx) {
        Ok(effect) => {
            tx.execute_batch("RELEASE effect").map_err(TxError::from)?;
            match effect {
                Effect::Done(details) => Ok(details),
                Effect::Refused(why) => Err(Denied::Refused(why)),
            }
        }
        Err(error) => {
            // A full disk has already ended the whole transaction, with this savepoint.
            let _ = tx.execute_batch("ROLLBACK TO effect; RELEASE effect");
            Err(error.into())
        }
    }
}

fn refuse(tx: &Tx<'_>, job: &Job, what: &str, why: &str, now: DateTime<Utc>) -> TxResult<()> {
    let folder = &job.claimed.folder;
    ipc_files::refuse(tx, folder, what, why, now)?;
    // Not after each refusal, because it takes time.
    if tx.last_insert_rowid() % 64 == 0 {
        ipc_files::trim_refusals(tx, folder, KEEP_REFUSALS)?;
    }
    Ok(())
}

/// Writes answers and removes files. Returns the claims whose files are gone.
fn finish(shared: &Shared, files: &mut Files, jobs: &[Arc<Job>], ends: &[End]) -> Vec<Ulid> {
    let now = shared.clock.now().timestamp();
    let mut gone = Vec::new();
    for (job, end) in jobs.iter().zip(ends) {
        let id = match &job.parsed {
            Ok(parsed) => parsed.id.as_deref(),
            Err(unreadable) => unreadable.id.as_deref(),
        };
        if job.file.get().is_some() && !end.is_success() && !matches!(end, End::Left) {
            // No row names this copy; if it cannot be removed, the daily sweep removes it.
            let _ = shared.store.files().remove(DeliveryId(job.claimed.id));
        }
        let removed = match end {
            End::Left => continue,
            End::Done(outcome) => {
                answer(files, id, &outcome.result, job, now);
                shared.claims.remove(&job.claimed.file())
            }
            End::Bad(why) => {
                let result = CommandResult { ok: false, error: Some(why.clone()), details: Details::new() };
                answer(files, id, &serde_json::to_string(&result).unwrap_or_default(), job, now);
                files.quarantine.take(&shared.claims, &job.claimed, why)
            }
        };
        match removed {
            Ok(()) => gone.push(job.claimed.id),
            Err(error) => {
                let file = job.claimed.file();
                tracing::warn!("data/claimed/{} stays until the next start: {error}", file.display());
            }
        }
    }
    gone
}

fn answer(files: &mut Files, id: Option<&str>, result: &str, job: &Job, now: i64) {
    if let Some(id) = id
        && let Err(error) = files.results.write(id, result, now)
    {
        tracing::warn!("group {}: cannot write results/{id}.json: {error}", job.claimed.folder);
    }
}

fn log(job: &Job, end: &End, gate: &mut Gate) {
    let outcome = match end {
        End::Done(Outcome { refused: None, .. }) => "done",
        End::Done(_) => "refused",
        End::Bad(_) => "quarantined",
        End::Left => "left",
    };
    metrics::counter!("parlor_ipc_files_total", "outcome" => outcome).increment(1);
    let (what, why, end) = match (end, &job.parsed) {
        (End::Done(Outcome { refused: Some(why), .. }), Ok(parsed)) => {
            (verbs::of(&parsed.command).words(), why, "refused")
        }
        (End::Bad(why), _) => (job.file_name(), why, "put into quarantine"),
        _ => return,
    };
    if let Some(held_back) = gate.pass(tokio::time::Instant::now()) {
        let more = if held_back > 0 { format!(" ({held_back} more like this before)") } else { String::new() };
        tracing::warn!("group {}: {what} was {end}: {why}{more}", job.claimed.folder);
    }
}
