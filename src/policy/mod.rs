//! Rules that decide and do nothing: who may trigger, what is a trigger, which host folders a group may see. Pure:
//! files are read by their owner and handed in as text.

pub mod mounts;
mod rules_text;
pub mod senders;
pub mod trigger;

/// A rule file as it was found: its text, None if there is no file, or why it cannot be read.
pub type RuleFile = Result<Option<String>, String>;
