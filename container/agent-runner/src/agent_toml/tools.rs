//! `tools`: which tools an agent may use. What is wrong in it allows nothing, since nobody knows what it was to forbid.

use toml::Value;

use super::{bounds, parse};

/// Which tools an agent may use, by the names that its provider gives them. A `*` at a name's end stands for any rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    /// Only these; none allows all.
    pub allow: Option<Vec<String>>,
    /// Never these.
    pub deny: Vec<String>,
}

impl Tools {
    /// No tool at all.
    pub fn none() -> Self {
        Self { allow: Some(Vec::new()), deny: vec!["*".to_owned()] }
    }

    /// Returns true if a tool may be offered.
    pub fn allows(&self, tool: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|pattern| bounds::matches(pattern, tool));
        self.allow.as_deref().is_none_or(named) && !named(&self.deny)
    }

    /// Returns what the file says, and each of its faults with the key that has it.
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
