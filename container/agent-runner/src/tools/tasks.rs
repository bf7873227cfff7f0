//! Tools for scheduled tasks.

use parlor_protocol::requests::{CancelTask, PauseTask, ResumeTask, RunTaskNow, ScheduleTask, UpdateTask};
use parlor_protocol::{CommandResult, TaskFile, TaskSnapshot};
use serde_json::{Value, json};

use super::parts::{CHAT, arg, ask, chat};
use super::{Arg, Call, Done, Form, Kind, Outcome, Run, Tool, Trouble, check};
use crate::host::{self, find_task};

pub(super) static TOOLS: &[Tool] =
    &[SCHEDULE_TASK, LIST_TASKS, PAUSE_TASK, RESUME_TASK, CANCEL_TASK, RUN_TASK_NOW, UPDATE_TASK];

const TASK: Arg = Arg {
    name: "taskId",
    kind: Kind::Text,
    required: true,
    main_only: false,
    about: "The task: its id, or its number in list_tasks.",
    form: Form::Word("TASK"),
};

const ZONE: Arg = Arg {
    name: "timezone",
    kind: Kind::Text,
    required: false,
    main_only: false,
    about: "The IANA zone in which cron and once are read, for example Europe/Berlin; left out, the host's.",
    form: Form::Option("zone", "ZONE"),
};

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

const SCHEDULE_TASK: Tool = Tool {
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
    run: schedule_task,
};

fn schedule_task(call: &Call<'_>) -> Outcome {
    let (prompt, kind, value) = (call.need("prompt")?, call.need("schedule_type")?, call.need("schedule_value")?);
    check::prompt(&prompt)?;
    check::schedule(&kind, &value)?;
    let (timezone, task_id) = (zone(call)?, call.text("taskId"));
    task_id.as_deref().map_or(Ok(()), check::task_id)?;
    let task = TaskFile::ScheduleTask(ScheduleTask {
        task_id,
        prompt,
        schedule_type: kind,
        schedule_value: value,
        context_mode: call.text("context_mode"),
        target_jid: chat(call)?,
        timezone,
        missed: call.text("missed"),
    });
    let result = ask(call, "tasks", &task)?;
    let id = result.details.get("taskId").and_then(Value::as_str).unwrap_or("(without an id)");
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(", next run {next}"));
    Ok(Done { text: format!("Done: task {id}{next}"), data: Some(json!(result.details)) })
}

fn zone(call: &Call<'_>) -> Result<Option<String>, Trouble> {
    let zone = call.text("timezone");
    zone.as_deref().map_or(Ok(()), check::zone)?;
    Ok(zone)
}

const LIST_TASKS: Tool = Tool {
    name: "list_tasks",
    command: "tasks",
    about: "Lists the group's tasks, numbered, with schedule, state and next run; for the main group those of every \
            group.",
    main_only: false,
    reads: true,
    args: &[],
    run: list_tasks,
};

fn list_tasks(call: &Call<'_>) -> Outcome {
    let tasks = host::tasks(&call.context.folders).map_err(Trouble::Failed)?;
    let line = |(at, task): (usize, &TaskSnapshot)| {
        let next = task.next_run.as_deref().map_or("-".to_owned(), |next| host::readable_text(next, host::zone()));
        let prompt = task.prompt.replace('\n', " ");
        let (kind, value) = (&task.schedule_type, &task.schedule_value);
        format!("{}\t{}\t{}\t{}\t{kind} {value}\t{next}\t{prompt}", at + 1, task.id, task.group_folder, task.status)
    };
    let text = match &tasks[..] {
        [] => "There are no tasks.".to_owned(),
        tasks => tasks.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"),
    };
    Ok(Done { text, data: Some(json!({ "tasks": tasks })) })
}

/// A tool that changes the state of one task.
const fn change(name: &'static str, command: &'static str, about: &'static str, run: Run) -> Tool {
    Tool { name, command, about, main_only: false, reads: false, args: &[TASK], run }
}

fn on_task(call: &Call<'_>, request: &TaskFile, done: &str) -> Outcome {
    let result = ask(call, "tasks", request)?;
    Ok(changed(&result, &format!("Done: the task is {done}.")))
}

