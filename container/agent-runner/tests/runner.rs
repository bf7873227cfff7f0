//! The real binary, run as a process: turns, inputs, signals, providers and the host tools.

mod llm;
mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use parlor_protocol::{ErrorKind, Status, Turn};
use serde_json::{Value, json};
use support::{Agent, Home, RUNNER, eventually};

fn input(prompt: &str) -> Value {
    json!({"prompt": prompt, "groupFolder": "team", "chatJid": "web:team", "isMain": false, "runId": "R1",
           "assistantName": "Andy", "provider": "guide"})
}

fn with(mut input: Value, key: &str, value: Value) -> Value {
    input[key] = value;
    input
}

#[test]
fn follow_ups_are_answered_in_order_and_reported_as_consumed() {
    let home = Home::new();
    let mut agent = Agent::start(&home, &input("say first"));
    let first = agent.output();
    assert_eq!((first.result.as_deref(), first.turn, first.consumed.len()), (Some("first"), Some(Turn::Done), 0));
    let session = first.new_session_id.unwrap();
    assert!(!session.is_empty());
    for number in 1..=5 {
        let name = format!("{number:08}.json");
        home.follow_up(&name, &format!("say {number}"));
        let output = agent.output();
        assert_eq!(output.result, Some(number.to_string()));
        assert_eq!(output.consumed, [name.as_str()]);
        assert_eq!(output.new_session_id.as_ref(), Some(&session));
        assert!(!home.path("ipc/input").join(name).exists());
    }
    home.close();
    assert!(agent.end().success());
}

#[test]
fn inputs_during_a_turn_become_one_turn_in_name_order() {
    let home = Home::new();
    let mut agent = Agent::start(&home, &input("run touch started; while [ ! -e go ]; do sleep 0.02; done"));
    eventually("the turn works", || home.path("group/started").exists());
    home.follow_up(
        "0002.json",
        "<messages>\n<message sender=\"b\" time=\"t\">@andy say &lt;b&gt;</message>\n</messages>",
    );
    home.follow_up(
        "0001.json",
        "<messages>\n<message sender=\"a\" time=\"t\" context=\"true\">say no</message>\n\
        <message sender=\"a\" time=\"t\">say a</message>\n</messages>",
    );
    home.follow_up("0010.json", "say c");
    home.close();
    fs::write(home.path("group/go"), "").unwrap();
    assert!(agent.reply().contains("exit code 0"));
    let output = agent.output();
    assert_eq!(output.result.as_deref(), Some("a\n\n<b>\n\nc"));
    assert_eq!(output.consumed, ["0001.json", "0002.json", "0010.json"]);
    assert!(agent.end().success(), "the close was obeyed after the last inputs");
}

#[test]
fn input_written_just_before_the_close_is_answered() {
    for round in 0..20 {
        let home = Home::new();
        let mut agent = Agent::start(&home, &input("hello"));
        agent.reply();
        home.follow_up("0001.json", "say last");
        home.close();
        assert_eq!(agent.reply(), "last", "round {round}");
        assert!(agent.end().success());
    }
}

#[test]
fn heartbeats_come_in_a_long_turn_and_not_when_idle() {
    let home = Home::new();
    let stdin = input("run while [ ! -e go ]; do sleep 0.02; done").to_string();
    let agent = Agent::start_with(&home, &stdin, &[("PARLOR_HEARTBEAT_MS", "40")]);
    for _ in 0..3 {
        let beat = agent.output();
        assert!(beat.heartbeat && beat.result.is_none() && beat.turn.is_none(), "{beat:?}");
    }
    fs::write(home.path("group/go"), "").unwrap();
    let mut outputs = std::iter::repeat_with(|| agent.output()).skip_while(|output| output.heartbeat);
    assert_eq!(outputs.next().unwrap().turn, Some(Turn::Done));
    std::thread::sleep(Duration::from_millis(200));
    home.follow_up("1.json", "say after");
    assert_eq!(agent.reply(), "after", "nothing came while the run was idle");
}

