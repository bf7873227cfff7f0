//! `parlor-tool`: the host's tools as a command line, for agents that are programs and scripts.
//!
//! Every request waits for the host's answer. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::files::Folders;
use crate::guide::when;
use crate::host::{self, find_task};
use crate::protocol::{MessageFile, TaskFile};
use crate::run::Room;

/// The name under which the runner is this command line.
pub const NAME: &str = "parlor-tool";

const USAGE: &str = "parlor-tool asks Parlor for things and waits for the answer.

  parlor-tool send [--to JID] [--sender NAME] TEXT     a message to this chat, at once
  parlor-tool schedule WHEN [OPTIONS] PROMPT           a task
      WHEN: --cron '0 9 * * 1-5' | --every 10m | --in 90s | --once 2026-12-24T18:00:00
      OPTIONS: --zone Europe/Berlin  --context group|isolated  --to JID  --missed run|skip  --id ID
  parlor-tool tasks [--json]                           the tasks, numbered
  parlor-tool pause|resume|cancel|run TASK             TASK: a number of the list, or an id
  parlor-tool update TASK [WHEN] [--zone ZONE] [--prompt PROMPT]
  parlor-tool groups [--json]                          the chats Parlor knows (main group only)
  parlor-tool register JID NAME FOLDER TRIGGER [--no-trigger]    (main group only)
  parlor-tool refresh                                  fresh lists of tasks and chats (main group only)

The chat is PARLOR_CHAT_JID unless --to names one. Times are in the zone of TZ unless --zone names one.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage.";

/// Gives a command what it needs to find the tool: `parlor-tool` in its PATH, and the chat it speaks for.
pub fn offer(command: &mut Command, room: &Room) {
    let input = &room.input;
    command
        .env("PARLOR_CHAT_JID", &input.chat_jid)
        .env("PARLOR_GROUP", &input.group_folder)
        .env("PARLOR_IS_MAIN", if input.is_main { "1" } else { "0" });
    if let Some(dir) = link_dir() {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        command.env("PATH", format!("{}:{path}", dir.display()));
    }
}

/// A folder with the link `parlor-tool`; none where nothing can be written or the image has the name already.
fn link_dir() -> Option<PathBuf> {
    let dir = std::env::temp_dir().join(format!("parlor-bin-{}", rustix::process::geteuid().as_raw()));
    let link = dir.join(NAME);
    let program = std::env::current_exe().ok()?;
    if std::fs::read_link(&link).is_ok_and(|target| target == program) {
        return Some(dir);
    }
    std::fs::create_dir_all(&dir).ok()?;
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(program, &link).ok()?;
    Some(dir)
}

/// Why a command came to nothing.
enum Trouble {
    Usage(String),
    Failed(String),
}

impl From<host::Refusal> for Trouble {
    fn from(refusal: host::Refusal) -> Self {
        Self::Failed(refusal.to_string())
    }
}