fn changed(result: &CommandResult, done: &str) -> Done {
    let next = host::next_run(result, host::zone()).map_or_else(String::new, |next| format!(" Next run: {next}"));
    Done { text: format!("{done}{next}"), data: Some(json!(result.details)) }
}

/// A number counts in the list; what is not in the list goes to the host as it is, which knows best.
fn task_id(call: &Call<'_>) -> Result<String, Trouble> {
    let wanted = call.need("taskId")?;
    let tasks = host::tasks(&call.context.folders).map_err(Trouble::Failed)?;
    match find_task(&tasks, &wanted) {
        Ok(task) => return Ok(task.id.clone()),
        Err(reason) if wanted.parse::<u16>().is_ok() => return Err(Trouble::Failed(reason)),
        Err(_) => {}
    }
    check::task_id(&wanted)?;
    Ok(wanted)
}

const PAUSE_TASK: Tool =
    change("pause_task", "pause", "Pauses a task until it is resumed with resume_task.", pause_task);

fn pause_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::PauseTask(PauseTask { task_id: task_id(call)? }), "paused")
}

const RESUME_TASK: Tool = change("resume_task", "resume", "Lets a paused task run again by its schedule.", resume_task);

fn resume_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::ResumeTask(ResumeTask { task_id: task_id(call)? }), "active again")
}

const CANCEL_TASK: Tool = change("cancel_task", "cancel", "Ends a task for good; it cannot be resumed.", cancel_task);

fn cancel_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::CancelTask(CancelTask { task_id: task_id(call)? }), "cancelled")
}

const RUN_TASK_NOW: Tool =
    change("run_task_now", "run", "Runs a task once, now; its schedule stays as it is.", run_task_now);

fn run_task_now(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::RunTaskNow(RunTaskNow { task_id: task_id(call)? }), "about to run")
}

const UPDATE_TASK: Tool = Tool {
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
    run: update_task,
};

fn update_task(call: &Call<'_>) -> Outcome {
    let (prompt, kind, value) = (call.text("prompt"), call.text("schedule_type"), call.text("schedule_value"));
    let timezone = zone(call)?;
    if prompt.is_none() && value.is_none() && kind.is_none() && timezone.is_none() {
        return Err(Trouble::Usage("What shall change? Give a prompt, a schedule or a zone.".to_owned()));
    }
    prompt.as_deref().map_or(Ok(()), check::prompt)?;
    match (&kind, &value) {
        (Some(kind), Some(value)) => check::schedule(kind, value)?,
        (Some(_), None) => return Err(Trouble::Usage("A new schedule_type needs a schedule_value.".to_owned())),
        // Of the type that the task has, which the host knows.
        (None, _) => {}
    }
    let task_id = task_id(call)?;
    let change =
        TaskFile::UpdateTask(UpdateTask { task_id, prompt, schedule_type: kind, schedule_value: value, timezone });
    let result = ask(call, "tasks", &change)?;
    Ok(changed(&result, "Done: the task is changed."))
}

#[cfg(test)]
mod tests {
    use super::super::in_short;
    use super::*;

    #[test]
    fn each_group_is_offered_its_tools() {
        let main = [
            "schedule_task(chatJid context_mode missed prompt! schedule_type! schedule_value! taskId timezone)",
            "list_tasks()",
            "pause_task(taskId!)",
            "resume_task(taskId!)",
            "cancel_task(taskId!)",
            "run_task_now(taskId!)",
            "update_task(prompt schedule_type schedule_value taskId! timezone)",
        ];
        assert_eq!(in_short(TOOLS, true), main);
        let plain = [
            "schedule_task(context_mode missed prompt! schedule_type! schedule_value! taskId timezone)",
            "list_tasks()",
            "pause_task(taskId!)",
            "resume_task(taskId!)",
            "cancel_task(taskId!)",
            "run_task_now(taskId!)",
            "update_task(prompt schedule_type schedule_value taskId! timezone)",
        ];
        assert_eq!(in_short(TOOLS, false), plain);
    }
}
