//! The channels whose messages are the local API's event stream: the terminal (`tty:`) and `web:` chats.
//!
//! A text for them is delivered by the commit that stores it ([`Route::Local`]); nothing needs to be sent.

use async_trait::async_trait;

use super::{Capabilities, Channel, DeliverError, Part, PartKey, Receipt, Target};
use crate::domain::clock::SharedClock;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::ids::ChatJid;
use crate::store::outbox::{self, Route};
use crate::store::{Store, TxError};

/// A channel that is served by the event stream.
#[derive(Debug)]
pub struct Local {
    name: &'static str,
    prefix: &'static str,
    store: Store,
    clock: SharedClock,
}

impl Local {
    /// The channel for terminals: `tty:<name>`.
    pub fn console(store: Store, clock: SharedClock) -> Self {
        Self { name: "console", prefix: "tty", store, clock }
    }

    /// The channel for clients of the local API: `web:<name>`.
    pub fn web(store: Store, clock: SharedClock) -> Self {
        Self { name: "web", prefix: "web", store, clock }
    }
}

#[async_trait]
impl Channel for Local {
    fn name(&self) -> &str {
        self.name
    }

    fn owns(&self, jid: &ChatJid) -> bool {
        jid.channel() == self.prefix
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_length: None, files: false, typing: true, local: true }
    }

    /// Puts the text into the stream, unless it is there already. Only for texts that did not come through the outbox,
    /// or were put there before the chat became local.
    async fn deliver(&self, key: PartKey, target: &Target, part: &Part) -> Result<Receipt, DeliverError> {
        let Part::Text(text) = part else {
            return Err(DeliverError::Permanent { reason: format!("{} takes no files", self.name) });
        };
        let id = key.delivery;
        let new = NewDelivery {
            id,
            jid: target.chat.clone(),
            text: text.clone(),
            sender: target.sender.clone(),
            reply_to: target.reply_to.clone(),
            file: None,
            kind: DeliveryKind::Message,
            run_id: None,
        };
        let now = self.clock.now();
        let stored = self.store.write(move |tx| match outbox::put(tx, &new, Route::Local, false, now).map(drop) {
            // The text is in the outbox already.
            Err(TxError::Sqlite(e)) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                outbox::deliver_locally(tx, &new, now)
            }
            other => other,
        });
        match stored.await {
            Ok(()) => Ok(Receipt { platform_id: Some(id.to_string()) }),
            Err(error) => Err(DeliverError::Retryable { reason: error.to_string(), after: None }),
        }
    }
}
