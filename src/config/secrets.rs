//! Secrets: read from `.env` when needed, never put into the process environment, and redacted from texts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::env_file::{self, EnvFile};
use super::home::Home;

/// The keys that providers may get, unless the operator names others.
pub const DEFAULT_KEYS: [&str; 12] = [
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "CODEX_API_KEY",
    "GEMINI_API_KEY",
    "GEMINI_BASE_URL",
    "GOOGLE_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "OLLAMA_HOST",
];

/// The replacement for a secret.
const REDACTED: &str = "[redacted]";
/// Shorter values are not redacted: ordinary words and numbers would vanish, and no real key is that short.
const SHORTEST: usize = 8;

/// Reasons why `.env` was not read.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// The file exists but cannot be read.
    #[error("{path} cannot be read: {source}; check its owner and mode (0600)")]
    Unreadable {
        /// The file's path.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// The file is UTF-16, as some editors save it.
    #[error("{path} is not UTF-8 text; save it in that encoding: `iconv -f UTF-16 -t UTF-8`")]
    Encoding {
        /// The file's path.
        path: String,
    },
    /// A line is wrong. The message does not show it: it may hold a secret.
    #[error("{path} line {line} is not `KEY=value`; put quotes around values with spaces, `#`, quotes or backslashes")]
    Line {
        /// The file's path.
        path: String,
        /// The number of the line, counted from one.
        line: usize,
    },
}

/// Reads the values of these keys from the installation's `.env`. A missing file has none.
pub fn read(home: &Home, keys: &[String]) -> Result<BTreeMap<String, SecretString>, EnvFileError> {
    let all = env_file(&home.env_file()).map_err(|mut errors| errors.remove(0))?;
    Ok(all
        .into_iter()
        .filter(|(key, value)| keys.contains(key) && !value.is_empty())
        .map(|(key, value)| (key, SecretString::from(value)))
        .collect())
}

/// Reads all values of an environment file; the first line of a key counts. An error has at least one entry.
pub fn env_file(path: &Path) -> Result<BTreeMap<String, String>, Vec<EnvFileError>> {
    Ok(read_env_file(path)?.values.into_iter().map(|(name, entry)| (name, entry.value)).collect())
}

/// Reads the same with line numbers and probable mistakes. A missing file is empty.
pub(super) fn read_env_file(path: &Path) -> Result<EnvFile, Vec<EnvFileError>> {
    let name = path.display().to_string();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(EnvFile::default()),
        Err(source) => return Err(vec![EnvFileError::Unreadable { path: name, source }]),
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
        return Err(vec![EnvFileError::Encoding { path: name }]);
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        let good = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
        let line = memchr::memchr_iter(b'\n', &bytes[..good]).count() + 1;
        return Err(vec![EnvFileError::Line { path: name, line }]);
    };
    let file = env_file::parse(text);
    if file.wrong.is_empty() {
        return Ok(file);
    }
    Err(file.wrong.into_iter().map(|line| EnvFileError::Line { path: name.clone(), line }).collect())
}

/// Replaces secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor {
    finders: Vec<memmem::Finder<'static>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("values", &self.finders.len()).finish()
    }
}

impl Redactor {
    /// Redacts these values, also in the form that they have inside JSON strings. Values of fewer than eight bytes
    /// are ignored.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut needles: Vec<String> = Vec::new();
        for value in values {
            let value = value.expose_secret();
            let json = serde_json::to_string(value).unwrap_or_default();
            let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
            for form in [value, json] {
                if form.len() >= SHORTEST && !needles.iter().any(|n| n == form) {
                    needles.push(form.to_owned());
                }
            }
        }
        let mut new = Self { finders: needles.iter().map(|n| memmem::Finder::new(n).into_owned()).collect() };
        new.sort();
        new
    }

    /// Redacts the values of these keys. An address is no secret, but a name or password in it is. Those are redacted
    /// separately, too, because programs print an address in other forms than the given one.
    pub fn of(secrets: &BTreeMap<String, SecretString>) -> Self {
        let address = |key: &str| key.ends_with("_BASE_URL") || key.ends_with("_HOST");
        let mut values = Vec::new();
        let mut logins = Vec::new();
        for (key, value) in secrets {
            if !address(key) {
                values.push(value.clone());
            } else if let Some((before, _)) = value.expose_secret().rsplit_once('@') {
                values.push(value.clone());
                let login = before.split_once("://").map_or(before, |(_, login)| login);
                values.extend(login.split_once(':').map(|(_, password)| SecretString::from(password)));
                // With its `@`, even a short login is no ordinary word.
                logins.push(format!("{login}@"));
            }
        }
        let mut new = Self::new(&values);
        new.finders.extend(logins.iter().map(|login| memmem::Finder::new(login).into_owned()));
        new.sort();
        new
    }

    /// Adds the values of another redactor.
    pub fn add(&mut self, other: &Self) {
        for finder in &other.finders {
            if !self.finders.iter().any(|known| known.needle() == finder.needle()) {
                self.finders.push(finder.clone());
            }
        }
        self.sort();
    }

    /// Longest first: a value that contains another one is redacted as a whole.
    fn sort(&mut self) {
        self.finders.sort_by_key(|finder| std::cmp::Reverse(finder.needle().len()));
    }

    /// Returns true if there is nothing to redact.
    pub fn is_empty(&self) -> bool {
        self.finders.is_empty()
    }

    /// Replaces the secrets in a text. The result is borrowed if there were none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut result = Cow::Borrowed(text);
        for finder in &self.finders {
            if let Some(cleaned) = replace(&result, finder) {
                result = Cow::Owned(cleaned);
            }
        }
        result
    }
}

