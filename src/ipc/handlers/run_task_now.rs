//! `run_task_now`: fires a task once, now.

use super::{Context, Details, of_task};
use crate::domain::ids::TaskId;
use crate::ipc::authorize::Authorized;
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<TaskId>, cx: &Context) -> TxResult<Details> {
    Ok(of_task(&tasks::run_now(tx, &command.into_inner(), cx.now)?, cx.zone))
}
