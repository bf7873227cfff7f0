//! `parlor-tool`: the command line of the host's tools, for agents that are programs and scripts.
//!
//! Every request waits for the host's answer. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::agent_toml;
use crate::guide::when;
use crate::provider::Room;
use crate::tools::{self, Context, Form, Kind, Tool, Trouble, context};

/// The runner becomes this command line when it is started under this name.
pub const NAME: &str = "parlor-tool";

/// The options for a time, which set `schedule_type` and `schedule_value`.
const WHEN: [&str; 4] = ["cron", "every", "in", "once"];

/// Prepares a command's environment: `parlor-tool` in its PATH, the chat it speaks for, and folders for packages.
pub fn offer(command: &mut Command, room: &Room) {
    let input = &room.input;
    command
        .env("PARLOR_CHAT_JID", &input.chat_jid)
        .env("PARLOR_GROUP", &input.group_folder)
        .env("PARLOR_IS_MAIN", if input.is_main { "1" } else { "0" });
    let kept = agent_toml::dir();
    for (name, folder) in CACHES.into_iter().filter(|(name, _)| kept.is_dir() && std::env::var_os(name).is_none()) {
        command.env(name, kept.join("cache").join(folder));
    }
    if let Some(dir) = link_dir() {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        command.env("PATH", format!("{}:{path}", dir.display()));
    }
}

/// Variables and folders for packages that programs download, such as an MCP server of `npx -y`. The folders outlive
/// the room, and belong to the group alone.
const CACHES: [(&str, &str); 3] = [("npm_config_cache", "npm"), ("UV_CACHE_DIR", "uv"), ("PIP_CACHE_DIR", "pip")];

/// Returns a folder with the link `parlor-tool`; None if it cannot be made.
fn link_dir() -> Option<PathBuf> {
    let dir = context::dir();
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

/// Returns true if a program's path has this command line's name.
pub fn is_name(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == NAME)
}

/// Runs one command line.
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
            eprintln!("{reason}\n\n{}", usage());
            ExitCode::from(2)
        }
    }
}

fn command(args: &[String]) -> Result<String, Trouble> {
    let Some((verb, rest)) = args.split_first() else { return Err(Trouble::Usage("Say what to do.".to_owned())) };
    if ["help", "--help", "-h"].contains(&verb.as_str()) {
        return match rest.first().and_then(|verb| find(verb)) {
            Some(tool) => Ok(explain(tool)),
            None => Ok(usage()),
        };
    }
    let tool = find(verb).ok_or_else(|| Trouble::Usage(format!("parlor-tool has no command {verb:?}.")))?;
    let given = parse(tool, rest, Utc::now())?;
    let done = tool.call(given.args, &Context::load())?;
    Ok(match done.data {
        Some(data) if given.json => data.to_string(),
        _ => done.text,
    })
}

/// Finds a tool by its short name, or by its name for models.
fn find(verb: &str) -> Option<&'static Tool> {
    tools::all().find(|tool| tool.command == verb || tool.name == verb)
}

/// The parsed command line.
#[derive(Debug)]
struct Given {
    args: Map<String, Value>,
    json: bool,
}

/// Parses words and options, in any order; after `--` everything is a word.
fn parse(tool: &Tool, args: &[String], now: DateTime<Utc>) -> Result<Given, Trouble> {
    let mut given = Given { args: Map::new(), json: false };
    let (mut words, mut when) = (Vec::new(), None);
    let has_when = tool.args.iter().any(|arg| arg.form == Form::When);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(name) = arg.strip_prefix("--") else {
            words.push(arg.clone());
            continue;
        };
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let mut value = || {
            let value = value.map(str::to_owned).or_else(|| rest.next().cloned());
            value.ok_or_else(|| Trouble::Usage(format!("--{name} needs a value.")))
        };
        if name.is_empty() {
            words.extend(rest.by_ref().cloned());
        } else if name == "json" && tool.reads {
            given.json = true;
        } else if has_when && WHEN.contains(&name) {
            if when.replace((name.to_owned(), value()?)).is_some() {
                return Err(Trouble::Usage("Use one of --cron, --every, --in and --once.".to_owned()));
            }
        } else if let Some(arg) = tool.args.iter().find(|arg| matches!(arg.form, Form::Not(option) if option == name)) {
            given.args.insert(arg.name.into(), false.into());
        } else if let Some(arg) =
            tool.args.iter().find(|arg| matches!(arg.form, Form::Option(option, _) if option == name))
        {
            let text = value()?;
            let value = if arg.kind == Kind::Object {
                serde_json::from_str(&text)
                    .map_err(|error| Trouble::Usage(format!("--{name} is not JSON: {error}.")))?
            } else {
                Value::String(text)
            };
            given.args.insert(arg.name.into(), value);
        } else {
            return Err(Trouble::Usage(format!("{arg} is no option of this command.")));
        }
    }
    place(tool, words, &mut given.args)?;
    if let Some((kind, value)) = when {
        set_when(&kind, &value, now, &mut given.args)?;
    } else if tool.args.iter().any(|arg| arg.form == Form::When && arg.required) {
        return Err(Trouble::Usage("When? Use --cron, --every, --in or --once.".to_owned()));
    }
    Ok(given)
}

/// Assigns the words to the tool's arguments.
fn place(tool: &Tool, words: Vec<String>, args: &mut Map<String, Value>) -> Result<(), Trouble> {
    let count = words.len();
    let mut words = words.into_iter();
    for arg in tool.args {
        let (value, label) = match arg.form {
            Form::Word(label) => (words.next(), label),
            Form::Rest(label) => (Some(words.by_ref().collect::<Vec<_>>().join(" ")), label),
            _ => continue,
        };
        let value = value.filter(|text| !text.trim().is_empty());
        let value = value.ok_or_else(|| Trouble::Usage(format!("{label} is missing. {label}: {}", arg.about)))?;
        args.insert(arg.name.into(), value.into());
    }
    match words.next() {
        Some(_) => Err(Trouble::Usage(format!("This command takes fewer words; it got {count}."))),
        None => Ok(()),
    }
}

