//! `refresh_groups`: fresh snapshots for main. The room rewrites its own at once, whether or not anything changed.

use parlor_protocol::requests::RefreshGroups;
use rusqlite::Connection;

use super::rules::main_only;
use super::{Context, Details, Effect, Verb};
use crate::domain::group::Group;
use crate::ipc::authorize::{Authorized, Denied};
use crate::store::{Tx, TxResult, Wake};

impl Verb for RefreshGroups {
    type Command = ();

    fn words(&self) -> String {
        "refresh_groups".into()
    }

    fn rule(&self, _db: &Connection, who: &Group) -> Result<(), Denied> {
        main_only(who, "refresh_groups")
    }

    fn handle(tx: &mut Tx<'_>, _command: Authorized<Self>, _cx: &Context) -> TxResult<Effect> {
        tx.wake(Wake::Snapshots);
        Ok(Effect::Done(Details::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ipc::verbs::testing::{Desk, words};
    use crate::store::Wake;

    #[tokio::test]
    async fn main_alone_asks_for_fresh_snapshots() {
        let mut desk = Desk::new().await;
        while desk.wakes.try_recv().is_ok() {}
        let refresh = json!({"type": "refresh_groups"});
        assert_eq!(words(&refresh), "refresh_groups");
        let why = "only the main group may use refresh_groups";
        assert_eq!(desk.ask("a", refresh.clone()).await, Err(why.into()));
        assert_eq!(desk.ask("main", refresh).await, Ok(json!({})));
        assert_eq!(desk.wakes.recv().await, Some(Wake::Snapshots));
    }
}
