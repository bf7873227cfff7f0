//! The host's tools for the model: those of the one table that every agent has.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Spec;
use crate::provider::Room;
use crate::tools::{self, Context};

/// How long the host may take: a model waits more easily than a script.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tools; main has more of them.
pub(super) fn offered(is_main: bool) -> Vec<Spec> {
    tools::offered(is_main).map(|tool| Spec::new(tool.name, tool.about, tool.schema(is_main).into())).collect()
}

/// Carries out a call.
pub(super) fn call(name: &str, args: &Map<String, Value>, room: &Room) -> Result<String, String> {
    // A tool that was not offered is called all the same: the host refuses it, and says why.
    let tool =
        tools::TABLE.iter().find(|tool| tool.name == name).ok_or_else(|| format!("there is no tool {name:?}."))?;
    let context = Context {
        folders: room.folders.clone(),
        chat: Some(room.input.chat_jid.clone()),
        is_main: room.input.is_main,
        patience: PATIENCE,
    };
    tool.call(args.clone(), &context).map(|done| done.text).map_err(|trouble| trouble.reason().to_owned())
}
