//! The guide's notes from one room to the next: the numbers of tasks, the last reminder, the last undoable change.
//!
//! It lies in the agent's home, where the group may change it: it is read with a bound, and what is odd counts as
//! nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use parlor_protocol::TaskSnapshot;
use serde::{Deserialize, Serialize};

use crate::memory;

/// Its file in the agent's home.
const FILE: &str = "guide.json";
/// More than this was not written here.
const MAX_BYTES: u64 = 256 * 1024;
/// Tasks that "cancel all" can bring back.
const MAX_UNDONE: usize = 100;

/// How to take back what was done last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// End the task that was made.
    Cancel(String),
    /// Make the tasks again that were ended.
    Recreate(Vec<TaskSnapshot>),
    /// Let it go on.
    Resume(String),
    /// Pause it again.
    Pause(String),
    /// Take the line out of the memory.
    Forget(String),
    /// Write it there again.
    Remember(String),
}

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Numbers of tasks, which stay theirs while they are there.
    numbers: BTreeMap<String, u32>,
    /// What was done last.
    pub undo: Option<Undo>,
    /// The last reminder that was due.
    pub reminder: Option<String>,
    /// True if the group was told that a model can be connected.
    pub told_model: bool,
    /// The request that was offered for a misspelled one.
    pub offered: Option<String>,
}

/// Where the state is kept.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// The agent's home in the room.
    pub fn new() -> Self {
        let home = std::env::var_os("HOME").map_or_else(|| "/home/node".into(), PathBuf::from);
        Self(home.join(".claude"))
    }

    #[cfg(test)]
    pub(super) fn at(folder: &std::path::Path) -> Self {
        Self(folder.to_owned())
    }

    /// Returns what was kept.
    pub fn load(&self) -> State {
        let text = memory::read(&self.0.join(FILE), MAX_BYTES).filter(|(_, left)| *left == 0);
        text.and_then(|(text, _)| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Changes what is kept. A home that cannot be written forgets; nothing else depends on it.
    pub fn change(&self, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.load();
        change(&mut state);
        if let Err(error) = self.save(&state) {
            eprintln!("guide: {} cannot be written: {error}", self.0.join(FILE).display());
        }
        state
    }

    fn save(&self, state: &State) -> io::Result<()> {
        if !self.0.is_dir() {
            return Ok(());
        }
        let fresh = self.0.join(format!("{FILE}.{}.tmp", std::process::id()));
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&fresh, self.0.join(FILE))
    }
}

impl State {
    /// The numbers of these tasks, each the same as before; new ones get numbers that no task had since there were
    /// none.
    pub fn number(&mut self, tasks: &[TaskSnapshot]) -> BTreeMap<String, u32> {
        let last = self.numbers.values().copied().max().unwrap_or(0);
        if tasks.iter().all(|task| !self.numbers.contains_key(&task.id)) {
            self.numbers.clear();
        }
        let mut next = if self.numbers.is_empty() { 1 } else { last + 1 };
        for task in tasks {
            self.numbers.entry(task.id.clone()).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
        let here = |id: &String| tasks.iter().any(|task| task.id == *id);
        let numbers =
            self.numbers.iter().filter(|(id, _)| here(id)).map(|(id, number)| (id.clone(), *number)).collect();
        // Of those that are gone only the last is kept, so that its number is not given again at once.
        let highest = self.numbers.values().copied().max();
        self.numbers.retain(|id, number| here(id) || Some(*number) == highest);
        numbers
    }

    /// The number of one task that is about to be made.
    pub fn number_of(&mut self, id: &str) -> u32 {
        let next = self.numbers.values().copied().max().unwrap_or(0) + 1;
        *self.numbers.entry(id.to_owned()).or_insert(next)
    }

    /// The task with a number.
    pub fn task(&self, number: u32) -> Option<&str> {
        self.numbers.iter().find(|(_, known)| **known == number).map(|(id, _)| id.as_str())
    }
}

impl Undo {
    /// For tasks that were ended, as many as can be brought back.
    pub fn recreate(mut tasks: Vec<TaskSnapshot>) -> Self {
        tasks.truncate(MAX_UNDONE);
        Self::Recreate(tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> TaskSnapshot {
        TaskSnapshot {
            id: id.into(),
            group_folder: "g".into(),
            prompt: "p".into(),
            schedule_type: "cron".into(),
            schedule_value: "* * * * *".into(),
            status: "active".into(),
            next_run: None,
        }
    }

    #[test]
    fn a_number_stays_its_task_s() {
        let mut state = State::default();
        let of = |state: &mut State, ids: &[&str]| {
            let tasks: Vec<_> = ids.iter().map(|id| task(id)).collect();
            state.number(&tasks).into_iter().map(|(id, number)| format!("{id}{number}")).collect::<Vec<_>>()
        };
        assert_eq!(of(&mut state, &["a", "b", "c"]), ["a1", "b2", "c3"]);
        assert_eq!(of(&mut state, &["b", "c"]), ["b2", "c3"], "the others do not move up");
        assert_eq!(of(&mut state, &["b"]), ["b2"]);
        assert_eq!(of(&mut state, &["b", "d"]), ["b2", "d4"], "no number is given twice");
        assert_eq!(of(&mut state, &["x"]), ["x1"], "when all are gone it begins anew");
        assert_eq!((state.task(1), state.task(2)), (Some("x"), None));
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_odd_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(dir.path());
        place.change(|state| state.undo = Some(Undo::recreate(vec![task("a")])));
        assert_eq!(place.load().undo, Some(Undo::Recreate(vec![task("a")])));
        for odd in ["", "[]", "{\"numbers\": 3}", "\u{0}"] {
            fs::write(dir.path().join(FILE), odd).unwrap();
            assert!(place.load().undo.is_none(), "{odd}");
        }
        Place::at(&dir.path().join("none")).change(|state| state.told_model = true);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
