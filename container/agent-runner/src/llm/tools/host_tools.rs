//! The host's tools for the model, from the table that all agents share.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Spec;
use crate::provider::Room;
use crate::tools::{self, Context};

/// Time that the host may take to answer: a model can wait longer than a script.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the tools that are offered; main has more.
pub(super) fn offered(is_main: bool) -> Vec<Spec> {
    tools::offered(is_main).map(|tool| Spec::new(tool.name, tool.about, tool.schema(is_main).into())).collect()
}

/// Carries out a call.
pub(super) fn call(name: &str, args: &Map<String, Value>, room: &Room) -> Result<String, String> {
    // A tool that was not offered is called all the same: the host refuses it, and says why.
    let tool = tools::all().find(|tool| tool.name == name).ok_or_else(|| format!("there is no tool {name:?}."))?;
    let context = Context {
        folders: room.folders.clone(),
        chat: Some(room.input.chat_jid.clone()),
        is_main: room.input.is_main,
        patience: PATIENCE,
    };
    tool.call(args.clone(), &context).map(|done| done.text).map_err(|trouble| trouble.reason().to_owned())
}
