//! Reads the settings and checks them as a whole.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;

use super::answering::{self, Keys};
use super::bounds::{self, Bounds};
use super::home::Home;
use super::layers::{ConfigError, KEYS, Layers, Problem};
use super::proxies::{self, Proxies};
use super::settings::{Limits, LogFormat, LogLevel, Settings};
use super::{extras, prices, provider, secrets, values};
use crate::domain::group::ContainerConfig;
use crate::domain::prices::Prices;
use crate::domain::usage::Budget;

/// The longest time any timeout may be: a week.
const MAX_MS: u64 = 7 * 24 * 3600 * 1000;
/// The largest an output or a kept log may be.
const MAX_BYTES: u64 = 1 << 30;

/// Where an installation is, below the user's home, unless something else says where.
const DEFAULT_HOME: &str = ".local/share/parlor";
/// What the image `full` is made on.
const DEFAULT_BASE: &str = "docker.io/library/debian:12-slim";
/// The version of Claude Code that Parlor was tested with.
const DEFAULT_CLAUDE: &str = "2.1.329";
/// The versions of the other agents' programs that Parlor was tested with.
const DEFAULT_CODEX: &str = "0.169.0";
const DEFAULT_GEMINI: &str = "0.61.0";

/// What the command line sets.
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

/// Reads the settings from the command line, the environment, `.env` and `parlor.toml`. The error lists all that is wrong.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigError> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    load_from(overrides, &environment(), &here)
}

/// The settings with defaults in place of what is wrong, and all that is to be said of them.
#[derive(Debug)]
pub struct Examined {
    /// Usable by whoever does not depend on what is wrong.
    pub settings: Settings,
    /// By the name in the environment, where each setting was found that is not the default.
    pub origins: BTreeMap<&'static str, String>,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// [`load`] for those who show settings, and for commands that need only the home.
pub fn examine(overrides: &Overrides) -> Examined {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    examine_from(overrides, &environment(), &here)
}

/// What of the environment can be a setting. What is not UTF-8 is shown as such and then refused by its check.
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

/// [`load`] with the environment and the current folder given.
pub fn load_from(
    overrides: &Overrides,
    environment: &BTreeMap<String, String>,
    here: &Path,
) -> Result<Settings, ConfigError> {
    let Examined { settings, problems, .. } = examine_from(overrides, environment, here);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems }) }
}

/// [`examine`] with the environment and the current folder given.
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
    let mut settings = check(&mut layers, home, user_home.as_deref());
    answers(&mut layers, &settings);
    settings.warnings = std::mem::take(&mut layers.warnings);
    let named = overrides.home.is_some() || environment.get("PARLOR_HOME").is_some_and(|home| !home.is_empty());
    if !named {
        settings.home_otherwise = home_otherwise(&settings.home, here, user_home.as_deref());
    }
    settings.proxies = Proxies::of(environment);
    Examined { settings, origins: layers.origins(), problems: layers.problems }
}

/// The installation's folder: as told, else the current folder when it is one, else below the user's home.
fn home(
    layers: &mut Layers,
    overrides: &Overrides,
    environment: &BTreeMap<String, String>,
    here: &Path,
    user_home: Option<&Path>,
) -> Home {
    let told = overrides.home.clone().map(|h| (h, "command line")).or_else(|| {
        environment.get("PARLOR_HOME").filter(|h| !h.is_empty()).map(|h| (PathBuf::from(h), "environment"))
    });
    let (path, source) = match (told, user_home) {
        (Some(told), _) => told,
        (None, _) if is_installation(here) => (here.to_owned(), "current folder"),
        (None, Some(user_home)) => (user_home.join(DEFAULT_HOME), "default"),
        (None, None) => {
            layers.file_problem(
                "PARLOR_HOME",
                "environment",
                "there is no HOME to put the installation below: give --home DIR or set PARLOR_HOME".into(),
            );
            (here.to_owned(), "current folder")
        }
    };
    let path = absolute(here, &path);
    if let Err(why) = plain_path(&path) {
        layers.file_problem("PARLOR_HOME", source, format!("{why}: choose another folder for the installation"));
    }
    Home::new(path)
}