/// Carries out one command line.
pub fn main(args: &[String]) -> ExitCode {
    match command(args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(Trouble::Failed(reason)) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
        Err(Trouble::Usage(reason)) => {
            eprintln!("{reason}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn command(args: &[String]) -> Result<String, Trouble> {
    let folders = Folders::from_env();
    let Some((verb, rest)) = args.split_first() else { return Err(Trouble::Usage("Say what to do.".to_owned())) };
    match verb.as_str() {
        "help" | "--help" | "-h" => Ok(USAGE.to_owned()),
        "send" => send(&folders, &Args::parse(rest, &["to", "sender"], &[])?),
        "schedule" => {
            let valued = ["cron", "every", "in", "once", "zone", "context", "to", "missed", "id"];
            schedule(&folders, &Args::parse(rest, &valued, &[])?)
        }
        "update" => update(&folders, &Args::parse(rest, &["cron", "every", "in", "once", "zone", "prompt"], &[])?),
        "tasks" => tasks(&folders, &Args::parse(rest, &[], &["json"])?),
        "groups" => groups(&folders, &Args::parse(rest, &[], &["json"])?),
        "pause" | "resume" | "cancel" | "run" => on_task(&folders, verb, &Args::parse(rest, &[], &[])?),
        "register" => register(&folders, &Args::parse(rest, &[], &["no-trigger"])?),
        "refresh" => {
            Args::parse(rest, &[], &[])?.words::<0>("nothing more")?;
            host::ask(&folders, "tasks", &TaskFile::RefreshGroups {})?;
            Ok("Done: the lists are fresh.".to_owned())
        }
        other => Err(Trouble::Usage(format!("parlor-tool has no command {other:?}."))),
    }
}

/// A command's words and options, in any order; after `--` everything is a word.
struct Args {
    words: Vec<String>,
    options: Map<String, Value>,
}

impl Args {
    fn parse(args: &[String], valued: &[&str], flags: &[&str]) -> Result<Self, Trouble> {
        let mut parsed = Self { words: Vec::new(), options: Map::new() };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(name) = arg.strip_prefix("--") else {
                parsed.words.push(arg.clone());
                continue;
            };
            let (name, given) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            if name.is_empty() {
                parsed.words.extend(rest.by_ref().cloned());
            } else if flags.contains(&name) && given.is_none() {
                parsed.options.insert(name.to_owned(), Value::Bool(true));
            } else if valued.contains(&name) {
                let value = given.map(str::to_owned).or_else(|| rest.next().cloned());
                let value = value.ok_or_else(|| Trouble::Usage(format!("--{name} needs a value.")))?;
                parsed.options.insert(name.to_owned(), Value::String(value));
            } else {
                return Err(Trouble::Usage(format!("{arg} is no option of this command.")));
            }
        }
        Ok(parsed)
    }

    fn option(&self, name: &str) -> Option<String> {
        self.options.get(name)?.as_str().map(str::to_owned)
    }

    fn flag(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Exactly so many words.
    fn words<const N: usize>(&self, wanted: &str) -> Result<[String; N], Trouble> {
        <[String; N]>::try_from(self.words.clone())
            .map_err(|words| Trouble::Usage(format!("This command needs {wanted}; it got {} words.", words.len())))
    }

    /// All words as one text.
    fn text(&self, wanted: &str) -> Result<String, Trouble> {
        let text = self.words.join(" ");
        if text.trim().is_empty() { Err(Trouble::Usage(format!("{wanted} is missing."))) } else { Ok(text) }
    }

    fn chat(&self) -> Result<String, Trouble> {
        self.option("to")
            .or_else(|| std::env::var("PARLOR_CHAT_JID").ok().filter(|jid| !jid.is_empty()))
            .ok_or_else(|| Trouble::Usage("Which chat? Set PARLOR_CHAT_JID, or name it with --to JID.".to_owned()))
    }

    /// The type, value and zone of the schedule that the options give; none when they give none.
    fn when(&self, now: DateTime<Utc>) -> Result<Option<(String, String, Option<String>)>, Trouble> {
        let given: Vec<&str> =
            ["cron", "every", "in", "once"].into_iter().filter(|name| self.options.contains_key(*name)).collect();
        let [kind] = given[..] else {
            return if given.is_empty() {
                Ok(None)
            } else {
                Err(Trouble::Usage("Use one of --cron, --every, --in and --once.".to_owned()))
            };
        };
        let value = self.option(kind).unwrap_or_default();
        let zone = self.option("zone").or_else(|| std::env::var("TZ").ok().filter(|zone| !zone.is_empty()));
        let bad = || Trouble::Usage(format!("--{kind} {value:?} is no duration: write 90s, 10m, 2h or 1d."));
        Ok(Some(match kind {
            "every" => ("interval".into(), when::duration_ms(&value).ok_or_else(bad)?.to_string(), zone),
            "in" => {
                let (value, zone) = when::in_ms(when::duration_ms(&value).ok_or_else(bad)?, now).ok_or_else(bad)?;
                ("once".into(), value, Some(zone))
            }
            _ => (kind.into(), value, zone),
        }))
    }
}

fn send(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let text = args.text("The text")?;
    let message = MessageFile::Message { chat_jid: args.chat()?, text, sender: args.option("sender") };
    host::ask(folders, "messages", &message)?;
    Ok("Done: the message is on its way.".to_owned())
}

fn schedule(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let prompt = args.text("The prompt")?;
    let (schedule_type, schedule_value, timezone) = args
        .when(Utc::now())?
        .ok_or_else(|| Trouble::Usage("When? Use --cron, --every, --in or --once.".to_owned()))?;
    let task = TaskFile::ScheduleTask {
        task_id: args.option("id"),
        prompt,
        schedule_type,
        schedule_value,
        context_mode: args.option("context"),
        target_jid: args.chat()?,
        timezone,
        missed: args.option("missed"),
    };
    let result = host::ask(folders, "tasks", &task)?;
    let id = result.details.get("taskId").and_then(Value::as_str).unwrap_or("(without an id)");
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(", next run {next}"));
    Ok(format!("Done: task {id}{next}"))
}

fn update(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let [wanted] = args.words("one task")?;
    let task_id = task_id(folders, &wanted)?;
    let (schedule_type, schedule_value, timezone) = match args.when(Utc::now())? {
        Some((kind, value, zone)) => (Some(kind), Some(value), zone),
        None => (None, None, args.option("zone")),
    };
    let prompt = args.option("prompt");
    if prompt.is_none() && schedule_type.is_none() && timezone.is_none() {
        return Err(Trouble::Usage("What shall change? Use --prompt, --zone, or a WHEN.".to_owned()));
    }
    let change = TaskFile::UpdateTask { task_id, prompt, schedule_type, schedule_value, timezone };
    let result = host::ask(folders, "tasks", &change)?;
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(" Next run: {next}"));
    Ok(format!("Done: the task is changed.{next}"))
}

/// A number counts in the list; what is not in the list goes to the host as it is, which knows best.
fn task_id(folders: &Folders, wanted: &str) -> Result<String, Trouble> {
    let tasks = host::tasks(folders).map_err(Trouble::Failed)?;
    match find_task(&tasks, wanted) {
        Ok(task) => Ok(task.id.clone()),
        Err(reason) if wanted.parse::<u16>().is_ok() => Err(Trouble::Failed(reason)),
        Err(_) => Ok(wanted.to_owned()),
    }
}

fn on_task(folders: &Folders, verb: &str, args: &Args) -> Result<String, Trouble> {
    let [wanted] = args.words("one task")?;
    let task_id = task_id(folders, &wanted)?;
    let (request, done) = match verb {
        "pause" => (TaskFile::PauseTask { task_id }, "paused"),
        "resume" => (TaskFile::ResumeTask { task_id }, "active again"),
        "cancel" => (TaskFile::CancelTask { task_id }, "cancelled"),
        _ => (TaskFile::RunTaskNow { task_id }, "about to run"),
    };
    let result = host::ask(folders, "tasks", &request)?;
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(" Next run: {next}"));
    Ok(format!("Done: the task is {done}.{next}"))
}

