//! `parlor runs log -f`: shows the log of a live run as it grows, and the whole log at its end.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::client::{Client, ClientError, segment};
use super::output::{say, text, write};
use super::{Done, Failure};
use crate::config::home::Home;
use crate::container::run::run_log;
use crate::domain::ids::{GroupFolder, RunId};

/// The interval of polling a live run.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the log of an ended run is requested until it exists.
const TRIES: u32 = 25;

/// Follows a run to its end.
pub(super) async fn follow(client: &Client, home: &Home, id: &str) -> Done {
    let path = format!("/v1/runs/{}", segment(id));
    let run = client.get(&path).await?;
    let whole: RunId = text(&run["id"]).parse()?;
    let folder: GroupFolder = text(&run["folder"]).parse()?;
    let live = run_log::live_path(&home.runs(&folder), whole);
    let mut file = File::open(&live).ok();
    let mut run = run;
    loop {
        // The last log lines are written before the run's state changes.
        let ended = !is_live(&run);
        if let Some(file) = &mut file {
            let mut new = Vec::new();
            file.read_to_end(&mut new)?;
            print(&new.into())?;
        }
        if ended {
            break;
        }
        sleep(PAUSE).await;
        if file.is_none() {
            file = File::open(&live).ok();
        }
        run = client.get(&path).await?;
    }
    for _ in 0..TRIES {
        match client.bytes(Method::GET, &format!("{path}/log"), None).await {
            Err(ClientError::Problem { code, .. }) if code == "no_log" => sleep(PAUSE).await,
            other => return print(&other?),
        }
    }
    Err(Failure::Failed(format!("run {whole} has ended and left no log")))
}

/// Returns true if a run has not ended.
pub(super) fn is_live(run: &Value) -> bool {
    matches!(run["state"].as_str(), Some("starting" | "running"))
}

/// Prints bytes of a log; on a terminal without control sequences.
pub(super) fn print(bytes: &Bytes) -> Done {
    if std::io::stdout().is_terminal() { say(&String::from_utf8_lossy(bytes)) } else { write(bytes) }
}
