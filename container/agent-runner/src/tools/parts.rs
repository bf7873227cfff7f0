//! The arguments and the steps that several tools share.

use parlor_protocol::CommandResult;
use parlor_protocol::limits::MAX_ID;
use serde::Serialize;

use super::{Arg, Call, Form, Kind, Trouble, check};
use crate::host;

pub(super) const CHAT: Arg = Arg {
    name: "chatJid",
    kind: Kind::Text,
    required: false,
    main_only: true,
    about: "Another registered chat by its id (see list_groups), for example web:team; left out, this chat. Only the main \
            group may name another chat.",
    form: Form::Option("to", "JID"),
};

pub(super) const REPLY_TO: Arg = Arg {
    name: "replyTo",
    kind: Kind::Text,
    required: false,
    main_only: false,
    about: "The id of the message in that chat that this answers, as the prompt gives it; shown as an answer where the \
            channel can.",
    form: Form::Option("reply-to", "ID"),
};

/// An argument that is a text, for every group.
pub(super) const fn arg(name: &'static str, required: bool, form: Form, about: &'static str) -> Arg {
    Arg { name, kind: Kind::Text, required, main_only: false, about, form }
}

/// Drops a request into `messages/` or `tasks/`, and waits for the host.
pub(super) fn ask(call: &Call<'_>, kind: &str, request: &impl Serialize) -> Result<CommandResult, Trouble> {
    Ok(host::ask_for(&call.context.folders, kind, request, call.context.patience)?)
}

/// The chat that is named, else the run's.
pub(super) fn chat(call: &Call<'_>) -> Result<String, Trouble> {
    let chat = call.text("chatJid").or_else(|| call.context.chat.clone());
    let chat = chat.ok_or_else(|| Trouble::Usage("Which chat? Name it, or set PARLOR_CHAT_JID.".to_owned()))?;
    check::jid(&chat)?;
    Ok(chat)
}

pub(super) fn reply_to(call: &Call<'_>) -> Result<Option<String>, Trouble> {
    let id = call.text("replyTo");
    id.as_deref().map_or(Ok(()), |id| check::line("replyTo", id, MAX_ID))?;
    Ok(id)
}
