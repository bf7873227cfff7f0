//! `parlor logs`: shows the host's log, past lines and new ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::client::{Client, segment};
use super::output::{say, text, write};
use super::{Done, Failure};
use crate::config::home::Home;
use crate::host_log;

/// The interval of polling a followed log.
const PAUSE: Duration = Duration::from_millis(200);
/// The largest part of a line that is kept; Parlor logs no longer lines.
const MAX_LINE: u64 = 1 << 20;

/// Show the host's log
///
/// Every host keeps it in data/parlor.log of its installation, whether it runs in a terminal, inside `parlor chat` or
/// as a service, whose journal has the same. Logs of runs are shown by `parlor runs log`.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "shown to people as it is")]
pub(super) struct Logs {
    /// Only what names this group or its chat
    group: Option<String>,
    /// Go on with what is logged from now on
    #[arg(short, long)]
    follow: bool,
    /// At most so many of the last lines
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: usize,
}

impl Logs {
    /// Returns true if the command must look up the group.
    pub(super) fn asks(&self) -> bool {
        self.group.is_some()
    }

    pub(super) async fn run(self, home: &Home, client: &Client) -> Done {
        let path = home.host_log();
        let names = match &self.group {
            None => Vec::new(),
            Some(group) => {
                let group = client.get(&format!("/v1/groups/{}", segment(group))).await?;
                vec![text(&group["folder"]), text(&group["jid"])]
            }
        };
        let mut filter = Filter { names, passes: false };
        let mut reader = Follower::new(&path);
        let last = reader.last(self.lines, &mut filter).map_err(|error| cannot(&path, &error))?;
        if !reader.is_there() && !self.follow {
            let home = home.root().display();
            return Err(Failure::Failed(format!("no host has logged in {home} yet: `parlor up` starts one")));
        }
        print(&last)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            print(&reader.new_lines(&mut filter).map_err(|error| cannot(&path, &error))?)?;
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read {}: {error}; run this as the user who runs the host", path.display()))
}

fn print(lines: &str) -> Done {
    if io::stdout().is_terminal() { say(lines) } else { write(lines.as_bytes()) }
}

/// Selects lines by a group's names.
struct Filter {
    /// A line passes with any of these; without names, all lines pass.
    names: Vec<String>,
    /// Whether the record of the last line passes.
    passes: bool,
}

impl Filter {
    /// Returns true if a line passes. A line that begins no record belongs to the one before.
    fn takes(&mut self, line: &str) -> bool {
        if line.starts_with(|c: char| c.is_ascii_digit() || c == '{') {
            self.passes = self.names.is_empty() || self.names.iter().any(|name| names(line, name));
        }
        self.passes
    }
}

/// Returns true if a text has the word, not as part of a longer one.
fn names(text: &str, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '.');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(inner) && !after.starts_with(|c: char| inner(c) && c != '.' || c == '/')
    })
}

/// Reads the log's files, also across rotations.
struct Follower {
    path: PathBuf,
    file: Option<(BufReader<File>, u64)>,
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
}

impl Follower {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, partial: Vec::new() }
    }

    fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// The last lines that pass, from all files.
    fn last(&mut self, count: usize, filter: &mut Filter) -> io::Result<String> {
        let mut kept = VecDeque::new();
        let mut files = host_log::files(&self.path);
        files.retain(|path| *path != self.path);
        let mut keep = |line: &str| {
            if filter.takes(line) {
                kept.push_back(line.to_owned());
                if kept.len() > count {
                    kept.pop_front();
                }
            }
        };
        for path in files {
            let mut reader = BufReader::new(File::open(path)?);
            while let Some(line) = next_line(&mut reader, &mut self.partial)? {
                keep(&line);
            }
        }
        self.reopen()?;
        while let Some((reader, _)) = &mut self.file
            && let Some(line) = next_line(reader, &mut self.partial)?
        {
            keep(&line);
        }
        Ok(kept.into_iter().collect())
    }

    /// Returns the lines logged since the last call.
    fn new_lines(&mut self, filter: &mut Filter) -> io::Result<String> {
        let mut out = String::new();
        loop {
            while let Some((reader, _)) = &mut self.file
                && let Some(line) = next_line(reader, &mut self.partial)?
            {
                if filter.takes(&line) {
                    out += &line;
                }
            }
            // The rest of a rotated file has been read by now.
            if !self.reopen()? {
                return Ok(out);
            }
        }
    }

    /// Opens the file again if it was replaced.
    fn reopen(&mut self) -> io::Result<bool> {
        let now = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.file.as_ref().is_some_and(|(_, inode)| *inode == now) {
            return Ok(false);
        }
        let file = File::open(&self.path)?;
        let inode = file.metadata()?.ino();
        self.file = Some((BufReader::new(file), inode));
        Ok(true)
    }
}

/// Reads the next whole line; an incomplete one is kept for the next call.
fn next_line(reader: &mut impl BufRead, partial: &mut Vec<u8>) -> io::Result<Option<String>> {
    let room = MAX_LINE.saturating_sub(partial.len() as u64);
    reader.take(room).read_until(b'\n', partial)?;
    if !partial.ends_with(b"\n") && (partial.len() as u64) < MAX_LINE {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(partial).into_owned();
    partial.clear();
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn all() -> Filter {
        Filter { names: Vec::new(), passes: false }
    }

    #[test]
    fn log_filter_matches_a_group_only_as_a_whole_word() {
        for line in ["group lab: x", "web:lab: x", "{\"folder\":\"lab\"}", "of lab.", "(lab)"] {
            assert!(names(line, "lab"), "{line}");
        }
        for line in ["group label: x", "collab", "lab-2 runs", "my_lab", "lab/x", "lab@x"] {
            assert!(!names(line, "lab"), "{line}");
        }
        let mut filter = Filter { names: vec!["lab".into(), "web:lab".into()], passes: false };
        let lines =
            ["2026 INFO lab: one", "  more of it", "2026 INFO den: two", "  more of that", "2026 INFO web:lab: x"];
        let taken: Vec<bool> = lines.iter().map(|line| filter.takes(line)).collect();
        assert_eq!(taken, [true, true, false, false, true]);
    }

    #[test]
    fn log_lines_come_once_and_whole_through_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parlor.log");
        fs::write(dir.path().join("parlor.log.1"), "1 old\n2 old\n").unwrap();
        let mut file = File::create(&path).unwrap();
        write!(file, "3 a\n4 b\n5 to").unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(follower.last(3, &mut all()).unwrap(), "2 old\n3 a\n4 b\n");
        assert_eq!(follower.new_lines(&mut all()).unwrap(), "");
        write!(file, "rn\n6 last").unwrap();
        assert_eq!(follower.new_lines(&mut all()).unwrap(), "5 torn\n");
        writeln!(file, " one").unwrap();
        fs::rename(&path, dir.path().join("parlor.log.1")).unwrap();
        fs::write(&path, "7 new\n").unwrap();
        assert_eq!(follower.new_lines(&mut all()).unwrap(), "6 last one\n7 new\n");
        assert_eq!(follower.new_lines(&mut all()).unwrap(), "");
    }

    #[test]
    fn missing_log_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parlor.log");
        let mut follower = Follower::new(&path);
        assert_eq!(follower.last(3, &mut all()).unwrap(), "");
        assert!(!follower.is_there());
        fs::write(&path, "1 first\n").unwrap();
        assert_eq!(follower.new_lines(&mut all()).unwrap(), "1 first\n");
    }
}
