//! The report of an import, item by item, for people and programs. Pure.

use std::path::PathBuf;

use serde::Serialize;

/// Items of one kind and outcome that a report names; more are counted.
const MAX_NAMED: usize = 500;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A group's registration.
    Group,
    /// The session that a group's agent resumes.
    Session,
    /// A scheduled task.
    Task,
    /// An earlier firing of a task.
    Firing,
    /// A message.
    Message,
    /// A chat that NanoClaw had seen.
    Chat,
    /// A file or folder.
    File,
    /// An allowlist.
    Allowlist,
    /// A key of `.env`.
    Key,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is here now.
    Taken,
    /// It was here before.
    Present,
    /// It is here now, but not as it was.
    Changed,
    /// It is not here.
    LeftOut,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// What became of it.
    pub outcome: Outcome,
    /// Its name.
    pub name: String,
    /// How many of the kind the line stands for.
    pub count: u64,
    /// More about it; why, when it was changed or left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The NanoClaw installation.
    pub source: PathBuf,
    /// The installation that it came to.
    pub home: PathBuf,
    /// True if nothing was changed.
    pub dry_run: bool,
    /// Everything that was looked at.
    pub items: Vec<Item>,
    /// What is left for the operator to do.
    pub todo: Vec<String>,
}

impl Report {
    /// Adds a line.
    pub fn add(
        &mut self,
        kind: Kind,
        outcome: Outcome,
        name: impl Into<String>,
        count: u64,
        detail: impl Into<String>,
    ) {
        let named = self.items.iter().filter(|item| item.kind == kind && item.outcome == outcome).count();
        let name = if named == MAX_NAMED { "more".to_owned() } else { name.into() };
        if named > MAX_NAMED {
            let last = self.items.iter_mut().rev().find(|item| item.kind == kind && item.outcome == outcome);
            if let Some(last) = last {
                last.count += count;
                return;
            }
        }
        self.items.push(Item { kind, outcome, name, count, detail: detail.into() });
    }

    /// Adds a thing that is not taken, and why.
    pub fn leave(&mut self, kind: Kind, name: impl Into<String>, why: impl Into<String>) {
        self.add(kind, Outcome::LeftOut, name, 1, why);
    }

    /// Adds a line for the operator, once.
    pub fn advise(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.todo.contains(&text) {
            self.todo.push(text);
        }
    }

    /// Returns how many of a kind had an outcome.
    pub fn count(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.items.iter().filter(|i| i.kind == kind && i.outcome == outcome).map(|i| i.count).sum()
    }

    /// Takes over another one's lines.
    pub fn append(&mut self, other: Report) {
        self.items.extend(other.items);
        for text in other.todo {
            self.advise(text);
        }
    }
}
