//! The run's input folder: follow-ups in order, and `_close`.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::watch::{FALLBACK, Watch};
use crate::{CLOSE_SENTINEL, ImageAttachment, InputFile};

/// A follow-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The file's name, which an output reports in `consumed`.
    pub name: String,
    /// The message's text.
    pub text: String,
    /// Pictures of the message.
    pub images: Vec<ImageAttachment>,
}

/// The host's next order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Follow-ups, in order; at least one.
    Inputs(Vec<Input>),
    /// End the run.
    Close,
}

/// The input folder and its watcher.
#[derive(Debug)]
pub struct Inputs {
    dir: PathBuf,
    watch: Watch,
    /// Names of files that were read but cannot be removed, so that they are not read twice.
    stuck: HashSet<String>,
}

impl Inputs {
    /// Starts to watch the folder, which may be created later.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), watch: Watch::new(dir), stuck: HashSet::new() }
    }

    /// Waits for the host's next order.
    pub fn wait(&mut self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.watch.wait(FALLBACK);
        }
    }

    /// Like [`Self::wait`], but waits for about `timeout` at most; None if nothing came.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Next> {
        self.take().or_else(|| {
            self.watch.wait(timeout);
            self.take()
        })
    }

    /// Returns the host's present order, if any. `_close` counts only if no input is left.
    pub fn take(&mut self) -> Option<Next> {
        // `_close` is checked before the listing: an input that was written before it is then in the listing.
        let close = fs::symlink_metadata(self.dir.join(CLOSE_SENTINEL)).is_ok();
        let inputs = self.read_all();
        if !inputs.is_empty() {
            return Some(Next::Inputs(inputs));
        }
        if !close {
            return None;
        }
        let _ = fs::remove_file(self.dir.join(CLOSE_SENTINEL));
        Some(Next::Close)
    }

    fn read_all(&mut self) -> Vec<Input> {
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "json") && !self.stuck.contains(name))
            .collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| self.read(name)).collect()
    }

    fn read(&mut self, name: String) -> Option<Input> {
        let path = self.dir.join(&name);
        let input = fs::read(&path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("input {name} cannot be removed ({error}); it is not read again");
            self.stuck.insert(name.clone());
        }
        match input {
            Ok(InputFile::Message { text, images }) => Some(Input { name, text, images }),
            Err(error) => {
                eprintln!("input {name} is left out: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_atomically;

    fn put(dir: &Path, name: &str, text: &str) {
        let json = serde_json::to_vec(&InputFile::Message { text: text.into(), images: Vec::new() }).unwrap();
        write_atomically(dir, name, &json).unwrap();
    }

    #[test]
    fn inputs_come_in_name_order_and_before_close() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "0002.json", "b");
        put(dir.path(), "0001.json", "a");
        fs::write(dir.path().join("_close"), "").unwrap();
        fs::write(dir.path().join("0003.json.tmp"), "{").unwrap();
        let mut inputs = Inputs::open(dir.path());
        let expected = [("0001.json", "a"), ("0002.json", "b")]
            .map(|(name, text)| Input { name: name.into(), text: text.into(), images: Vec::new() })
            .to_vec();
        assert_eq!(inputs.wait(), Next::Inputs(expected));
        assert_eq!(inputs.wait(), Next::Close);
        assert_eq!(inputs.take(), None);
        assert!(!dir.path().join("0001.json").exists());
    }

    #[test]
    fn broken_input_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0001.json"), "{").unwrap();
        put(dir.path(), "0002.json", "b");
        let mut inputs = Inputs::open(dir.path());
        let rest = Input { name: "0002.json".into(), text: "b".into(), images: Vec::new() };
        assert_eq!(inputs.take(), Some(Next::Inputs(vec![rest])));
        assert_eq!(inputs.take(), None);
    }

    #[test]
    fn folder_that_is_created_later_is_found() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("input");
        let mut inputs = Inputs::open(&dir);
        assert_eq!(inputs.take(), None);
        fs::create_dir(&dir).unwrap();
        put(&dir, "1.json", "late");
        assert!(matches!(inputs.wait(), Next::Inputs(list) if list[0].text == "late"));
    }
}
