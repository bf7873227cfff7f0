//! The operator's bounds of a group's own choices.

use parlor_protocol::{AgentMay, RunInput};

/// Kinds of settings that a group may set where the operator says nothing: a host that knows no bounds sends none.
const DEFAULT: [&str; 6] = ["model", "prompt", "tools", "mcp", "hooks", "env"];

/// The operator's bounds for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    set: Vec<String>,
    models: Vec<String>,
    /// What the host found wrong with the file.
    pub(super) notes: Vec<String>,
}

impl Bounds {
    /// Those of a run.
    pub fn of(input: &RunInput) -> Self {
        match &input.agent_may {
            None => Self { set: DEFAULT.map(str::to_owned).to_vec(), models: Vec::new(), notes: Vec::new() },
            Some(AgentMay { set, models, notes }) => {
                Self { set: set.clone(), models: models.clone(), notes: notes.clone() }
            }
        }
    }

    /// Returns whether a kind of settings is the group's to choose.
    pub(super) fn may(&self, kind: &str) -> Result<(), String> {
        if self.set.iter().any(|allowed| allowed == kind) {
            return Ok(());
        }
        Err(format!("the operator keeps it to himself (agent_may has no {kind:?})"))
    }

    /// The model, if it may be chosen.
    pub(super) fn model(&self, name: String) -> Result<String, String> {
        if self.models.is_empty() || self.models.iter().any(|pattern| matches(pattern, &name)) {
            return Ok(name);
        }
        Err(format!("the operator allows only these models: {}", self.models.join(", ")))
    }
}

/// Returns true if a name is what a pattern says; a `*` at its end stands for any rest.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
