//! Where a value comes from: command line, environment, `.env`, `parlor.toml`; and everything wrong with them at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// One thing wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or the file.
    pub key: String,
    /// Its value; secrets are not shown.
    pub value: Option<String>,
    /// Where it was found.
    pub source: String,
    /// What is wrong or what is allowed.
    pub allowed: String,
}

/// Everything wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order in which they were found.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} {} not right:", if count == 1 { "setting is" } else { "settings are" })?;
        for problem in &self.problems {
            write!(f, "\n  {}", problem.key)?;
            if let Some(value) = &problem.value {
                write!(f, " = {value:?}")?;
            }
            write!(f, " ({}): {}", problem.source, problem.allowed)?;
        }
        Ok(())
    }
}

/// A setting: its name in the environment, and in `parlor.toml`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub env: &'static str,
    pub toml: &'static str,
    pub secret: bool,
}

const fn key(env: &'static str, toml: &'static str) -> Key {
    Key { env, toml, secret: false }
}

/// Every setting there is.
pub(super) const KEYS: [Key; 34] = [
    key("ASSISTANT_NAME", "assistant_name"),
    key("CONTAINER_IMAGE", "container_image"),
    key("PARLOR_IMAGE_BASE", "image_base"),
    key("PARLOR_CLAUDE_VERSION", "claude_version"),
    key("PARLOR_IMAGE_WITH", "image_with"),
    key("PARLOR_CODEX_VERSION", "codex_version"),
    key("PARLOR_GEMINI_VERSION", "gemini_version"),
    key("CONTAINER_TIMEOUT", "container_timeout"),
    key("IDLE_TIMEOUT", "idle_timeout"),
    key("CONTAINER_MAX_OUTPUT_SIZE", "container_max_output_size"),
    key("MAX_CONCURRENT_CONTAINERS", "max_concurrent_containers"),
    key("TZ", "tz"),
    key("LOG_LEVEL", "log_level"),
    key("CONTAINER_RUNTIME", "container_runtime"),
    key("AGENT_RUNNER_SRC", "agent_runner_src"),
    key("PARLOR_CONFIG_DIR", "config_dir"),
    key("PARLOR_PROVIDER", "provider"),
    key("PARLOR_MODEL", "model"),
    key("PARLOR_AGENT_MAY", "agent_may"),
    key("PARLOR_AGENT_MODELS", "agent_models"),
    key("PARLOR_AGENT_PROVIDERS", "agent_providers"),
    key("PARLOR_LISTEN", "listen"),
    key("PARLOR_LISTEN_PUBLIC", "listen_public"),
    Key { env: "PARLOR_TOKEN", toml: "token", secret: true },
    key("PARLOR_SECRET_KEYS", "secret_keys"),
    key("PARLOR_SKILLS", "skills"),
    key("PARLOR_MEMORY", "memory"),
    key("PARLOR_CPUS", "cpus"),
    key("PARLOR_PIDS", "pids"),
    key("PARLOR_NETWORK", "network"),
    key("PARLOR_MAX_RESULT_SIZE", "max_result_size"),
    key("PARLOR_MAX_FILE_SIZE", "max_file_size"),
    key("PARLOR_TURN_LIMIT", "turn_limit"),
    key("PARLOR_SHUTDOWN_GRACE", "shutdown_grace"),
    key("PARLOR_BUDGET_USD", "budget_usd"),
    key("PARLOR_BUDGET_TOKENS", "budget_tokens"),
    key("PARLOR_KEEP_DAYS", "keep_days"),
];

/// The name of every setting in the environment and in `parlor.toml`.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|key| (key.env, key.toml))
}

/// A value and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub value: String,
    pub source: String,
}

/// All values by their name in the environment, and what is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    values: BTreeMap<&'static str, Found>,
    pub problems: Vec<Problem>,
}

impl Layers {
    /// Adds a layer; earlier ones win. Empty values count as absent.
    pub(super) fn add(&mut self, source: &str, get: impl Fn(&str) -> Option<String>) {
        for key in KEYS {
            if let Some(value) = get(key.env).filter(|v| !v.trim().is_empty()) {
                self.values.entry(key.env).or_insert_with(|| Found { value, source: source.to_owned() });
            }
        }
    }

    /// Adds `parlor.toml`. Unknown keys are problems.
    pub(super) fn add_toml(&mut self, path: &Path) {
        let source = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => return self.file_problem("parlor.toml", &source, format!("cannot be read: {e}")),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(e) => return self.file_problem("parlor.toml", &source, toml_reason(&text, &e)),
        };
        let mut values = BTreeMap::new();
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.toml == name) else {
                let known: Vec<&str> = KEYS.iter().map(|key| key.toml).collect();
                self.file_problem(&name, &source, format!("is not a setting; there are {}", known.join(", ")));
                continue;
            };
            match scalar(&value) {
                Some(text) => drop(values.insert(key.env, text)),
                None => self.problems.push(Problem {
                    key: name,
                    value: Some(value.to_string()),
                    source: source.clone(),
                    allowed: "use a string, a number, true or false, or a list of strings".into(),
                }),
            }
        }
        self.add(&source, |name| values.get(name).cloned());
    }

    pub(super) fn file_problem(&mut self, key: &str, source: &str, what: String) {
        self.problems.push(Problem { key: key.to_owned(), value: None, source: source.to_owned(), allowed: what });
    }

    pub(super) fn get(&self, env: &str) -> Option<&Found> {
        self.values.get(env)
    }

    /// Checks a value; the default stands in for one that is wrong, so that all problems are found at once.
    pub(super) fn take<T>(
        &mut self,
        env: &'static str,
        default: T,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(found) = self.values.get(env).cloned() else { return default };
        if let Some(value) = parse(&found.value) {
            return value;
        }
        self.wrong(env, allowed);
        default
    }

    /// Notes that a value is wrong.
    pub(super) fn wrong(&mut self, env: &'static str, allowed: &str) {
        let found = self.values.get(env);
        let secret = KEYS.iter().any(|key| key.env == env && key.secret);
        self.problems.push(Problem {
            key: env.to_owned(),
            value: found.map(|f| if secret { "(hidden)".to_owned() } else { f.value.chars().take(200).collect() }),
            source: found.map_or_else(|| "default".to_owned(), |f| f.source.clone()),
            allowed: allowed.to_owned(),
        });
    }
}

/// A line number and what is wrong, without the line itself: it may hold a secret.
fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line} is not valid TOML: {}", error.message()),
        None => format!("is not valid TOML: {}", error.message()),
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