#[test]
fn sigterm_ends_an_idle_run_and_a_working_one_with_its_children() {
    let home = Home::new();
    let mut idle = Agent::start(&home, &input("hello"));
    idle.reply();
    let asked = Instant::now();
    idle.signal("-TERM");
    assert_eq!(idle.end().code(), Some(0));
    // A runner that has not exited after ten seconds is killed.
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());

    let mut busy = Agent::start(&home, &input("run sleep 600 & echo $! > child; echo $$ > shell; sleep 600"));
    let pid = |name: &str| fs::read_to_string(home.path("group").join(name)).ok().filter(|text| text.ends_with('\n'));
    eventually("the command works", || pid("shell").is_some());
    busy.signal("-INT");
    assert_eq!(busy.end().code(), Some(143));
    for name in ["child", "shell"] {
        let pid = pid(name).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        eventually("the process is gone", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    }
}

#[test]
fn guide_makes_a_task_and_reports_the_hosts_answer() {
    let home = Home::new();
    let accepted = json!({"ok": true, "taskId": "T1", "nextRun": "2026-11-23T07:30:00.000Z"});
    let host = home.host("tasks", vec![accepted, json!({"ok": false, "error": "at most 100 active tasks"})]);
    let agent = Agent::start(&home, &input("@Andy remind me every monday at 8:30 to plan the week"));
    let reply = agent.reply();
    assert!(reply.contains("plan the week") && reply.contains("Mon 23 Nov 2026, 08:30 CET"), "{reply}");
    assert!(reply.starts_with("Done") && reply.contains("every Monday at 08:30"), "{reply}");
    assert!(reply.contains("“cancel 1” ends it"), "a number and no id: {reply}");
    home.follow_up("1.json", "every minute say hi");
    let reply = agent.reply();
    assert!(
        reply.contains("refused") && reply.contains("at most 100 active tasks") && !reply.contains("Done"),
        "{reply}"
    );

    let requests = host.join().unwrap();
    let expected = json!({"type": "schedule_task", "prompt": "Remind the chat: plan the week", "schedule_type": "cron",
        "schedule_value": "30 8 * * 1", "targetJid": "web:team", "timezone": "Europe/Berlin", "id": requests[0]["id"]});
    assert_eq!(requests[0], expected);
    assert_eq!((&requests[1]["schedule_type"], &requests[1]["schedule_value"]), (&json!("interval"), &json!("60000")));
    assert_eq!(requests[1]["prompt"], "say hi");
}

#[test]
fn guide_remembers_its_offer_and_its_undo_in_the_next_room() {
    let home = Home::new();
    let host = home.host("tasks", vec![json!({"ok": true, "taskId": "T1"}), json!({"ok": true})]);
    let agent = Agent::start(&home, &input("reminde me in 5 minuts to call Ann"));
    assert_eq!(agent.reply(), "Did you mean “remind me in 5 minutes to call Ann”? Write “yes”.");
    drop(agent);
    let agent = Agent::start(&home, &input("yes"));
    assert!(agent.reply().starts_with("Done: reminder “call Ann”"));
    home.follow_up("1.json", "yes");
    assert!(agent.reply().starts_with("I have not asked anything."));
    home.follow_up("2.json", "undo");
    assert_eq!(agent.reply(), "Done: it is as before.");
    home.follow_up("3.json", "undo");
    assert!(agent.reply().contains("nothing that I can take back"));
    let requests = host.join().unwrap();
    assert_eq!((&requests[1]["type"], &requests[1]["taskId"]), (&json!("cancel_task"), &json!("T1")));
}

#[test]
fn guide_says_once_that_a_model_can_be_connected() {
    let home = Home::new();
    let agent = Agent::start(&home, &input("write a poem"));
    assert!(agent.reply().contains("parlor setup"));
    home.follow_up("1.json", "sing a song");
    let again = agent.reply();
    assert!(again.contains("sing a song") && !again.contains("parlor setup"), "{again}");
    home.follow_up("2.json", "Erinnere mich in 5 Minuten");
    assert!(agent.reply().starts_with("Woran soll ich erinnern?"));
}

#[test]
fn guide_reports_that_the_host_has_not_answered() {
    let home = Home::new();
    let agent = Agent::start(&home, &input("remind me in 10 seconds to smile"));
    let reply = agent.reply();
    assert!(reply.contains("has not answered") && !reply.contains("Done"), "{reply}");
}

