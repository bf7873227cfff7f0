//! A conversation on disk: one file per session in the agent's home. It is saved whole after every step, so that a
//! later run can continue after a kill at any moment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use genai::chat::{ChatMessage, ChatRole, ContentPart, MessageContent, ToolCall, ToolResponse};
use parlor_protocol::ImageAttachment;
use parlor_protocol::files::write_atomically;
use serde::{Deserialize, Serialize};

/// The folder of the sessions below the agent's home.
const FOLDER: &str = ".claude/parlor-llm";
/// Number of sessions that are kept; each isolated task leaves one.
const KEPT: usize = 100;
/// The result of a tool call that was interrupted.
const INTERRUPTED: &str =
    "Interrupted: whether this was done, wholly or in part, is not known. Look before you repeat it.";

/// One message of the conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The message in the client library's form.
    pub message: ChatMessage,
    /// Pictures of the message, which are read when it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageAttachment>,
}

impl Entry {
    /// A message from people or from the runner.
    pub fn user(text: impl Into<String>, images: Vec<ImageAttachment>) -> Self {
        Self { message: ChatMessage::user(text.into()), images }
    }

    /// A message from the model, with its tool calls.
    pub fn assistant(content: MessageContent) -> Self {
        Self { message: ChatMessage::assistant(content), images: Vec::new() }
    }

    /// Returns the author's role.
    pub fn role(&self) -> &ChatRole {
        &self.message.role
    }
}

/// A conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Version of the file's format: 1.
    version: u32,
    /// All messages, the oldest first.
    pub entries: Vec<Entry>,
    /// Index of the current turn's first message; None between turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_turn: Option<usize>,
    /// Notices that the chat has received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    told: Vec<String>,
    #[serde(skip)]
    path: PathBuf,
}

impl Session {
    /// A new conversation.
    pub fn new(home: &Path, id: &str) -> Self {
        Self { version: 1, entries: Vec::new(), open_turn: None, told: Vec::new(), path: file(home, id) }
    }

    /// Opens the conversation with this id; None if there is none.
    ///
    /// # Errors
    /// If the file exists but cannot be used.
    pub fn open(home: &Path, id: &str) -> io::Result<Option<Self>> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Ok(None);
        }
        let path = file(home, id);
        match fs::read(&path) {
            Ok(bytes) => {
                let session: Self = serde_json::from_slice(&bytes)?;
                Ok(Some(Self { path, ..session }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the conversation atomically.
    ///
    /// # Errors
    /// If the disk is full or the home cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str())) else {
            return Err(io::Error::other("the session has no file"));
        };
        let json = serde_json::to_vec(self)?;
        write_atomically(dir, name, &json).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(dir)?;
            prune(dir);
            write_atomically(dir, name, &json)
        })
    }

    /// Begins a turn, after repairing what an unfinished turn left behind. Returns true if its steps are still in the
    /// conversation, and false if it had no steps.
    pub fn begin_turn(&mut self) -> bool {
        let mut unfinished = false;
        if let Some(start) = self.open_turn.take() {
            let start = start.min(self.entries.len());
            unfinished = self.entries[start..].iter().any(|entry| *entry.role() != ChatRole::User);
            if !unfinished {
                // The host sends these messages again.
                self.entries.truncate(start);
            }
        }
        self.repair();
        self.open_turn = Some(self.entries.len());
        unfinished
    }

    /// Returns true if the chat has not received this notice; from now on it counts as received.
    pub fn tell(&mut self, what: &str) -> bool {
        let news = !self.told.iter().any(|told| told == what);
        if news {
            self.told.push(what.to_owned());
        }
        news
    }

    /// Ends the turn.
    pub fn end_turn(&mut self) {
        self.open_turn = None;
    }

    /// Adds the result of a tool call: all results for one message of the model are one message.
    pub fn answer(&mut self, call: &ToolCall, text: String) {
        let part = ContentPart::ToolResponse(ToolResponse::from_tool_call(call, text));
        if let Some(entry) = self.entries.last_mut().filter(|entry| *entry.role() == ChatRole::Tool) {
            entry.message.content.push(part);
        } else {
            let message = ChatMessage::tool(MessageContent::from_parts(vec![part]));
            self.entries.push(Entry { message, images: Vec::new() });
        }
    }

    /// Adds a result to every call without one: vendors refuse a conversation with an open call.
    fn repair(&mut self) {
        let mut at = 0;
        while at < self.entries.len() {
            let calls: Vec<ToolCall> = self.entries[at].message.content.tool_calls().into_iter().cloned().collect();
            at += 1;
            if calls.is_empty() {
                continue;
            }
            let answered = self.entries.get(at).filter(|entry| *entry.role() == ChatRole::Tool);
            let known: Vec<String> = answered.map_or_else(Vec::new, |entry| {
                entry.message.content.tool_responses().iter().map(|response| response.call_id.clone()).collect()
            });
            let open = calls.iter().filter(|call| !known.contains(&call.call_id));
            let parts: Vec<ContentPart> =
                open.map(|call| ContentPart::ToolResponse(ToolResponse::from_tool_call(call, INTERRUPTED))).collect();
            if parts.is_empty() {
                continue;
            }
            if answered.is_some() {
                for part in parts {
                    self.entries[at].message.content.push(part);
                }
            } else {
                let message = ChatMessage::tool(MessageContent::from_parts(parts));
                self.entries.insert(at, Entry { message, images: Vec::new() });
            }
        }
    }
}

