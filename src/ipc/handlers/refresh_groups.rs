//! `refresh_groups`: fresh snapshots for main. The room rewrites its own at once, whether or not anything changed.

use super::Details;
use crate::ipc::authorize::Authorized;
use crate::store::{Tx, Wake};

pub(in crate::ipc) fn handle(tx: &mut Tx<'_>, _command: &Authorized<()>) -> Details {
    tx.wake(Wake::Snapshots);
    Details::new()
}