/// Whether a folder that nobody named is an installation: it has a `groups/`. Parlor's own sources have one, too, and are
/// none unless a host has run there.
fn is_installation(folder: &Path) -> bool {
    let is_source = || folder.join("Cargo.toml").is_file() && folder.join("container/agent-runner").is_dir();
    folder.join("groups").is_dir() && (!is_source() || folder.join("data/parlor.db").exists())
}

/// Where the installation would be in any other folder; none where it is, or was named.
fn home_otherwise(home: &Home, here: &Path, user_home: Option<&Path>) -> Option<PathBuf> {
    let default = user_home?.join(DEFAULT_HOME);
    (home.root() == absolute(here, here) && home.root() != absolute(here, &default)).then_some(default)
}

/// Absolute, without links where it exists.
fn absolute(here: &Path, path: &Path) -> PathBuf {
    let joined = here.join(path);
    joined.canonicalize().unwrap_or_else(|_| {
        let mut clean = PathBuf::new();
        for part in joined.components() {
            match part {
                Component::ParentDir => drop(clean.pop()),
                Component::CurDir => {}
                other => clean.push(other),
            }
        }
        // What exists of it may be reached through links all the same.
        match (clean.parent().and_then(|p| p.canonicalize().ok()), clean.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => clean,
        }
    })
}

/// Every mount's host path begins with it, and engines take mounts apart at these characters.
fn plain_path(path: &Path) -> Result<(), String> {
    match path.to_str() {
        None => Err(format!("{} is not valid UTF-8", path.display())),
        Some(text) => match text.chars().find(|c| matches!(c, ':' | ',' | '"') || c.is_control()) {
            Some(c) => Err(format!("{text:?} contains {c:?}, which container engines cannot mount")),
            None => Ok(()),
        },
    }
}

