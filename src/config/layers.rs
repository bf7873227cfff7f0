//! The layers of settings: command line, environment, `.env`, `parlor.toml`. All problems in them are collected.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::env_file::{EnvFile, odd_value};
use super::secrets::DEFAULT_KEYS;

/// A problem with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name at the place where it was found, or the file.
    pub key: String,
    /// Its value; secrets are not shown.
    pub value: Option<String>,
    /// The place where it was found.
    pub source: String,
    /// The fault, or the allowed values.
    pub allowed: String,
}

/// All problems with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems in the order in which they were found.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} {} not right:", if count == 1 { "setting is" } else { "settings are" })?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        write!(f, " ({}): {}", self.source, self.allowed)
    }
}

/// The two names of a setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub env: &'static str,
    pub toml: &'static str,
    pub secret: bool,
}

const fn key(env: &'static str, toml: &'static str) -> Key {
    Key { env, toml, secret: false }
}

/// All settings.
pub(super) const KEYS: [Key; 44] = [
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
    key("LOG_FORMAT", "log_format"),
    key("CONTAINER_RUNTIME", "container_runtime"),
    key("AGENT_RUNNER_SRC", "agent_runner_src"),
    key("PARLOR_CONFIG_DIR", "config_dir"),
    key("PARLOR_PROVIDER", "provider"),
    key("PARLOR_MODEL", "model"),
    key("PARLOR_FALLBACK", "fallback"),
    key("PARLOR_FALLBACK_DEARER", "fallback_dearer"),
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
    key("PARLOR_MAX_ATTACHMENT_BYTES", "max_attachment_bytes"),
    key("PARLOR_TURN_LIMIT", "turn_limit"),
    key("PARLOR_SHUTDOWN_GRACE", "shutdown_grace"),
    key("PARLOR_SETTLE", "settle"),
    key("PARLOR_BUDGET_USD", "budget_usd"),
    key("PARLOR_BUDGET_TOKENS", "budget_tokens"),
    key("PARLOR_KEEP_DAYS", "keep_days"),
    key("PARLOR_TRIGGER_ANYWHERE", "trigger_anywhere"),
    key("PARLOR_TRIGGER_MAX_AGE", "trigger_max_age"),
];

/// The names of all settings in the environment and in `parlor.toml`.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|key| (key.env, key.toml))
}

/// A value and the place where it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub value: String,
    /// The file with the line, `environment` or `command line`.
    pub source: String,
    /// The setting's name at that place.
    pub name: String,
}

/// The values of all settings by their names in the environment, and the problems so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    values: BTreeMap<&'static str, Found>,
    pub problems: Vec<Problem>,
    /// Accepted settings that are probably mistakes, a sentence each.
    pub warnings: Vec<String>,
}

/// Settings whose names other programs use, too: a wrong value in the environment must not stop a command.
const SHARED: [&str; 3] = ["TZ", "LOG_LEVEL", "LOG_FORMAT"];
/// The only settings with the values `true` and `false`.
const SWITCHES: [&str; 3] = ["PARLOR_LISTEN_PUBLIC", "PARLOR_FALLBACK_DEARER", "PARLOR_TRIGGER_ANYWHERE"];

impl Layers {
    /// Adds a layer, which does not override earlier ones. Empty values count as absent.
    fn add(&mut self, get: impl Fn(&Key) -> Option<Found>) {
        for key in &KEYS {
            if let Some(found) = get(key).filter(|found| !found.value.trim().is_empty()) {
                if let Some(odd) = odd_value(&found.value) {
                    self.warnings.push(format!("{} ({}) {odd}", found.name, found.source));
                }
                self.values.entry(key.env).or_insert(found);
            }
        }
    }