/// Sets a schedule's type, value and zone from the option for the time.
fn set_when(kind: &str, value: &str, now: DateTime<Utc>, args: &mut Map<String, Value>) -> Result<(), Trouble> {
    let bad = || Trouble::Usage(format!("--{kind} {value:?} is no duration: write 90s, 10m, 2h or 1d."));
    let zone = || std::env::var("TZ").ok().filter(|zone| !zone.is_empty());
    let (kind, value, zone) = match kind {
        "every" => ("interval", when::duration_ms(value).ok_or_else(bad)?.to_string(), zone()),
        "in" => {
            let (value, zone) = when::in_ms(when::duration_ms(value).ok_or_else(bad)?, now).ok_or_else(bad)?;
            // Not the requested zone: the time was calculated in this one.
            args.remove("timezone");
            ("once", value, Some(zone))
        }
        _ => (kind, value.to_owned(), zone()),
    };
    args.insert("schedule_type".into(), kind.into());
    args.insert("schedule_value".into(), value.into());
    if let Some(zone) = zone {
        args.entry("timezone").or_insert(zone.into());
    }
    Ok(())
}

/// Returns the synopsis of a tool's command.
fn synopsis(tool: &Tool) -> String {
    let mut line = format!("{NAME} {}", tool.command);
    let mut when = false;
    for arg in tool.args {
        let (open, close) = if arg.required { ("", "") } else { ("[", "]") };
        let _ = match arg.form {
            Form::Word(label) | Form::Rest(label) => write!(line, " {label}"),
            Form::Option(name, label) => write!(line, " {open}--{name} {label}{close}"),
            Form::Not(name) => write!(line, " [--{name}]"),
            Form::When if std::mem::replace(&mut when, true) => Ok(()),
            Form::When => write!(line, " {open}WHEN{close}"),
        };
    }
    if tool.reads {
        line.push_str(" [--json]");
    }
    line
}

fn usage() -> String {
    let mut text = format!("{NAME} asks Parlor for things and waits for the answer.\n\n");
    for tool in tools::all() {
        let _ = writeln!(text, "  {}{}", synopsis(tool), if tool.main_only { "    (main group only)" } else { "" });
    }
    text.push_str(
        "\n  WHEN: --cron '0 9 * * 1-5' | --every 10m | --in 90s | --once 2026-12-24T18:00:00\n  \
         TASK: a number of the list, or an id\n\n\
         `parlor-tool help COMMAND` says more. The chat is PARLOR_CHAT_JID unless --to names one. Times are in the zone of \
         TZ unless\n--zone names one. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
    );
    text
}

/// Returns the full help of a tool.
fn explain(tool: &Tool) -> String {
    let mut text = format!("{}\n\n{}\n", synopsis(tool), tool.about);
    for arg in tool.args {
        let _ = match arg.form {
            Form::Word(label) | Form::Rest(label) => write!(text, "\n  {label}: {}", arg.about),
            Form::Option(name, _) | Form::Not(name) => write!(text, "\n  --{name}: {}", arg.about),
            Form::When => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(verb: &str, args: &[&str]) -> Result<Given, Trouble> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        parse(find(verb).unwrap(), &args, Utc::now())
    }

    #[test]
    fn options_and_words_are_parsed_in_any_order() {
        let given = read("schedule", &["say", "--every=10m", "it", "--zone", "UTC", "--", "--loud"]).unwrap();
        assert_eq!(
            Value::Object(given.args),
            json!({"prompt": "say it --loud", "schedule_type": "interval", "schedule_value": "600000", "timezone": "UTC"})
        );
        let given =
            read("register", &["web:x", "X", "--no-trigger", "x", "@A", "--config", "{\"timeout\":1}"]).unwrap();
        assert_eq!(given.args["containerConfig"], json!({"timeout": 1}));
        assert_eq!((given.args["trigger"].as_str(), &given.args["requiresTrigger"]), (Some("@A"), &json!(false)));
        assert!(read("list_tasks", &["--json"]).unwrap().json);
    }

    #[test]
    fn wrong_usage_is_reported_as_such() {
        for (verb, wrong) in [
            ("schedule", &["x", "--loud"][..]),
            ("schedule", &["x"]),
            ("schedule", &["x", "--every"]),
            ("schedule", &["x", "--every", "soon"]),
            ("schedule", &["x", "--every", "1m", "--cron", "* * * * *"]),
            ("schedule", &["--every", "1m"]),
            ("pause", &[]),
            ("pause", &["1", "2"]),
            ("send", &["x", "--json"]),
            ("register", &["web:x", "X", "x", "@A", "--config", "{"]),
        ] {
            assert!(matches!(read(verb, wrong), Err(Trouble::Usage(_))), "{verb} {wrong:?}");
        }
    }

    #[test]
    fn help_has_every_tool_and_every_option() {
        let help = usage();
        for tool in tools::all() {
            assert!(help.contains(&format!("{NAME} {}", tool.command)), "{}", tool.name);
            let more = explain(tool);
            for arg in tool.args.iter().filter(|arg| arg.form != Form::When) {
                assert!(more.contains(arg.about), "{} {}", tool.name, arg.name);
            }
        }
        assert!(help.contains("parlor-tool send TEXT [--sender NAME] [--to JID] [--reply-to ID]"), "{help}");
    }
}
