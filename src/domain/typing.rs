//! Whether an agent works for a chat.

use super::ids::ChatJid;

/// A change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typing {
    /// The chat.
    pub jid: ChatJid,
    /// True while an agent works.
    pub on: bool,
}
