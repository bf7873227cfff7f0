//! `schedule_task`: a new task.

use super::{Context, Details, of_task};
use crate::ipc::authorize::{Authorized, ScheduleTask};
use crate::ops::tasks;
use crate::store::{Tx, TxError, TxResult};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, command: Authorized<ScheduleTask>, cx: &Context) -> TxResult<Details> {
    let ScheduleTask { group, new } = command.into_inner();
    let fresh = format!("task-{}", cx.claim.to_string().to_lowercase());
    let fresh = fresh.parse().map_err(|e| TxError::Conflict(format!("{e}")))?;
    Ok(of_task(&tasks::create(tx, &group, new, fresh, cx.now, cx.zone)?, cx.zone))
}
