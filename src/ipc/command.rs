//! Parses the bytes of a file into a typed command, without regard to the asker: see [`super::authorize`].

use std::borrow::Cow;

use parlor_protocol::json;
pub use parlor_protocol::limits::MAX_FILE;
use parlor_protocol::limits::is_word;
use parlor_protocol::{MessageFile, TaskFile};
use serde_json::Value;

use super::precheck;
use crate::config::secrets::Redactor;
use crate::domain::text;

/// Fields that people or models read. All other fields are names and numbers, and are refused if they are not valid.
const TEXTS: [&str; 3] = ["text", "caption", "prompt"];

/// The folder that had the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// `messages/`.
    Message,
    /// `tasks/`.
    Task,
}

impl Kind {
    /// Returns the folder's name.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Message => "messages",
            Self::Task => "tasks",
        }
    }
}

/// The request of an agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// A file in `messages/`.
    Message(MessageFile),
    /// A file in `tasks/`.
    Task(TaskFile),
    /// A request to register a main group, which no agent may make.
    RegisterMain,
}

/// A parsed file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    /// The name of the result for which the agent waits.
    pub(super) id: Option<String>,
    /// The request.
    pub(super) command: Command,
}

/// A file that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The name of the result for which the agent waits, if it could be read.
    pub(super) id: Option<String>,
    /// The error.
    pub(super) why: String,
}

/// Parses a file's bytes. The result holds no secret.
pub(super) fn parse(kind: Kind, bytes: &[u8], redactor: &Redactor) -> Result<Parsed, Unreadable> {
    let bad = |why: String| Unreadable { id: readable_id(bytes), why };
    precheck::check(bytes).map_err(bad)?;
    let mut value: Value = json::from_slice(bytes).map_err(|e| bad(format!("it is not JSON: {e}")))?;
    // First, because a control character would hide a secret.
    for name in TEXTS {
        if let Some(Value::String(text)) = value.get_mut(name)
            && let Cow::Owned(visible) = text::visible(text)
        {
            *text = visible;
        }
    }
    if !redactor.is_empty() {
        clean(&mut value, redactor);
    }
    if !value.is_object() {
        return Err(bad("it is not a JSON object".into()));
    }
    let id = value.get("id").and_then(Value::as_str).filter(|id| is_word(id)).map(str::to_owned);
    let asks_for_main = value.get("isMain").is_some_and(|main| main != &Value::Bool(false) && !main.is_null());
    let command = match kind {
        Kind::Message => serde_json::from_value(value).map(Command::Message),
        Kind::Task => serde_json::from_value(value).map(Command::Task),
    };
    match command {
        Ok(Command::Task(TaskFile::RegisterGroup(_))) if asks_for_main => {
            Ok(Parsed { id, command: Command::RegisterMain })
        }
        Ok(command) => Ok(Parsed { id, command }),
        Err(error) => {
            // The error quotes the file.
            let error: String = error.to_string().chars().take(300).flat_map(char::escape_debug).collect();
            Err(Unreadable { id, why: format!("it is not a file of {}/: {error}", kind.folder()) })
        }
    }
}