fn tasks(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let tasks = host::tasks(folders).map_err(Trouble::Failed)?;
    if args.flag("json") {
        return Ok(json!(tasks).to_string());
    }
    if tasks.is_empty() {
        return Ok("There are no tasks.".to_owned());
    }
    let line = |(at, task): (usize, &crate::protocol::TaskSnapshot)| {
        let next = task.next_run.as_deref().map_or("-".to_owned(), |next| host::readable_text(next, host::zone()));
        let prompt = task.prompt.replace('\n', " ");
        let (kind, value) = (&task.schedule_type, &task.schedule_value);
        format!("{}\t{}\t{}\t{}\t{kind} {value}\t{next}\t{prompt}", at + 1, task.id, task.group_folder, task.status)
    };
    Ok(tasks.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

fn groups(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let snapshot = host::groups(folders).map_err(Trouble::Failed)?;
    if args.flag("json") {
        return Ok(json!(snapshot).to_string());
    }
    if snapshot.groups.is_empty() {
        return Ok("No chats are listed: only the main group sees them.".to_owned());
    }
    let line = |group: &crate::protocol::GroupSnapshot| {
        let state = if group.is_registered { "registered" } else { "available" };
        format!("{}\t{}\t{state}\t{}", group.jid, group.name, group.last_activity)
    };
    Ok(snapshot.groups.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn register(folders: &Folders, args: &Args) -> Result<String, Trouble> {
    let [jid, name, folder, trigger] = args.words("JID NAME FOLDER TRIGGER")?;
    let requires_trigger = args.flag("no-trigger").then_some(false);
    let done = format!("Done: {jid} is a group now, with the folder {folder}.");
    let group = TaskFile::RegisterGroup { jid, name, folder, trigger, requires_trigger, container_config: None };
    host::ask(folders, "tasks", &group)?;
    Ok(done)
}

/// Whether a program name is this command line's.
pub fn is_name(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, Trouble> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Args::parse(&args, &["cron", "every", "in", "once", "zone"], &["json"])
    }

    #[test]
    fn options_and_words_come_in_any_order() {
        let Ok(args) = parse(&["say", "--every=10m", "it", "--json", "--", "--loud"]) else { panic!("refused") };
        assert_eq!(args.words, ["say", "it", "--loud"]);
        assert!(args.flag("json"));
        let Ok(Some((kind, value, _))) = args.when(Utc::now()) else { panic!("refused") };
        assert_eq!((kind.as_str(), value.as_str()), ("interval", "600000"));
    }

    #[test]
    fn wrong_usage_is_told_apart_from_failure() {
        for wrong in [&["--loud"][..], &["--every"]] {
            assert!(matches!(parse(wrong), Err(Trouble::Usage(_))), "{wrong:?}");
        }
        for wrong in [&["--every", "soon"][..], &["--every", "1m", "--cron", "* * * * *"]] {
            let Ok(args) = parse(wrong) else { panic!("refused too early") };
            assert!(matches!(args.when(Utc::now()), Err(Trouble::Usage(_))), "{wrong:?}");
        }
    }
}
