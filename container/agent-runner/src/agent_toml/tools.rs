//! `tools`: the tools that an agent may use. A faulty entry allows nothing, since it may have been meant to forbid.

use toml::Value;

use super::{bounds, parse};

/// The tools that an agent may use, by their provider's names. A `*` at a name's end stands for any rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    /// Only these; None allows all.
    pub allow: Option<Vec<String>>,
    /// Never these.
    pub deny: Vec<String>,
}

impl Tools {
    /// Allows no tool at all.
    pub fn none() -> Self {
        Self { allow: Some(Vec::new()), deny: vec!["*".to_owned()] }
    }

    /// Returns true if a tool may be offered.
    pub fn allows(&self, tool: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|pattern| bounds::matches(pattern, tool));
        self.allow.as_deref().is_none_or(named) && !named(&self.deny)
    }

    /// Returns the parsed setting, and each fault with the key that has it.
    pub(super) fn parse(value: &Value) -> (Self, Vec<(String, String)>) {
        let mut tools = Self::default();
        let mut faults = Vec::new();
        let table = match parse::table(value) {
            Ok(table) => table,
            Err(why) => return (Self::none(), vec![("tools".to_owned(), why)]),
        };
        for (key, value) in table {
            let names = parse::names(value);
            match (key.as_str(), names) {
                ("allow", Ok(names)) => tools.allow = Some(names),
                ("deny", Ok(names)) => tools.deny = names,
                ("allow" | "deny", Err(why)) => faults.push((format!("tools.{key}"), why)),
                (other, _) => {
                    let shown: String = other.chars().take(40).collect();
                    faults
                        .push((format!("tools.{shown}"), "there is no such list; there are allow and deny".to_owned()));
                }
            }
        }
        if faults.is_empty() { (tools, faults) } else { (Self::none(), faults) }
    }
}