    /// Adds the values of the command line, by their names in the environment.
    pub(super) fn add_command_line(&mut self, get: impl Fn(&str) -> Option<(&'static str, String)>) {
        self.add(|key| {
            let (flag, value) = get(key.env)?;
            Some(Found { value, source: "command line".to_owned(), name: flag.to_owned() })
        });
    }

    /// Adds the environment. `fits` checks settings whose names other programs use, too.
    pub(super) fn add_environment(
        &mut self,
        environment: &BTreeMap<String, String>,
        fits: impl Fn(&str, &str) -> bool,
    ) {
        let mut ignored = Vec::new();
        for name in SHARED {
            if let Some(value) = environment.get(name).filter(|v| !v.trim().is_empty() && !fits(name, v)) {
                self.warnings.push(format!(
                    "{name} = {value:?} (environment) is not understood and ignored; {name} in .env or parlor.toml sets it"
                ));
                ignored.push(name);
            }
        }
        for name in environment.keys() {
            if let Some(meant) = near(name, KEYS.iter().map(|key| key.env)).filter(|_| name.starts_with("PARLOR_")) {
                self.warnings.push(format!("{name} (environment) is not a setting: is {meant} meant?"));
            }
        }
        self.add(|key| {
            let value = environment.get(key.env).filter(|_| !ignored.contains(&key.env))?.clone();
            Some(Found { value, source: "environment".to_owned(), name: key.env.to_owned() })
        });
    }

    /// Adds `.env`. An unknown name that only Parlor could mean is a problem.
    pub(super) fn add_env_file(&mut self, path: &Path, file: &EnvFile) {
        let at = |line: usize| format!("{} line {line}", path.display());
        for odd in &file.oddities {
            self.warnings.push(format!("{} ({}) {}", odd.name, at(odd.line), odd.what));
        }
        let secret_keys = file.values.get("PARLOR_SECRET_KEYS").map_or("", |entry| entry.value.as_str());
        let known: Vec<&str> = KEYS
            .iter()
            .map(|key| key.env)
            .chain(DEFAULT_KEYS)
            .chain(secret_keys.split(',').map(str::trim).filter(|name| !name.is_empty()))
            .collect();
        for (name, entry) in &file.values {
            if known.contains(&name.as_str()) {
                continue;
            }
            let meant = near(name, known.iter().copied());
            let hint = meant.map(|meant| format!(": is {meant} meant?"));
            if name == "PARLOR_HOME" {
                self.warnings.push(format!("{name} ({}) has no effect: this file lies in the home", at(entry.line)));
            } else if name.starts_with("PARLOR_") {
                let what = format!(
                    "is not a setting{}",
                    hint.unwrap_or_else(|| "; `parlor config show` lists all".to_owned())
                );
                self.file_problem(name, &at(entry.line), what);
            } else if let Some(hint) = hint {
                self.warnings.push(format!("{name} ({}) is not a setting and ignored{hint}", at(entry.line)));
            }
        }
        self.add(|key| {
            let entry = file.values.get(key.env)?;
            Some(Found { value: entry.value.clone(), source: at(entry.line), name: key.env.to_owned() })
        });
    }

    /// Adds `parlor.toml`. Unknown keys are problems.
    pub(super) fn add_toml(&mut self, path: &Path) {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => return self.file_problem("parlor.toml", &file, format!("cannot be read: {e}")),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(e) => return self.file_problem("parlor.toml", &file, toml_reason(text, &e)),
        };
        let mut values = BTreeMap::new();
        for (name, value) in table {
            let source = format!("{file} line {}", line_at(text, name.span().start));
            let name = name.into_inner().into_owned();
            let Some(key) = KEYS.iter().find(|key| key.toml == name) else {
                // The key may be the setting's name in the environment.
                let meant = KEYS.iter().find(|key| key.env.eq_ignore_ascii_case(&name)).map(|key| key.toml);
                let meant = meant.or_else(|| near(&name, KEYS.iter().map(|key| key.toml)));
                let hint =
                    meant.map_or_else(|| "; `parlor config show` lists all".to_owned(), |m| format!(": is {m} meant?"));
                self.file_problem(&name, &source, format!("is not a setting{hint}"));
                continue;
            };
            match scalar(value.get_ref(), SWITCHES.contains(&key.env)) {
                Ok(value) => drop(values.insert(key.env, Found { value, source, name })),
                Err(allowed) => self.problems.push(Problem {
                    key: name,
                    value: text.get(value.span()).filter(|_| !key.secret).map(|v| v.chars().take(200).collect()),
                    source,
                    allowed: allowed.to_owned(),
                }),
            }
        }
        self.add(|key| values.get(key.env).cloned());
    }

    pub(super) fn file_problem(&mut self, key: &str, source: &str, what: String) {
        self.problems.push(Problem { key: key.to_owned(), value: None, source: source.to_owned(), allowed: what });
    }

    pub(super) fn get(&self, env: &str) -> Option<&Found> {
        self.values.get(env)
    }

    /// Returns the place of each setting that is not the default.
    pub(super) fn origins(&self) -> BTreeMap<&'static str, String> {
        self.values.iter().map(|(env, found)| (*env, found.source.clone())).collect()
    }

    /// Checks a value. A wrong one is recorded and replaced by the default, so that all problems are found at once.
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

    /// Records that a value is wrong.
    pub(super) fn wrong(&mut self, env: &'static str, allowed: &str) {
        let found = self.values.get(env);
        let secret = KEYS.iter().any(|key| key.env == env && key.secret);
        self.problems.push(Problem {
            key: found.map_or_else(|| env.to_owned(), |f| f.name.clone()),
            value: found.map(|f| if secret { "(hidden)".to_owned() } else { f.value.chars().take(200).collect() }),
            source: found.map_or_else(|| "default".to_owned(), |f| f.source.clone()),
            allowed: allowed.to_owned(),
        });
    }
}

/// Finds the known name that an unknown one probably misspells; case is ignored.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let upper = name.to_ascii_uppercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&upper, &known.to_ascii_uppercase());
    let far = |known: &str| if known.len() < 6 { 0 } else { 2 };
    let mut best = None;
    for known in known {
        let distance = distance(known);
        if known == name {
            return None;
        }
        if distance <= far(known) && best.is_none_or(|(_, least)| distance < least) {
            best = Some((known, distance));
        }
    }
    best.map(|(known, _)| known)
}

fn line_at(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(1, |before| before.matches('\n').count() + 1)
}

/// The line number and the fault, without the line itself: it may hold a secret.
pub(super) fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => format!("line {} is not valid TOML: {}", line_at(text, span.start), error.message()),
        None => format!("is not valid TOML: {}", error.message()),
    }
}

/// Converts a value to the text that the other layers would have, or returns the allowed types.
fn scalar(value: &DeValue<'_>, switch: bool) -> Result<String, &'static str> {
    const ALLOWED: &str = "use a string, a number, or a list of strings";
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map(|n| n.to_string()).map_err(|_| ALLOWED)
        }
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(on) if switch => Ok(on.to_string()),
        // `network = true` would mean a network named `true`.
        DeValue::Boolean(_) => Err("is no switch: use a string in quotes, a number, or a list of strings"),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(",")).ok_or(ALLOWED)
        }
        _ => Err(ALLOWED),
    }
}
