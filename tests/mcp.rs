//! The host tools in a real room: the MCP server and `parlor-tool` in containers, against a real host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

const MAIN: &str = "web:main";
const ROOM: &str = "web:room";

/// Passes the requests in the group's folder to the server, or runs its command line; replies the result.
const AGENT: &str = r#"#!/bin/sh
prompt=$(tr '\n' '\001')
text=$(echo "$prompt" | sed 's/.*<message [^>]*>\(.*\)<\/message>.*/\1/' | tr '\001' '\n')
case $text in
    mcp | away)
        if [ "$text" = away ]; then
            : > ready
            until [ -e go ]; do sleep 0.1; done
        fi
        : > /tmp/answers
        { cat requests; until grep -q '"id":2' /tmp/answers; do sleep 0.1; done; } |
            timeout 60 /app/agent-runner mcp >> /tmp/answers
        cp /tmp/answers ./answers
        cat /tmp/answers ;;
    reply) parlor-tool send 'an answer' --reply-to m-1 ;;
    tool) sh ./command 2>&1; echo "code $?" ;;
    *) echo "a run of $PARLOR_GROUP" ;;
esac
"#;

struct Rooms {
    host: Host,
}

impl Rooms {
    fn start() -> Self {
        let host = Host::builder()
            .env("CONTAINER_IMAGE", "")
            .env("PARLOR_PROVIDER", "exec")
            .env("PARLOR_MAX_FILE_SIZE", 100_000)
            .start();
        host.register_main(MAIN, "main");
        host.register(ROOM, "room");
        let rooms = Self { host };
        for folder in ["main", "room"] {
            fs::create_dir_all(rooms.group(folder)).unwrap();
            fs::write(rooms.group(folder).join("agent"), AGENT).unwrap();
            fs::set_permissions(rooms.group(folder).join("agent"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        rooms
    }

    fn group(&self, folder: &str) -> PathBuf {
        self.host.root().join("groups").join(folder)
    }

    fn folder_of(jid: &str) -> &str {
        jid.strip_prefix("web:").unwrap()
    }

    /// Writes the requests that the room sends to the server.
    fn requests(&self, jid: &str, method: &str, params: &Value) {
        let hello =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let lines = [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": params}),
        ];
        let lines = lines.map(|line| format!("{line}\n")).concat();
        fs::write(self.group(Self::folder_of(jid)).join("requests"), lines).unwrap();
    }

    /// Returns the answer to a request: the result, or the protocol's error.
    #[track_caller]
    fn mcp(&self, jid: &str, method: &str, params: &Value) -> Value {
        self.requests(jid, method, params);
        let said = self.host.ask(jid, "mcp").join("\n");
        answer(&said).unwrap_or_else(|| panic!("{method} {params}: {said}"))
    }

    /// Calls a tool. Returns whether it failed, and its text.
    #[track_caller]
    fn call(&self, jid: &str, tool: &str, args: &Value) -> (bool, String) {
        let answer = self.mcp(jid, "tools/call", &json!({"name": tool, "arguments": args}));
        let result = &answer["result"];
        let said = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        (result["isError"] == true, said.to_owned())
    }

    #[track_caller]
    fn done(&self, jid: &str, tool: &str, args: &Value) -> String {
        let (failed, said) = self.call(jid, tool, args);
        assert!(!failed, "{tool} {args}: {said}");
        said
    }

    #[track_caller]
    fn refused(&self, jid: &str, tool: &str, args: &Value, why: &str) {
        let (failed, said) = self.call(jid, tool, args);
        assert!(failed && said.contains(why), "{tool} {args}: {said}");
    }

    /// Runs a command line in a room; returns its output.
    #[track_caller]
    fn tool(&self, jid: &str, line: &str) -> String {
        fs::write(self.group(Self::folder_of(jid)).join("command"), line).unwrap();
        self.host.ask(jid, "tool").join("\n")
    }

    fn refusals(&self) -> String {
        self.host.api.get("/v1/refusals").expect(200).text()
    }
}

/// Returns the answer to the last request, if it is there.
fn answer(lines: &str) -> Option<Value> {
    let mut answers = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    answers.find(|answer| answer["id"] == 2)
}

#[test]
fn tools_work_in_rooms_of_each_kind() {
    let rooms = Rooms::start();
    for (jid, count) in [(MAIN, 13), (ROOM, 11)] {
        let listed = rooms.mcp(jid, "tools/list", &json!({}));
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), count, "{listed}");
        let mut events = rooms.host.events();
        let sent = rooms.done(jid, "send_message", &json!({"text": "half way", "sender": "Bob"}));
        assert_eq!(sent, "Done: the message is on its way.");
        assert_eq!(events.message(jid, SOON, |text| text == "half way").data["sender"], "Bob");

        let id = format!("t-{}", Rooms::folder_of(jid));
        let task = json!({"prompt": "p", "schedule_type": "cron", "schedule_value": "0 9 * * 1-5", "taskId": id});
        assert!(rooms.done(jid, "schedule_task", &task).starts_with(&format!("Done: task {id}, next run ")));
        rooms.refused(jid, "schedule_task", &task, "exists already");
        assert!(rooms.done(jid, "list_tasks", &json!({})).contains(&id));
        for (tool, done) in
            [("pause_task", "paused"), ("resume_task", "active again"), ("run_task_now", "about to run")]
        {
            assert!(rooms.done(jid, tool, &json!({"taskId": id})).contains(done), "{tool}");
        }
        events.message(jid, SOON, |text| text == format!("a run of {}", Rooms::folder_of(jid)));
        let change = json!({"taskId": id, "schedule_type": "interval", "schedule_value": "3600000"});
        assert!(rooms.done(jid, "update_task", &change).starts_with("Done: the task is changed. Next run: "));
        assert_eq!(rooms.host.api.get(&format!("/v1/tasks/{id}")).expect(200).json()["scheduleValue"], "3600000");
        assert!(rooms.done(jid, "cancel_task", &json!({"taskId": id})).contains("cancelled"));

        rooms.done(jid, "remember", &json!({"text": "Ann likes tea"}));
        let memory = fs::read_to_string(rooms.group(Rooms::folder_of(jid)).join("CLAUDE.md")).unwrap();
        assert!(memory.ends_with("- Ann likes tea\n"), "{memory}");
    }
    rooms.done(MAIN, "remember", &json!({"text": "for all", "scope": "global"}));
    assert!(fs::read_to_string(rooms.group("global").join("CLAUDE.md")).unwrap().ends_with("- for all\n"));
    rooms.refused(ROOM, "remember", &json!({"text": "for all", "scope": "global"}), "only the main group");
    assert!(rooms.done(MAIN, "list_groups", &json!({})).contains(ROOM));
    assert!(rooms.done(ROOM, "list_groups", &json!({})).contains("only the main group sees them"));
    rooms.done(MAIN, "refresh_groups", &json!({}));
    let group = json!({"jid": "web:new", "name": "New", "folder": "new", "trigger": "@Andy", "requiresTrigger": false});
    rooms.done(MAIN, "register_group", &group);
    assert_eq!(rooms.host.api.get("/v1/groups/new").expect(200).json()["jid"], "web:new");
    rooms.refused(MAIN, "register_group", &group, "Parlor refused this");
    let mut events = rooms.host.events();
    rooms.done(MAIN, "send_message", &json!({"text": "from main", "chatJid": ROOM}));
    events.message(ROOM, SOON, |text| text == "from main");

    // The host refuses and records requests that only main may make.
    rooms.refused(
        ROOM,
        "register_group",
        &json!({"jid": "web:z", "name": "Z", "folder": "z", "trigger": "@z"}),
        "only the main group",
    );
    rooms.refused(ROOM, "refresh_groups", &json!({}), "only the main group");
    rooms.refused(
        ROOM,
        "send_message",
        &json!({"text": "x", "chatJid": MAIN}),
        "only the main group may send messages to other chats",
    );
    rooms.refused(ROOM, "pause_task", &json!({"taskId": "t-main"}), "there is no task t-main");
    rooms.refused(ROOM, "send_message", &json!({"text": "x", "replyTo": "nothing"}), "there is no message \"nothing\"");
    rooms.refused(ROOM, "send_message", &json!({"text": "x", "colour": "red"}), "no argument \"colour\"");
    let refusals = rooms.refusals();
    for what in ["register_group", "refresh_groups", "pause_task"] {
        assert!(refusals.contains(what), "{refusals}");
    }
}

#[test]
fn send_file_sends_only_files_of_the_room() {
    let rooms = Rooms::start();
    let folder = rooms.group("room");
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/é \"1\".bin"), [0, 1, 255].repeat(1000)).unwrap();
    fs::write(folder.join("large"), vec![0; 100_001]).unwrap();
    std::os::unix::fs::symlink("/etc", folder.join("etc")).unwrap();
    fs::write(rooms.host.root().join("outside"), "secret").unwrap();
    std::os::unix::fs::symlink("../../../../outside", folder.join("link")).unwrap();
    let asked = json!({"sender": "ann", "text": "hello", "id": "m-1"});
    rooms.host.api.post("/v1/chats/web:room/messages", &asked).expect(202);

    let mut events = rooms.host.events();
    let args = json!({"path": "/workspace/group/out/é \"1\".bin", "caption": "the numbers", "replyTo": "m-1"});
    let said = rooms.done(ROOM, "send_file", &args);
    assert_eq!(said, "Done: the file out/é \"1\".bin (3000 bytes) is on its way.");
    let event = events.message(ROOM, SOON, |text| text == "the numbers").data;
    assert_eq!(event["file"], json!({"name": "é \"1\".bin", "size": 3000}), "{event}");
    assert_eq!(event["replyTo"], "m-1");
    let id = event["deliveryId"].as_str().unwrap();
    assert_eq!(rooms.host.ask(ROOM, "reply"), ["an answer", "Done: the message is on its way."]);
    let answered = events.message(ROOM, SOON, |text| text == "an answer").data;
    assert_eq!(answered["replyTo"], "m-1", "{answered}");
    // The chat gets the file as it was when it was sent.
    fs::write(folder.join("out/é \"1\".bin"), "changed").unwrap();
    let file = rooms.host.api.get(&format!("/v1/outbox/{id}/file")).expect(200);
    assert_eq!(file.body, [0, 1, 255].repeat(1000));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename*=UTF-8''%C3%A9%20%221%22.bin"));
    assert_eq!(rooms.host.api.get(&format!("/v1/outbox/{id}")).expect(200).json()["file"]["size"], 3000);
    rooms.host.api.get("/v1/outbox/01ARZ3NDEKTSV4RRFFQ69G5FAV/file").expect(404);

    rooms.refused(ROOM, "send_file", &json!({"path": "large"}), "100001 bytes; at most 100000 are read");
    rooms.refused(ROOM, "send_file", &json!({"path": "link"}), "not a regular file");
    rooms.refused(ROOM, "send_file", &json!({"path": "out/é \"1\".bin", "chatJid": MAIN}), "only the main group");
    // A room that ignores the tools gets no further.
    for path in ["link", "etc/passwd", "../main/agent", "/etc/passwd", "out", "missing", ""] {
        let asked = json!({"type": "file", "chatJid": ROOM, "path": path, "id": "raw"}).to_string();
        let line = format!(
            "rm -f /workspace/ipc/results/raw.json; echo '{asked}' > /workspace/ipc/messages/a.tmp\n\
             mv /workspace/ipc/messages/a.tmp /workspace/ipc/messages/a.json\n\
             until [ -e /workspace/ipc/results/raw.json ]; do sleep 0.1; done; cat /workspace/ipc/results/raw.json"
        );
        let said = rooms.tool(ROOM, &line);
        assert!(said.contains("\"ok\":false"), "{path}: {said}");
    }
    assert!(rooms.refusals().contains("file \\\"etc/passwd\\\""), "{}", rooms.refusals());
    let kept = fs::read_dir(rooms.host.root().join("data/outbox-files")).unwrap().count();
    assert_eq!(kept, 1, "what was refused is not kept");
}

