//! `parlor runs`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{list, say, show, tell, text};
use super::{Done, follow};
use crate::config::home::Home;
use crate::domain::words::are;

#[derive(Debug, Subcommand)]
pub(super) enum Runs {
    /// List runs, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Of this group alone
        folder: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a run
    Show {
        /// The run: its id, or the beginning of it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a run's log; of a live run what its agent logged so far
    Log {
        /// The run: its id, or the beginning of it
        id: String,
        /// Follow a live run to its end
        #[arg(short, long)]
        follow: bool,
    },
    /// End a live run now
    Stop {
        /// The run: its id, or the beginning of it
        id: String,
    },
    /// Give a group's failed messages another try
    Retry {
        /// The group's folder
        folder: String,
    },
}

impl Runs {
    /// Returns true if the command changes nothing and does not follow a log.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. } | Self::Log { follow: false, .. })
    }

    pub(super) async fn run(self, client: &Client, home: &Home) -> Done {
        match self {
            Self::List { folder, limit, json } => {
                let mut path = format!("/v1/runs?limit={limit}");
                if let Some(folder) = folder {
                    path.extend(["&folder=", &segment(&folder)]);
                }
                let heading = ["ID", "GROUP", "LANE", "STATE", "@STARTED", "@ENDED", "ERROR"];
                list(&client.get(&path).await?, "runs", json, &heading, "No runs yet.", row)
            }
            Self::Show { id, json } => show(&client.get(&path(&id)).await?, json),
            Self::Log { id, follow: true } => follow::follow(client, home, &id).await,
            Self::Log { id, follow: false } => {
                let run = client.get(&path(&id)).await?;
                follow::print(&client.bytes(Method::GET, &format!("{}/log", path(&id)), None).await?)?;
                if follow::is_live(&run) {
                    tell("(the run has not ended: -f follows it)");
                }
                Ok(())
            }
            Self::Stop { id } => {
                client.call(Method::DELETE, &path(&id), None).await?;
                say(&format!("Stopped {id}.\n"))
            }
            Self::Retry { folder } => {
                let answer = client.call(Method::POST, "/v1/runs/retry", Some(&json!({ "folder": folder }))).await?;
                match answer["retried"].as_u64() {
                    Some(0) => say(&format!("{folder} has no failed messages.\n")),
                    Some(n) => say(&format!("{} tried again in {folder}.\n", are(n, "message"))),
                    None => say("Done.\n"),
                }
            }
        }
    }
}

fn path(id: &str) -> String {
    format!("/v1/runs/{}", segment(id))
}

fn row(run: &Value) -> Vec<String> {
    let state = if run["doing"] == "idle" { "doing" } else { "state" };
    ["id", "folder", "lane", state, "startedAt", "endedAt", "error"].iter().map(|key| text(&run[*key])).collect()
}
