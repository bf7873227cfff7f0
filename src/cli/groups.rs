//! `parlor groups`.

use std::num::{ParseFloatError, ParseIntError};
use std::str::FromStr;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, segment};
use super::output::{list, say, show, text};
use super::{Done, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Groups {
    /// List registered groups
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
        #[command(flatten)]
        settings: GroupSettings,
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
        settings: GroupSettings,
    },
    /// Remove a group; its folder stays
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

#[derive(Debug, Args)]
pub(super) struct GroupSettings {
    /// The name people see
    #[arg(long)]
    name: Option<String>,
    /// Its own trigger; empty for the default one
    #[arg(long, value_name = "WORD")]
    trigger: Option<String>,
    /// Whether it answers only when triggered
    #[arg(long, value_name = "BOOL")]
    requires_trigger: Option<bool>,
    /// Image instead of the default one; this and the next ones: empty clears
    #[arg(long)]
    image: Option<String>,
    /// Provider instead of the default one
    #[arg(long = "agent-provider", value_name = "NAME")]
    provider: Option<String>,
    /// Model, for providers that know models
    #[arg(long)]
    model: Option<String>,
    /// What its own agent.toml may set: provider, model, prompt, tools, mcp, hooks, env; or none
    #[arg(long, value_name = "LIST")]
    agent_may: Option<String>,
    /// none, default, or a network's name
    #[arg(long)]
    network: Option<String>,
    /// Memory limit, such as 2g
    #[arg(long)]
    memory: Option<String>,
    /// CPU limit, such as 0.5
    #[arg(long)]
    cpus: Option<String>,
    /// Process limit
    #[arg(long)]
    pids: Option<Number>,
    /// US dollars that it may use a day
    #[arg(long, value_name = "USD")]
    budget_usd: Option<Amount>,
    /// Tokens that it may use a day
    #[arg(long, value_name = "TOKENS")]
    budget_tokens: Option<Number>,
    /// Hard timeout in milliseconds
    #[arg(long, value_name = "MS")]
    timeout: Option<Number>,
    /// Mount a host path, once allowed by mount-allowlist.json: PATH[:NAME][:rw]; replaces all that were set, and
    /// empty clears
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Set a variable in the container, never a secret; KEY= clears it
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
}

/// A number, or nothing, which clears.
#[derive(Debug, Clone, Copy)]
struct Number(Option<u64>);

impl FromStr for Number {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|number| Self(Some(number))) }
    }
}

/// An amount of money, or nothing, which clears.
#[derive(Debug, Clone, Copy)]
struct Amount(Option<f64>);

impl FromStr for Amount {
    type Err = ParseFloatError;

    fn from_str(text: &str) -> Result<Self, ParseFloatError> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|amount| Self(Some(amount))) }
    }
}

