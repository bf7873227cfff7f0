//! The table of tools. The tools of models and the command line with its help are made from it.

use super::{Arg, Form, Kind, Tool, actions};

const CHAT: Arg = Arg {
    name: "chatJid",
    kind: Kind::Text,
    required: false,
    main_only: true,
    about: "Another registered chat by its id (see list_groups), for example web:team; left out, this chat. Only the main \
            group may name another chat.",
    form: Form::Option("to", "JID"),
};

const TASK: Arg = Arg {
    name: "taskId",
    kind: Kind::Text,
    required: true,
    main_only: false,
    about: "The task: its id, or its number in list_tasks.",
    form: Form::Word("TASK"),
};

const REPLY_TO: Arg = Arg {
    name: "replyTo",
    kind: Kind::Text,
    required: false,
    main_only: false,
    about: "The id of the message in that chat that this answers, as the prompt gives it; shown as an answer where the \
            channel can.",
    form: Form::Option("reply-to", "ID"),
};

const ZONE: Arg = Arg {
    name: "timezone",
    kind: Kind::Text,
    required: false,
    main_only: false,
    about: "The IANA zone in which cron and once are read, for example Europe/Berlin; left out, the host's.",
    form: Form::Option("zone", "ZONE"),
};

const fn arg(name: &'static str, required: bool, form: Form, about: &'static str) -> Arg {
    Arg { name, kind: Kind::Text, required, main_only: false, about, form }
}

const fn schedule_type(required: bool) -> Arg {
    Arg {
        name: "schedule_type",
        kind: Kind::OneOf(&["cron", "interval", "once"]),
        required,
        main_only: false,
        about: "How schedule_value is read: cron and interval repeat, once does not.",
        form: Form::When,
    }
}

const fn schedule_value(required: bool) -> Arg {
    arg(
        "schedule_value",
        required,
        Form::When,
        "For cron five fields (minute hour day-of-month month day-of-week), as in 0 9 * * 1-5. For interval \
         milliseconds, at least 10000. For once a local time, as in 2031-05-17T09:30:00, or one with its offset or Z.",
    )
}

const fn change(name: &'static str, command: &'static str, about: &'static str, run: super::Run) -> Tool {
    Tool { name, command, about, main_only: false, reads: false, args: &[TASK], run }
}

/// Every tool.
pub static TABLE: &[Tool] = &[
    Tool {
        name: "send_message",
        command: "send",
        about: "Sends a message to the chat at once, before the reply of this turn. Use it for progress, or from a task. \
                The reply itself is sent anyway: do not send it with this tool, too.",
        main_only: false,
        reads: false,
        args: &[
            arg("text", true, Form::Rest("TEXT"), "The message, up to 256 KiB; long ones are sent in parts."),
            arg(
                "sender",
                false,
                Form::Option("sender", "NAME"),
                "A name to show as the sender, where the channel can.",
            ),
            CHAT,
            REPLY_TO,
        ],
        run: actions::send_message,
    },
    Tool {
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
        run: actions::send_file,
    },
    Tool {
        name: "schedule_task",
        command: "schedule",
        about: "Makes a task: when it is due, an agent of this group is asked the prompt, and its reply is sent to the \
                chat. The answer holds the task's id and its next run.",
        main_only: false,
        reads: false,
        args: &[
            arg(
                "prompt",
                true,
                Form::Rest("PROMPT"),
                "What the agent is asked when the task is due, up to 64 KiB. It knows nothing of this conversation \
                 unless context_mode is group.",
            ),
            schedule_type(true),
            schedule_value(true),
            Arg {
                name: "context_mode",
                kind: Kind::OneOf(&["group", "isolated"]),
                required: false,
                main_only: false,
                about: "group: in the chat's session, with its history. isolated: in a fresh session; this is the default.",
                form: Form::Option("context", "group|isolated"),
            },
            ZONE,
            Arg {
                name: "missed",
                kind: Kind::OneOf(&["run", "skip"]),
                required: false,
                main_only: false,
                about: "What becomes of times missed while the host was off: run (the default) makes one late run, skip \
                        none.",
                form: Form::Option("missed", "run|skip"),
            },
            CHAT,
            arg(
                "taskId",
                false,
                Form::Option("id", "ID"),
                "An id of your own: 1 to 64 letters, digits, _ or -. One that is taken is refused, so that asking twice \
                 makes one task.",
            ),
        ],
        run: actions::schedule_task,
    },
    Tool {
        name: "list_tasks",
        command: "tasks",
        about: "Lists the group's tasks, numbered, with schedule, state and next run; for the main group those of every \
                group.",
        main_only: false,
        reads: true,
        args: &[],
        run: actions::list_tasks,
    },
    change("pause_task", "pause", "Pauses a task until it is resumed with resume_task.", actions::pause_task),
    change("resume_task", "resume", "Lets a paused task run again by its schedule.", actions::resume_task),
    change("cancel_task", "cancel", "Ends a task for good; it cannot be resumed.", actions::cancel_task),
    change("run_task_now", "run", "Runs a task once, now; its schedule stays as it is.", actions::run_task_now),
    Tool {
        name: "update_task",
        command: "update",
        about: "Changes a task's prompt, schedule or zone; what is left out stays as it is.",
        main_only: false,
        reads: false,
        args: &[
            TASK,
            arg("prompt", false, Form::Option("prompt", "PROMPT"), "What the agent is asked from now on."),
            schedule_type(false),
            schedule_value(false),
            ZONE,
        ],
        run: actions::update_task,
    },
    Tool {
        name: "list_groups",
        command: "groups",
        about: "Lists the chats that Parlor knows, registered or not, with their ids. Only the main group sees any.",
        main_only: false,
        reads: true,
        args: &[],
        run: actions::list_groups,
    },
    Tool {
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
        run: actions::register_group,
    },
    Tool {
        name: "refresh_groups",
        command: "refresh",
        about: "Asks for fresh lists of tasks and chats. Only for the main group.",
        main_only: true,
        reads: false,
        args: &[],
        run: actions::refresh_groups,
    },
    Tool {
        name: "remember",
        command: "remember",
        about: "Adds a line to the memory, which is the file CLAUDE.md that every later conversation begins with.",
        main_only: false,
        reads: false,
        args: &[
            arg(
                "text",
                true,
                Form::Rest("TEXT"),
                "One fact in one line; line breaks become spaces. Up to 4,000 characters.",
            ),
            Arg {
                name: "scope",
                kind: Kind::OneOf(&["group", "global"]),
                required: false,
                main_only: true,
                about: "group: this group's memory, the default. global: the memory of all groups, which only the main \
                        group can write.",
                form: Form::Option("scope", "group|global"),
            },
        ],
        run: actions::remember,
    },
];
