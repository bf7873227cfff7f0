//! A live room: its container as the engine shows it, and the agent's view, files and rights in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::{SOON, engine};

/// Runs a command in the room; returns its output.
#[track_caller]
pub fn sh(host: &Host, jid: &str, command: &str) -> String {
    host.ask(jid, &format!("!sh {command}")).join("\n")
}

/// Returns the engine's description of a group's only live container.
#[track_caller]
pub fn inspect(host: &Host, folder: &str) -> Value {
    let prefix = format!("parlor-{folder}-");
    let names: Vec<String> = host.containers().into_iter().filter(|name| name.starts_with(&prefix)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let text = engine::lines(&["inspect", &names[0]]).join("\n");
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

/// Returns target → (source, writable), without the mounts that engines add.
fn mounts(container: &Value) -> BTreeMap<String, (String, bool)> {
    let all = container["Mounts"].as_array().unwrap().iter();
    all.map(|m| {
        let text = |key: &str| m[key].as_str().unwrap_or_default().to_owned();
        let source = if m["Type"] == "tmpfs" { "tmpfs".to_owned() } else { text("Source") };
        (text("Destination"), (source, m["RW"].as_bool().unwrap()))
    })
    .collect()
}

/// Returns the user of agents, and of their files on the host.
fn agent_ids() -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == 0 { (1000, 1000) } else { (uid, gid) }
}

fn session_is_new(host: &Host, folder: &str) -> bool {
    host.api.get(&format!("/v1/sessions/{folder}")).status == 404
}

#[test]
fn container_has_its_name_labels_limits_and_no_secrets() {
    let host = Host::builder().env("TZ", "Europe/Berlin").dot_env("ANTHROPIC_API_KEY=sk-never-shown-1\n").start();
    host.register("web:plain", "plain");
    let own = json!({ "memory": "192m", "cpus": "0.5", "pids": 96, "env": { "COLOUR": "blue" }, "network": "bridge" });
    host.register_with("web:Own", "Own_1", &own);
    sh(&host, "web:plain", "true");
    sh(&host, "web:Own", "true");

    let run = host.api.get("/v1/runs?folder=plain").json()["runs"][0].clone();
    let plain = inspect(&host, "plain");
    let name = plain["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
    let id = run["id"].as_str().unwrap();
    assert_eq!(name, format!("parlor-plain-{}", id.to_lowercase()));
    let labels = &plain["Config"]["Labels"];
    assert_eq!(labels["parlor.instance"], host.instance().unwrap().as_str());
    assert_eq!(
        (&labels["parlor.kind"], &labels["parlor.group"], &labels["parlor.run"]),
        (&json!("run"), &json!("plain"), &json!(id))
    );

    let (uid, gid) = agent_ids();
    assert_eq!(plain["Config"]["User"], format!("{uid}:{gid}"));
    assert_eq!(plain["HostConfig"]["AutoRemove"], true);
    assert_eq!(plain["HostConfig"]["LogConfig"]["Type"], "none");
    assert_eq!(plain["HostConfig"]["Privileged"], false);
    assert_eq!(plain["HostConfig"]["NetworkMode"], "none");
    let limits = |of: &Value| {
        let number = |key: &str| of["HostConfig"][key].as_i64().unwrap();
        (number("Memory"), number("NanoCpus"), number("PidsLimit"))
    };
    assert_eq!(limits(&plain), (2 << 30, 2_000_000_000, 512));

    let other = inspect(&host, "Own_1");
    assert_eq!(limits(&other), (192 << 20, 500_000_000, 96));
    assert_eq!(other["HostConfig"]["NetworkMode"], "bridge");
    let environment = |of: &Value| -> Vec<String> {
        let all = of["Config"]["Env"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
        // Variables that engines set in every container.
        let ours = all.filter(|v| !["PATH=", "HOSTNAME=", "TERM=", "container="].iter().any(|own| v.starts_with(own)));
        let mut ours: Vec<String> = ours.collect();
        ours.sort();
        ours
    };
    assert_eq!(environment(&plain), ["HOME=/home/node", "TZ=Europe/Berlin"]);
    assert_eq!(environment(&other), ["COLOUR=blue", "HOME=/home/node", "TZ=Europe/Berlin"]);

    // The same from inside: not root, no capabilities, no new privileges, an init that reaps, no network.
    let status = sh(&host, "web:plain", "grep -E '^(Uid|Gid|Cap...|NoNewPrivs):' /proc/self/status");
    for line in status.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "Uid:" => assert!(words[1..].iter().all(|id| *id == uid.to_string()), "{line}"),
            "Gid:" => assert!(words[1..].iter().all(|id| *id == gid.to_string()), "{line}"),
            "NoNewPrivs:" => assert_eq!(words[1], "1"),
            _ => assert_eq!(words[1], "0000000000000000", "{line}"),
        }
    }
    assert_eq!(status.lines().count(), 8, "{status}");
    assert_eq!(sh(&host, "web:plain", "ls /sys/class/net"), "lo");
    assert_ne!(sh(&host, "web:plain", "cat /proc/1/comm"), "agent-runner");
    assert!(!session_is_new(&host, "plain"));
}

#[test]
fn groups_see_their_folder_and_main_the_installation_without_secrets() {
    let host = Host::builder().dot_env("ANTHROPIC_API_KEY=sk-masked-1\n").prepare();
    let root = host.root().to_owned();
    fs::write(root.join(".env.local"), "A=sk-masked-2\n").unwrap();
    fs::create_dir_all(root.join("deploy")).unwrap();
    fs::write(root.join("deploy/.env.prod"), "A=sk-masked-3\n").unwrap();
    fs::write(root.join("deploy/readme.txt"), "how to deploy").unwrap();
    fs::create_dir_all(root.join("deploy/to/the/moon")).unwrap();
    fs::write(root.join("deploy/to/the/moon/.env"), "A=sk-masked-4\n").unwrap();
    fs::write(root.join("deploy/to/the/readme.txt"), "far").unwrap();
    fs::create_dir_all(root.join("groups/c/app")).unwrap();
    fs::write(root.join("groups/c/app/.env"), "A=sk-masked-5\n").unwrap();
    fs::write(root.join("groups/c/notes.txt"), "c's own").unwrap();
    fs::create_dir_all(root.join("groups/global")).unwrap();
    fs::write(root.join("groups/global/CLAUDE.md"), "shared\n").unwrap();
    let mut host = host;
    host.start();
    host.register_main("tty:main", "main");
    host.register("web:a", "a");
    host.register("web:b", "b");
    fs::create_dir_all(root.join("groups/b")).unwrap();
    fs::write(root.join("groups/b/private.txt"), "b's own").unwrap();
    for jid in ["tty:main", "web:a"] {
        sh(&host, jid, "true");
    }

    let path = |below: &str| root.join(below).to_str().unwrap().to_owned();
    let a = mounts(&inspect(&host, "a"));
    let input = a["/workspace/ipc/input"].clone();
    assert!(input.0.starts_with(&path("data/inputs/")) && input.1, "{input:?}");
    let expected: BTreeMap<String, (String, bool)> = [
        ("/workspace/group", path("groups/a"), true),
        ("/workspace/global", path("groups/global"), false),
        ("/workspace/ipc", path("data/ipc/a"), true),
        ("/workspace/ipc/input", input.0, true),
        ("/home/node/.claude", path("data/sessions/a/.claude"), true),
        ("/app/agent", path("data/sessions/a/agent"), true),
    ]
    .map(|(target, source, writable)| (target.to_owned(), (source, writable)))
    .into();
    assert_eq!(a, expected);
    let main = mounts(&inspect(&host, "main"));
    assert_eq!(main["/workspace/global"], (path("groups/global"), true));
    let input = &main["/workspace/ipc/input"].0;
    assert_ne!(input, &a["/workspace/ipc/input"].0, "each run has its own");
    let shown = |target: &&String| target.starts_with("/workspace/project");
    assert!(main.iter().filter(|(target, _)| shown(target)).all(|(_, (source, writable))| {
        let secret = source.contains("/data") || source.contains(".env");
        !secret && !writable
    }));
    assert_eq!(main.keys().filter(|target| !shown(target)).count(), a.len());

    // Inside main: everything except the secrets is there, and nothing can be changed.
    let main = |command: &str| sh(&host, "tty:main", command);
    assert_eq!(main("cat /workspace/project/deploy/readme.txt"), "how to deploy");
    assert_eq!(main("cat /workspace/project/groups/b/private.txt"), "b's own");
    assert_eq!(main("cd /workspace/project && cat .env .env.local deploy/.env.prod deploy/to/the/moon/.env"), "");
    assert_eq!(
        main("cd /workspace/project/deploy/to/the && cat readme.txt && ls -A . moon"),
        "far.:\nmoon\nreadme.txt\n\nmoon:\n.env"
    );
    // A group's folder with such a file is hidden as a whole.
    assert_eq!(main("ls /workspace/project/groups; ls -A /workspace/project/groups/c"), "a\nb\nc\nglobal\nmain");
    assert_eq!(main("ls -A /workspace/project/data"), "");
    let found = main("grep -rlF -e sk-masked /workspace /home /app /proc/1/environ 2>/dev/null; echo end");
    assert_eq!(found, "end");
    for file in ["x", "groups/x", "deploy/readme.txt", "data/x"] {
        assert!(main(&format!("touch /workspace/project/{file} || true")).contains("Read-only"), "{file}");
    }
    assert!(main("echo more >> /workspace/global/CLAUDE.md && echo ok").ends_with("ok"));
    // The start logs the masked names.
    let log = host.log();
    let said = log.lines().find(|line| line.contains("hidden from main")).unwrap_or_else(|| panic!("{log}"));
    let said: Vec<&str> = said.split(": ").last().unwrap().split(", ").collect();
    assert_eq!(said, ["data", ".env", ".env.local", "deploy/.env.prod", "deploy/to/the/moon/.env", "groups/c"]);
    // A hidden folder is logged once, however often main starts.
    host.ask("tty:main", "/new");
    main("true");
    let log = host.log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("main does not see these folders under")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("groups/c (it holds a .env file). Give agents their keys"), "{warned:?}");

    // Inside another group: its own folder and the shared one, which it cannot change.
    let a = |command: &str| sh(&host, "web:a", command);
    assert_eq!(a("ls /workspace"), "global\ngroup\nipc");
    assert_eq!(a("cat /workspace/global/CLAUDE.md"), "shared\nmore");
    assert!(a("echo mine >> /workspace/global/CLAUDE.md || true").contains("Read-only"));
    assert_eq!(a("ls /workspace/ipc"), "available_groups.json\ncurrent_tasks.json\ninput\nmessages\nresults\ntasks");
    assert_eq!(a("find / -name private.txt 2>/dev/null; find / -name parlor.db 2>/dev/null; echo end"), "end");

    // Its files have the right owner on the host, including folders and the input folder.
    let places = "/workspace/group /workspace/ipc/messages /home/node/.claude /app/agent /workspace/ipc/input /tmp";
    assert_eq!(a(&format!("for d in {places}; do mkdir $d/made.d && touch $d/made.d/f || echo no; done")), "");
    for place in ["groups/a/made.d", "data/ipc/a/messages/made.d", "data/sessions/a/.claude/made.d/f"] {
        let meta = fs::symlink_metadata(root.join(place)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), agent_ids(), "{place}");
    }
    let folder = fs::metadata(root.join("groups/a")).unwrap();
    assert_eq!((folder.uid(), folder.gid()), agent_ids());

    // A run's input folder is removed with the run.
    let inputs = || fs::read_dir(root.join("data/inputs")).unwrap().count();
    assert_eq!(inputs(), 2);
    host.ask("web:a", "/new");
    crate::harness::eventually("the input folder is gone", SOON, || (inputs() == 1).then_some(()));
}