#[test]
fn command_line_has_the_same_tools() {
    let rooms = Rooms::start();
    let mut events = rooms.host.events();
    fs::write(rooms.group("room").join("a.txt"), "abc").unwrap();
    let said = rooms.tool(ROOM, "parlor-tool file a.txt --caption 'look here' && parlor-tool remember tea is green");
    assert!(said.contains("the file a.txt (3 bytes)") && said.ends_with("CLAUDE.md now.\ncode 0"), "{said}");
    assert_eq!(events.message(ROOM, SOON, |text| text == "look here").data["file"]["name"], "a.txt");
    assert_eq!(fs::read_to_string(rooms.group("room").join("CLAUDE.md")).unwrap(), "- tea is green\n");
    let said = rooms
        .tool(ROOM, "parlor-tool schedule --every 1h --id t1 check && parlor-tool pause 1 && parlor-tool tasks --json");
    assert!(said.contains("Done: task t1, next run") && said.contains("\"status\":\"paused\""), "{said}");
    let said = rooms.tool(ROOM, "parlor-tool register web:z Z z @z");
    assert!(said.contains("only the main group may use register_group") && said.ends_with("code 1"), "{said}");
    let said =
        rooms.tool(MAIN, "parlor-tool register web:z Z z @z --no-trigger && parlor-tool refresh && parlor-tool groups");
    assert!(said.contains("web:z is a group now") && said.contains("web:z\tZ\tregistered"), "{said}");
    assert!(rooms.tool(ROOM, "parlor-tool send").ends_with("code 2"));
    assert!(rooms.tool(ROOM, "parlor-tool help send_file").contains("--caption"));
    assert!(rooms.tool(MAIN, "parlor-tool send --to web:room 'across the rooms'").ends_with("code 0"));
    events.message(ROOM, SOON, |text| text == "across the rooms");
}

#[test]
fn host_that_answers_late_is_reported_and_acts_once() {
    let rooms = Rooms::start();
    rooms.requests(ROOM, "tools/call", &json!({"name": "send_message", "arguments": {"text": "late"}}));
    let mut events = rooms.host.events();
    let seq = rooms.host.send(ROOM, "away");
    let folder = rooms.group("room");
    eventually("the room is ready", SOON, || folder.join("ready").exists().then_some(()));
    rooms.host.signal(Signal::STOP);
    fs::write(folder.join("go"), "").unwrap();
    let told = eventually("the room gives up waiting", 2 * SOON, || {
        fs::read_to_string(folder.join("answers")).ok().as_deref().and_then(answer)
    });
    rooms.host.signal(Signal::CONT);
    assert_eq!(told["result"]["isError"], true, "{told}");
    assert!(told.to_string().contains("may still be carried out"), "{told}");
    events.message(ROOM, SOON, |text| text == "late");
    events.turn_done(ROOM, seq, SOON);
    assert_eq!(events.texts(ROOM).iter().filter(|text| *text == "late").count(), 1);
}
