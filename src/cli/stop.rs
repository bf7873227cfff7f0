//! `parlor stop`.

use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::client::{Client, ClientError};
use super::output::say;
use super::{Done, Failure};
use crate::config::settings::Settings;

/// The time for ending the runs after their grace period.
const EXTRA: Duration = Duration::from_secs(40);
/// The pause between two signals.
const AGAIN: Duration = Duration::from_millis(300);
/// The interval of checks whether the host has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// Stop the running host, and wait for its end
///
/// Rooms are asked to finish, and ended after PARLOR_SHUTDOWN_GRACE. What was not answered is answered by the next
/// host. A service of systemd stays stopped until the machine starts again, or `systemctl start`. One run alone is
/// ended by `parlor runs stop`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "shown to people as it is")]
pub(super) struct Stop {
    /// End the rooms at once
    #[arg(long)]
    now: bool,
}

impl Stop {
    pub(super) async fn run(self, settings: &Settings, client: &Client) -> Done {
        let home = settings.home.root().display();
        let pid = match client.host().await {
            Ok(pid) => pid.and_then(Pid::from_raw),
            Err(ClientError::NoHost(_)) => return say(&format!("No host is running for {home}.\n")),
            Err(error) => return Err(error.into()),
        };
        let Some(pid) = pid else {
            return Err(Failure::Failed(
                "the system does not say which process the host is: end it by its own means".into(),
            ));
        };
        signal(pid)?;
        let mut again = Instant::now() + AGAIN;
        let end = Instant::now() + settings.shutdown_grace + EXTRA;
        // The host releases the lock last.
        while !is_free(settings)? {
            if Instant::now() > end {
                return Err(Failure::Failed(format!(
                    "the host for {home} (process {}) does not end: `parlor logs` says why; `parlor stop --now` ends its rooms",
                    pid.as_raw_nonzero()
                )));
            }
            sleep(PAUSE).await;
            if self.now && Instant::now() > again {
                // The second signal ends the grace period. Sent too soon after the first, the system would merge the
                // two.
                signal(pid)?;
                again = Instant::now() + AGAIN;
            }
        }
        say(&format!("The host for {home} has stopped.\n"))
    }
}

fn signal(pid: Pid) -> Done {
    match kill_process(pid, Signal::TERM) {
        // The process is gone already, as wanted.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Failure::Failed(format!(
            "the host (process {}) cannot be stopped: {error}; run this as the user who runs it",
            pid.as_raw_nonzero()
        ))),
    }
}

fn is_free(settings: &Settings) -> Result<bool, Failure> {
    use rustix::fs::FlockOperation;
    let path = settings.home.lock();
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Failure::Failed(format!("cannot open {}: {error}", path.display()))),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(Failure::Failed(format!("cannot look at {}: {error}", path.display()))),
    }
}