fn check(layers: &mut Layers, home: Home, user_home: Option<&Path>) -> Settings {
    let timeout = |layers: &mut Layers, key, default| {
        let allowed = format!("milliseconds, a whole number from 1 to {MAX_MS} (a week)");
        Duration::from_millis(layers.take(key, default, &allowed, |v| values::number(v, 1, MAX_MS)))
    };
    let bytes = |layers: &mut Layers, key, default| {
        let allowed = format!("bytes, a whole number from 1024 to {MAX_BYTES}");
        layers.take(key, default, &allowed, |v| values::number(v, 1024, MAX_BYTES)) as usize
    };
    let config_dir = config_dir(layers, &home, user_home);
    let (listen, token) = listen(layers);
    let provider = provider_name(layers);
    Settings {
        home_otherwise: None,
        proxies: Proxies::default(),
        config_dir,
        user_home: user_home.map(Path::to_owned),
        assistant_name: assistant_name(layers),
        image: layers.take("CONTAINER_IMAGE", None, "an image reference, for example registry.example/agent:1", |v| {
            values::image(v).ok().map(Some)
        }),
        image_base: layers.take(
            "PARLOR_IMAGE_BASE",
            DEFAULT_BASE.to_owned(),
            "the reference of an image with Debian 12 or newer, for example debian:12-slim",
            |v| values::image(v).ok(),
        ),
        claude_version: layers.take(
            "PARLOR_CLAUDE_VERSION",
            DEFAULT_CLAUDE.to_owned(),
            "a version of @anthropic-ai/claude-code, for example 2.1.329",
            values::version,
        ),
        image_with: extras::with_provider(
            layers.take("PARLOR_IMAGE_WITH", Vec::new(), extras::ALLOWED, extras::list),
            &provider,
        ),
        codex_version: layers.take(
            "PARLOR_CODEX_VERSION",
            DEFAULT_CODEX.to_owned(),
            "a version of @openai/codex, for example 0.169.0",
            values::version,
        ),
        gemini_version: layers.take(
            "PARLOR_GEMINI_VERSION",
            DEFAULT_GEMINI.to_owned(),
            "a version of @google/gemini-cli, for example 0.61.0",
            values::version,
        ),
        container_timeout: timeout(layers, "CONTAINER_TIMEOUT", 1_800_000),
        idle_timeout: timeout(layers, "IDLE_TIMEOUT", 1_800_000),
        max_log_bytes: bytes(layers, "CONTAINER_MAX_OUTPUT_SIZE", 10 << 20),
        max_output_bytes: bytes(layers, "PARLOR_MAX_RESULT_SIZE", 128 << 20),
        max_file_bytes: bytes(layers, "PARLOR_MAX_FILE_SIZE", 20 << 20),
        max_attachment_bytes: bytes(layers, "PARLOR_MAX_ATTACHMENT_BYTES", 25 << 20),
        turn_limit: timeout(layers, "PARLOR_TURN_LIMIT", 4 * 3600 * 1000),
        max_containers: layers
            .take("MAX_CONCURRENT_CONTAINERS", 5, "a whole number from 1 to 1000", |v| values::number(v, 1, 1000))
            as usize,
        timezone: timezone(layers),
        log_level: layers.take("LOG_LEVEL", LogLevel::Info, LogLevel::ALLOWED, LogLevel::parse),
        log_format: layers.take("LOG_FORMAT", LogFormat::Text, LogFormat::ALLOWED, LogFormat::parse),
        runtime: layers.take("CONTAINER_RUNTIME", None, "docker, podman, or the absolute path of one of them", |v| {
            runtime(v).map(Some)
        }),
        provider,
        model: layers.take("PARLOR_MODEL", None, "the name of a model, one word that does not begin with `-`", |v| {
            values::model(v).ok().map(Some)
        }),
        fallback: layers.take("PARLOR_FALLBACK", Vec::new(), answering::ALLOWED, answering::list),
        fallback_dearer: layers.take("PARLOR_FALLBACK_DEARER", false, "1 or 0", values::switch),
        prices: own_prices(layers, &home),
        bounds: agent_bounds(layers),
        listen,
        token,
        secret_keys: layers.take(
            "PARLOR_SECRET_KEYS",
            secrets::DEFAULT_KEYS.map(str::to_owned).to_vec(),
            "names of environment variables, separated by commas",
            secret_keys,
        ),
        agent_runner_src: folder(layers, &home, "AGENT_RUNNER_SRC", user_home),
        skills_dir: folder(layers, &home, "PARLOR_SKILLS", user_home),
        limits: limits(layers),
        network: layers.take("PARLOR_NETWORK", None, "none, default, or the name of a network; not host", |v| {
            values::network(v).ok().map(Some)
        }),
        budget: budget(layers),
        keep_days: layers.take("PARLOR_KEEP_DAYS", Some(90), "days, from 7 to 36500, or 0 for ever", |v| {
            let days = values::number(v, 0, 36_500)?;
            (days == 0 || days >= 7).then(|| u32::try_from(days).ok().filter(|days| *days > 0))
        }),
        trigger_anywhere: layers.take("PARLOR_TRIGGER_ANYWHERE", false, "1 or 0", values::switch),
        trigger_max_age: layers.take(
            "PARLOR_TRIGGER_MAX_AGE",
            Some(Duration::from_secs(3 * 24 * 3600)),
            "whole milliseconds from 60000, or 0 for any age",
            |v| {
                let ms = values::number(v, 0, 315_360_000_000)?;
                (ms == 0 || ms >= 60_000).then(|| (ms > 0).then(|| Duration::from_millis(ms)))
            },
        ),
        shutdown_grace: timeout(layers, "PARLOR_SHUTDOWN_GRACE", 20_000),
        settle: layers.take("PARLOR_SETTLE", Duration::ZERO, "whole milliseconds from 0 to 60000", |v| {
            values::number(v, 0, values::MAX_SETTLE_MS).map(Duration::from_millis)
        }),
        warnings: Vec::new(),
        home,
    }
}

