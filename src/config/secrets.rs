//! Secrets: read from `.env` when they are needed, never loaded into the process environment, and taken out of texts.

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

/// Keys that providers may get, unless the operator names others.
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

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";
/// Shorter values are not looked for: they would blot out ordinary words and numbers, and a key that short is none.
const SHORTEST: usize = 8;

/// Why `.env` was not read.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// It is there but cannot be read.
    #[error("{path} cannot be read: {source}; check its owner and mode (0600)")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is UTF-16, as some editors save it.
    #[error("{path} is not UTF-8 text; save it in that encoding: `iconv -f UTF-16 -t UTF-8`")]
    Encoding {
        /// The file.
        path: String,
    },
    /// A line is wrong. The line itself is not shown: it may hold a secret.
    #[error("{path} line {line} is not `KEY=value`; put quotes around values with spaces, `#`, quotes or backslashes")]
    Line {
        /// The file.
        path: String,
        /// Counted from one.
        line: usize,
    },
}

/// Reads the values of some keys from the installation's `.env`. A missing file has none.
pub fn read(home: &Home, keys: &[String]) -> Result<BTreeMap<String, SecretString>, EnvFileError> {
    let all = env_file(&home.env_file()).map_err(|mut errors| errors.remove(0))?;
    Ok(all
        .into_iter()
        .filter(|(key, value)| keys.contains(key) && !value.is_empty())
        .map(|(key, value)| (key, SecretString::from(value)))
        .collect())
}

/// Everything in an environment file; the first of several lines for a key counts. There is at least one error if any.
pub fn env_file(path: &Path) -> Result<BTreeMap<String, String>, Vec<EnvFileError>> {
    Ok(read_env_file(path)?.values.into_iter().map(|(name, entry)| (name, entry.value)).collect())
}

/// The same with the numbers of lines, and with what looks odd. A missing file is an empty one.
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

/// Takes secrets out of texts.
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
    /// Looks for these values, and for the form they have inside JSON strings. Values of fewer than eight bytes are not
    /// looked for.
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

    /// Looks for the values of these keys. An address is no secret, unless it has a name or a password in it: these are
    /// looked for by themselves, too, because programs show an address in other forms than it was given.
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
                // With its sign it is no ordinary word, however short it is.
                logins.push(format!("{login}@"));
            }
        }
        let mut new = Self::new(&values);
        new.finders.extend(logins.iter().map(|login| memmem::Finder::new(login).into_owned()));
        new.sort();
        new
    }

    /// Looks for what another one looks for, too.
    pub fn add(&mut self, other: &Self) {
        for finder in &other.finders {
            if !self.finders.iter().any(|known| known.needle() == finder.needle()) {
                self.finders.push(finder.clone());
            }
        }
        self.sort();
    }

    /// Longest first: a value that contains another one goes as a whole.
    fn sort(&mut self) {
        self.finders.sort_by_key(|finder| std::cmp::Reverse(finder.needle().len()));
    }

    /// Returns true if there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.finders.is_empty()
    }

    /// The text without the values; borrowed when there were none.
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
        // The needle is valid UTF-8, so matches lie on character borders.
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
    fn only_the_named_keys_are_read() {
        let (_dir, home) = home(b"A=one\nB=\"two words\"\n# no\nexport C=three\nA=later\nEMPTY=\n");
        let found = read(&home, &["A".into(), "B".into(), "EMPTY".into(), "NONE".into()]).unwrap();
        let shown: Vec<_> = found.iter().map(|(k, v)| format!("{k}={}", v.expose_secret())).collect();
        assert_eq!(shown, ["A=one", "B=two words"]);
        assert!(std::env::var("B").is_err(), "never loaded into the environment");
        assert!(!format!("{found:?}").contains("one"));
    }

    #[test]
    fn a_missing_file_has_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&Home::new(dir.path().to_owned()), &["A".into()]).unwrap().is_empty());
    }

    #[test]
    fn addresses_may_be_shown_without_their_passwords() {
        let secrets = [("A_BASE_URL", "http://ann:pw@proxy"), ("B_HOST", "192.168.1.5"), ("C_KEY", "key-12345678")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), SecretString::from(value))).into();
        let redactor = Redactor::of(&secrets);
        let text = redactor.redact("http://ann:pw@proxy 192.168.1.5 key-12345678").into_owned();
        assert_eq!(text, "[redacted] 192.168.1.5 [redacted]");
        // As programs show it: with a slash more, with a path, taken apart.
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
    fn wrong_lines_are_named_by_number_and_never_shown() {
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
    fn secrets_go_from_texts_in_every_form() {
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
    fn redactors_add_up() {
        let of = |value: &str| Redactor::new(&[SecretString::from(value)]);
        let mut both = of("sk-ant-12345678");
        both.add(&of("sk-ant-12345678-longer"));
        both.add(&of("sk-ant-12345678"));
        assert_eq!(both.redact("a sk-ant-12345678 b sk-ant-12345678-longer"), "a [redacted] b [redacted]");
        assert_eq!(both.finders.len(), 2);
    }
}
