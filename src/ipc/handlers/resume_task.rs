//! `resume_task`: lets a paused task fire again.

use super::{Context, Details, of_task};
use crate::domain::ids::TaskId;
use crate::ipc::authorize::Authorized;
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<TaskId>, cx: &Context) -> TxResult<Details> {
    Ok(of_task(&tasks::resume(tx, &command.into_inner(), cx.now, cx.zone)?, cx.zone))
}