fn own_prices(layers: &mut Layers, home: &Home) -> Prices {
    let path = home.prices_file();
    prices::read(&path).unwrap_or_else(|wrong| {
        for (name, why) in wrong {
            layers.file_problem(&name, &path.display().to_string(), why);
        }
        Prices::default()
    })
}

/// What the settings say of who answers and of money, as far as it concerns every group.
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

fn provider_name(layers: &mut Layers) -> String {
    let allowed = format!("use {} or {}", provider::AUTO, provider::PROVIDERS.join(", "));
    layers.take("PARLOR_PROVIDER", provider::AUTO.to_owned(), &allowed, |v| {
        (v.trim() == provider::AUTO || provider::parse(v).is_ok()).then(|| v.trim().to_owned())
    })
}

fn assistant_name(layers: &mut Layers) -> String {
    layers.take("ASSISTANT_NAME", "Andy".to_owned(), "a name of 1 to 64 characters", |v| {
        let name = v.trim();
        let fine = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fine.then(|| name.to_owned())
    })
}

fn agent_bounds(layers: &mut Layers) -> Bounds {
    let default = Bounds::default();
    let providers = format!("a list out of {}", provider::PROVIDERS.join(", "));
    Bounds {
        may: layers.take("PARLOR_AGENT_MAY", default.may, bounds::ALLOWED, bounds::kinds),
        models: layers.take(
            "PARLOR_AGENT_MODELS",
            default.models,
            "names of models, separated by commas; a * only at a name's end",
            bounds::models,
        ),
        providers: layers
            .take("PARLOR_AGENT_PROVIDERS", default.providers, &providers, |v| bounds::providers(v).map(Some)),
    }
}

fn budget(layers: &mut Layers) -> Budget {
    Budget {
        usd: layers.take("PARLOR_BUDGET_USD", None, values::BUDGET_USD, |v| values::dollars(v).map(Some)),
        tokens: layers.take("PARLOR_BUDGET_TOKENS", None, values::BUDGET_TOKENS, |v| {
            values::number(v, 1, values::MAX_BUDGET_TOKENS).map(Some)
        }),
    }
}

fn limits(layers: &mut Layers) -> Limits {
    Limits {
        memory: layers
            .take("PARLOR_MEMORY", "2g".to_owned(), "from 6m to 1024g, for example 2g", |v| values::memory(v).ok()),
        cpus: layers
            .take("PARLOR_CPUS", "2".to_owned(), "a decimal number from 0.01 to 1024", |v| values::cpus(v).ok()),
        pids: layers.take("PARLOR_PIDS", 512, "a whole number from 16 to 4194304", |v| {
            values::number(v, 0, u64::MAX).and_then(|n| values::pids(n).ok())
        }),
    }
}

fn config_dir(layers: &mut Layers, home: &Home, user_home: Option<&Path>) -> PathBuf {
    let told = layers.get("PARLOR_CONFIG_DIR").map(|f| PathBuf::from(f.value.trim()));
    let Some(dir) = told.or_else(|| user_home.map(|h| h.join(".config/parlor"))) else {
        layers.wrong("PARLOR_CONFIG_DIR", "there is no HOME to look for the allowlists below: set PARLOR_CONFIG_DIR");
        return PathBuf::from("/etc/parlor");
    };
    if !dir.is_absolute() {
        layers.wrong("PARLOR_CONFIG_DIR", "use an absolute path");
    }
    let dir = dir.canonicalize().unwrap_or(dir);
    // Main sees the installation: rules that lie in it would not be out of an agent's sight.
    if dir.starts_with(home.root()) {
        layers.wrong("PARLOR_CONFIG_DIR", &format!("{} lies inside the installation: put it elsewhere", dir.display()));
    }
    dir
}

