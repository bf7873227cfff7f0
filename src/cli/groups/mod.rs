//! `parlor groups`.

mod page;
mod settings;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use self::settings::GroupSettings;
use super::client::{Client, ClientError, segment};
use super::output::{list, say, say_json, tell, text};
use super::{Done, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Groups {
    /// List registered groups
    #[command(visible_alias = "ls")]
    List {
        /// Chats that wrote but are not registered, instead
        #[arg(long)]
        available: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Register a group: one chat, one folder
    Add {
        /// The chat: web:<name>, tty:<name>, or a platform's id
        jid: String,
        /// The folder, new and unique
        folder: String,
        /// Make it the owner's group; the one that was becomes ordinary
        #[arg(long)]
        main: bool,
        #[command(flatten)]
        settings: Box<GroupSettings>,
    },
    /// Show a group
    Show {
        /// The folder
        folder: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a group; what is not given stays
    Update {
        /// The folder
        folder: String,
        #[command(flatten)]
        settings: Box<GroupSettings>,
    },
    /// Remove a group; its folder stays
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        /// The folder
        folder: String,
    },
    /// Make a group the owner's; the one that was becomes ordinary
    SetMain {
        /// The folder
        folder: String,
    },
}

impl Groups {
    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { available: false, json } => {
                let answer = client.get("/v1/groups").await?;
                let empty = "No groups yet: `parlor groups add JID FOLDER` registers one.";
                list(&answer, "groups", json, &HEADING, empty, row)
            }
            Self::List { available: true, json } => available_chats(client, json).await,
            Self::Add { jid, folder, main, settings } => add(client, &jid, &folder, main, &settings).await,
            Self::Show { folder, json } => {
                let group = client.get(&path(&folder)).await?;
                if json { say_json(&group) } else { say(&page::page(&group)) }
            }
            Self::Update { folder, settings } => {
                let body = settings.body()?;
                if body.is_empty() {
                    return Err(Failure::Usage("nothing to change: see `parlor groups update --help`".into()));
                }
                let changed = client.call(Method::PATCH, &path(&folder), Some(&Value::Object(body))).await;
                let group = changed.map_err(told)?;
                say(&format!("Changed {}; its next run has it. An idle room closes now.\n", text(&group["folder"])))?;
                tell_notes(&group);
                Ok(())
            }
            Self::Remove { folder } => {
                client.call(Method::DELETE, &path(&folder), None).await?;
                say(&format!("Removed {folder}; groups/{folder} stays on the disk.\n"))
            }
            Self::SetMain { folder } => {
                client.call(Method::PATCH, &path(&folder), Some(&json!({ "isMain": true }))).await?;
                say(&format!("{folder} is main now.\n"))
            }
        }
    }
}

fn path(folder: &str) -> String {
    format!("/v1/groups/{}", segment(folder))
}

pub(super) const HEADING: [&str; 7] = ["FOLDER", "CHAT", "NAME", "MAIN", "TRIGGER", "PROVIDER", "MODEL"];

pub(super) fn row(group: &Value) -> Vec<String> {
    let effective = &group["effective"];
    let main = if group["isMain"] == true { "yes" } else { "" };
    let of = |value: &Value| text(value);
    vec![
        of(&group["folder"]),
        of(&group["jid"]),
        of(&group["name"]),
        main.to_owned(),
        if group["requiresTrigger"] == false { "not needed".to_owned() } else { of(&effective["trigger"]) },
        of(&effective["provider"]),
        of(&effective["model"]),
    ]
}

async fn add(client: &Client, jid: &str, folder: &str, main: bool, settings: &GroupSettings) -> Done {
    let warning = settings::check_chat(jid)?;
    let mut body = settings.body()?;
    body.insert("jid".into(), json!(jid));
    body.insert("folder".into(), json!(folder));
    if main {
        body.insert("isMain".into(), json!(true));
    }
    // A new group has nothing to clear.
    if let Some(Value::Object(config)) = body.get_mut("containerConfig") {
        config.retain(|_, value| !value.is_null());
    }
    let group = client.call(Method::POST, "/v1/groups", Some(&Value::Object(body))).await.map_err(told)?;
    let is_main = if main { ", as main" } else { "" };
    say(&format!("Registered {} for {}{is_main}.\n", text(&group["folder"]), text(&group["jid"])))?;
    say(&format!("Its folder: {}\n", text(&group["path"])))?;
    if let Some(warning) = warning {
        tell(&format!("parlor: {warning}"));
    }
    tell_notes(&group);
    Ok(())
}

/// Rewrites a refusal in terms of the options.
fn told(error: ClientError) -> Failure {
    match error {
        ClientError::Problem { detail, .. } => Failure::Failed(settings::in_words_of_options(&detail)),
        other => other.into(),
    }
}

/// Prints the settings that will have no effect.
fn tell_notes(group: &Value) {
    for note in group["notes"].as_array().into_iter().flatten() {
        tell(&format!("parlor: {}", text(note)));
    }
}

async fn available_chats(client: &Client, json: bool) -> Done {
    let mut answer = client.get("/v1/chats").await?;
    if let Some(chats) = answer["chats"].as_array_mut() {
        chats.retain(|chat| chat["isRegistered"] != true);
    }
    list(&answer, "chats", json, &["CHAT", "NAME", "@LAST ACTIVITY"], "Every chat that wrote is registered.", |chat| {
        vec![text(&chat["jid"]), text(&chat["name"]), text(&chat["lastActivity"])]
    })
}
