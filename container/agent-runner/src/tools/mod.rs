//! The host tools, of which both the MCP server and the command line are made. A tool's row and its action stand together
//! in the file of its subject.
//!
//! To add a tool: its row, its action, and its name in `TOOLS` of that file.

pub mod check;
pub mod context;
mod groups;
mod memory;
mod messages;
mod parts;
mod tasks;

use serde_json::{Map, Value, json};

pub use context::Context;

use crate::host::Refusal;

/// A tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name for models.
    pub name: &'static str,
    /// Its name on the command line.
    pub command: &'static str,
    /// Its purpose and its answer, for models and people.
    pub about: &'static str,
    /// True if only the main group is offered it; the host enforces this.
    pub main_only: bool,
    /// True if it changes nothing.
    pub reads: bool,
    /// Its arguments.
    pub args: &'static [Arg],
    /// Its action.
    pub run: Run,
}

/// The action of a tool: a check, a request to the host, and its answer in words.
pub type Run = fn(&Call<'_>) -> Outcome;

/// How a call ended.
pub type Outcome = Result<Done, Trouble>;

/// An argument of a tool.
#[derive(Debug)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// True if it is required.
    pub required: bool,
    /// True if only the main group is offered it.
    pub main_only: bool,
    /// Its meaning.
    pub about: &'static str,
    /// Its form on the command line.
    pub form: Form,
}

/// The kind of an argument's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Yes or no.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A JSON object.
    Object,
}

/// An argument's form on the command line; the help uses the text as the value's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One word at its position.
    Word(&'static str),
    /// All remaining words.
    Rest(&'static str),
    /// `--name VALUE`.
    Option(&'static str, &'static str),
    /// `--name`, which means false.
    Not(&'static str),
    /// One of `--cron`, `--every`, `--in` and `--once`, which set a schedule's type and value.
    When,
}

/// A call of a tool.
#[derive(Debug)]
pub struct Call<'a> {
    /// The arguments, whose shape has been checked.
    pub args: Map<String, Value>,
    /// The calling run.
    pub context: &'a Context,
}

/// The answer of a tool that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// A text for people and models.
    pub text: String,
    /// The same as data for programs, if there is more than a text.
    pub data: Option<Value>,
}

/// The error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The usage was wrong.
    Usage(String),
    /// The request was refused, or failed.
    Failed(String),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.to_string())
    }
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
    /// Returns an argument's text; an empty text counts as left out.
    fn text(&self, name: &str) -> Option<String> {
        self.args.get(name)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// Returns a required argument.
    fn need(&self, name: &str) -> Result<String, Trouble> {
        self.text(name).ok_or_else(|| Trouble::Usage(format!("{name} is missing or empty.")))
    }
}

impl Tool {
    /// Calls the tool: checks the shape of the arguments, then their values, then asks the host.
    pub fn call(&self, args: Map<String, Value>, context: &Context) -> Result<Done, Trouble> {
        let args = check::shape(self, args)?;
        (self.run)(&Call { args, context })
    }

    /// Returns a JSON schema of the arguments that the caller is offered.
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

/// Every tool.
pub fn all() -> impl Iterator<Item = &'static Tool> {
    [messages::TOOLS, tasks::TOOLS, groups::TOOLS, memory::TOOLS].into_iter().flatten()
}

/// The tools that a caller is offered.
pub fn offered(is_main: bool) -> impl Iterator<Item = &'static Tool> {
    all().filter(move |tool| is_main || !tool.main_only)
}

/// The tools of a file as a caller is offered them, in short: `name(needed! optional)`.
#[cfg(test)]
fn in_short(tools: &[Tool], is_main: bool) -> Vec<String> {
    let short = |tool: &Tool| {
        let mut args: Vec<String> = (tool.args.iter().filter(|arg| is_main || !arg.main_only))
            .map(|arg| format!("{}{}", arg.name, if arg.required { "!" } else { "" }))
            .collect();
        args.sort();
        format!("{}({})", tool.name, args.join(" "))
    };
    tools.iter().filter(|tool| is_main || !tool.main_only).map(short).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn table_has_unique_names_and_describes_everything() {
        let mut names = HashSet::new();
        for tool in all() {
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
    fn offered_tools_are_fewer_for_a_plain_group() {
        let names = |is_main| offered(is_main).map(|tool| tool.name).collect::<Vec<_>>();
        assert_eq!(names(true).len(), all().count());
        assert!(!names(false).contains(&"register_group") && !names(false).contains(&"refresh_groups"));
        let send = all().find(|tool| tool.name == "send_message").unwrap();
        assert!(send.schema(true)["properties"].get("chatJid").is_some());
        assert!(send.schema(false)["properties"].get("chatJid").is_none());
        assert_eq!(send.schema(false)["required"], json!(["text"]));
    }
}