#[test]
fn guide_changes_the_task_with_that_number() {
    let home = Home::new();
    let task = |id: &str, status: &str| {
        json!({"id": id, "groupFolder": "team", "prompt": format!("Remind the chat: {id}"), "schedule_type": "interval",
               "schedule_value": "60000", "status": status, "next_run": "2026-11-23T07:30:00.000Z"})
    };
    let snapshot = json!([task("AAAA1", "active"), task("BBBB2", "paused")]).to_string();
    fs::write(home.path("ipc/current_tasks.json"), snapshot).unwrap();
    let host = home.host("tasks", vec![json!({"ok": true})]);
    let agent = Agent::start(&home, &input("list tasks"));
    let list = agent.reply();
    assert!(list.contains("1. reminder “AAAA1” – every minute; next on Mon 23 Nov 2026, 08:30 CET\n"), "{list}");
    assert!(list.contains("2. reminder “BBBB2” – every minute; paused\n"), "{list}");
    home.follow_up("1.json", "cancel 2");
    assert_eq!(agent.reply(), "Done: reminder “BBBB2” is cancelled.");
    let requests = host.join().unwrap();
    assert_eq!((&requests[0]["type"], &requests[0]["taskId"]), (&json!("cancel_task"), &json!("BBBB2")));
    // The other tasks keep their numbers, so that the same words never end another task.
    fs::write(
        home.path("ipc/current_tasks.json"),
        json!([task("CCCC3", "active"), task("AAAA1", "active")]).to_string(),
    )
    .unwrap();
    home.follow_up("2.json", "cancel 2");
    assert_eq!(agent.reply(), "There is no task 2. Those there are have the numbers 1, 3.");
    home.follow_up("3.json", "pause 4");
    assert!(agent.reply().starts_with("There is no task 4."));
}

#[test]
fn due_task_says_its_reminder_and_waits_for_the_close() {
    for (prompt, text) in
        [("Remind the chat: buy milk", "Reminder: buy milk"), ("water plants", "Reminder: water plants")]
    {
        let home = Home::new();
        let mut agent = Agent::start(&home, &with(input(prompt), "isScheduledTask", json!(true)));
        assert_eq!(agent.reply(), text);
        home.close();
        assert!(agent.end().success());
    }
}

#[test]
fn commands_run_in_the_groups_folder_and_end_at_their_limit() {
    let home = Home::new();
    fs::write(home.path("group/x"), "").unwrap();
    let agent = Agent::start_with(
        &home,
        &input("run ls; echo oops >&2; exit 3").to_string(),
        &[("PARLOR_RUN_LIMIT_MS", "300")],
    );
    assert_eq!(agent.reply(), "```\nx\noops\n```\nIt failed: exit code 3.");
    home.follow_up("1.json", "run echo begun; sleep 600");
    let reply = agent.reply();
    assert!(reply.contains("begun") && reply.contains("longer than 0.3 seconds"), "{reply}");
}

#[test]
fn broken_stdin_and_unknown_provider_are_reported() {
    let home = Home::new();
    let mut agent = Agent::start_with(&home, "{\"prompt\": 1", &[]);
    let output = agent.output();
    assert_eq!(output.status, Status::Error);
    assert!(output.error.unwrap().contains("stdin is not the JSON of a run"));
    assert_eq!(agent.end().code(), Some(1));

    let agent = Agent::start(&home, &with(input("hello"), "provider", json!("oracle")));
    let output = agent.output();
    assert_eq!(
        (output.status, output.turn, output.error_kind),
        (Status::Error, Some(Turn::Done), Some(ErrorKind::Refused))
    );
    assert!(output.error.unwrap().contains("oracle"));

    // A missing interpreter would still be missing on a retry.
    home.program("#!/no/such/interpreter\n");
    let output = Agent::start(&home, &with(input("hello"), "provider", json!("exec"))).output();
    assert_eq!(output.error_kind, Some(ErrorKind::Refused), "{output:?}");
}

fn exec(prompt: &str) -> Value {
    with(with(input(prompt), "provider", json!("exec")), "sessionId", json!("S1"))
}

#[test]
fn exec_program_is_the_agent() {
    let home = Home::new();
    home.program(
        "#!/bin/sh\nprintf '%s|' \"$PARLOR_CHAT_JID\" \"$PARLOR_GROUP\" \"$PARLOR_SESSION_ID\" \"$PARLOR_IS_TASK\" \
         \"$PARLOR_IS_MAIN\" \"$PARLOR_RUN_ID\" \"$PARLOR_RESUMED\"\npwd\ncat\necho log >&2\n",
    );
    let mut agent = Agent::start(&home, &with(exec("the prompt"), "resumed", json!(["sent\0"])));
    let output = agent.output();
    let group = home.path("group").canonicalize().unwrap();
    let expected = format!("web:team|team|S1|0|0|R1|[\"sent\\u0000\"]|{}\nthe prompt", group.display());
    assert_eq!(output.result, Some(expected));
    assert_eq!(output.new_session_id.as_deref(), Some("S1"));
    home.program("#!/bin/sh\nexit 0\n");
    home.follow_up("1.json", "x");
    let output = agent.output();
    assert_eq!((output.status, output.result, output.consumed.len()), (Status::Success, None, 1));
    home.close();
    assert!(agent.end().success());
    let mut log = String::new();
    agent.stderr().read_to_string(&mut log).unwrap();
    assert_eq!(log, "log\n");
}

