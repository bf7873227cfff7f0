//! `message`: a text for a chat, through the outbox.

use parlor_protocol::limits::MAX_SENDER;
use parlor_protocol::requests::SendMessage;
use rusqlite::Connection;

use super::rules::{answered, target};
use super::{Context, Details, Effect, Verb, quoted};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::domain::text::strip_internal;
use crate::ipc::authorize::{Authorized, Denied};
use crate::store::outbox::{self, Put};
use crate::store::{Tx, TxResult};

/// A text for a registered chat.
#[derive(Debug)]
pub(in crate::ipc) struct ChatText {
    chat: ChatJid,
    /// True if it is the asker's own chat.
    own: bool,
    text: String,
    sender: Option<String>,
    reply_to: Option<String>,
}

impl Verb for SendMessage {
    type Command = ChatText;

    fn words(&self) -> String {
        format!("message to chat {}", quoted(&self.chat_jid))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<ChatText, Denied> {
        let chat = target(db, who, &self.chat_jid, "messages to")?.jid;
        let reply_to = answered(db, &chat, self.reply_to.as_deref())?;
        Ok(ChatText { own: chat == who.jid, chat, text: self.text.clone(), sender: self.sender.clone(), reply_to })
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        let ChatText { chat, own, text, sender, reply_to } = command.into_inner();
        let text = strip_internal(&text);
        if text.is_empty() {
            let mut details = Details::new();
            details.insert("sent".into(), false.into());
            return Ok(Effect::Done(details));
        }
        let sender = sender
            .map(|name| name.chars().filter(|c| !c.is_control()).take(MAX_SENDER).collect::<String>())
            .filter(|name| !name.trim().is_empty());
        let id = DeliveryId(cx.claim);
        let run_id = cx.run.filter(|_| own);
        let route = cx.channels.route(&chat);
        let new = NewDelivery {
            id,
            jid: chat,
            text: text.into_owned(),
            sender,
            reply_to,
            file: None,
            kind: DeliveryKind::Message,
            run_id,
        };
        if outbox::put(tx, &new, route, run_id.is_some(), cx.now)? == Put::LeftOut {
            return Ok(Effect::Refused("too much waits to be delivered to this chat: try again later".into()));
        }
        let mut details = Details::new();
        details.insert("deliveryId".into(), id.to_string().into());
        Ok(Effect::Done(details))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::ipc::verbs::testing::{Desk, words};
    use crate::store::outbox;

    fn message(chat: &str, text: &str) -> Value {
        json!({"type": "message", "chatJid": chat, "text": text, "sender": "A\n".to_owned() + &"x".repeat(80)})
    }

    #[tokio::test]
    async fn a_group_writes_to_its_own_chat_and_main_to_any_group() {
        let desk = Desk::new().await;
        assert_eq!(words(&message("web:a", "secret")), r#"message to chat "web:a""#);
        let why = "only the main group may send messages to other chats; the own chat is web:a";
        assert_eq!(desk.ask("a", message("web:b", "x")).await, Err(why.into()));
        let why = "chat web:x is not registered: see available_groups.json, and register it first";
        assert_eq!(desk.ask("main", message("web:x", "x")).await, Err(why.into()));
        assert_eq!(desk.ask("a", message("web:a", "<internal>x</internal>")).await, Ok(json!({"sent": false})));
        desk.ask("main", message("web:b", "<internal>x</internal> for b")).await.unwrap();
        let sent = desk.store.read(|db| outbox::list(db, true, 10)).await.unwrap();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].new.jid.as_str(), sent[0].new.text.as_str()), ("web:b", "for b"));
        assert_eq!(sent[0].new.sender, Some("A".to_owned() + &"x".repeat(63)));
    }

    #[tokio::test]
    async fn only_a_message_of_the_chat_can_be_answered() {
        let desk = Desk::new().await;
        let mut answer = message("web:a", "yes");
        answer["replyTo"] = "m-1".into();
        let why = "there is no message \"m-1\" in chat web:a to answer: leave replyTo out";
        assert_eq!(desk.ask("a", answer.clone()).await, Err(why.into()));
        answer["replyTo"] = "".into();
        assert!(desk.ask("a", answer).await.is_ok());
    }
}
