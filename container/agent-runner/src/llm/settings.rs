//! A group's settings for this provider: the common ones, and its own keys.

use parlor_protocol::RunInput;
use toml::Value;

use super::hooks::EVENTS;
use crate::agent_toml::{AgentToml, float, number, table};

/// The default limit of a conversation, in estimated tokens.
pub const DEFAULT_BUDGET: usize = 100_000;

/// The group's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The settings that all providers share.
    pub common: AgentToml,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Estimated tokens above which older turns are summarised; None leaves the limit to the server.
    pub context_tokens: Option<usize>,
    /// Most requests to the model in one turn.
    pub max_steps: usize,
    /// US dollars for a million tokens, input and output; None reports no cost.
    pub price: Option<(f64, f64)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: AgentToml::default(),
            max_tokens: None,
            temperature: None,
            context_tokens: None,
            max_steps: 100,
            price: None,
        }
    }
}

impl Settings {
    /// Reads the settings of a run.
    pub fn read(input: &RunInput) -> Self {
        Self::of(AgentToml::read(input))
    }

    fn of(mut common: AgentToml) -> Self {
        let mut settings = Self::default();
        common.own(|key, value| settings.set(key, value));
        common.keep_hooks("llm", &EVENTS);
        Self { common, ..settings }
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "max_tokens" => self.max_tokens = Some(number(value, 1, 1_000_000)? as u32),
            "context_tokens" => self.context_tokens = Some(number(value, 1_000, 10_000_000)?),
            "max_steps" => self.max_steps = number(value, 1, 1_000)?,
            "temperature" => self.temperature = Some(float(value, 2.0)?),
            "price" => {
                let table = table(value)?;
                let part = |name: &str| table.get(name).ok_or("it needs input and output").map(|v| float(v, 1e6));
                self.price = Some((part("input")??, part("output")??));
            }
            _ => {
                return Err("[llm] has no such setting; it has max_tokens, temperature, context_tokens, max_steps, \
                            price.input and price.output"
                    .to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Settings {
        let input = RunInput { provider: Some("llm".into()), ..RunInput::default() };
        Settings::of(AgentToml::parse(text, &input))
    }

    #[test]
    fn settings_may_stand_at_the_top_or_in_the_table() {
        let at_top = "max_tokens = 4096\ntemperature = 1\ncontext_tokens = 50000\nmax_steps = 7\n[price]\ninput = 3\noutput = 15.5\n";
        let in_table = "[llm]\nmax_tokens = 4096\ntemperature = 1\ncontext_tokens = 50000\nmax_steps = 7\nprice = { input = 3, output = 15.5 }\n";
        for text in [at_top, in_table] {
            let settings = parse(text);
            assert_eq!(settings.common.problems(), Vec::<String>::new());
            assert_eq!(
                (settings.max_tokens, settings.max_steps, settings.context_tokens),
                (Some(4096), 7, Some(50_000))
            );
            assert_eq!((settings.temperature, settings.price), (Some(1.0), Some((3.0, 15.5))));
        }
    }

    #[test]
    fn settings_in_the_table_win_and_wrong_ones_are_reported() {
        let settings = parse("max_steps = 3\nmax_tokens = 'many'\n[llm]\nmax_steps = 4\nmodel = 'm'\n");
        assert_eq!(settings.max_steps, 4);
        let told = settings.common.problems().join("\n");
        assert!(told.contains("max_tokens is left out: it must be a whole number"), "{told}");
        assert!(told.contains("model is left out: [llm] has no such setting"), "{told}");
    }
}
