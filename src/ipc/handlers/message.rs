//! `message`: a text for a chat, through the outbox.

use parlor_protocol::limits::MAX_SENDER;

use super::{Context, Details, Effect};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::ids::DeliveryId;
use crate::domain::text::strip_internal;
use crate::ipc::authorize::{Authorized, SendMessage};
use crate::store::outbox::{self, Put};
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<SendMessage>, cx: &Context) -> TxResult<Effect> {
    let SendMessage { chat, own, text, sender, reply_to } = command.into_inner();
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