fn file(home: &Path, id: &str) -> PathBuf {
    home.join(FOLDER).join(format!("{id}.json"))
}

/// Removes the oldest sessions beyond the number to keep.
pub fn prune_old(home: &Path) {
    prune(&home.join(FOLDER));
}

fn prune(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if files.len() <= KEPT {
        return;
    }
    files.sort();
    for (_, path) in &files[..files.len() - KEPT] {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> ToolCall {
        ToolCall {
            call_id: id.into(),
            fn_name: "shell".into(),
            fn_arguments: serde_json::json!({"command": "ls"}),
            thought_signatures: None,
        }
    }

    fn calls(ids: &[&str]) -> Entry {
        Entry::assistant(MessageContent::from_tool_calls(ids.iter().map(|id| call(id)).collect()))
    }

    fn answers(session: &Session, at: usize) -> Vec<(String, String)> {
        let content = &session.entries[at].message.content;
        content.tool_responses().iter().map(|r| (r.call_id.clone(), r.content.clone())).collect()
    }

    #[test]
    fn saved_session_is_opened_again() {
        let home = tempfile::tempdir().unwrap();
        let mut session = Session::new(home.path(), "s1");
        assert!(!session.begin_turn());
        session.entries.push(Entry::user("hello", vec![]));
        session.entries.push(calls(&["a"]));
        session.answer(&call("a"), "done".into());
        session.save().unwrap();
        let again = Session::open(home.path(), "s1").unwrap().unwrap();
        assert_eq!(again.entries.len(), 3);
        assert_eq!(again.open_turn, Some(0));
        assert_eq!(answers(&again, 2), [("a".to_owned(), "done".to_owned())]);
        assert!(Session::open(home.path(), "other").unwrap().is_none());
        assert!(Session::open(home.path(), "../s1").unwrap().is_none());
        fs::write(file(home.path(), "broken"), "{").unwrap();
        assert!(Session::open(home.path(), "broken").is_err());
    }

    #[test]
    fn turn_that_was_killed_is_repaired() {
        let home = tempfile::tempdir().unwrap();
        let mut session = Session::new(home.path(), "s");
        session.begin_turn();
        session.entries.push(Entry::user("one", vec![]));
        assert!(!session.begin_turn(), "nothing came of it");
        assert!(session.entries.is_empty(), "its messages come again");
        session.entries.push(Entry::user("one", vec![]));
        session.entries.push(calls(&["a", "b", "c"]));
        session.answer(&call("a"), "done".into());
        assert!(session.begin_turn());
        assert_eq!(session.open_turn, Some(3));
        let told = answers(&session, 2);
        assert_eq!(told.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(told[0].1 == "done" && told[1].1 == INTERRUPTED && told[2].1 == INTERRUPTED);
        session.entries.push(calls(&["d"]));
        assert!(session.begin_turn());
        assert_eq!(answers(&session, 4).len(), 1, "no answer had come at all");
        session.end_turn();
        assert!(!session.begin_turn());
        assert_eq!(session.entries.len(), 5);
    }

    #[test]
    fn prune_old_removes_the_oldest_sessions() {
        let home = tempfile::tempdir().unwrap();
        for n in 0..KEPT + 5 {
            Session::new(home.path(), &format!("s{n}")).save().unwrap();
        }
        prune_old(home.path());
        assert_eq!(fs::read_dir(home.path().join(FOLDER)).unwrap().count(), KEPT);
    }
}
