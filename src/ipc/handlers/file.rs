//! `file`: a file of the group's folder for a chat, through the outbox.

use super::{Context, Details, Effect};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::ids::DeliveryId;
use crate::domain::text::strip_internal;
use crate::ipc::attach::too_much;
use crate::ipc::authorize::{Authorized, SendFile};
use crate::store::outbox::{self, Put};
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<SendFile>, cx: &Context) -> TxResult<Effect> {
    let SendFile { chat, own, caption, reply_to } = command.into_inner();
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
