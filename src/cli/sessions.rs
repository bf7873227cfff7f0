//! `parlor sessions`.

use clap::Subcommand;
use http::Method;

use super::Done;
use super::client::{Client, segment};
use super::output::{list, say, text};

#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// List the sessions that agents resume: one for each provider that answered a group
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a group's sessions: its next run starts a new one
    #[command(visible_aliases = ["rm", "delete"])]
    Forget {
        /// The group's folder
        folder: String,
    },
}

impl Sessions {
    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { json } => {
                let answer = client.get("/v1/sessions").await?;
                list(
                    &answer,
                    "sessions",
                    json,
                    &["GROUP", "PROVIDER", "SESSION", "@SINCE"],
                    "No sessions.",
                    |session| ["folder", "provider", "sessionId", "updatedAt"].map(|key| text(&session[key])).to_vec(),
                )
            }
            Self::Forget { folder } => {
                client.call(Method::DELETE, &format!("/v1/sessions/{}", segment(&folder)), None).await?;
                say(&format!("The next run of {folder} starts a new session.\n"))
            }
        }
    }
}