impl GroupSettings {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(name) = &self.name {
            body.insert("name".into(), json!(name));
        }
        if let Some(trigger) = &self.trigger {
            body.insert("trigger".into(), or_null(trigger));
        }
        if let Some(requires) = self.requires_trigger {
            body.insert("requiresTrigger".into(), json!(requires));
        }
        let config = self.config()?;
        if !config.is_empty() {
            body.insert("containerConfig".into(), Value::Object(config));
        }
        Ok(body)
    }

    fn config(&self) -> Result<Map<String, Value>, Failure> {
        let mut config = Map::new();
        let texts = [
            ("image", &self.image),
            ("provider", &self.provider),
            ("model", &self.model),
            ("network", &self.network),
            ("memory", &self.memory),
            ("cpus", &self.cpus),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                config.insert(key.into(), or_null(value));
            }
        }
        if let Some(list) = &self.agent_may {
            let kinds = || list.split(',').map(str::trim).filter(|kind| !kind.is_empty() && *kind != "none");
            let value = if list.trim().is_empty() { Value::Null } else { kinds().collect() };
            config.insert("agentMay".into(), value);
        }
        if let Some(Number(pids)) = self.pids {
            config.insert("pids".into(), json!(pids));
        }
        if let Some(Number(timeout)) = self.timeout {
            config.insert("timeout".into(), json!(timeout));
        }
        let mut budget = Map::new();
        if let Some(Amount(usd)) = self.budget_usd {
            budget.insert("usd".into(), json!(usd));
        }
        if let Some(Number(tokens)) = self.budget_tokens {
            budget.insert("tokens".into(), json!(tokens));
        }
        if !budget.is_empty() {
            config.insert("budget".into(), Value::Object(budget));
        }
        if !self.mount.is_empty() {
            let mounts: Vec<Value> =
                self.mount.iter().filter(|text| !text.is_empty()).map(|text| mount(text)).collect();
            config.insert("additionalMounts".into(), if mounts.is_empty() { Value::Null } else { mounts.into() });
        }
        let mut env = Map::new();
        for pair in &self.env {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::Usage(format!("--env {pair:?} has no `=`: use KEY=VALUE")));
            };
            env.insert(key.into(), or_null(value));
        }
        if !env.is_empty() {
            config.insert("env".into(), Value::Object(env));
        }
        Ok(config)
    }
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// `PATH[:NAME][:rw]`; a path has no colon of its own.
fn mount(text: &str) -> Value {
    let (rest, writable) = match text.strip_suffix(":rw") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":ro").unwrap_or(text), false),
    };
    let mut mount = match rest.split_once(':') {
        Some((path, name)) => json!({ "hostPath": path, "containerPath": name }),
        None => json!({ "hostPath": rest }),
    };
    if writable {
        mount["readonly"] = json!(false);
    }
    mount
}

impl Groups {
    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { available: false, json } => {
                let answer = client.get("/v1/groups").await?;
                let heading = ["FOLDER", "CHAT", "NAME", "MAIN", "TRIGGER"];
                list(
                    &answer,
                    "groups",
                    json,
                    &heading,
                    "No groups yet: `parlor groups add JID FOLDER` registers one.",
                    row,
                )
            }
            Self::List { available: true, json } => available_chats(client, json).await,
            Self::Add { jid, folder, settings } => {
                let mut body = settings.body()?;
                body.insert("jid".into(), json!(jid));
                body.insert("folder".into(), json!(folder));
                // A new group has nothing to clear.
                if let Some(Value::Object(config)) = body.get_mut("containerConfig") {
                    config.retain(|_, value| !value.is_null());
                }
                let group = client.call(Method::POST, "/v1/groups", Some(&Value::Object(body))).await?;
                say(&format!("Registered {} for {}.\n", text(&group["folder"]), text(&group["jid"])))
            }
            Self::Show { folder, json } => show(&client.get(&path(&folder)).await?, json),
            Self::Update { folder, settings } => {
                let body = settings.body()?;
                if body.is_empty() {
                    return Err(Failure::Usage("nothing to change: see `parlor groups update --help`".into()));
                }
                client.call(Method::PATCH, &path(&folder), Some(&Value::Object(body))).await?;
                say(&format!("Changed {folder}; runs from now on have it.\n"))
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

pub(super) fn row(group: &Value) -> Vec<String> {
    let trigger = match (group["requiresTrigger"].as_bool(), group["trigger"].as_str()) {
        (Some(false), _) => "not needed".to_owned(),
        (_, Some(own)) => own.to_owned(),
        _ => "the default".to_owned(),
    };
    let main = if group["isMain"] == true { "yes" } else { "" };
    vec![text(&group["folder"]), text(&group["jid"]), text(&group["name"]), main.to_owned(), trigger]
}

async fn available_chats(client: &Client, json: bool) -> Done {
    let mut answer = client.get("/v1/chats").await?;
    if let Some(chats) = answer["chats"].as_array_mut() {
        chats.retain(|chat| chat["isRegistered"] != true);
    }
    list(&answer, "chats", json, &["CHAT", "NAME", "LAST ACTIVITY"], "Every chat that wrote is registered.", |chat| {
        vec![text(&chat["jid"]), text(&chat["name"]), text(&chat["lastActivity"])]
    })
}
