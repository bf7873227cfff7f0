//! Every setting with its default, its check, and the message for a wrong value.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;

use super::bounds::{self, Bounds};
use super::home::Home;
use super::layers::Layers;
use super::proxies::Proxies;
use super::settings::{Limits, LogFormat, LogLevel, Settings};
use super::{answering, extras, prices, provider, secrets, values};
use crate::domain::prices::Prices;
use crate::domain::usage::Budget;

/// The upper limit of all timeouts: a week.
const MAX_MS: u64 = 7 * 24 * 3600 * 1000;
/// The upper limit of an output and of a run's log.
const MAX_BYTES: u64 = 1 << 30;

/// The base of the image `full`.
const DEFAULT_BASE: &str = "docker.io/library/debian:12-slim";
/// The version of Claude Code with which Parlor was tested.
const DEFAULT_CLAUDE: &str = "2.1.329";
/// The tested versions of the other vendors' programs.
const DEFAULT_CODEX: &str = "0.169.0";
const DEFAULT_GEMINI: &str = "0.61.0";

/// Checks the values of all layers. A wrong value is replaced by its default, and `layers` records the problem.
pub(super) fn settings(layers: &mut Layers, home: Home, user_home: Option<&Path>) -> Settings {
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
    // Main can see the installation: an agent could read rules that lie in it.
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

/// Parses a time zone given by its name, or by its file as `TZ` allows: `:Europe/Berlin`, `:/etc/localtime`,
/// `/usr/share/zoneinfo/Europe/Berlin`.
pub(super) fn zone(text: &str) -> Option<Tz> {
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
    // If `/etc/localtime` is a copy and no link, it has no name; the system may know the name.
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

/// Checks that a folder exists; a relative path starts at the installation.
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
