//! A group's own settings: `/app/agent/agent.toml`. What is wrong in it is told and left out, never fatal: the group's
//! agent must stay able to put it right.

use std::path::Path;

use toml::{Table, Value};

/// Tables of the file that belong to other providers.
const FOREIGN: [&str; 4] = ["claude", "exec", "guide", "image"];

/// What a group may set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The model, unless the operator chose one for the group.
    pub model: Option<String>,
    /// Added to the system prompt.
    pub system_prompt: Option<String>,
    /// Only these tools; none allows all.
    pub allow: Option<Vec<String>>,
    /// Never these tools.
    pub deny: Vec<String>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// How free the model chooses its words.
    pub temperature: Option<f64>,
    /// Estimated tokens from which on older turns are summarised.
    pub context_tokens: usize,
    /// Model requests in one turn.
    pub max_steps: usize,
    /// US dollars for a million tokens, in and out; without them no cost is reported.
    pub price: Option<(f64, f64)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            system_prompt: None,
            allow: None,
            deny: Vec::new(),
            max_tokens: None,
            temperature: None,
            context_tokens: 100_000,
            max_steps: 100,
            price: None,
        }
    }
}

impl Settings {
    /// Reads the file, and says what in it is not used. A missing file sets nothing.
    pub fn read(path: &Path) -> (Self, Vec<String>) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let (settings, problems) = Self::parse(&text);
                (settings, problems.into_iter().map(|problem| format!("{}: {problem}", path.display())).collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Self::default(), Vec::new()),
            Err(error) => (Self::default(), vec![format!("{} cannot be read: {error}", path.display())]),
        }
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut settings = Self::default();
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return (settings, vec![format!("it is not TOML, so nothing in it counts: {error}")]),
        };
        let mut problems = Vec::new();
        for (key, value) in &table {
            if FOREIGN.contains(&key.as_str()) {
                continue;
            }
            if let Err(allowed) = settings.set(key, value) {
                problems.push(format!("{key} is left out: {allowed}"));
            }
        }
        (settings, problems)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "model" => self.model = Some(text(value)?),
            "system_prompt" => self.system_prompt = Some(text(value)?),
            "max_tokens" => self.max_tokens = Some(number(value, 1, 1_000_000)? as u32),
            "context_tokens" => self.context_tokens = number(value, 1_000, 10_000_000)?,
            "max_steps" => self.max_steps = number(value, 1, 1_000)?,
            "temperature" => self.temperature = Some(float(value, 2.0)?),
            "tools" => {
                for (key, value) in table(value)? {
                    match key.as_str() {
                        "allow" => self.allow = Some(names(value)?),
                        "deny" => self.deny = names(value)?,
                        other => return Err(format!("tools has no {other:?}; it has allow and deny")),
                    }
                }
            }
            "price" => {
                let table = table(value)?;
                let part = |name: &str| table.get(name).ok_or("it needs input and output").map(|v| float(v, 1e6));
                self.price = Some((part("input")??, part("output")??));
            }
            _ => {
                return Err("there is no such setting; there are model, system_prompt, tools.allow, tools.deny, \
                            max_tokens, temperature, context_tokens, max_steps, price.input and price.output"
                    .to_owned());
            }
        }
        Ok(())
    }

    /// Whether a tool may be offered.
    pub fn allows(&self, tool: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == tool);
        self.allow.as_deref().is_none_or(named) && !named(&self.deny)
    }
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| "it must be a text".to_owned())
}

fn number(value: &Value, least: usize, most: usize) -> Result<usize, String> {
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it must be a whole number from {least} to {most}"))
}

fn float(value: &Value, most: f64) -> Result<f64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    number.filter(|number| (0.0..=most).contains(number)).ok_or_else(|| format!("it must be a number from 0 to {most}"))
}

fn table(value: &Value) -> Result<&Table, String> {
    value.as_table().ok_or_else(|| "it must be a table".to_owned())
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().map(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    list.flatten().ok_or_else(|| "it must be a list of tools' names".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_set() {
        let text = "model = 'm'\nsystem_prompt = 'Be kind.'\nmax_tokens = 4096\ntemperature = 1\ncontext_tokens = 50000\n\
                    max_steps = 7\n[tools]\nallow = ['shell', 'fetch']\ndeny = ['fetch']\n[price]\ninput = 3\noutput = 15.5\n\
                    [claude]\neffort = 'high'\n";
        let (settings, problems) = Settings::parse(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((settings.model.as_deref(), settings.max_tokens, settings.max_steps), (Some("m"), Some(4096), 7));
        assert_eq!((settings.temperature, settings.price), (Some(1.0), Some((3.0, 15.5))));
        assert!(settings.allows("shell") && !settings.allows("fetch") && !settings.allows("read_file"));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_counts() {
        let (settings, problems) =
            Settings::parse("modell = 'x'\nmax_tokens = 'many'\nmodel = 'm'\n[tools]\nban = []\n");
        assert_eq!(settings.model.as_deref(), Some("m"));
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("modell is left out: there is no such setting")));
        assert!(problems.iter().any(|p| p.contains("max_tokens") && p.contains("whole number")));
        let (broken, problems) = Settings::parse("model = ");
        assert_eq!((broken, problems.len()), (Settings::default(), 1));
    }
}
