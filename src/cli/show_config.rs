//! `parlor config`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{say, say_json, table};
use super::{Done, Failure};
use crate::config::{Examined, Overrides, examine, show};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show every setting as it is in force
    Show {
        /// Where each value comes from: command line, environment, a line of .env or parlor.toml, or the default
        #[arg(long)]
        origin: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Config {
    pub(super) fn run(&self, overrides: &Overrides) -> Done {
        let Self::Show { origin, json } = *self;
        let found = examine(overrides);
        if json {
            say_json(&as_json(&found))?;
        } else {
            say(&as_table(&found, origin))?;
        }
        if found.problems.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(crate::config::ConfigError { problems: found.problems }.to_string()))
    }
}

const DEFAULT: &str = "default";

fn as_table(found: &Examined, origin: bool) -> String {
    let rows: Vec<Vec<String>> = show::all(&found.settings)
        .into_iter()
        .map(|setting| {
            let source = found.origins.get(setting.env).map_or(DEFAULT, String::as_str);
            let mut row = vec![setting.env.to_owned(), setting.value.unwrap_or_else(|| "-".to_owned())];
            row.extend(origin.then(|| source.to_owned()));
            row
        })
        .collect();
    let heading: &[&str] = if origin { &["SETTING", "VALUE", "FROM"] } else { &["SETTING", "VALUE"] };
    let warnings: String = found.settings.warnings.iter().flat_map(|warning| ["warning: ", warning, "\n"]).collect();
    let gap = if warnings.is_empty() { "" } else { "\n" };
    format!("home: {}\n\n{}{gap}{warnings}", found.settings.home.root().display(), table(heading, &rows))
}

fn as_json(found: &Examined) -> Value {
    let settings: Vec<Value> = show::all(&found.settings)
        .into_iter()
        .map(|setting| {
            let source = found.origins.get(setting.env).map_or(DEFAULT, String::as_str);
            json!({"setting": setting.env, "toml": setting.toml, "value": setting.value, "origin": source})
        })
        .collect();
    json!({
        "home": found.settings.home.root(),
        "settings": settings,
        "warnings": found.settings.warnings,
        "problems": found.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
