//! `parlor chat`: talks to a group through the running host, or through a host started in this process.

mod attach;
mod interactive;
mod plain;
mod prompt;
mod render;
mod screen;
pub(super) mod turn;
mod wait;
mod window;

use std::future::Future;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::attach::Local;
pub use self::window::leave_to_editor;
use super::client::{Client, ClientError};
use super::output::{say, tell, text as shown};
use super::{Done, Failure, Program, Running, SIGNALLED, failed};
use crate::config::settings::Settings;
use crate::domain::message::Role;
use crate::domain::words;
use crate::policy::trigger::Trigger;

/// The commands of every chat.
const COMMANDS: &str = "\
/stop    end what the agent does now
/new     begin a new conversation
/status  show what runs and what waits";
/// How long a starting host may take until it accepts messages.
const READY: Duration = Duration::from_secs(120);
/// The time limit of the hint at the end of a chat.
const HINT: Duration = Duration::from_secs(2);
/// The sender of messages from here: only the host's own user reaches its socket.
const OWNER: &str = "owner";
/// The message for senders who are on no list.
const DENIED: &str = "you may not trigger here (sender-allowlist.json)";

#[derive(Debug, Args)]
pub(super) struct Chat {
    /// The group: its folder, chat or name [default: main]
    group: Option<String>,
    /// Send this, print the answer, and end with the turn; `-` reads it from stdin
    ///
    /// Exit codes: 0 it was answered, 1 its turn failed or was stopped, 2 wrong usage, 3 nobody answers it because it
    /// does not address the group, 124 no answer within --timeout, 130 interrupted.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Wait no longer than this for the answer, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Send this file with the message; may be given several times
    #[arg(long, value_name = "PATH")]
    attach: Vec<PathBuf>,
}

/// The chat's group.
#[derive(Debug, Clone)]
pub(super) struct Room {
    jid: String,
    name: String,
    assistant: String,
    trigger: Option<String>,
}

/// A message that the host has accepted.
#[derive(Debug, Clone)]
struct Sent {
    seq: i64,
    role: Role,
    /// Files that were refused, each with the reason.
    refused: Vec<String>,
    /// Why the sender cannot trigger, unless the operator wants it so.
    why: Option<String>,
}

impl Sent {
    /// The explanation for a sender who cannot trigger.
    fn denial(&self) -> String {
        match &self.why {
            Some(why) => format!("until that file is mended only the owner's group may trigger: {why}"),
            None => DENIED.to_owned(),
        }
    }
}

impl Room {
    fn trigger(&self) -> Trigger {
        Trigger::of(self.trigger.as_deref(), &self.assistant)
    }

    /// Sends a text and files. Returns its sequence number and its role.
    async fn send(&self, client: &Client, text: &str, files: Vec<Local>) -> Result<Sent, ClientError> {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| OWNER.into());
        let path = format!("/v1/chats/{}/messages", super::client::segment(&self.jid));
        let body = json!({ "sender": OWNER, "senderName": user, "text": text });
        let answer = if files.is_empty() {
            client.call(Method::POST, &path, Some(&body)).await?
        } else {
            let files = files.into_iter().map(|Local { name, file }| (name, file)).collect();
            client.upload(&path, &body, files).await?
        };
        let seq = answer["seq"].as_i64().ok_or_else(|| ClientError::Broken("its answer has no seq".into()))?;
        let role =
            Role::deserialize(&answer["role"]).map_err(|e| ClientError::Broken(format!("its answer's role: {e}")))?;
        let refused = answer["attachments"].as_array().into_iter().flatten().filter(|file| file["path"].is_null());
        let refused = refused.map(|file| format!("{}: {}", shown(&file["name"]), shown(&file["why"]))).collect();
        let why = answer["why"].as_str().map(str::to_owned);
        Ok(Sent { seq, role, refused, why })
    }
}

impl Chat {
    /// Returns true if the chat is not a single message.
    pub(super) fn is_conversation(&self) -> bool {
        self.message.is_none()
    }