#[test]
fn exec_program_that_fails_or_is_missing_is_reported() {
    let home = Home::new();
    let agent = Agent::start(&home, &exec("x"));
    let advice = agent.output();
    assert_eq!((advice.status, advice.turn), (Status::Error, Some(Turn::Done)));
    assert_eq!(advice.error_kind, Some(ErrorKind::Refused), "another try would not make it appear");
    let text = advice.error.unwrap();
    assert!(text.contains("agent") && text.contains("executable"), "{text}");

    home.program("#!/bin/sh\necho partly\necho why it failed >&2\nexit 7\n");
    home.follow_up("1.json", "x");
    let output = agent.output();
    assert_eq!((output.status, output.turn, output.result), (Status::Error, Some(Turn::Done), None));
    assert_eq!(output.consumed, ["1.json"]);
    let error = output.error.unwrap();
    assert!(error.contains("exit code 7: why it failed"), "{error}");

    home.program("#!/no/such/interpreter\n");
    home.follow_up("2.json", "x");
    assert!(agent.output().error.unwrap().contains("interpreter"));
}

#[test]
fn exec_program_has_the_host_tools_and_gets_refusals() {
    let home = Home::new();
    home.program(
        "#!/bin/sh\nparlor-tool send 'in between'; echo code $?\nparlor-tool pause T9 2>&1; echo code $?\n\
         parlor-tool schedule soon 2>/dev/null; echo code $?\n",
    );
    let messages = home.host("messages", vec![json!({"ok": true})]);
    let tasks = home.host("tasks", vec![json!({"ok": false, "error": "task T9 belongs to another group"})]);
    let agent = Agent::start(&home, &exec("x"));
    let reply = agent.reply();
    assert!(reply.contains("on its way.\ncode 0\n"), "{reply}");
    assert!(reply.contains("Parlor refused this: task T9 belongs to another group\ncode 1\n"), "{reply}");
    assert!(reply.ends_with("code 2"), "{reply}");
    let sent = messages.join().unwrap();
    assert_eq!(sent[0], json!({"type": "message", "chatJid": "web:team", "text": "in between", "id": sent[0]["id"]}));
    assert_eq!(tasks.join().unwrap()[0]["type"], "pause_task");
}

