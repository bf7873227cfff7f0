//! Reads all settings and checks them as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::answering::{self, Keys};
use super::checked::{self, zone};
use super::layers::{ConfigError, KEYS, Layers, Problem};
use super::place::{home, home_otherwise};
use super::proxies::{self, Proxies};
use super::secrets;
use super::settings::{LogFormat, LogLevel, Settings};
use crate::domain::group::ContainerConfig;

/// The settings of the command line.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--home`.
    pub home: Option<PathBuf>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--provider`.
    pub provider: Option<String>,
    /// `--runtime`.
    pub runtime: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// Reads the settings from the command line, the environment, `.env` and `parlor.toml`. The error lists all problems.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigError> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    load_from(overrides, &environment(), &here)
}

/// The settings with defaults in place of wrong values, and all problems.
#[derive(Debug)]
pub struct Examined {
    /// The settings; usable if the caller does not depend on the wrong ones.
    pub settings: Settings,
    /// The place of each setting that is not the default, by its name in the environment.
    pub origins: BTreeMap<&'static str, String>,
    /// All problems, in the order in which they were found.
    pub problems: Vec<Problem>,
}

/// Like [`load`], for commands that show settings or need only the home.
pub fn examine(overrides: &Overrides) -> Examined {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    examine_from(overrides, &environment(), &here)
}

/// Returns the variables that may be settings. A value that is not UTF-8 is converted with replacement characters,
/// which its check refuses.
fn environment() -> BTreeMap<String, String> {
    let ours = |name: &str| {
        name.starts_with("PARLOR_")
            || name == "HOME"
            || proxies::NAMES.contains(&name)
            || KEYS.iter().any(|key| key.env == name)
    };
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), value))
        .filter(|(name, _)| ours(name))
        .map(|(n, v)| (n, text(v)))
        .collect()
}

/// Like [`load`], with the environment and the current folder given.
pub fn load_from(
    overrides: &Overrides,
    environment: &BTreeMap<String, String>,
    here: &Path,
) -> Result<Settings, ConfigError> {
    let Examined { settings, problems, .. } = examine_from(overrides, environment, here);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems }) }
}

/// Like [`examine`], with the environment and the current folder given.
pub fn examine_from(overrides: &Overrides, environment: &BTreeMap<String, String>, here: &Path) -> Examined {
    let user_home = environment.get("HOME").filter(|h| h.starts_with('/')).map(PathBuf::from);
    let mut layers = Layers::default();
    let home = home(&mut layers, overrides, environment, here, user_home.as_deref());
    layers.add_command_line(|name| {
        let (flag, value) = match name {
            "LOG_LEVEL" => ("--log-level", &overrides.log_level),
            "PARLOR_PROVIDER" => ("--provider", &overrides.provider),
            "CONTAINER_RUNTIME" => ("--runtime", &overrides.runtime),
            "PARLOR_LISTEN" => ("--listen", &overrides.listen),
            _ => return None,
        };
        value.clone().map(|value| (flag, value))
    });
    layers.add_environment(environment, |name, value| match name {
        "TZ" => zone(value).is_some(),
        "LOG_LEVEL" => LogLevel::parse(value).is_some(),
        "LOG_FORMAT" => LogFormat::parse(value).is_some(),
        _ => true,
    });
    let env_file = home.env_file();
    match secrets::read_env_file(&env_file) {
        Ok(found) => layers.add_env_file(&env_file, &found),
        Err(errors) => {
            for error in errors {
                layers.file_problem(".env", &env_file.display().to_string(), error.to_string());
            }
        }
    }
    layers.add_toml(&home.settings_file());
    let mut settings = checked::settings(&mut layers, home, user_home.as_deref());
    answers(&mut layers, &settings);
    settings.warnings = std::mem::take(&mut layers.warnings);
    let named = overrides.home.is_some() || environment.get("PARLOR_HOME").is_some_and(|home| !home.is_empty());
    if !named {
        settings.home_otherwise = home_otherwise(&settings.home, here, user_home.as_deref());
    }
    settings.proxies = Proxies::of(environment);
    Examined { settings, origins: layers.origins(), problems: layers.problems }
}

/// Checks the installation's fallbacks and its budget, as far as they apply to every group.
fn answers(layers: &mut Layers, settings: &Settings) {
    if !layers.problems.is_empty() || (settings.fallback.is_empty() && settings.budget.usd.is_none()) {
        return;
    }
    let keys = Keys::read(&settings.home, &settings.secret_keys);
    let group = ContainerConfig::default();
    if let Err(why) = answering::check_budget(settings, &group, &keys) {
        layers.wrong("PARLOR_BUDGET_USD", &why);
    }
    if let Some(why) = answering::chain(settings, &group, &keys).ok().and_then(|chain| chain.refused.into_iter().next())
    {
        layers.wrong("PARLOR_FALLBACK", &why);
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
