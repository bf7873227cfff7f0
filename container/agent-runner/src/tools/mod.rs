//! The host tools: one table that both the MCP server and the command line are made of.

pub mod actions;
pub mod check;
pub mod context;
pub mod table;

use serde_json::{Map, Value, json};

pub use context::Context;
pub use table::TABLE;

/// One tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name for models.
    pub name: &'static str,
    /// Its name on the command line.
    pub command: &'static str,
    /// What it does and answers, for models and people.
    pub about: &'static str,
    /// True if only the main group is offered it; the host holds every group to that.
    pub main_only: bool,
    /// True if it only looks.
    pub reads: bool,
    /// What it takes.
    pub args: &'static [Arg],
    /// Does it.
    pub run: Run,
}

/// The work of a tool.
pub type Run = fn(&Call<'_>) -> Result<Done, Trouble>;

/// One argument of a tool.
#[derive(Debug)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// True if it must be there.
    pub required: bool,
    /// True if only the main group is offered it.
    pub main_only: bool,
    /// What it means.
    pub about: &'static str,
    /// How the command line gives it.
    pub form: Form,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Yes or no.
    Flag,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A JSON object.
    Object,
}

/// How the command line gives an argument; the text is what the help calls its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One word in its place.
    Word(&'static str),
    /// All words that are left.
    Rest(&'static str),
    /// `--name VALUE`.
    Option(&'static str, &'static str),
    /// `--name`, which says no.
    Not(&'static str),
    /// One of `--cron`, `--every`, `--in` and `--once`, which say what kind of schedule it is and its value.
    When,
}

/// What a tool is called with.
#[derive(Debug)]
pub struct Call<'a> {
    /// The arguments, their shape checked.
    pub args: Map<String, Value>,
    /// Who calls.
    pub context: &'a Context,
}

/// What a tool says when it did what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// For people and models.
    pub text: String,
    /// The same for programs, where there is more to say.
    pub data: Option<Value>,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It was called wrongly.
    Usage(String),
    /// It was refused, or failed.
    Failed(String),
}

impl Trouble {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Usage(reason) | Self::Failed(reason) => reason,
        }
    }
}

impl Done {
    fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), data: None }
    }
}

impl Call<'_> {
    /// An argument's text; an empty one counts as left out.
    fn text(&self, name: &str) -> Option<String> {
        self.args.get(name)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// An argument that has to be there.
    fn need(&self, name: &str) -> Result<String, Trouble> {
        self.text(name).ok_or_else(|| Trouble::Usage(format!("{name} is missing or empty.")))
    }
}

impl Tool {
    /// Calls it: the shape of the arguments first, then what they say, then the host.
    pub fn call(&self, args: Map<String, Value>, context: &Context) -> Result<Done, Trouble> {
        let args = check::shape(self, args)?;
        (self.run)(&Call { args, context })
    }

    /// Its arguments as a JSON schema, as far as the caller is offered them.
    pub fn schema(&self, is_main: bool) -> Map<String, Value> {
        let offered = || self.args.iter().filter(|arg| is_main || !arg.main_only);
        let properties: Map<String, Value> = offered().map(|arg| (arg.name.to_owned(), arg.schema())).collect();
        let required: Vec<&str> = offered().filter(|arg| arg.required).map(|arg| arg.name).collect();
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), properties.into());
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        schema.insert("additionalProperties".into(), false.into());
        schema
    }
}

impl Arg {
    fn schema(&self) -> Value {
        match self.kind {
            Kind::Text => json!({"type": "string", "description": self.about}),
            Kind::Flag => json!({"type": "boolean", "description": self.about}),
            Kind::OneOf(words) => json!({"type": "string", "enum": words, "description": self.about}),
            Kind::Object => json!({"type": "object", "description": self.about}),
        }
    }
}

/// The tools that a caller is offered.
pub fn offered(is_main: bool) -> impl Iterator<Item = &'static Tool> {
    TABLE.iter().filter(move |tool| is_main || !tool.main_only)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_options_are_unique_and_everything_is_described() {
        let mut names = HashSet::new();
        for tool in TABLE {
            assert!(names.insert(tool.name), "{}", tool.name);
            assert!(tool.command == tool.name || names.insert(tool.command), "{}", tool.command);
            assert!(tool.about.ends_with('.'), "{}", tool.name);
            let mut args = HashSet::new();
            for arg in tool.args {
                assert!(args.insert(arg.name) && arg.about.ends_with('.'), "{} {}", tool.name, arg.name);
                if let Form::Option(option, _) | Form::Not(option) = arg.form {
                    assert!(args.insert(option) || option == arg.name, "{} --{option}", tool.name);
                }
            }
        }
    }

    #[test]
    fn a_plain_group_is_offered_less() {
        let names = |is_main| offered(is_main).map(|tool| tool.name).collect::<Vec<_>>();
        assert_eq!(names(true).len(), TABLE.len());
        assert!(!names(false).contains(&"register_group") && !names(false).contains(&"refresh_groups"));
        let send = TABLE.iter().find(|tool| tool.name == "send_message").unwrap();
        assert!(send.schema(true)["properties"].get("chatJid").is_some());
        assert!(send.schema(false)["properties"].get("chatJid").is_none());
        assert_eq!(send.schema(false)["required"], json!(["text"]));
    }
}
