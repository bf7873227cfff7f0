//! `parlor tasks`.

use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, segment};
use super::output::{list, say, show, text};
use super::{Done, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Tasks {
    /// List scheduled tasks
    List {
        /// Of this group alone
        folder: Option<String>,
        /// Completed and cancelled ones, too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a task
    Show {
        /// The task
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Schedule a task
    #[command(group(ArgGroup::new("when").required(true).args(["cron", "every", "once"])))]
    Add {
        /// The group's folder
        folder: String,
        /// What the agent is asked
        prompt: String,
        /// Its id [default: a fresh one]
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        schedule: Schedule,
    },
    /// Change a task; what is not given stays
    Update {
        /// The task
        id: String,
        /// What the agent is asked
        #[arg(long)]
        prompt: Option<String>,
        #[command(flatten)]
        schedule: Schedule,
    },
    /// Keep a task from firing until it is resumed
    Pause {
        /// The task
        id: String,
    },
    /// Let a paused task fire again
    Resume {
        /// The task
        id: String,
    },
    /// End a task for good
    Cancel {
        /// The task
        id: String,
    },
    /// Fire a task once, now, beside its schedule
    Run {
        /// The task
        id: String,
    },
    /// Show when a task fired and what came of it
    History {
        /// The task
        id: String,
        /// At most so many, newest first
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Schedule {
    /// Five cron fields, such as "0 9 * * 1-5"
    #[arg(long, conflicts_with_all = ["every", "once"])]
    cron: Option<String>,
    /// Milliseconds, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", conflicts_with = "once")]
    every: Option<String>,
    /// A local time, such as 2026-12-24T18:00:00
    #[arg(long, value_name = "TIME")]
    once: Option<String>,
    /// IANA zone in which it is read; empty for the host's
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// group: in the chat's session; isolated: in one of its own
    #[arg(long, value_name = "MODE", value_parser = ["group", "isolated"])]
    context: Option<String>,
    /// What happens to times missed while the host was down: one late run, or none
    #[arg(long, value_name = "RULE", value_parser = ["run", "skip"])]
    missed: Option<String>,
}

impl Schedule {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let kind = match (&self.cron, &self.every, &self.once) {
            (Some(cron), _, _) => Some(("cron", cron.clone())),
            (_, Some(every), _) => Some(("interval", milliseconds(every)?.to_string())),
            (_, _, Some(once)) => Some(("once", once.clone())),
            _ => None,
        };
        if let Some((kind, value)) = kind {
            body.insert("scheduleType".into(), json!(kind));
            body.insert("scheduleValue".into(), json!(value));
        }
        for (key, value) in [("timezone", &self.timezone), ("contextMode", &self.context), ("missed", &self.missed)] {
            if let Some(value) = value {
                body.insert(key.into(), json!(value));
            }
        }
        Ok(body)
    }
}

/// `90000`, `90s`, `15m`, `2h` or `1d`.
pub(super) fn milliseconds(text: &str) -> Result<u64, Failure> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" | "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        Failure::Usage(format!("--every {text:?} is not understood: use a number with s, m, h or d, such as 15m"))
    })
}

impl Tasks {
    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { folder, all, json } => {
                let mut path = format!("/v1/tasks?all={all}");
                if let Some(folder) = folder {
                    path.extend(["&folder=", &segment(&folder)]);
                }
                let heading = ["ID", "GROUP", "STATUS", "SCHEDULE", "NEXT", "PROMPT"];
                list(&client.get(&path).await?, "tasks", json, &heading, "No scheduled tasks.", row)
            }
            Self::Show { id, json } => show(&client.get(&path(&id)).await?, json),
            Self::Add { folder, prompt, id, schedule } => {
                let mut body = schedule.body()?;
                body.insert("folder".into(), json!(folder));
                body.insert("prompt".into(), json!(prompt));
                if let Some(id) = id {
                    body.insert("id".into(), json!(id));
                }
                let task = client.call(Method::POST, "/v1/tasks", Some(&Value::Object(body))).await?;
                say(&format!("Scheduled {}; it fires next at {}.\n", text(&task["id"]), text(&task["nextDue"])))
            }
            Self::Update { id, prompt, schedule } => {
                let mut body = schedule.body()?;
                if let Some(prompt) = prompt {
                    body.insert("prompt".into(), json!(prompt));
                }
                if body.is_empty() {
                    return Err(Failure::Usage("nothing to change: see `parlor tasks update --help`".into()));
                }
                let task = client.call(Method::PATCH, &path(&id), Some(&Value::Object(body))).await?;
                say(&format!("Changed {id}; {}.\n", when(&task)))
            }
            Self::Pause { id } => act(client, &id, Method::POST, "/pause", "Paused").await,
            Self::Resume { id } => act(client, &id, Method::POST, "/resume", "Resumed").await,
            Self::Cancel { id } => act(client, &id, Method::DELETE, "", "Cancelled").await,
            Self::Run { id } => act(client, &id, Method::POST, "/run", "Fired").await,
            Self::History { id, limit, json } => {
                let answer = client.get(&format!("{}/history?limit={limit}", path(&id))).await?;
                let heading = ["DUE", "STATE", "ENDED", "RUN", "RESULT"];
                list(&answer, "history", json, &heading, "It has not fired yet.", fire_row)
            }
        }
    }
}

fn path(id: &str) -> String {
    format!("/v1/tasks/{}", segment(id))
}

async fn act(client: &Client, id: &str, method: Method, verb: &str, done: &str) -> Done {
    let task = client.call(method, &format!("{}{verb}", path(id)), None).await?;
    say(&format!("{done} {id}; {}.\n", when(&task)))
}

fn when(task: &Value) -> String {
    match (task["status"].as_str(), &task["nextDue"]) {
        (Some("active"), due) if !due.is_null() => format!("it fires next at {}", text(due)),
        (status, _) => format!("it is {}", status.unwrap_or("unknown")),
    }
}

fn row(task: &Value) -> Vec<String> {
    let schedule = format!("{} {}", text(&task["scheduleType"]), text(&task["scheduleValue"]));
    vec![
        text(&task["id"]),
        text(&task["folder"]),
        text(&task["status"]),
        schedule,
        text(&task["nextDue"]),
        text(&task["prompt"]),
    ]
}

fn fire_row(fire: &Value) -> Vec<String> {
    let outcome = if fire["error"].is_null() { &fire["result"] } else { &fire["error"] };
    vec![text(&fire["due"]), text(&fire["state"]), text(&fire["endedAt"]), text(&fire["runId"]), text(outcome)]
}
