//! `file`: a file of the group's folder for a chat, through the outbox. [`crate::ipc::attach`] has taken it before.

use parlor_protocol::requests::SendFile;
use rusqlite::Connection;

use super::rules::{answered, target};
use super::{Context, Details, Effect, Verb, quoted};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::domain::text::strip_internal;
use crate::ipc::attach::too_much;
use crate::ipc::authorize::{Authorized, Denied};
use crate::store::outbox::{self, Put};
use crate::store::{Tx, TxResult};

/// A file for a registered chat.
#[derive(Debug)]
pub(in crate::ipc) struct ChatFile {
    pub(in crate::ipc) chat: ChatJid,
    /// True if it is the asker's own chat.
    own: bool,
    caption: Option<String>,
    reply_to: Option<String>,
}

impl Verb for SendFile {
    type Command = ChatFile;

    fn words(&self) -> String {
        format!("file {} to chat {}", quoted(&self.path), quoted(&self.chat_jid))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<ChatFile, Denied> {
        let chat = target(db, who, &self.chat_jid, "files to")?.jid;
        let reply_to = answered(db, &chat, self.reply_to.as_deref())?;
        Ok(ChatFile { own: chat == who.jid, chat, caption: self.caption.clone(), reply_to })
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        let ChatFile { chat, own, caption, reply_to } = command.into_inner();
        let file = match &cx.file {
            Some(Ok(file)) => file.clone(),
            Some(Err(why)) => return Ok(Effect::Refused(why.clone())),
            None => return Ok(Effect::Refused("the file could not be taken: send it again".into())),
        };
        if outbox::file_bytes(tx, &chat)?.saturating_add(file.size) > outbox::MAX_FILE_BYTES {
            return Ok(Effect::Refused(too_much()));
        }
        let id = DeliveryId(cx.claim);
        let run_id = cx.run.filter(|_| own);
        let route = cx.channels.route(&chat);
        let mut details = Details::new();
        details.insert("deliveryId".into(), id.to_string().into());
        details.insert("name".into(), file.name.clone().into());
        details.insert("size".into(), file.size.into());
        let new = NewDelivery {
            id,
            jid: chat,
            text: strip_internal(&caption.unwrap_or_default()).into_owned(),
            sender: None,
            reply_to,
            file: Some(file),
            kind: DeliveryKind::Message,
            run_id,
        };
        if outbox::put(tx, &new, route, run_id.is_some(), cx.now)? == Put::LeftOut {
            return Ok(Effect::Refused("too much waits to be delivered to this chat: try again later".into()));
        }
        Ok(Effect::Done(details))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::domain::delivery::FileInfo;
    use crate::ipc::verbs::testing::{Desk, words};
    use crate::store::outbox::MAX_FILE_BYTES;

    fn file(chat: &str) -> Value {
        json!({"type": "file", "chatJid": chat, "path": "out/a.txt", "caption": "c"})
    }

    #[tokio::test]
    async fn a_file_that_was_taken_goes_to_the_own_chat() {
        let mut desk = Desk::new().await;
        assert_eq!(words(&file("web:a")), r#"file "out/a.txt" to chat "web:a""#);
        let why = "only the main group may send files to other chats; the own chat is web:a";
        assert_eq!(desk.ask("a", file("web:b")).await, Err(why.into()));
        assert_eq!(desk.ask("a", file("web:a")).await, Err("the file could not be taken: send it again".into()));
        desk.file = Some(Err("it is gone".into()));
        assert_eq!(desk.ask("a", file("web:a")).await, Err("it is gone".into()));
        desk.file = Some(Ok(FileInfo { name: "a.txt".into(), size: 5 }));
        let sent = desk.ask("a", file("web:a")).await.unwrap();
        assert_eq!((&sent["name"], &sent["size"]), (&json!("a.txt"), &json!(5)));
        desk.file = Some(Ok(FileInfo { name: "b.txt".into(), size: MAX_FILE_BYTES }));
        assert!(desk.ask("a", file("web:a")).await.unwrap_err().starts_with("files of this chat already take"));
    }
}
