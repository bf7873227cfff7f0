//! Decides whether a command can work despite wrong settings.

use super::client::Client;
use super::output::tell;
use super::{Command, Failure};
use crate::config::settings::Settings;
use crate::config::{ConfigError, Examined, Problem};

/// The settings for a command. If the command asks a host or needs only the installation's folder, defaults replace
/// wrong settings. Other commands fail.
pub(super) async fn settings(command: &Command, found: Examined) -> Result<Settings, Failure> {
    let Examined { settings, problems, .. } = found;
    if problems.is_empty() {
        return Ok(settings);
    }
    let typed = problems.iter().any(is_typed);
    if typed || !does_without(command, &settings).await {
        return Err(ConfigError { problems }.into());
    }
    tell(&note(&problems));
    Ok(settings)
}

/// Returns true for the command line, which can be corrected at once, and for the home: a wrong folder would mislead.
fn is_typed(problem: &Problem) -> bool {
    problem.source == "command line" || problem.key == "PARLOR_HOME"
}

async fn does_without(command: &Command, settings: &Settings) -> bool {
    match command {
        // A chat starts a host if none runs, and that host needs all settings.
        Command::Chat(_) => Client::of(settings).host().await.is_ok(),
        Command::Stop(_)
        | Command::Status(_)
        | Command::Groups(_)
        | Command::Tasks(_)
        | Command::Runs(_)
        | Command::Messages(_)
        | Command::Sessions(_)
        | Command::Outbox(_)
        | Command::Refusals(_)
        | Command::Usage(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Events(_)
        | Command::Logs(_)
        | Command::Doctor(_)
        | Command::Config(_)
        | Command::Completions(_)
        | Command::Man(_) => true,
        Command::Up { .. }
        | Command::Setup(_)
        | Command::Image(_)
        | Command::Import(_)
        | Command::Conformance(_)
        | Command::Service(_) => false,
    }
}

fn note(problems: &[Problem]) -> String {
    let mut keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.dedup();
    let are = if problems.len() == 1 { "setting is" } else { "settings are" };
    format!("({} {are} not right: {}; `parlor doctor` says why)", problems.len(), keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, source: &str) -> Problem {
        Problem { key: key.into(), value: Some("x".into()), source: source.into(), allowed: "use another".into() }
    }

    #[test]
    fn note_names_each_wrong_setting_once_on_one_line() {
        let problems = [problem("TZ", ".env, line 1"), problem("IDLE_TIMEOUT", "parlor.toml")];
        assert_eq!(note(&problems), "(2 settings are not right: TZ, IDLE_TIMEOUT; `parlor doctor` says why)");
        assert_eq!(note(&problems[..1]), "(1 setting is not right: TZ; `parlor doctor` says why)");
        assert!(is_typed(&problem("--provider", "command line")) && is_typed(&problem("PARLOR_HOME", "environment")));
        assert!(!is_typed(&problems[0]));
    }
}
