//! `parlor import`: moves an installation of NanoClaw to Parlor, where its groups continue.

mod nanoclaw;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::{SOON, eventually, rows};
use nanoclaw::{Nanoclaw, SESSION, all_rows, home_files, json_of, replies, same_files, same_rows, tree};

#[test]
fn import_moves_an_installation_and_its_groups_continue() {
    let nanoclaw = Nanoclaw::current();
    let source = tree(nanoclaw.dir.path());
    let mut host = Host::builder().env("PARLOR_PROVIDER", "image").tolerate("no channel").prepare();

    // A dry run reports the same and changes nothing.
    let before = tree(host.root().parent().unwrap());
    let dry = nanoclaw.import(&host, &["--dry-run"]);
    assert_eq!(tree(host.root().parent().unwrap()), before);
    let report = nanoclaw.import(&host, &[]);
    assert_eq!(dry.0["items"], report.0["items"]);
    assert_eq!((dry.0["dryRun"].clone(), report.0["dryRun"].clone()), (json!(true), json!(false)));
    assert_eq!(tree(nanoclaw.dir.path()), source, "nothing changed where it came from");

    assert_eq!(report.count("group", "taken"), 3);
    report.has("group", "left_out", &["../escape", "not allowed"]);
    report.has("group", "changed", &["work_team", "container settings"]);
    report.has("session", "left_out", &["gone"]);
    report.has("task", "left_out", &["task-4-odd", "not known"]);
    report.has("message", "taken", &["family", "2 answered before, 1 of context", "1 to be answered"]);
    report.has("message", "left_out", &["m6", "time"]);
    report.has("message", "left_out", &["work", "no group"]);
    report.has("file", "left_out", &["groups/family/link:", "a link"]);
    report.has("file", "left_out", &["groups/family/pipe", "a named pipe"]);
    report.has("file", "left_out", &["groups/not a folder"]);
    report.has("file", "left_out", &["agent-runner-src"]);
    report.has("file", "left_out", &["groups/family:", "logs of runs"]);
    report.has("key", "taken", &["ANTHROPIC_API_KEY"]);
    report.has("key", "left_out", &["LOG_LEVEL", "not allowed"]);
    report.has("key", "left_out", &["TELEGRAM_BOT_TOKEN"]);
    assert_eq!(report.count("allowlist", "taken"), 2);
    let all = report.0.to_string();
    assert!(!all.contains("sk-ant") && !all.contains("tok-123") && !all.contains("fatal"), "no values: {all}");

    let read = |name: &str| fs::read_to_string(host.root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(read(".env"), "ANTHROPIC_API_KEY=sk-ant-the-key\nASSISTANT_NAME=Andy\n");
    assert_eq!(fs::metadata(host.root().join(".env")).unwrap().mode() & 0o777, 0o600);
    assert!(host.config_dir().join("sender-allowlist.json").is_file());
    for name in ["groups/global/CLAUDE.md", "groups/unregistered/CLAUDE.md", "groups/work_team/a/b/c.txt", SESSION] {
        assert_eq!(read(name), fs::read_to_string(nanoclaw.path(name)).unwrap(), "{name}");
    }
    assert!(fs::symlink_metadata(host.root().join("groups/family/link")).is_err());
    let notes = fs::metadata(host.root().join("groups/family/notes.txt")).unwrap();
    assert_eq!(notes.mode() & 0o7777, 0o750, "no set-user-id bit");
    if rustix::process::geteuid().is_root() {
        for (name, uid) in [("groups/family/notes.txt", 1000), ("data/sessions/family", 0), (SESSION, 1000)] {
            assert_eq!(fs::metadata(host.root().join(name)).unwrap().uid(), uid, "{name}");
        }
    }

    host.start();
    let groups = json_of(&host, &["groups", "list"]);
    let active = "SELECT last_activity FROM chats WHERE jid = 'family@g.us'";
    let active: i64 = rows::database(&host).query_row(active, [], |row| row.get(0)).unwrap();
    assert!(active >= 1_777_629_605_000, "the chat's last activity came along: {active}");
    let family = groups.as_array().unwrap().iter().find(|g| g["folder"] == "family").unwrap();
    assert_eq!((&family["jid"], &family["trigger"]), (&json!("family@g.us"), &json!("@Andy")));
    assert_eq!(family["containerConfig"]["timeout"], 600_000);
    assert_eq!(family["containerConfig"]["additionalMounts"][0]["containerPath"], "photos");
    let main: Vec<_> = groups.as_array().unwrap().iter().filter(|g| g["isMain"] == true).collect();
    assert_eq!((main.len(), &main[0]["folder"]), (1, &json!("main")));
    let tasks = json_of(&host, &["tasks", "list", "--all"]);
    let task = |id: &str| tasks.as_array().unwrap().iter().find(|t| t["id"] == id).cloned().unwrap();
    // A start plans the tasks again in the host's zone.
    let due = task("task-1-cron")["nextDue"].as_str().unwrap().to_owned();
    assert!(due.ends_with("T09:00:00.000Z") && !due.starts_with("2099"), "{due}");
    assert_eq!(task("task-1-cron")["contextMode"], "group");
    assert_eq!(
        (&task("task-2-interval")["status"], &task("task-3-once")["status"]),
        (&json!("paused"), &json!("completed"))
    );
    let history = json_of(&host, &["tasks", "history", "task-1-cron"]);
    assert_eq!(
        (history[0]["state"].as_str(), history[1]["result"].as_str()),
        (Some("failed"), Some("good morning, all"))
    );

    // Unanswered messages are answered in the imported session; answered ones are neither answered nor shown again.
    let texts = eventually("the reply is there", SOON, || {
        let texts = replies(&host, "family@g.us");
        (texts.len() >= 2).then_some(texts)
    });
    let input: Value = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!(input["sessionId"], "session-family", "{input}");
    let prompt = input["prompt"].as_str().unwrap();
    assert!(prompt.contains("a remark") && prompt.contains("!stdin") && !prompt.contains("old"), "{prompt}");
    assert_eq!(texts[1], "milk and bread{\"type\":\"transcript\"}", "what it had, it has");
    assert_eq!(replies(&host, "tg:-1001"), Vec::<String>::new());
    eventually("everything is settled", SOON, || {
        let states = rows::states(&host);
        (!states.contains_key("pending") && !states.contains_key("in_flight")).then_some(())
    });

    // While the host runs, nothing can be imported.
    for args in [&[][..], &["--dry-run"]] {
        assert!(nanoclaw.refused(&host, args).contains("a host runs with the home"), "{args:?}");
    }
    // Files and sessions that were deleted since then do not come back.
    host.api.delete("/v1/sessions/family").expect(204);
    fs::remove_file(host.root().join("groups/family/notes.txt")).unwrap();
    host.terminate();
    let (files, stored) = (home_files(&host), all_rows(&host));
    let again = nanoclaw.import(&host, &[]);
    assert_eq!(again.of("group", "taken").len() + again.of("message", "taken").len(), 0);
    for kind in ["group", "session", "task", "firing", "message", "chat", "file", "allowlist", "key"] {
        assert_eq!(again.of(kind, "taken"), Vec::<String>::new());
    }
    assert_eq!(again.count("task", "present"), 3);
    same_files(&home_files(&host), &files);
    same_rows(&all_rows(&host), &stored);
}

#[test]
fn import_reads_files_of_the_oldest_installations() {
    let groups = json!({
        "self@s.whatsapp.net": { "name": "Me", "folder": "main", "trigger": "@Andy", "added_at": "2025-12-01T00:00:00.000Z" },
        "club@g.us": { "name": "Club", "folder": "club", "trigger": "@Andy", "added_at": "odd", "requiresTrigger": false,
                       "containerConfig": { "timeout": 900_000 } },
    });
    let state =
        json!({ "last_timestamp": "", "last_agent_timestamp": { "self@s.whatsapp.net": "2026-01-01T10:00:00.000Z" } });
    let nanoclaw = Nanoclaw::new(
        include_str!("../fixtures/nanoclaw-old.sql"),
        &[
            ("data/registered_groups.json", &groups.to_string()),
            ("data/sessions.json", r#"{"main":"old-session"}"#),
            ("data/router_state.json", &state.to_string()),
            ("groups/main/CLAUDE.md", "mine"),
        ],
    );
    let source = tree(nanoclaw.dir.path());
    let host = Host::builder().prepare();
    let report = nanoclaw.import(&host, &[]);
    assert_eq!(tree(nanoclaw.dir.path()), source);
    report.has("group", "taken", &["main", "answers everything"]);
    report.has("group", "changed", &["club", "registered is not known"]);
    report.has("session", "taken", &["main", "old-session"]);
    report.has("message", "taken", &["main", "2 answered before", "1 to be answered"]);
    report.has("firing", "taken", &["main"]);
    let db = rows::database(&host);
    let found: (bool, String, String) = db
        .query_row(
            "SELECT is_main, context_mode, (SELECT text FROM inbound WHERE state = 'pending') FROM groups, tasks
             WHERE groups.folder = 'main' AND tasks.id = 'old-task'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(found, (true, "isolated".to_owned(), "and now".to_owned()));

    // A broken file loses only its own content.
    fs::write(nanoclaw.path("data/router_state.json"), "{broken").unwrap();
    let other = Host::builder().prepare();
    let report = nanoclaw.import(&other, &[]);
    report.has("message", "left_out", &["router_state.json", "not understood"]);
    report.has("message", "taken", &["3 answered before", "0 to be answered"]);
}

#[test]
fn import_that_was_killed_is_completed_by_the_next() {
    let nanoclaw = Nanoclaw::current();
    for n in 0..400 {
        nanoclaw.write(&format!("groups/family/many/{n}.txt"), &format!("file {n}").repeat(500));
    }
    let whole = Host::builder().prepare();
    nanoclaw.import(&whole, &[]);
    let source = tree(nanoclaw.dir.path());

    let host = Host::builder().prepare();
    // The database with all rows comes last: while there are files but no rows, the import is not finished.
    let mut broken_off = 0;
    for files in [1, 40, 150, 390] {
        let mut child = nanoclaw.command(&host, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it has come so far", SOON, || {
            let there = fs::read_dir(host.root().join("groups/family/many")).map_or(0, Iterator::count);
            (there >= files || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        broken_off += u32::from(child.wait().unwrap().code().is_none());
    }
    assert!(broken_off > 0, "no import was killed");
    // The remains of a kill in the middle of a file.
    let unfinished = host.root().join("groups/family/many/.parlor-new-0000000000000000");
    fs::write(&unfinished, "half").unwrap();
    let before =
        rows::database(&host).query_row("SELECT count(*) FROM groups", [], |row| row.get::<_, i64>(0)).unwrap();
    nanoclaw.import(&host, &[]);
    if before == 0 {
        assert!(!unfinished.exists());
    } else {
        fs::remove_file(&unfinished).unwrap();
    }
    same_files(&home_files(&host), &home_files(&whole));
    same_rows(&all_rows(&host), &all_rows(&whole));
    assert_eq!(tree(nanoclaw.dir.path()), source);
}

#[test]
fn import_leaves_existing_files_and_groups_unchanged() {
    let nanoclaw = Nanoclaw::current();
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    host.register("web:f", "FAMILY");
    host.terminate();
    fs::create_dir_all(host.root().join("groups/work_team/a/b")).unwrap();
    fs::write(host.root().join("groups/work_team/a/b/c.txt"), "another").unwrap();
    // An earlier container may have left a link in the way: nothing is written through it.
    let outside = host.config_dir().parent().unwrap().to_owned();
    fs::create_dir_all(&outside).unwrap();
    symlink(&outside, host.root().join("groups/unregistered")).unwrap();
    symlink(outside.join("made"), host.root().join("groups/work_team/plan.txt")).unwrap();
    nanoclaw.write("groups/work_team/plan.txt", "through a link");
    nanoclaw.write(&format!("groups/work_team/{}x", "d/".repeat(120)), "too deep");
    fs::create_dir_all(host.config_dir()).unwrap();
    fs::write(host.config_dir().join("sender-allowlist.json"), "{\"default\":{\"allow\":\"*\"}}").unwrap();
    fs::write(host.root().join(".env"), "ANTHROPIC_API_KEY=mine").unwrap();
    let global = fs::read_to_string(host.root().join("groups/global/CLAUDE.md")).unwrap();
    assert_ne!(global, "For all.");

    let report = nanoclaw.import(&host, &[]);
    report.has("group", "left_out", &["main (owner@", "used by the chat tty:main"]);
    report.has("group", "left_out", &["family (family@", "used by the chat web:f"]);
    report.has("group", "taken", &["work_team", "@Robot"]);
    report.has("file", "left_out", &["groups/family:", "not taken"]);
    report.has("file", "left_out", &["groups/work_team/a/b/c.txt", "stays as it is"]);
    report.has("file", "changed", &["groups/global/CLAUDE.md", "Parlor's own"]);
    report.has("task", "left_out", &["task-1-cron", "family"]);
    report.has("allowlist", "left_out", &["sender-allowlist.json", "stays as it is"]);
    report.has("key", "present", &["ANTHROPIC_API_KEY"]);
    report.has("file", "left_out", &["groups/unregistered", "a link of that name"]);
    report.has("file", "left_out", &["groups/work_team/plan.txt", "stays as it is"]);
    report.has("file", "left_out", &["groups/work_team/d/d", "folders deep"]);
    assert!(!outside.join("made").exists() && !outside.join("CLAUDE.md").exists());
    let read = |name: &str| fs::read_to_string(host.root().join(name)).unwrap();
    assert_eq!(read("groups/work_team/a/b/c.txt"), "another");
    assert_eq!(read("groups/global/CLAUDE.md"), "For all.", "a beginning that nobody had changed");
    assert_eq!(read(".env"), "ANTHROPIC_API_KEY=mine\nASSISTANT_NAME=Andy\n");
    assert!(!host.root().join("groups/family").exists());
    let db = rows::database(&host);
    let main: String = db.query_row("SELECT jid FROM groups WHERE is_main = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(main, "tty:main");
    drop(db);

    // Without `--json` the same is printed in words.
    let output = nanoclaw.command(&host, &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Left out:") && text.contains("To do:") && text.contains("used by the chat web:f"), "{text}");
}

#[test]
fn import_refuses_other_folders_and_leaves_no_trace() {
    let nanoclaw = Nanoclaw::new("CREATE TABLE chats (jid TEXT)", &[]);
    let host = Host::builder().prepare();
    let before = tree(host.root());
    let import = |from: &Path| {
        let output = host.command().arg("import").arg(from).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(import(&nanoclaw.path("store")).contains("is no NanoClaw installation"));
    assert!(import(&nanoclaw.path("nowhere")).contains("is not there"));
    assert!(import(host.root()).contains("must not lie within each other"));
    assert_eq!(tree(host.root()), before);
    fs::write(nanoclaw.path("store/messages.db"), "this is no database, but long enough to be taken for one").unwrap();
    assert!(import(nanoclaw.dir.path()).contains("store/messages.db cannot be read"));
}

#[test]
fn import_includes_changes_in_the_databases_log() {
    let nanoclaw = Nanoclaw::new(include_str!("../fixtures/nanoclaw.sql"), &[]);
    let db = Connection::open(nanoclaw.path("store/messages.db")).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    db.execute("UPDATE registered_groups SET name = 'Renamed' WHERE folder = 'family'", []).unwrap();
    let host = Host::builder().prepare();
    let source = tree(nanoclaw.dir.path());
    nanoclaw.import(&host, &[]);
    assert_eq!(tree(nanoclaw.dir.path()), source);
    drop(db);
    let name: String = rows::database(&host)
        .query_row("SELECT name FROM groups WHERE folder = 'family'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(name, "Renamed");
}
