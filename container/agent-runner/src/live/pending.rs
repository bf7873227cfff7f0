//! Messages that have no answer yet.

use parlor_protocol::Turn;
use serde_json::Value;
use uuid::Uuid;

/// A message for the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// An id that no other message has: a UUID, the form that every program takes.
    pub id: String,
    /// The input's file name. The run's first prompt has none, nor has a question of the runner itself.
    pub name: Option<String>,
    /// Texts and pictures, in the program's own form.
    pub content: Vec<Value>,
}

impl Message {
    /// A message with an id of its own.
    pub fn new(name: Option<String>, content: Vec<Value>) -> Self {
        Self { id: Uuid::new_v4().to_string(), name, content }
    }
}

#[derive(Debug)]
struct Entry {
    id: String,
    name: Option<String>,
    /// None once it was written.
    content: Option<Vec<Value>>,
    taken: bool,
}

/// Messages from the moment that they come until they are answered or fail, in their order.
///
/// A turn's end settles the messages that the program had taken into its conversation by then, and no others: a turn
/// that a message had no part in does not answer it.
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

    /// The messages to be written now, each given once: their ids and contents.
    pub fn unwritten(&mut self) -> Vec<(String, Vec<Value>)> {
        self.0.iter_mut().filter_map(|one| Some((one.id.clone(), one.content.take()?))).collect()
    }

    /// Notes that a message is part of the conversation now; false if there is no such message.
    pub fn taken(&mut self, id: &str) -> bool {
        let found = self.0.iter_mut().find(|one| one.id == id);
        found.map(|one| one.taken = true).is_some()
    }

    /// Returns true if a turn's end would settle something.
    pub fn has_taken(&self) -> bool {
        self.0.iter().any(|one| one.taken)
    }

    /// Removes the messages that were taken, and returns their inputs' names.
    pub fn settle(&mut self) -> Vec<String> {
        self.0.extract_if(.., |one| one.taken).filter_map(|one| one.name).collect()
    }

    /// Removes all messages, and returns their inputs' names: the host brings back the inputs of a failed turn.
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
    fn only_what_was_taken_is_settled() {
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
    fn no_two_messages_have_the_same_id() {
        let (one, other) = (Message::new(None, Vec::new()), Message::new(None, Vec::new()));
        let lengths: Vec<usize> = one.id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{}", one.id);
        assert_ne!(one.id, other.id);
    }
}
