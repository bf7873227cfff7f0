//! `register_group`: main makes a known chat a group.

use super::{Context, Details};
use crate::ipc::authorize::Authorized;
use crate::ops::groups::{self, NewGroup};
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<NewGroup>, cx: &Context) -> TxResult<Details> {
    let group = groups::register(tx, command.into_inner(), cx.now)?;
    let mut details = Details::new();
    details.insert("jid".into(), group.jid.as_str().into());
    details.insert("folder".into(), group.folder.as_str().into());
    Ok(details)
}
