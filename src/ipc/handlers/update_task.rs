//! `update_task`: changes prompt, schedule or zone.

use super::{Context, Details, of_task};
use crate::ipc::authorize::{Authorized, UpdateTask};
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<UpdateTask>, cx: &Context) -> TxResult<Details> {
    let UpdateTask { task, change } = command.into_inner();
    Ok(of_task(&tasks::update(tx, &task, &change, cx.now, cx.zone)?, cx.zone))
}