#[test]
fn sigterm_kills_the_exec_programs_whole_group() {
    let home = Home::new();
    home.program("#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $! > child\nwait; sleep 600\n");
    let mut agent = Agent::start(&home, &exec("x"));
    let child = home.path("group/child");
    eventually("the program works", || fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')));
    agent.signal("-TERM");
    assert_eq!(agent.end().code(), Some(143));
    let stat = Path::new("/proc").join(fs::read_to_string(child).unwrap().trim()).join("stat");
    eventually("the child is gone", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn parlor_tool_schedules_lists_and_registers() {
    let home = Home::new();
    let tool = |args: &[&str]| {
        let mut command = Command::new(RUNNER);
        home.environment(&mut command);
        let output = command.arg("tool").args(args).env("PARLOR_CHAT_JID", "web:team").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let ok = json!({"ok": true, "taskId": "T1", "nextRun": "2026-11-23T07:30:00Z"});
    let host = home.host("tasks", vec![ok, json!({"ok": true}), json!({"ok": true})]);
    let (code, out, _) = tool(&["schedule", "--every", "10m", "--context", "group", "check", "the", "oven"]);
    assert_eq!((code, out.as_str()), (Some(0), "Done: task T1, next run Mon 23 Nov 2026, 08:30:00 CET\n"));
    assert_eq!(tool(&["update", "T1", "--prompt", "new"]).0, Some(0));
    assert_eq!(tool(&["register", "web:x", "X", "x", "@Andy", "--no-trigger"]).0, Some(0));
    let requests = host.join().unwrap();
    let expected = json!({"type": "schedule_task", "prompt": "check the oven", "schedule_type": "interval",
        "schedule_value": "600000", "context_mode": "group", "targetJid": "web:team", "timezone": "Europe/Berlin",
        "id": requests[0]["id"]});
    assert_eq!(requests[0], expected);
    assert_eq!(requests[1], json!({"type": "update_task", "taskId": "T1", "prompt": "new", "id": requests[1]["id"]}));
    assert_eq!(requests[2]["requiresTrigger"], false);
    assert_eq!(tool(&["tasks"]), (Some(0), "There are no tasks.\n".into(), String::new()));
    let (code, _, error) = tool(&["dance"]);
    assert!(code == Some(2) && error.contains("no command \"dance\"") && error.contains("parlor-tool send"), "{error}");
}

/// Returns the shell blocks of the handbook for agents.
fn handbook_scripts() -> Vec<String> {
    let handbook = include_str!("../../../docs/WRITING_AGENTS.md");
    handbook.split("```sh\n").skip(1).map(|rest| rest.split("```\n").next().unwrap_or(rest).to_owned()).collect()
}

#[test]
fn handbooks_program_is_an_agent() {
    let home = Home::new();
    home.program(&handbook_scripts()[0]);
    let prompt = "<messages>\n<message sender=\"a\" time=\"t\">one</message>\n\
        <message sender=\"b\" time=\"t\">two\nlines</message>\n</messages>";
    assert_eq!(Agent::start(&home, &exec(prompt)).reply(), "two\nlines");
}

#[test]
fn handbooks_whole_agent_speaks_the_protocol() {
    let script = include_str!("../../../tests/fixtures/v1-agent.sh");
    assert_eq!(handbook_scripts()[1], script, "the handbook shows the script that is tested");
    let home = Home::new();
    fs::write(home.path("v1-agent.sh"), script).unwrap();
    let mut agent = Agent::start_program(&home, &home.path("v1-agent.sh"), &input("plain \"text\""));
    let first = agent.output();
    assert_eq!((first.result.as_deref(), first.turn), (Some("v1: plain \"text\""), None));
    let xml = |text: &str| format!("<messages>\n<message sender=\"a\" time=\"t\">{text}</message>\n</messages>");
    home.follow_up("0001.json", &xml("a &amp;lt; b \\ c\nd"));
    home.follow_up("0002.json", &xml("ä"));
    home.close();
    let second = agent.output();
    assert_eq!(second.result.as_deref(), Some("v1: a &lt; b \\ c\nd"));
    assert_eq!(second.new_session_id, first.new_session_id);
    assert_eq!(agent.output().result.as_deref(), Some("v1: ä"));
    assert!(agent.end().success());
}

#[test]
fn task_made_by_an_earlier_try_of_the_turn_is_not_made_again() {
    let prompt = "<messages>\n<message sender=\"a\" time=\"2026-01-01T00:00:00.000Z\">remind me in 1 hour to smile</message>\n\
                  </messages>";
    let mut ids = Vec::new();
    for answer in [
        json!({"ok": true, "taskId": "x", "nextRun": "2026-01-01T01:00:00.000Z"}),
        json!({"ok": false, "error": "task x exists already: choose another id, or leave it out"}),
    ] {
        let home = Home::new();
        let host = home.host("tasks", vec![answer]);
        let agent = Agent::start(&home, &input(prompt));
        let reply = agent.reply();
        assert!(reply.starts_with("Done: reminder “smile”"), "{reply}");
        ids.push(host.join().unwrap()[0]["taskId"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].is_string());
}

#[test]
fn session_of_another_provider_is_reported_missing_at_once() {
    for (provider, id) in [
        ("claude", "019a7b3c4d5e00010123456789abcdef"),
        ("claude", "--help"),
        ("codex", "session-family"),
        ("gemini", "019a7b3c4d5e00010123456789abcdef"),
        ("llm", "../../etc/passwd"),
        ("guide", "two\nlines"),
        ("exec", "-x"),
    ] {
        let home = Home::new();
        let asked = with(with(input("say hi"), "provider", json!(provider)), "sessionId", json!(id));
        let mut agent = Agent::start(&home, &asked);
        let output = agent.output();
        assert_eq!(output.error_kind, Some(ErrorKind::SessionMissing), "{provider} {id}: {output:?}");
        assert_eq!((output.status, output.turn, output.new_session_id), (Status::Error, Some(Turn::Done), None));
        home.close();
        assert!(agent.end().success(), "{provider}");
    }
}
