//! Messages that are not answered yet.

use parlor_protocol::Turn;
use serde_json::Value;
use uuid::Uuid;

/// A message for the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// A unique id: a UUID, which every program accepts.
    pub id: String,
    /// The input's file name. The run's first prompt and the runner's own questions have none.
    pub name: Option<String>,
    /// Texts and pictures, in the program's own form.
    pub content: Vec<Value>,
}

impl Message {
    /// A message with a new id.
    pub fn new(name: Option<String>, content: Vec<Value>) -> Self {
        Self { id: Uuid::new_v4().to_string(), name, content }
    }
}

#[derive(Debug)]
struct Entry {
    id: String,
    name: Option<String>,
    /// None after the message was written.
    content: Option<Vec<Value>>,
    taken: bool,
}

/// Messages from their arrival until they are answered or fail, in order.
///
/// A turn's end settles the messages that the program had taken into its conversation by then, and no others: a turn
/// without a message does not answer it.
#[derive(Debug, Default)]
pub struct Pending(Vec<Entry>);

impl Pending {
    /// Returns true if nothing waits for an answer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds messages that were not written yet.
    pub fn add(&mut self, messages: Vec<Message>) {
        let entry = |Message { id, name, content }: Message| Entry { id, name, content: Some(content), taken: false };
        self.0.extend(messages.into_iter().map(entry));
    }

    /// Returns the messages to write now, each once: ids and contents.
    pub fn unwritten(&mut self) -> Vec<(String, Vec<Value>)> {
        self.0.iter_mut().filter_map(|one| Some((one.id.clone(), one.content.take()?))).collect()
    }

    /// Records that a message is part of the conversation now; returns false if there is no such message.
    pub fn taken(&mut self, id: &str) -> bool {
        let found = self.0.iter_mut().find(|one| one.id == id);
        found.map(|one| one.taken = true).is_some()
    }

    /// Returns true if a turn's end would settle a message.
    pub fn has_taken(&self) -> bool {
        self.0.iter().any(|one| one.taken)
    }

    /// Removes the messages that were taken, and returns the names of their inputs.
    pub fn settle(&mut self) -> Vec<String> {
        self.0.extract_if(.., |one| one.taken).filter_map(|one| one.name).collect()
    }

    /// Removes all messages, and returns the names of their inputs: the host sends the inputs of a failed turn again.
    pub fn fail(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0).into_iter().filter_map(|one| one.name).collect()
    }

    /// Returns the state of the turn that an output ends. The host treats any finished turn as the answer to the first
    /// prompt, so a turn stays open while that prompt waits.
    pub fn turn(&self) -> Turn {
        if self.0.iter().any(|one| one.name.is_none()) { Turn::Open } else { Turn::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, name: Option<&str>) -> Message {
        Message { id: id.to_owned(), name: name.map(str::to_owned), content: vec![id.into()] }
    }

    #[test]
    fn settle_removes_only_taken_messages() {
        let mut pending = Pending::default();
        pending.add(vec![message("a", None), message("b", Some("1.json"))]);
        assert_eq!(pending.unwritten(), [("a".to_owned(), vec!["a".into()]), ("b".to_owned(), vec!["b".into()])]);
        pending.add(vec![message("c", Some("2.json"))]);
        assert_eq!(pending.unwritten().len(), 1, "each is written once");
        assert_eq!((pending.settle(), pending.turn()), (Vec::new(), Turn::Open));
        assert!(pending.taken("b") && !pending.taken("x"));
        assert!(pending.has_taken());
        assert_eq!((pending.settle(), pending.turn()), (vec!["1.json".to_owned()], Turn::Open));
        assert!(!pending.has_taken() && pending.taken("a"));
        assert_eq!((pending.settle(), pending.turn()), (Vec::new(), Turn::Done));
        assert_eq!((pending.fail(), pending.is_empty()), (vec!["2.json".to_owned()], true));
    }

    #[test]
    fn message_ids_are_unique() {
        let (one, other) = (Message::new(None, Vec::new()), Message::new(None, Vec::new()));
        let lengths: Vec<usize> = one.id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{}", one.id);
        assert_ne!(one.id, other.id);
    }
}
