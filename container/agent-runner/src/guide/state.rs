//! The guide's notes between rooms: the numbers of tasks, the last reminder, the last change that can be undone.
//!
//! The file is in the agent's home, where the group may change it: it is read up to a limit, and invalid content
//! counts as no notes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use parlor_protocol::TaskSnapshot;
use serde::{Deserialize, Serialize};

use crate::memory;

/// The file's name in the agent's home.
const FILE: &str = "guide.json";
/// The largest file that is read: the guide never writes more.
const MAX_BYTES: u64 = 256 * 1024;
/// Tasks that "cancel all" can bring back.
const MAX_UNDONE: usize = 100;

/// The action that undoes the last change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// End the task that was made.
    Cancel(String),
    /// Make the ended tasks again.
    Recreate(Vec<TaskSnapshot>),
    /// Let the task go on.
    Resume(String),
    /// Pause the task again.
    Pause(String),
    /// Remove the line from the memory.
    Forget(String),
    /// Add the line to the memory again.
    Remember(String),
}

/// The notes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Numbers of tasks by id, which a task keeps as long as it exists.
    numbers: BTreeMap<String, u32>,
    /// The way to undo the last change.
    pub undo: Option<Undo>,
    /// The last reminder that was due.
    pub reminder: Option<String>,
    /// True if the guide told the group that a model can be connected.
    pub told_model: bool,
    /// The corrected request that the guide offered for a misspelled one.
    pub offered: Option<String>,
}

/// The folder of the notes.
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

    /// Returns the notes.
    pub fn load(&self) -> State {
        let text = memory::read(&self.0.join(FILE), MAX_BYTES).filter(|(_, left)| *left == 0);
        text.and_then(|(text, _)| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Changes the notes. If the home cannot be written, they are lost; nothing else depends on them.
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
    /// Returns the tasks' numbers, each the same as before. A new task gets a number that no task had since the list
    /// was last empty.
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
        // Of ended tasks only the highest number is kept, so that it is not given again at once.
        let highest = self.numbers.values().copied().max();
        self.numbers.retain(|id, number| here(id) || Some(*number) == highest);
        numbers
    }

    /// Returns the number of a task that is about to be made.
    pub fn number_of(&mut self, id: &str) -> u32 {
        let next = self.numbers.values().copied().max().unwrap_or(0) + 1;
        *self.numbers.entry(id.to_owned()).or_insert(next)
    }

    /// Returns the id of the task with this number.
    pub fn task(&self, number: u32) -> Option<&str> {
        self.numbers.iter().find(|(_, known)| **known == number).map(|(id, _)| id.as_str())
    }
}

impl Undo {
    /// Undoes the end of tasks, up to the number that can be made again.
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
    fn task_keeps_its_number() {
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
    fn notes_are_kept_and_invalid_ones_ignored() {
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
