//! The report of an import, item by item, for people and programs. Pure.

use std::path::PathBuf;

use serde::Serialize;

/// Items of one kind and outcome that are named; the others are counted.
const MAX_NAMED: usize = 500;

/// The kinds of items.
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

/// The results for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was imported.
    Taken,
    /// It was here before the import.
    Present,
    /// It was imported with changes.
    Changed,
    /// It was not imported.
    LeftOut,
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The kind of the item.
    pub kind: Kind,
    /// The result for the item.
    pub outcome: Outcome,
    /// Its name or id.
    pub name: String,
    /// The number of items that the line stands for.
    pub count: u64,
    /// More details; for a change or an omission, the reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The results of an import or of a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The folder of the NanoClaw installation.
    pub source: PathBuf,
    /// The home of the Parlor installation.
    pub home: PathBuf,
    /// True for a dry run, which changes nothing.
    pub dry_run: bool,
    /// The items in the order in which they were handled.
    pub items: Vec<Item>,
    /// Steps that the operator must do.
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

    /// Adds an item that is left out, with the reason.
    pub fn leave(&mut self, kind: Kind, name: impl Into<String>, why: impl Into<String>) {
        self.add(kind, Outcome::LeftOut, name, 1, why);
    }

    /// Adds a step for the operator, once.
    pub fn advise(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.todo.contains(&text) {
            self.todo.push(text);
        }
    }

    /// Returns the number of items of this kind and outcome.
    pub fn count(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.items.iter().filter(|i| i.kind == kind && i.outcome == outcome).map(|i| i.count).sum()
    }

    /// Appends the lines of another report.
    pub fn append(&mut self, other: Report) {
        self.items.extend(other.items);
        for text in other.todo {
            self.advise(text);
        }
    }
}