#[test]
fn agent_gets_its_input_and_its_own_snapshots() {
    let host = Host::builder().env("ASSISTANT_NAME", "Zoë").start();
    host.register_main("tty:main", "main");
    host.register("web:a", "a");
    for (folder, id) in [("a", "of-a"), ("main", "of-main")] {
        let task = json!({
            "folder": folder, "id": id, "prompt": "later", "scheduleType": "interval", "scheduleValue": "3600000",
        });
        host.api.post("/v1/tasks", &task).expect(201);
    }
    // A chat that nobody has registered is available to main.
    let stranger = json!({ "sender": "eve", "text": "hello?" });
    assert_eq!(host.api.post("/v1/chats/web:new/messages", &stranger).status, 404);

    let stdin = |jid: &str, text: &str| -> Value { serde_json::from_str(&host.ask(jid, text)[0]).unwrap() };
    let text =
        "!stdin [Image: attachments/cat.png] [Image: attachments/b.JPEG] [Image: ../x.png] [Image: attachments/y]";
    let a = stdin("web:a", text);
    let run = host.api.get("/v1/runs?folder=a").json()["runs"][0].clone();
    let prompt = a["prompt"].as_str().unwrap();
    assert!(prompt.contains("\n<messages>\n<message sender=\"Ann\" time=\"") && prompt.ends_with("</messages>"));
    let mut rest = a.clone();
    rest["prompt"] = json!("");
    let expected = json!({
        "prompt": "", "groupFolder": "a", "chatJid": "web:a", "isMain": false, "assistantName": "Zoë",
        "imageAttachments": [
            { "relativePath": "attachments/cat.png", "mediaType": "image/png" },
            { "relativePath": "attachments/b.JPEG", "mediaType": "image/jpeg" },
        ],
        "runId": run["id"], "provider": "guide",
        "agentMay": { "set": ["model", "prompt", "tools", "mcp", "hooks", "env"] },
    });
    assert_eq!(rest, expected);
    let main = stdin("tty:main", "!stdin");
    assert_eq!((&main["isMain"], &main["groupFolder"]), (&json!(true), &json!("main")));
    assert!(main.get("imageAttachments").is_none() && main.get("secrets").is_none());

    let read = |jid: &str, name: &str| -> Value {
        serde_json::from_str(&sh(&host, jid, &format!("cat /workspace/ipc/{name}"))).unwrap()
    };
    let ids = |tasks: Value| -> Vec<String> {
        tasks.as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(read("web:a", "current_tasks.json")), ["of-a"]);
    assert_eq!(ids(read("tty:main", "current_tasks.json")), ["of-a", "of-main"]);
    let task = read("web:a", "current_tasks.json")[0].take();
    assert_eq!(
        (&task["groupFolder"], &task["prompt"], &task["schedule_type"], &task["schedule_value"], &task["status"]),
        (&json!("a"), &json!("later"), &json!("interval"), &json!("3600000"), &json!("active"))
    );
    assert!(task["next_run"].as_str().unwrap().ends_with('Z'));
    let groups = read("web:a", "available_groups.json");
    assert_eq!(groups["groups"], json!([]));
    assert!(groups["lastSync"].as_str().unwrap().ends_with('Z'));
    let groups = read("tty:main", "available_groups.json");
    let known = |jid: &str| groups["groups"].as_array().unwrap().iter().find(|g| g["jid"] == jid).cloned().unwrap();
    assert_eq!(known("web:new")["isRegistered"], false);
    assert_eq!(known("web:a")["isRegistered"], true);
    assert!(known("web:a")["lastActivity"].as_str().unwrap().ends_with('Z'));

    // The live room sees a task that is changed meanwhile.
    host.api.delete("/v1/tasks/of-a").expect(200);
    crate::harness::eventually("the list is fresh", SOON, || {
        (ids(read("tty:main", "current_tasks.json")) == ["of-main"]).then_some(())
    });
}
