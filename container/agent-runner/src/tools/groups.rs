//! Tools for chats and groups.

use parlor_protocol::limits::{MAX_NAME, MAX_TRIGGER};
use parlor_protocol::requests::{RefreshGroups, RegisterGroup};
use parlor_protocol::{GroupSnapshot, TaskFile};
use serde_json::{Value, json};

use super::parts::{arg, ask};
use super::{Arg, Call, Done, Form, Kind, Outcome, Tool, Trouble, check};
use crate::host;

pub(super) static TOOLS: &[Tool] = &[LIST_GROUPS, REGISTER_GROUP, REFRESH_GROUPS];

const LIST_GROUPS: Tool = Tool {
    name: "list_groups",
    command: "groups",
    about: "Lists the chats that Parlor knows, registered or not, with their ids. Only the main group sees any.",
    main_only: false,
    reads: true,
    args: &[],
    run: list_groups,
};

fn list_groups(call: &Call<'_>) -> Outcome {
    let snapshot = host::groups(&call.context.folders).map_err(Trouble::Failed)?;
    let line = |group: &GroupSnapshot| {
        let state = if group.is_registered { "registered" } else { "available" };
        format!("{}\t{}\t{state}\t{}", group.jid, group.name, group.last_activity)
    };
    let text = match &snapshot.groups[..] {
        [] => "No chats are listed: only the main group sees them.".to_owned(),
        groups => groups.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    Ok(Done { text, data: Some(json!(snapshot)) })
}

const REGISTER_GROUP: Tool = Tool {
    name: "register_group",
    command: "register",
    about: "Makes a chat a group with an agent and a folder of its own. Only for the main group.",
    main_only: true,
    reads: false,
    args: &[
        arg("jid", true, Form::Word("JID"), "The chat's id, as in list_groups."),
        arg("name", true, Form::Word("NAME"), "The group's name, up to 256 characters."),
        arg(
            "folder",
            true,
            Form::Word("FOLDER"),
            "Its folder: 1 to 64 letters, digits, _ or -, not in use; global is reserved.",
        ),
        arg(
            "trigger",
            true,
            Form::Word("TRIGGER"),
            "What a message has to begin with to be answered, for example @Andy; up to 64 characters.",
        ),
        Arg {
            name: "requiresTrigger",
            kind: Kind::Flag,
            required: false,
            main_only: false,
            about: "false: every message is answered. true is the default.",
            form: Form::Not("no-trigger"),
        },
        Arg {
            name: "containerConfig",
            kind: Kind::Object,
            required: false,
            main_only: false,
            about: "Settings of its container, of which only additionalMounts (a list of {hostPath, containerPath?, \
                    readonly?}, held against the operator's allowlist) and timeout (milliseconds) count.",
            form: Form::Option("config", "JSON"),
        },
    ],
    run: register_group,
};

fn register_group(call: &Call<'_>) -> Outcome {
    let (jid, name, folder) = (call.need("jid")?, call.need("name")?, call.need("folder")?);
    let trigger = call.need("trigger")?;
    check::jid(&jid)?;
    check::line("name", &name, MAX_NAME)?;
    check::folder(&folder)?;
    check::line("trigger", &trigger, MAX_TRIGGER)?;
    let done = format!("Done: {jid} is a group now, with the folder {folder}.");
    let requires_trigger = call.args.get("requiresTrigger").and_then(Value::as_bool);
    let container_config = call.args.get("containerConfig").cloned();
    let group =
        TaskFile::RegisterGroup(RegisterGroup { jid, name, folder, trigger, requires_trigger, container_config });
    ask(call, "tasks", &group)?;
    Ok(Done::say(done))
}

const REFRESH_GROUPS: Tool = Tool {
    name: "refresh_groups",
    command: "refresh",
    about: "Asks for fresh lists of tasks and chats. Only for the main group.",
    main_only: true,
    reads: false,
    args: &[],
    run: refresh_groups,
};

fn refresh_groups(call: &Call<'_>) -> Outcome {
    ask(call, "tasks", &TaskFile::RefreshGroups(RefreshGroups {}))?;
    Ok(Done::say("Done: the lists are fresh."))
}

#[cfg(test)]
mod tests {
    use super::super::in_short;
    use super::*;

    #[test]
    fn each_group_is_offered_its_tools() {
        let main = [
            "list_groups()",
            "register_group(containerConfig folder! jid! name! requiresTrigger trigger!)",
            "refresh_groups()",
        ];
        assert_eq!(in_short(TOOLS, true), main);
        let plain = ["list_groups()"];
        assert_eq!(in_short(TOOLS, false), plain);
    }
}
