//! Finds errors before the host is asked. The host checks everything again, and its result counts.

use chrono::{DateTime, NaiveDateTime};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use parlor_protocol::limits::{INTERVAL_MS, MAX_CRON, MAX_ID, MAX_PROMPT, MAX_STRING, MAX_WORD, is_word};
use serde_json::{Map, Value};

use super::{Kind, Tool, Trouble};

fn no<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Failed(why.into()))
}

/// Checks names, presence and types of a tool's arguments.
pub fn shape(tool: &Tool, args: Map<String, Value>) -> Result<Map<String, Value>, Trouble> {
    let mut checked = Map::new();
    for (name, value) in args {
        let Some(arg) = tool.args.iter().find(|arg| arg.name == name) else {
            let known: Vec<&str> = tool.args.iter().map(|arg| arg.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Trouble::Usage(format!("{} has no argument {name:?}; it has: {known}.", tool.name)));
        };
        if let Some(value) = typed(arg.kind, value).map_err(|why| Trouble::Usage(format!("{name} {why}.")))? {
            checked.insert(name, value);
        }
    }
    let missing = tool.args.iter().find(|arg| arg.required && !checked.contains_key(arg.name));
    match missing {
        Some(arg) => Err(Trouble::Usage(format!("{} is missing: {}", arg.name, arg.about))),
        None => Ok(checked),
    }
}

/// Converts a value to its kind; null counts as left out.
fn typed(kind: Kind, value: Value) -> Result<Option<Value>, String> {
    match (kind, value) {
        (_, Value::Null) => Ok(None),
        // Models often write milliseconds and ids as numbers.
        (Kind::Text, Value::Number(number)) => Ok(Some(number.to_string().into())),
        (Kind::Text, Value::String(text)) => {
            let bytes = serde_json::to_string(&text).map_or(usize::MAX, |json| json.len());
            if bytes > MAX_STRING {
                return Err(format!("has {bytes} bytes as JSON: at most {MAX_STRING} are taken; send it in parts"));
            }
            Ok(Some(text.into()))
        }
        (Kind::Flag, Value::Bool(flag)) => Ok(Some(flag.into())),
        (Kind::OneOf(words), Value::String(word)) => match words.iter().find(|known| **known == word) {
            Some(known) => Ok(Some((*known).into())),
            None if word.is_empty() => Ok(None),
            None => Err(format!("{word:?} is not known: use {}", words.join(" or "))),
        },
        (Kind::Object, Value::Object(object)) => Ok(Some(object.into())),
        (kind, _) => Err(match kind {
            Kind::Text | Kind::OneOf(_) => "must be a text".to_owned(),
            Kind::Flag => "must be true or false".to_owned(),
            Kind::Object => "must be an object".to_owned(),
        }),
    }
}

/// Checks a task's prompt.
pub fn prompt(text: &str) -> Result<(), Trouble> {
    if text.len() > MAX_PROMPT {
        return no(format!("the prompt has {} bytes: at most {MAX_PROMPT} are taken", text.len()));
    }
    Ok(())
}

/// Checks a chat's id.
pub fn jid(text: &str) -> Result<(), Trouble> {
    if text.len() > MAX_ID || text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return no(format!("chat id {:?} is not allowed: use 1 to {MAX_ID} characters without spaces", cut(text)));
    }
    Ok(())
}

/// A task's id.
pub fn task_id(text: &str) -> Result<(), Trouble> {
    if is_word(text) {
        return Ok(());
    }
    no(format!("task id {:?} is not allowed: use 1 to {MAX_WORD} letters, digits, `_` or `-`", cut(text)))
}

/// Checks a group's folder.
pub fn folder(text: &str) -> Result<(), Trouble> {
    if !is_word(text) || !text.as_bytes()[0].is_ascii_alphanumeric() {
        return no(format!(
            "group folder {:?} is not allowed: use 1 to {MAX_WORD} letters, digits, `_` or `-`, starting with a letter or digit",
            cut(text)
        ));
    }
    if text.eq_ignore_ascii_case("global") {
        return no("group folder \"global\" is reserved: choose another name");
    }
    Ok(())
}

/// Checks for one line of visible text.
pub fn line(what: &str, text: &str, max: usize) -> Result<(), Trouble> {
    if text.chars().count() > max || text.chars().any(char::is_control) {
        return no(format!("{what} {:?} is not allowed: use at most {max} characters on one line", cut(text)));
    }
    Ok(())
}

/// Checks a zone's name.
pub fn zone(name: &str) -> Result<(), Trouble> {
    if name.trim().parse::<Tz>().is_err() {
        return no(format!("time zone {:?} is not known: use an IANA name such as Europe/Berlin or UTC", cut(name)));
    }
    Ok(())
}

/// Checks a schedule. Only the host decides whether a local time has passed: its clock counts.
pub fn schedule(kind: &str, value: &str) -> Result<(), Trouble> {
    let value = value.trim();
    match kind {
        "cron" => cron(value),
        "interval" if value.parse().is_ok_and(|ms| INTERVAL_MS.contains(&ms)) => Ok(()),
        "interval" => no(format!(
            "interval {:?} is not allowed: use whole milliseconds from {} (10 seconds) to {} (ten years)",
            cut(value),
            INTERVAL_MS.start(),
            INTERVAL_MS.end()
        )),
        "once" => once(value),
        _ => no(format!("schedule type {:?} is not known: use cron, interval or once", cut(kind))),
    }
}

