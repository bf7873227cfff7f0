//! Tools that send something to a chat.

use std::fs;
use std::path::{Component, Path, PathBuf};

use parlor_protocol::MessageFile;
use parlor_protocol::requests::{SendFile, SendMessage};
use serde_json::Value;

use super::parts::{CHAT, REPLY_TO, arg, ask, chat, reply_to};
use super::{Call, Done, Form, Outcome, Tool, Trouble};

pub(super) static TOOLS: &[Tool] = &[SEND_MESSAGE, SEND_FILE];

const SEND_MESSAGE: Tool = Tool {
    name: "send_message",
    command: "send",
    about: "Sends a message to the chat at once, before the reply of this turn. Use it for progress, or from a task. \
            The reply itself is sent anyway: do not send it with this tool, too.",
    main_only: false,
    reads: false,
    args: &[
        arg("text", true, Form::Rest("TEXT"), "The message, up to 256 KiB; long ones are sent in parts."),
        arg("sender", false, Form::Option("sender", "NAME"), "A name to show as the sender, where the channel can."),
        CHAT,
        REPLY_TO,
    ],
    run: send_message,
};

fn send_message(call: &Call<'_>) -> Outcome {
    let (text, chat_jid) = (call.need("text")?, chat(call)?);
    let message =
        MessageFile::Message(SendMessage { chat_jid, text, sender: call.text("sender"), reply_to: reply_to(call)? });
    let result = ask(call, "messages", &message)?;
    Ok(if result.details.get("sent") == Some(&Value::Bool(false)) {
        Done::say("Nothing was sent: all of the text is marked as internal.")
    } else {
        Done::say("Done: the message is on its way.")
    })
}

const SEND_FILE: Tool = Tool {
    name: "send_file",
    command: "file",
    about: "Sends a file of the group's folder to the chat at once, as it is now. Where the channel takes no files, a \
            text says where the file lies.",
    main_only: false,
    reads: false,
    args: &[
        arg(
            "path",
            true,
            Form::Word("PATH"),
            "The file's path below /workspace/group, for example reports/may.pdf. A regular file without links, \
             up to the host's limit (20 MiB unless the operator says otherwise).",
        ),
        arg("caption", false, Form::Option("caption", "TEXT"), "A text that goes with it."),
        CHAT,
        REPLY_TO,
    ],
    run: send_file,
};

fn send_file(call: &Call<'_>) -> Outcome {
    let path = below(&call.context.folders.group, &call.need("path")?)?;
    let (shown, chat_jid) = (path.clone(), chat(call)?);
    let file = MessageFile::File(SendFile { chat_jid, path, caption: call.text("caption"), reply_to: reply_to(call)? });
    let result = ask(call, "messages", &file)?;
    let size = result.details.get("size").and_then(Value::as_u64).map_or_else(String::new, |n| format!(" ({n} bytes)"));
    Ok(Done::say(format!("Done: the file {shown}{size} is on its way.")))
}

/// The path below the group's folder, which may be written with the folder; it must be a file now.
fn below(group: &Path, wanted: &str) -> Result<String, Trouble> {
    let path = Path::new(wanted.trim());
    let path: PathBuf =
        path.strip_prefix(group).unwrap_or(path).components().filter(|c| *c != Component::CurDir).collect();
    let inside = !path.as_os_str().is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
    let (true, Some(text)) = (inside, path.to_str()) else {
        return Err(Trouble::Failed(format!(
            "{wanted:?} is not a path below {}: only files there can be sent",
            group.display()
        )));
    };
    match fs::symlink_metadata(group.join(&path)) {
        Ok(found) if found.is_file() => Ok(text.to_owned()),
        Ok(_) => Err(Trouble::Failed(format!("{text} is not a regular file: only those can be sent"))),
        Err(error) => Err(Trouble::Failed(format!("{text} cannot be sent: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_short;
    use super::*;

    #[test]
    fn each_group_is_offered_its_tools() {
        let main = ["send_message(chatJid replyTo sender text!)", "send_file(caption chatJid path! replyTo)"];
        assert_eq!(in_short(TOOLS, true), main);
        let plain = ["send_message(replyTo sender text!)", "send_file(caption path! replyTo)"];
        assert_eq!(in_short(TOOLS, false), plain);
    }
}
