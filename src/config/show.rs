//! Converts the checked settings back to text. Pure.

use std::time::Duration;

use super::layers::KEYS;
use super::settings::Settings;

/// A setting with its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name in the environment and in `.env`.
    pub env: &'static str,
    /// Its name in `parlor.toml`.
    pub toml: &'static str,
    /// The effective value; None if there is none. Secrets are not shown.
    pub value: Option<String>,
}

/// All settings, in the order of the documentation.
pub fn all(settings: &Settings) -> Vec<Shown> {
    KEYS.iter().map(|key| Shown { env: key.env, toml: key.toml, value: value(settings, key.env) }).collect()
}

fn value(s: &Settings, env: &str) -> Option<String> {
    let list = |items: &[String]| items.join(",");
    Some(match env {
        "ASSISTANT_NAME" => s.assistant_name.clone(),
        "CONTAINER_IMAGE" => return s.image.clone(),
        "PARLOR_IMAGE_BASE" => s.image_base.clone(),
        "PARLOR_CLAUDE_VERSION" => s.claude_version.clone(),
        "PARLOR_IMAGE_WITH" if s.image_with.is_empty() => return None,
        "PARLOR_IMAGE_WITH" => s.image_with.iter().map(|extra| extra.as_str()).collect::<Vec<_>>().join(","),
        "PARLOR_CODEX_VERSION" => s.codex_version.clone(),
        "PARLOR_GEMINI_VERSION" => s.gemini_version.clone(),
        "CONTAINER_TIMEOUT" => milliseconds(s.container_timeout),
        "IDLE_TIMEOUT" => milliseconds(s.idle_timeout),
        "CONTAINER_MAX_OUTPUT_SIZE" => s.max_log_bytes.to_string(),
        "MAX_CONCURRENT_CONTAINERS" => s.max_containers.to_string(),
        "TZ" => s.timezone.name().to_owned(),
        "LOG_LEVEL" => s.log_level.as_str().to_owned(),
        "LOG_FORMAT" => s.log_format.as_str().to_owned(),
        "CONTAINER_RUNTIME" => return s.runtime.clone(),
        "AGENT_RUNNER_SRC" => return s.agent_runner_src.as_ref().map(|path| path.display().to_string()),
        "PARLOR_CONFIG_DIR" => s.config_dir.display().to_string(),
        "PARLOR_PROVIDER" => s.provider.clone(),
        "PARLOR_MODEL" => return s.model.clone(),
        "PARLOR_FALLBACK" if s.fallback.is_empty() => "none".to_owned(),
        "PARLOR_FALLBACK" => list(&s.fallback),
        "PARLOR_FALLBACK_DEARER" => u8::from(s.fallback_dearer).to_string(),
        "PARLOR_AGENT_MAY" if s.bounds.may.is_empty() => "none".to_owned(),
        "PARLOR_AGENT_MAY" => list(&s.bounds.may),
        "PARLOR_AGENT_MODELS" if s.bounds.models.is_empty() => return None,
        "PARLOR_AGENT_MODELS" => list(&s.bounds.models),
        "PARLOR_AGENT_PROVIDERS" => return s.bounds.providers.as_deref().map(list),
        "PARLOR_LISTEN" => return s.listen.map(|address| address.to_string()),
        "PARLOR_LISTEN_PUBLIC" => u8::from(s.listen.is_some_and(|address| !address.ip().is_loopback())).to_string(),
        "PARLOR_TOKEN" => return s.token.as_ref().map(|_| "(hidden)".to_owned()),
        "PARLOR_SECRET_KEYS" => list(&s.secret_keys),
        "PARLOR_SKILLS" => return s.skills_dir.as_ref().map(|path| path.display().to_string()),
        "PARLOR_MEMORY" => s.limits.memory.clone(),
        "PARLOR_CPUS" => s.limits.cpus.clone(),
        "PARLOR_PIDS" => s.limits.pids.to_string(),
        "PARLOR_NETWORK" => return s.network.clone(),
        "PARLOR_MAX_RESULT_SIZE" => s.max_output_bytes.to_string(),
        "PARLOR_MAX_FILE_SIZE" => s.max_file_bytes.to_string(),
        "PARLOR_MAX_ATTACHMENT_BYTES" => s.max_attachment_bytes.to_string(),
        "PARLOR_TURN_LIMIT" => milliseconds(s.turn_limit),
        "PARLOR_SHUTDOWN_GRACE" => milliseconds(s.shutdown_grace),
        "PARLOR_SETTLE" => milliseconds(s.settle),
        "PARLOR_BUDGET_USD" => return s.budget.usd.map(|usd| usd.to_string()),
        "PARLOR_BUDGET_TOKENS" => return s.budget.tokens.map(|tokens| tokens.to_string()),
        "PARLOR_TRIGGER_ANYWHERE" => u8::from(s.trigger_anywhere).to_string(),
        "PARLOR_TRIGGER_MAX_AGE" => milliseconds(s.trigger_max_age.unwrap_or_default()),
        "PARLOR_KEEP_DAYS" => s.keep_days.unwrap_or(0).to_string(),
        other => forgotten(other),
    })
}

/// The text for a setting without a case here; a test ensures that there is none.
fn forgotten(env: &str) -> String {
    format!("(the value of {env} cannot be shown)")
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, load_from};

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let mut all: BTreeMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.insert("HOME".into(), "/nonexistent/user".into());
        let overrides = Overrides { home: Some("/nonexistent/home".into()), ..Overrides::default() };
        load_from(&overrides, &all, Path::new("/")).unwrap()
    }

    #[test]
    fn shown_settings_are_complete_and_without_secrets() {
        let settings = settings(&[
            ("PARLOR_TOKEN", "0123456789abcdef"),
            ("PARLOR_LISTEN", "127.0.0.1:7780"),
            ("TZ", ":Europe/Berlin"),
            ("IDLE_TIMEOUT", " 2000 "),
        ]);
        let shown = all(&settings);
        assert_eq!(shown.len(), KEYS.len());
        for setting in &shown {
            let value = setting.value.as_deref().unwrap_or_default();
            assert!(!value.contains("cannot be shown") && !value.contains("0123456789abcdef"), "{setting:?}");
        }
        let value = |env: &str| shown.iter().find(|s| s.env == env).and_then(|s| s.value.as_deref());
        assert_eq!(value("TZ"), Some("Europe/Berlin"), "as it is in force, not as it was written");
        assert_eq!(value("IDLE_TIMEOUT"), Some("2000"));
        assert_eq!((value("PARLOR_TOKEN"), value("PARLOR_MODEL")), (Some("(hidden)"), None));
    }

    /// Every value shown can be set, and then means the same.
    #[test]
    fn shown_values_can_be_read_back() {
        let shown = all(&settings(&[("TZ", "Asia/Tokyo"), ("PARLOR_KEEP_DAYS", "0"), ("PARLOR_AGENT_MAY", "none")]));
        let again: Vec<(&str, &str)> =
            shown.iter().filter_map(|s| s.value.as_deref().map(|value| (s.env, value))).collect();
        assert_eq!(all(&settings(&again)), shown);
    }
}