fn cron(value: &str) -> Result<(), Trouble> {
    let fields = value.split_whitespace().count();
    let why = if fields != 5 {
        format!("it has {fields} fields")
    } else if value.len() > MAX_CRON {
        format!("it is longer than {MAX_CRON} characters")
    } else {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        match parser.parse(value) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string().trim_end_matches('.').to_owned(),
        }
    };
    no(format!(
        "cron {:?} is not allowed ({why}): use five fields, minute hour day-of-month month day-of-week, for example `0 9 * * 1-5`",
        cut(value)
    ))
}

fn once(value: &str) -> Result<(), Trouble> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    if forms.iter().any(|form| NaiveDateTime::parse_from_str(value, form).is_ok()) {
        return Ok(());
    }
    let utc = value.strip_suffix(['Z', 'z']).map(|local| format!("{}+00:00", local.trim_end()));
    let zoned = utc.as_deref().unwrap_or(value);
    if forms.iter().any(|form| DateTime::parse_from_str(zoned, &format!("{form}%#z")).is_ok()) {
        return Ok(());
    }
    no(format!(
        "time {:?} is not allowed: use a local time such as 2031-05-17T09:30:00, or one with its offset such as 2031-05-17T09:30:00+02:00",
        cut(value)
    ))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::all;
    use super::*;
    use parlor_protocol::limits::{MAX_NAME, MAX_TRIGGER};

    fn shaped(name: &str, args: &Value) -> Result<Map<String, Value>, Trouble> {
        let tool = all().find(|tool| tool.name == name).unwrap();
        shape(tool, args.as_object().unwrap().clone())
    }

    #[test]
    fn arguments_of_the_wrong_shape_are_reported() {
        for (args, why) in [
            (json!({"text": "x", "colour": "red"}), "send_message has no argument \"colour\"; it has: text"),
            (json!({}), "text is missing: "),
            (json!({"text": null}), "text is missing: "),
            (json!({"text": ["x"]}), "text must be a text."),
            (json!({"text": "x".repeat(300_000)}), "text has 300002 bytes"),
        ] {
            let Err(Trouble::Usage(reason)) = shaped("send_message", &args) else { panic!("{args} passed") };
            assert!(reason.starts_with(why), "{reason}");
        }
        let task = json!({"prompt": "p", "schedule_type": "interval", "schedule_value": 60_000, "context_mode": ""});
        assert_eq!(shaped("schedule_task", &task).unwrap()["schedule_value"], "60000");
        let wrong = json!({"prompt": "p", "schedule_type": "hourly", "schedule_value": "1"});
        assert!(shaped("schedule_task", &wrong).unwrap_err().reason().contains("use cron or interval or once"));
    }

    #[test]
    fn limits_in_the_table_are_those_of_the_protocol() {
        let about = |tool: &str, arg: &str| {
            let tool = all().find(|known| known.name == tool).unwrap();
            tool.args.iter().find(|known| known.name == arg).unwrap().about
        };
        for (tool, arg, limit) in [
            ("send_message", "text", format!("up to {} KiB", MAX_STRING >> 10)),
            ("schedule_task", "prompt", format!("up to {} KiB", MAX_PROMPT >> 10)),
            ("schedule_task", "taskId", format!("1 to {MAX_WORD} letters")),
            ("schedule_task", "schedule_value", format!("at least {}", INTERVAL_MS.start())),
            ("register_group", "name", format!("up to {MAX_NAME} characters")),
            ("register_group", "folder", format!("1 to {MAX_WORD} letters")),
            ("register_group", "trigger", format!("up to {MAX_TRIGGER} characters")),
        ] {
            assert!(about(tool, arg).contains(&limit), "{tool} {arg}: {limit}");
        }
    }

    #[test]
    fn schedules_are_checked_like_on_the_host() {
        for (kind, value) in [
            ("cron", "0 9 * * 1-5"),
            ("interval", "10000"),
            ("once", "2031-05-17T09:30"),
            ("once", "2031-05-17 09:30:00"),
        ] {
            assert_eq!(schedule(kind, value), Ok(()), "{value}");
        }
        for (kind, value, why) in [
            ("cron", "0 9 * *", "4 fields"),
            ("cron", "0 0 9 * * 1", "6 fields"),
            ("cron", "61 9 * * *", "is not allowed"),
            ("interval", "9999", "10000"),
            ("interval", "10m", "milliseconds"),
            ("once", "2031-05-17T09:30:00 Berlin", "local time"),
            ("once", "tomorrow", "local time"),
            ("weekly", "1", "not known"),
        ] {
            let reason = schedule(kind, value).unwrap_err();
            assert!(reason.reason().contains(why), "{value}: {reason:?}");
        }
    }

    #[test]
    fn names_are_checked_like_on_the_host() {
        assert!(
            jid("web:a").is_ok() && folder("a-B_9").is_ok() && task_id("T-1").is_ok() && zone("Europe/Berlin").is_ok()
        );
        assert!(jid("a b").is_err() && jid("").is_err() && zone("Mars").is_err());
        for wrong in ["", "-a", "global", "GLOBAL", "a/b", "../x", "ä"] {
            assert!(folder(wrong).is_err(), "{wrong}");
        }
        assert!(task_id("a b").is_err() && line("name", "a\nb", 9).is_err() && line("name", "abc", 2).is_err());
    }
}
