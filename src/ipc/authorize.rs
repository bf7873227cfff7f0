//! Who may ask for what. The asker is the group whose folder the file lay in, as the store knows it now; nothing in the
//! file can change that. Only [`grant`] makes an [`Authorized`] command, by the rule of its verb, and handlers take
//! nothing else.

use rusqlite::Connection;
use thiserror::Error;

use super::verbs::Verb;
use crate::domain::group::Group;
use crate::domain::ids::IdError;
use crate::ops::Invalid;
use crate::store::TxError;

/// A command that its asker may give. A command of one verb does not do for the handler of another.
#[derive(Debug)]
pub(super) struct Authorized<V: Verb> {
    command: V::Command,
}

impl<V: Verb> Authorized<V> {
    pub(super) fn into_inner(self) -> V::Command {
        self.command
    }
}

/// Asks the verb's rule about a request of a group.
pub(super) fn grant<V: Verb>(db: &Connection, who: &Group, asked: &V) -> Result<Authorized<V>, Denied> {
    Ok(Authorized { command: asked.rule(db, who)? })
}

/// Why a request is not done.
#[derive(Debug, Error)]
pub(super) enum Denied {
    /// The asker may not do this, or the request is not valid.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TxError),
}

impl From<Invalid> for Denied {
    fn from(error: Invalid) -> Self {
        Self::Refused(error.0)
    }
}

impl From<IdError> for Denied {
    fn from(error: IdError) -> Self {
        Self::Refused(error.to_string())
    }
}