    pub(super) async fn run<P: Program>(self, settings: Settings, program: &P) -> Done {
        let files = attach::open(&self.attach).map_err(Failure::Usage)?;
        let message = match self.message {
            Some(text) if text == "-" => Some(read_stdin()?),
            Some(text) => Some(text),
            None if std::io::stdin().is_terminal() && !files.is_empty() => Some(String::new()),
            None if std::io::stdin().is_terminal() => None,
            None => Some(read_stdin()?),
        };
        if files.is_empty() && message.as_deref().is_some_and(|text| text.trim().is_empty()) {
            return Err(Failure::Usage("the message is empty: give a text with -m, or pipe one in".into()));
        }
        if message.as_deref().is_some_and(|text| text.trim() == "/help") {
            return say(&format!("{COMMANDS}\nEverything else goes to the agent.\n"));
        }
        let client = Client::of(&settings);
        let host = match client.get("/readyz").await {
            Err(ClientError::NoHost(_)) => Some(program.start(settings).await.map_err(|e| failed(&e))?),
            _ => None,
        };
        let said = message.map(|text| Said { text, files, limit: self.timeout });
        let talk = talk(&client, self.group.as_deref(), said, host.is_some());
        converse(&client, host, talk).await
    }
}

/// `parlor up --console`: runs a host, and a chat with its main group, until the chat ends.
pub(super) async fn console<P: Program>(settings: Settings, program: &P) -> Done {
    let client = Client::of(&settings);
    let host = program.start(settings).await.map_err(|e| failed(&e))?;
    converse(&client, Some(host), talk(&client, None, None, true)).await
}

/// Runs the talk until its end or a signal, then ends the host inside this process, if any.
async fn converse<H: Running>(client: &Client, host: Option<H>, talk: impl Future<Output = Done>) -> Done {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            let failure = Failure::Failed(format!("signals cannot be waited for: {error}"));
            return end(host, std::future::pending(), Err(failure)).await;
        }
    };
    let result = tokio::select! {
        result = talk => result,
        signal = signals.next() => Err(Failure::Code(SIGNALLED + signal, match &host {
            Some(_) => "interrupted; what was not answered yet is, as soon as a host runs again".into(),
            None => "interrupted; the host still answers what it was sent".into(),
        })),
    };
    if host.is_some() {
        tokio::select! {
            () = tasks_hint(client) => {}
            () = tokio::time::sleep(HINT) => {}
        }
    }
    let again = async {
        signals.next().await;
    };
    end(host, again, result).await
}

/// Ctrl-C, SIGTERM and SIGHUP. None is lost between two waits.
struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal and returns its number.
    async fn next(&mut self) -> u8 {
        let kind = tokio::select! {
            // If several arrive at once, the one that people send comes first.
            biased;
            _ = self.int.recv() => SignalKind::interrupt(),
            _ = self.term.recv() => SignalKind::terminate(),
            _ = self.hup.recv() => SignalKind::hangup(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    }
}

/// Warns that tasks fire only while a host runs: the host inside this command ends with it.
async fn tasks_hint(client: &Client) {
    let Ok(answer) = client.get("/v1/tasks").await else { return };
    let count = answer["tasks"].as_array().into_iter().flatten().filter(|task| task["status"] == "active").count();
    let what = match count {
        0 => return,
        1 => "1 task is scheduled, and fires".to_owned(),
        _ => format!("{count} tasks are scheduled, and fire"),
    };
    tell(&format!("{what} only while a host runs: start one with `parlor up`."));
}

/// Ends the host inside this process gracefully, or at once on another request. The first error is returned.
pub(super) async fn end<H: Running>(host: Option<H>, again: impl Future<Output = ()>, result: Done) -> Done {
    let Some(host) = host else { return result };
    let hard = host.hard();
    let stop = host.stop();
    tokio::pin!(stop);
    let stopped = tokio::select! {
        stopped = &mut stop => stopped,
        () = again => {
            hard.cancel();
            stop.await
        }
    };
    result.and(stopped.map_err(|e| failed(&e)))
}

/// A single message.
struct Said {
    text: String,
    files: Vec<Local>,
    /// How long to wait for its answer.
    limit: Option<Duration>,
}

/// Runs a conversation or sends a single message. `host`: this process is the host.
async fn talk(client: &Client, group: Option<&str>, message: Option<Said>, host: bool) -> Done {
    ready(client).await?;
    let room = room(client, group).await?;
    match message {
        Some(Said { text, files, limit }) => turn::run(client, &room, &text, files, limit).await,
        None => interactive::run(client, &room, host).await,
    }
}

/// Parses a time such as `90s`; a bare number means seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let time = words::parse_seconds(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "use a number with s, m or h, such as 90s".into())
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::Failed(format!("cannot read stdin: {e}")))?;
    // The newline that `echo` adds is not part of the message.
    text.truncate(text.trim_end().len());
    Ok(text)
}

