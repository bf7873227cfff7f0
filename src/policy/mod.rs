//! Rules that only decide: who may trigger, what is a trigger, which host folders a group may see. Pure: the caller
//! reads the files and passes in their text.

pub mod mounts;
mod rules_text;
pub mod senders;
pub mod trigger;

/// The content of a rule file; None if there is no file, or why it cannot be read.
pub type RuleFile = Result<Option<String>, String>;