fn listen(layers: &mut Layers) -> (Option<std::net::SocketAddr>, Option<SecretString>) {
    let listen = layers.take("PARLOR_LISTEN", None, "an address and a port, for example 127.0.0.1:7780", |v| {
        values::address(v).map(Some)
    });
    let public = layers.take("PARLOR_LISTEN_PUBLIC", false, "1 or 0", values::switch);
    let token = layers.take("PARLOR_TOKEN", None, "16 to 512 visible ASCII characters", |v| {
        let v = v.trim();
        let fine = (16..=512).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic());
        fine.then(|| Some(SecretString::from(v)))
    });
    if let Some(address) = listen {
        if layers.get("PARLOR_TOKEN").is_none() {
            layers.wrong("PARLOR_LISTEN", "needs PARLOR_TOKEN: set a token of at least 16 characters");
        }
        if !address.ip().is_loopback() && !public {
            layers.wrong(
                "PARLOR_LISTEN",
                "is reachable from other machines: use 127.0.0.1, or set PARLOR_LISTEN_PUBLIC=1 if that is meant",
            );
        }
    }
    (listen, token)
}

fn timezone(layers: &mut Layers) -> Tz {
    if layers.get("TZ").is_some() {
        let allowed = "an IANA time zone such as Europe/Berlin, America/New_York or UTC";
        return layers.take("TZ", Tz::UTC, allowed, zone);
    }
    let name = iana_time_zone::get_timezone().unwrap_or_default();
    name.parse().unwrap_or_else(|_| {
        if !name.is_empty() {
            layers.warnings.push(format!("the system's time zone {name:?} is not known: using UTC; TZ sets another"));
        }
        Tz::UTC
    })
}

/// A zone by its name, or by its file as `TZ` may name it: `:Europe/Berlin`, `:/etc/localtime`,
/// `/usr/share/zoneinfo/Europe/Berlin`.
fn zone(text: &str) -> Option<Tz> {
    let text = text.trim();
    let text = text.strip_prefix(':').unwrap_or(text);
    if !text.starts_with('/') {
        return text.parse().ok();
    }
    let named = |path: &str| {
        let (_, name) = path.split_once("/zoneinfo/")?;
        let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
        name.parse().ok()
    };
    let resolved = Path::new(text).canonicalize().ok();
    let by_link = resolved.as_deref().and_then(Path::to_str).and_then(named);
    // A copy of the zone's file has no name; the system knows that of its own.
    let by_system = || (text == "/etc/localtime").then(iana_time_zone::get_timezone)?.ok()?.parse().ok();
    named(text).or(by_link).or_else(by_system)
}

fn runtime(text: &str) -> Option<String> {
    let text = text.trim();
    let known = matches!(text, "docker" | "podman") || Path::new(text).is_absolute();
    known.then(|| text.to_owned())
}

fn secret_keys(text: &str) -> Option<Vec<String>> {
    let keys: Vec<String> = text.split(',').map(str::trim).filter(|k| !k.is_empty()).map(str::to_owned).collect();
    keys.iter().all(|key| values::env_name(key)).then_some(keys)
}

/// A folder that must exist, relative to the installation.
fn folder(layers: &mut Layers, home: &Home, key: &'static str, user_home: Option<&Path>) -> Option<PathBuf> {
    layers.take(key, None, "a folder that exists", |v| {
        let v = v.trim();
        let path = match (v.strip_prefix("~/"), user_home) {
            (Some(rest), Some(user_home)) => user_home.join(rest),
            _ => home.root().join(v),
        };
        path.canonicalize().ok().filter(|p| p.is_dir()).map(Some)
    })
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
