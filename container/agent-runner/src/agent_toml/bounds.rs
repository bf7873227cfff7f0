//! The operator's limits on the settings that a group may choose for itself.

use parlor_protocol::{AgentMay, RunInput};

/// Kinds of settings that a group may set by default: a host that does not know this limit sends none.
const DEFAULT: [&str; 6] = ["model", "prompt", "tools", "mcp", "hooks", "env"];

/// The limits that the host sent for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    set: Vec<String>,
    models: Vec<String>,
    /// Problems that the host found in the file.
    pub(super) notes: Vec<String>,
}

impl Bounds {
    /// Reads the limits from the run's input.
    pub fn of(input: &RunInput) -> Self {
        match &input.agent_may {
            None => Self { set: DEFAULT.map(str::to_owned).to_vec(), models: Vec::new(), notes: Vec::new() },
            Some(AgentMay { set, models, notes }) => {
                Self { set: set.clone(), models: models.clone(), notes: notes.clone() }
            }
        }
    }

    /// Checks that the group may set this kind of setting.
    pub(super) fn may(&self, kind: &str) -> Result<(), String> {
        if self.set.iter().any(|allowed| allowed == kind) {
            return Ok(());
        }
        Err(format!("the operator keeps it to himself (agent_may has no {kind:?})"))
    }

    /// Returns the model if the operator allows it.
    pub(super) fn model(&self, name: String) -> Result<String, String> {
        if self.models.is_empty() || self.models.iter().any(|pattern| matches(pattern, &name)) {
            return Ok(name);
        }
        Err(format!("the operator allows only these models: {}", self.models.join(", ")))
    }
}

/// Returns true if the name fits the pattern; a `*` at the pattern's end stands for any rest.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