/// Removes secrets from every string. The precheck has limited the depth.
fn clean(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(cleaned) = redactor.redact(text) {
                *text = cleaned;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, redactor)),
        Value::Object(fields) => {
            for (name, mut field) in std::mem::take(fields) {
                clean(&mut field, redactor);
                fields.insert(redactor.redact(&name).into_owned(), field);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the id from incomplete JSON, if it can be read, so that the waiting agent gets a result. It may only name
/// a file in the group's own `results/`.
fn readable_id(bytes: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"id\"";
    memchr::memmem::find_iter(bytes, KEY).find_map(|at| {
        let rest = bytes[at + KEY.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let rest = rest.strip_prefix(b"\"")?;
        let id = std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()?;
        is_word(id).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use parlor_protocol::requests::{ScheduleTask, SendMessage};

    use super::*;

    fn plain(kind: Kind, bytes: &[u8]) -> Result<Parsed, Unreadable> {
        parse(kind, bytes, &Redactor::default())
    }

    #[test]
    fn secrets_are_removed_from_every_field_of_a_file() {
        let redactor = Redactor::new(&[secrecy::SecretString::from("sk-ant-\"12345678")]);
        let file = br#"{"type":"message","chatJid":"a:b","text":"it is \u0073k-ant-\"12345678.","sender":"sk-ant-\"12345678"}"#;
        let Ok(Parsed { command: Command::Message(MessageFile::Message(SendMessage { text, sender, .. })), .. }) =
            parse(Kind::Message, file, &redactor)
        else {
            panic!("a message");
        };
        assert_eq!((text.as_str(), sender.as_deref()), ("it is [redacted].", Some("[redacted]")));
        let task = br#"{"type":"schedule_task","prompt":"use sk-ant-\"12345678","schedule_type":"once","schedule_value":"x","targetJid":"a:b"}"#;
        let Ok(Parsed { command: Command::Task(TaskFile::ScheduleTask(ScheduleTask { prompt, .. })), .. }) =
            parse(Kind::Task, task, &redactor)
        else {
            panic!("a task");
        };
        assert_eq!(prompt, "use [redacted]");
        let group = br#"{"type":"register_group","jid":"a:b","name":"n","folder":"f","trigger":"@x","containerConfig":{"sk-ant-\"12345678":["sk-ant-\"12345678"]}}"#;
        let group = format!("{:?}", parse(Kind::Task, group, &redactor).unwrap());
        assert!(group.contains("[redacted]") && !group.contains("12345678"), "{group}");
        let unknown = parse(Kind::Task, br#"{"type":"sk-ant-\"12345678"}"#, &redactor).unwrap_err();
        assert!(!unknown.why.contains("12345678"), "{}", unknown.why);
    }

    #[test]
    fn texts_lose_control_characters_before_the_search_for_secrets() {
        let redactor = Redactor::new(&[secrecy::SecretString::from("sk-ant-12345678")]);
        let file =
            br#"{"type":"message","chatJid":"a:b","text":"a\n\tb\u001b[31m\u0000c sk-ant-\u0007123\u001b[m45678"}"#;
        let Ok(Parsed { command: Command::Message(MessageFile::Message(SendMessage { text, .. })), .. }) =
            parse(Kind::Message, file, &redactor)
        else {
            panic!("a message");
        };
        assert_eq!(text, "a\n\tbc [redacted]");
        let file = br#"{"type":"file","chatJid":"a:b","path":"x","caption":"a\u009b31mb"}"#;
        let parsed = format!("{:?}", plain(Kind::Message, file).unwrap());
        assert!(parsed.contains(r#"caption: Some("ab")"#), "{parsed}");
        let task = br#"{"type":"schedule_task","prompt":"a\u0000b","schedule_type":"once","schedule_value":"x","targetJid":"a:b"}"#;
        let parsed = format!("{:?}", plain(Kind::Task, task).unwrap());
        assert!(parsed.contains(r#"prompt: "ab""#), "{parsed}");
    }

    #[test]
    fn files_of_nanoclaw_v1_are_understood() {
        let message = br#"{"type":"message","chatJid":"a@g.us","text":"hi","groupFolder":"main","timestamp":"2026-01-01T00:00:00.000Z"}"#;
        assert!(matches!(plain(Kind::Message, message), Ok(Parsed { id: None, command: Command::Message(_) })));
        let task = br#"{"type":"schedule_task","prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","context_mode":"group","targetJid":"a@g.us","createdBy":"main","timestamp":"x"}"#;
        assert!(matches!(
            plain(Kind::Task, task),
            Ok(Parsed { command: Command::Task(TaskFile::ScheduleTask(_)), .. })
        ));
        let pause = br#"{"type":"pause_task","taskId":"t","groupFolder":"x","isMain":true,"timestamp":"x"}"#;
        assert!(plain(Kind::Task, pause).is_ok(), "claims of identity are ignored");
    }

    #[test]
    fn invalid_commands_have_a_reason() {
        for (kind, bytes) in [
            (Kind::Message, &b""[..]),
            (Kind::Message, b"{"),
            (Kind::Message, b"[1]"),
            (Kind::Message, b"\xff\xfe"),
            (Kind::Message, b"null"),
            (Kind::Message, br#"{"type":"nonsense"}"#),
            (Kind::Message, br#"{"type":"refresh_groups"}"#),
            (Kind::Message, br#"{"type":"message","chatJid":5,"text":"x"}"#),
            (Kind::Task, br#"{"type":"message","chatJid":"a","text":"x"}"#),
            (Kind::Task, br#"{"type":"pause_task"}"#),
        ] {
            assert!(!plain(kind, bytes).unwrap_err().why.is_empty());
        }
        let deep = format!("{{\"id\":\"r-1\",\"x\":{}", "[".repeat(100));
        let long = format!("{{\"id\":\"r-1\",\"type\":\"message\",\"text\":\"{}\"}}", "x".repeat(300_000));
        for named in [
            r#"{"type":"nonsense","id":"r-1"}"#,
            r#"{"type":"message","id": "r-1", "text":"cut in the midd"#,
            r#"{"id":"r-1","text":"a "quote" that is none"}"#,
            r#"{'id': 1, "id" : "r-1",}"#,
            &deep,
            &long,
        ] {
            let unreadable = plain(Kind::Task, named.as_bytes()).unwrap_err();
            assert_eq!(unreadable.id.as_deref(), Some("r-1"), "the agent still gets its answer: {named:.80}");
        }
        assert_eq!(plain(Kind::Task, br#"{"id":"../x","#).unwrap_err().id, None);
    }

    #[test]
    fn invalid_escapes_in_a_file_cost_only_that_character() {
        for (text, meant) in
            [(&br"cut \ud83d"[..], "cut \u{fffd}"), (b"cut \xf0\x9f", "cut \u{fffd}"), (b"two\nlines", "two\nlines")]
        {
            let file = [br#"{"type":"message","chatJid":"a:b","text":""#, text, br#""}"#].concat();
            let Command::Message(MessageFile::Message(SendMessage { text, .. })) =
                plain(Kind::Message, &file).unwrap().command
            else {
                panic!("a message");
            };
            assert_eq!(text, meant);
        }
    }

    #[test]
    fn only_plain_ids_name_results() {
        for bad in ["", "../x", "a/b", "a.b", &"x".repeat(65), "ä"] {
            let file = serde_json::json!({"type": "refresh_groups", "id": bad}).to_string();
            assert_eq!(plain(Kind::Task, file.as_bytes()).unwrap().id, None, "{bad}");
        }
    }

    #[test]
    fn request_to_register_main_is_recognised() {
        let file = br#"{"type":"register_group","jid":"a:b","name":"n","folder":"f","trigger":"@x","isMain":true}"#;
        assert_eq!(plain(Kind::Task, file).unwrap().command, Command::RegisterMain);
    }
}