fn replace(text: &str, finder: &memmem::Finder<'_>) -> Option<String> {
    let mut matches = finder.find_iter(text.as_bytes()).peekable();
    matches.peek()?;
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    for at in matches {
        // The needle is valid UTF-8, so matches begin and end between characters.
        clean.push_str(text.get(from..at).unwrap_or_default());
        clean.push_str(REDACTED);
        from = at + finder.needle().len();
    }
    clean.push_str(text.get(from..).unwrap_or_default());
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(env: &[u8]) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".env"), env).unwrap();
        let home = Home::new(dir.path().to_owned());
        (dir, home)
    }

    #[test]
    fn secrets_read_returns_only_the_named_keys() {
        let (_dir, home) = home(b"A=one\nB=\"two words\"\n# no\nexport C=three\nA=later\nEMPTY=\n");
        let found = read(&home, &["A".into(), "B".into(), "EMPTY".into(), "NONE".into()]).unwrap();
        let shown: Vec<_> = found.iter().map(|(k, v)| format!("{k}={}", v.expose_secret())).collect();
        assert_eq!(shown, ["A=one", "B=two words"]);
        assert!(std::env::var("B").is_err(), "never loaded into the environment");
        assert!(!format!("{found:?}").contains("one"));
    }

    #[test]
    fn missing_env_file_has_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&Home::new(dir.path().to_owned()), &["A".into()]).unwrap().is_empty());
    }

    #[test]
    fn redactor_keeps_addresses_and_hides_their_passwords() {
        let secrets = [("A_BASE_URL", "http://ann:pw@proxy"), ("B_HOST", "192.168.1.5"), ("C_KEY", "key-12345678")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), SecretString::from(value))).into();
        let redactor = Redactor::of(&secrets);
        let text = redactor.redact("http://ann:pw@proxy 192.168.1.5 key-12345678").into_owned();
        assert_eq!(text, "[redacted] 192.168.1.5 [redacted]");
        // Forms in which programs print an address: with a slash more, with a path, split.
        assert_eq!(redactor.redact("no answer from http://ann:pw@proxy/v1/"), "no answer from [redacted]/v1/");
        let secrets = [("A_BASE_URL", "http://ann:a-long-password@proxy/v1/"), ("O_HOST", "bob:pw@box")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), SecretString::from(value))).into();
        let redactor = Redactor::of(&secrets);
        assert_eq!(redactor.redact("HTTP://ann:a-long-password@proxy/v1"), "HTTP://[redacted]proxy/v1");
        assert_eq!(redactor.redact("login ann, a-long-password"), "login ann, [redacted]");
        assert_eq!(redactor.redact("http://bob:pw@box:11434/api"), "http://[redacted]:11434/api");
        assert_eq!(redactor.redact("http://proxy and bob, pw"), "http://proxy and bob, pw");
    }

    #[test]
    fn wrong_env_lines_are_reported_by_number_and_never_shown() {
        for (text, line) in [
            (&b"A=1\nsk-ant-secret\nB=2\n"[..], 2),
            (b"A=1\n\n\nB=hunter2 hunter3\n", 4),
            (b"A=1\nB=\xff\n", 2),
            (b"=x\n", 1),
        ] {
            let (_dir, home) = home(text);
            let error = read(&home, &["A".into()]).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} ")), "{error}");
            assert!(!error.contains("sk-ant") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn redactor_finds_secrets_in_every_form() {
        let values: Vec<SecretString> =
            ["sk-ant-12345678", "sk-ant-12345678-longer", "quo\"te\\back", "short"].map(SecretString::from).into();
        let redactor = Redactor::new(&values);
        assert!(matches!(redactor.redact("nothing here, short"), Cow::Borrowed(_)));
        assert_eq!(redactor.redact("a sk-ant-12345678 b sk-ant-12345678-longer"), "a [redacted] b [redacted]");
        assert_eq!(redactor.redact("élan sk-ant-12345678é"), "élan [redacted]é");
        assert_eq!(redactor.redact(r#"{"k":"quo\"te\\back"}"#), r#"{"k":"[redacted]"}"#);
        assert!(!format!("{redactor:?}").contains("sk-ant"));
    }

    #[test]
    fn redactor_add_finds_the_values_of_both() {
        let of = |value: &str| Redactor::new(&[SecretString::from(value)]);
        let mut both = of("sk-ant-12345678");
        both.add(&of("sk-ant-12345678-longer"));
        both.add(&of("sk-ant-12345678"));
        assert_eq!(both.redact("a sk-ant-12345678 b sk-ant-12345678-longer"), "a [redacted] b [redacted]");
        assert_eq!(both.finders.len(), 2);
    }
}
