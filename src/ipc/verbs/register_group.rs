//! `register_group`: main makes a known chat a group.

use std::convert::Infallible;

use parlor_protocol::requests::RegisterGroup;
use rusqlite::Connection;

use super::rules::{main_only, refused};
use super::{Context, Details, Effect, Verb, quoted};
use crate::domain::group::Group;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::groups::{self, GroupFields, NewGroup};
use crate::store::{Tx, TxResult};

impl Verb for RegisterGroup {
    type Command = NewGroup;

    fn words(&self) -> String {
        format!("register_group {} with folder {}", quoted(&self.jid), quoted(&self.folder))
    }

    fn rule(&self, _db: &Connection, who: &Group) -> Result<NewGroup, Denied> {
        main_only(who, "register_group")?;
        let config = groups::agent_config(self.container_config.as_ref())?;
        let fields = GroupFields {
            jid: &self.jid,
            name: &self.name,
            folder: &self.folder,
            trigger: Some(&self.trigger),
            requires_trigger: self.requires_trigger,
        };
        Ok(NewGroup::parse(&fields, config)?)
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        let group = groups::register(tx, command.into_inner(), cx.now)?;
        let mut details = Details::new();
        details.insert("jid".into(), group.jid.as_str().into());
        details.insert("folder".into(), group.folder.as_str().into());
        Ok(Effect::Done(details))
    }
}

/// A group that is to be main: nobody may ask for that here.
#[derive(Debug)]
pub(super) struct RegisterMain;

const NOT_HERE: &str = "a group cannot be registered as main: the operator makes a group main";

impl Verb for RegisterMain {
    type Command = Infallible;

    fn words(&self) -> String {
        "register_group with isMain".into()
    }

    fn rule(&self, _db: &Connection, _who: &Group) -> Result<Infallible, Denied> {
        refused(NOT_HERE)
    }

    fn handle(_tx: &mut Tx<'_>, _never: Authorized<Self>, _cx: &Context) -> TxResult<Effect> {
        Ok(Effect::Refused(NOT_HERE.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::ipc::verbs::testing::{Desk, words};

    fn register(jid: &str, folder: &str) -> Value {
        json!({"type": "register_group", "jid": jid, "name": "n", "folder": folder, "trigger": "@x"})
    }

    #[tokio::test]
    async fn main_alone_registers_groups() {
        let desk = Desk::new().await;
        assert_eq!(words(&register("web:x", "x")), r#"register_group "web:x" with folder "x""#);
        let why = "only the main group may use register_group";
        assert_eq!(desk.ask("a", register("web:x", "x")).await, Err(why.into()));
        assert_eq!(desk.ask("main", register("web:x", "x")).await, Ok(json!({"jid": "web:x", "folder": "x"})));
        for taken in [register("web:x", "y"), register("web:y", "X"), register("web:y", "../y")] {
            assert!(desk.ask("main", taken).await.is_err());
        }
    }

    #[tokio::test]
    async fn nobody_registers_a_main_group() {
        let desk = Desk::new().await;
        let mut main = register("web:x", "x");
        main["isMain"] = true.into();
        assert_eq!(words(&main), "register_group with isMain");
        let why = "a group cannot be registered as main: the operator makes a group main";
        for who in ["a", "main"] {
            assert_eq!(desk.ask(who, main.clone()).await, Err(why.into()));
        }
    }
}