async fn ready(client: &Client) -> Done {
    let until = tokio::time::Instant::now() + READY;
    loop {
        match client.get("/readyz").await {
            Ok(_) => return Ok(()),
            Err(ClientError::Problem { code, .. }) if code == "not_ready" && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Finds the group. If there is no group at all, registers main.
pub(super) async fn room(client: &Client, wanted: Option<&str>) -> Result<Room, Failure> {
    let mut groups = all_groups(client).await?;
    if groups.is_empty() && wanted.is_none_or(|wanted| wanted == "main") {
        make_main(client).await?;
        groups = all_groups(client).await?;
    }
    let found = match wanted {
        None => default_group(&groups),
        Some(wanted) => ["folder", "jid", "name"].iter().find_map(|key| {
            groups.iter().find(|group| group[*key].as_str().is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
        }),
    };
    let names: Vec<&str> = groups.iter().filter_map(|group| group["folder"].as_str()).collect();
    let names = if names.is_empty() { "there is none yet".into() } else { format!("there are {}", names.join(", ")) };
    let Some(group) = found else {
        return Err(Failure::Failed(match wanted {
            Some(wanted) => format!("there is no group {wanted:?}: {names}; `parlor groups add` registers one"),
            None => format!("no group is main: say which one to talk to ({names}), or use `parlor groups set-main`"),
        }));
    };
    let jid = group["jid"].as_str().unwrap_or_default().to_owned();
    if !is_local(group) {
        return Err(Failure::Failed(format!(
            "{} is in a chat of another platform ({jid}), which cannot be written to from here. To talk to an agent in \
             this terminal, give it a chat of its own: `parlor groups add tty:me me --requires-trigger false`, then \
             `parlor chat me`; `parlor groups set-main me` makes it main, which reads the folders of all groups",
            shown(&group["folder"])
        )));
    }
    let status = client.get("/v1/status").await?;
    Ok(Room {
        jid,
        name: group["name"].as_str().unwrap_or_default().to_owned(),
        assistant: status["assistant"].as_str().unwrap_or_default().to_owned(),
        trigger: group["trigger"].as_str().map(str::to_owned),
    })
}

/// Returns true if the group's chat belongs to the local API.
fn is_local(group: &Value) -> bool {
    group["jid"].as_str().is_some_and(|jid| jid.starts_with("tty:") || jid.starts_with("web:"))
}

/// The default group: main, or the folder `main` if no group is the owner's yet. If that one is on another platform
/// and there is only one local group, the local one.
fn default_group(groups: &[Value]) -> Option<&Value> {
    let is_main = |group: &&Value| group["isMain"] == true;
    let main = groups.iter().find(is_main).or_else(|| groups.iter().find(|group| group["folder"] == "main"))?;
    let mut local = groups.iter().filter(|group| is_local(group));
    match (local.next(), local.next()) {
        (Some(only), None) if !is_local(main) => Some(only),
        _ => Some(main),
    }
}

async fn all_groups(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut answer = client.get("/v1/groups").await?;
    Ok(answer["groups"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

async fn make_main(client: &Client) -> Done {
    let new = json!({ "jid": "tty:main", "name": "main", "folder": "main", "requiresTrigger": false });
    match client.call(Method::POST, "/v1/groups", Some(&new)).await {
        // Another chat that started at the same time has registered it.
        Ok(_) | Err(ClientError::Problem { status: 409, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    client.call(Method::PATCH, "/v1/groups/main", Some(&json!({ "isMain": true }))).await?;
    Ok(())
}
