//! Local files that are sent with a message: finds and opens them.

use std::fs::File;
use std::path::{Path, PathBuf};

/// The command of a conversation that sends a file.
const COMMAND: &str = "/attach";

/// A file, opened for sending.
#[derive(Debug)]
pub(in crate::cli) struct Local {
    /// Its name without the path.
    pub(in crate::cli) name: String,
    /// The open file.
    pub(in crate::cli) file: File,
}

/// Opens files. The error explains the first that cannot be opened.
pub(super) fn open(paths: &[PathBuf]) -> Result<Vec<Local>, String> {
    paths.iter().map(|path| open_one(path)).collect()
}

fn open_one(path: &Path) -> Result<Local, String> {
    let shown = path.display();
    let found = path.metadata().map_err(|error| format!("{shown} cannot be attached: {error}"))?;
    if found.is_dir() {
        return Err(format!("{shown} is a folder: pack it into one file first, for example with tar"));
    }
    if !found.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let file = File::open(path).map_err(|error| format!("{shown} cannot be attached: {error}"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Local { name, file })
}

/// Parses `/attach PATH [TEXT]`. Returns None for other lines. A path with spaces is quoted, or has a backslash
/// before each space, or fills the line.
pub(super) fn parse(line: &str, home: Option<&Path>) -> Option<Result<(PathBuf, String), String>> {
    let rest = line.trim().strip_prefix(COMMAND)?;
    if rest.starts_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    let rest = rest.trim();
    if rest.is_empty() {
        return Some(Err(format!("{COMMAND} needs a file: {COMMAND} PATH [TEXT], a path with spaces in quotes")));
    }
    let whole = below(home, rest);
    if whole.is_file() {
        return Some(Ok((whole, String::new())));
    }
    let (path, text) = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => match rest[1..].split_once(quote) {
            Some((path, text)) => (path.to_owned(), text),
            None => return Some(Err(format!("the path's closing {quote} is missing"))),
        },
        _ => word(rest),
    };
    Some(Ok((below(home, &path), text.trim().to_owned())))
}

/// Splits off the first word, without its backslashes.
fn word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => word.extend(chars.next().map(|(_, next)| next)),
            c if c.is_whitespace() => return (word, &text[at..]),
            c => word.push(c),
        }
    }
    (word, "")
}

/// Resolves `~` to the user's home.
fn below(home: Option<&Path>, path: &str) -> PathBuf {
    match (home, path.strip_prefix('~')) {
        (Some(home), Some("")) => home.to_owned(),
        (Some(home), Some(rest)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attach_line_has_a_path_and_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let home = Some(dir.path());
        std::fs::write(dir.path().join("two words.txt"), "x").unwrap();
        let cases = [
            ("/attach a.txt", "a.txt", ""),
            ("  /attach   a.txt   look at  it ", "a.txt", "look at  it"),
            ("/attach \"b c.txt\" and this", "b c.txt", "and this"),
            ("/attach 'b \"c\".txt'", "b \"c\".txt", ""),
            (r"/attach b\ c.txt text", "b c.txt", "text"),
            ("/attach ~/x.png see", "HOME/x.png", "see"),
            ("/attach ~/two words.txt", "HOME/two words.txt", ""),
            ("/attach ~other/x", "~other/x", ""),
        ];
        for (line, path, text) in cases {
            let path = path.replace("HOME", dir.path().to_str().unwrap());
            assert_eq!(parse(line, home), Some(Ok((PathBuf::from(path), text.to_owned()))), "{line}");
        }
        assert_eq!(parse("/attachment x", home), None);
        assert_eq!(parse("see /attach x", home), None);
        assert!(parse("/attach", home).unwrap().unwrap_err().contains("needs a file"));
        assert!(parse("/attach \"x", home).unwrap().unwrap_err().contains("closing"));
    }

    #[test]
    fn files_that_cannot_be_sent_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(open(std::slice::from_ref(&file)).unwrap()[0].name, "a.txt");
        let cases = [
            (dir.path().to_owned(), "is a folder"),
            (dir.path().join("no"), "No such file"),
            ("/dev/null".into(), "not a file"),
        ];
        for (path, why) in cases {
            let told = open(&[file.clone(), path]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
