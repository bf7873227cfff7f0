//! `parlor tasks`.

mod schedule;

use chrono::Utc;
use clap::{ArgGroup, Subcommand};
use http::Method;
use serde_json::{Value, json};

use self::schedule::Schedule;
use super::client::{Client, segment};
use super::output::{list, say, say_json, show, text};
use super::{Done, Failure, times};

#[derive(Debug, Subcommand)]
pub(super) enum Tasks {
    /// List scheduled tasks
    #[command(visible_alias = "ls")]
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
        /// The task: its id, or the beginning of it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Schedule a task
    #[command(group(ArgGroup::new("when").required(true).args(["cron", "every", "in", "once"])))]
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
        /// The task: its id, or the beginning of it
        id: String,
        /// What the agent is asked
        #[arg(long)]
        prompt: Option<String>,
        #[command(flatten)]
        schedule: Schedule,
    },
    /// Keep a task from firing until it is resumed
    Pause {
        /// The task: its id, or the beginning of it
        id: String,
    },
    /// Let a paused task fire again
    Resume {
        /// The task: its id, or the beginning of it
        id: String,
    },
    /// End a task for good
    #[command(visible_aliases = ["rm", "delete"])]
    Cancel {
        /// The task: its id, or the beginning of it
        id: String,
    },
    /// Fire a task once, now, beside its schedule
    Run {
        /// The task: its id, or the beginning of it
        id: String,
    },
    /// Show when a task fired and what came of it
    History {
        /// The task: its id, or the beginning of it
        id: String,
        /// At most so many, newest first
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Tasks {
    /// Returns true if the command changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. } | Self::History { .. })
    }

    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { folder, all, json } => {
                let mut path = format!("/v1/tasks?all={all}");
                if let Some(folder) = folder {
                    path.extend(["&folder=", &segment(&folder)]);
                }
                let heading = ["ID", "GROUP", "STATUS", "SCHEDULE", "@NEXT", "PROMPT"];
                list(&client.get(&path).await?, "tasks", json, &heading, "No scheduled tasks.", row)
            }
            Self::Show { id, json } => {
                let task = client.get(&path(&id)).await?;
                if json { say_json(&task) } else { show(&for_people(&task), false) }
            }
            Self::Add { folder, prompt, id, schedule } => {
                let mut body = schedule.body(Utc::now(), times::current())?;
                body.insert("folder".into(), json!(folder));
                body.insert("prompt".into(), json!(prompt));
                if let Some(id) = id {
                    body.insert("id".into(), json!(id));
                }
                let task = client.call(Method::POST, "/v1/tasks", Some(&Value::Object(body))).await?;
                say(&format!("Scheduled {}; {}.\n", text(&task["id"]), when(&task)))
            }
            Self::Update { id, prompt, schedule } => {
                let mut body = schedule.body(Utc::now(), times::current())?;
                if let Some(prompt) = prompt {
                    body.insert("prompt".into(), json!(prompt));
                }
                if body.is_empty() {
                    return Err(Failure::Usage("nothing to change: see `parlor tasks update --help`".into()));
                }
                let task = client.call(Method::PATCH, &path(&id), Some(&Value::Object(body))).await?;
                say(&format!("Changed {}; {}.\n", text(&task["id"]), when(&task)))
            }
            Self::Pause { id } => act(client, &id, Method::POST, "/pause", "Paused").await,
            Self::Resume { id } => act(client, &id, Method::POST, "/resume", "Resumed").await,
            Self::Cancel { id } => act(client, &id, Method::DELETE, "", "Cancelled").await,
            Self::Run { id } => act(client, &id, Method::POST, "/run", "Fired").await,
            Self::History { id, limit, json } => {
                let answer = client.get(&format!("{}/history?limit={limit}", path(&id))).await?;
                let heading = ["@DUE", "STATE", "@ENDED", "RUN", "RESULT"];
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
    say(&format!("{}.\n", told(done, &task)))
}

/// Formats the result; for an active task, also its next firing.
fn told(done: &str, task: &Value) -> String {
    let next = if task["status"] == "active" { format!("; {}", when(task)) } else { String::new() };
    format!("{done} {}{next}", text(&task["id"]))
}

fn when(task: &Value) -> String {
    match (task["status"].as_str(), &task["nextDue"]) {
        (Some("active"), due) if !due.is_null() => format!("it fires next at {}", times::at(due)),
        (status, _) => format!("it is {}", status.unwrap_or("unknown")),
    }
}

/// A task with its schedule in words instead of its parts.
fn for_people(task: &Value) -> Value {
    let mut shown = json!({ "id": task["id"], "schedule": schedule::shown(task) });
    let hidden = ["id", "scheduleType", "scheduleValue", "timezone"];
    for (key, value) in task.as_object().into_iter().flatten().filter(|(key, _)| !hidden.contains(&key.as_str())) {
        shown[key] = value.clone();
    }
    shown
}

fn row(task: &Value) -> Vec<String> {
    vec![
        text(&task["id"]),
        text(&task["folder"]),
        text(&task["status"]),
        schedule::shown(task),
        text(&task["nextDue"]),
        text(&task["prompt"]),
    ]
}

fn fire_row(fire: &Value) -> Vec<String> {
    let outcome = if fire["error"].is_null() { &fire["result"] } else { &fire["error"] };
    vec![text(&fire["due"]), text(&fire["state"]), text(&fire["endedAt"]), text(&fire["runId"]), text(outcome)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_result_is_printed_once() {
        let task = |status: &str| json!({ "id": "t1", "status": status, "nextDue": "2026-12-24T17:00:00Z" });
        assert_eq!(told("Paused", &task("paused")), "Paused t1");
        assert_eq!(told("Cancelled", &task("cancelled")), "Cancelled t1");
        assert_eq!(told("Resumed", &task("active")), "Resumed t1; it fires next at 2026-12-24 17:00:00 (UTC)");
    }
}
