//! The provider `exec`: a shell script in the group's folder is the agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

const AGENT: &str = r#"#!/bin/sh
# Acts on the text of the last message; a task's prompt is plain text.
text=$(tr '\n' '\001' | sed 's/.*<message [^>]*>\(.*\)<\/message>.*/\1/' | tr '\001' '\n')
case $text in
    schedule) parlor-tool schedule --in 1s 'the task of the script' ;;
    'the task of the script') echo "fired, a task: $PARLOR_IS_TASK" ;;
    send) parlor-tool send 'half way'; echo 'the end' ;;
    foreign) parlor-tool send --to web:other 'not for you' 2>&1; echo "exit code $?" ;;
    silent) ;;
    session) echo "$PARLOR_SESSION_ID $PARLOR_CHAT_JID $PARLOR_GROUP $PARLOR_IS_MAIN $PARLOR_IS_TASK" ;;
    fail) if [ -e failed ]; then echo recovered; else touch failed; echo 'broken on purpose' >&2; exit 7; fi ;;
    *) echo "you said: $text" ;;
esac
"#;

fn program(host: &Host, folder: &str, text: &str, mode: u32) {
    let dir = host.root().join("groups").join(folder);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("agent"), text).unwrap();
    fs::set_permissions(dir.join("agent"), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn shell_script_is_an_agent_with_the_hosts_tools() {
    let host = Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_PROVIDER", "exec").start();
    host.register("web:x", "x");
    host.register("web:other", "other");
    program(&host, "x", AGENT, 0o755);
    let mut events = host.events();
    assert_eq!(host.ask("web:x", "hello"), ["you said: hello"]);
    let about = host.ask("web:x", "session").join("");
    let (session, rest) = about.split_once(' ').unwrap();
    assert_eq!(rest, "web:x x 0 0");
    assert_eq!(host.api.get("/v1/sessions/x").json()["sessionId"], session);

    assert_eq!(host.ask("web:x", "send"), ["half way", "Done: the message is on its way.\nthe end"]);
    assert_eq!(host.ask("web:x", "silent"), Vec::<String>::new());
    let foreign = host.ask("web:x", "foreign").join("");
    assert!(foreign.contains("refused") && foreign.ends_with("exit code 1"), "{foreign}");
    let made = host.ask("web:x", "schedule").join("");
    assert!(made.starts_with("Done: task ") && made.contains("next run"), "{made}");
    events.message("web:x", SOON, |text| text == "fired, a task: 1");

    // A script that fails: the reason is reported, and the message is tried again.
    let seq = host.send("web:x", "fail");
    let why = eventually("the failure can be seen", SOON, || {
        let status = host.ask("web:x", "/status").join("\n");
        status.contains("tries again in").then_some(status)
    });
    assert!(why.contains("ended with exit code 7: broken on purpose"), "{why}");
    events.message("web:x", SOON, |text| text == "recovered");
    events.turn_done("web:x", seq, SOON);

    // No program, or none that can be executed: reported at once, with the remedy.
    let told = |jid: &str| {
        let mut events = host.events();
        let seq = host.send(jid, "hello");
        events.wait("the turn fails", SOON, |e| e.is_turn(jid, "failed", seq));
        events.texts(jid).join("\n")
    };
    let missing = told("web:other");
    assert!(missing.contains("There is no agent program at groups/other/agent"), "{missing}");
    program(&host, "other", AGENT, 0o644);
    let plain = told("web:other");
    assert!(plain.contains("chmod +x"), "{plain}");
    program(&host, "other", AGENT, 0o755);
    assert_eq!(host.ask("web:other", "now"), ["you said: now"]);
    // The group's environment names another program.
    host.api
        .patch("/v1/groups/other", &json!({ "containerConfig": { "env": { "PARLOR_EXEC": "/bin/cat" } } }))
        .expect(200);
    host.ask("web:other", "/new");
    let raw = host.ask("web:other", "a <b>").join("");
    assert!(
        raw.starts_with("<context format=\"2\" ")
            && raw.contains("\n<messages>\n<message sender=\"Ann\"")
            && raw.contains(">a &lt;b&gt;</message>"),
        "{raw}"
    );
}

#[test]
fn text_is_sent_once_and_the_next_turn_has_a_tasks_texts() {
    const TELLS: &str = r#"#!/bin/sh
prompt=$(cat)
case $prompt in
    *'>twice</message>'*) parlor-tool send 'the  same text' > /dev/null; echo 'the same text' ;;
    *'>different</message>'*) parlor-tool send one > /dev/null; echo two ;;
    ask) echo 'Did you take your pills?' ;;
    *) echo "$prompt" ;;
esac
"#;
    let host =
        Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_PROVIDER", "exec").env("TZ", "Asia/Tokyo").start();
    host.register("web:x", "x");
    program(&host, "x", TELLS, 0o755);
    assert_eq!(host.ask("web:x", "different"), ["one", "two"]);
    assert_eq!(host.ask("web:x", "twice"), ["the  same text"], "equal but for white space");
    // A later turn may send the same text again.
    assert_eq!(host.ask("web:x", "twice"), ["the  same text"]);
    let mut events = host.events();
    let at = (chrono::Utc::now() + chrono::TimeDelta::seconds(2)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let task = json!({ "folder": "x", "prompt": "ask", "scheduleType": "once", "scheduleValue": at });
    let made = host.api.post("/v1/tasks", &task).expect(201).json();
    assert!(made["nextDueLocal"].as_str().unwrap().ends_with("UTC+09:00 Asia/Tokyo"), "{made}");
    events.message("web:x", SOON, |text| text == "Did you take your pills?");
    let shown = host.ask("web:x", "yes").join("\n");
    assert!(shown.starts_with("<context format=\"2\" timezone=\"Asia/Tokyo\" now=\""), "{shown}");
    let told = shown.lines().find(|line| line.starts_with("<said ")).unwrap_or_default();
    assert!(told.contains("+09:00\" task=\"") && told.ends_with(">Did you take your pills?</said>"), "{shown}");
    assert_eq!(shown.matches("<said ").count(), 1, "what the chat's own turns said is no news: {shown}");
    let again = host.ask("web:x", "and now").join("\n");
    assert!(!again.contains("<said "), "once: {again}");
}
