//! Links in the place of files that the host reads and writes.

use std::fs;
use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage, message, names, sent};
use crate::harness::{SOON, eventually};

/// Returns a script that makes a link to the canary from every name that the host uses.
fn links(canary: &str) -> String {
    format!(
        "(cd /workspace/ipc
for side in messages tasks results; do until rm -rf $side; ln -sT {canary}/$side $side; do :; done; done
for file in current_tasks.json available_groups.json; do rm -rf $file; ln -s {canary}/target.json $file; done
cd /home/node/.claude
rm -rf skills settings.json
ln -s {canary}/skills skills
ln -s {canary}/target.json settings.json
cd /app/agent; rm -rf agent.toml; ln -s {canary}/target.json agent.toml
cd /workspace/group; rm -rf logs conversations CLAUDE.md
ln -s {canary} logs; ln -s {canary} conversations; ln -s {canary}/target.json CLAUDE.md
echo done) 2>/dev/null"
    )
}

#[test]
fn links_at_the_hosts_names_lead_nowhere_and_the_next_run_starts() {
    let stage = Stage::new();
    stage.host.ask(ROOM, "hello");
    let before = stage.seen();
    let canary = stage.canary.display().to_string();
    let mut events = stage.host.events();
    assert_eq!(stage.attack(&links(&canary)), "done");
    // While the run lives, the host creates the folders again, and handles files that are written there.
    eventually("folders of the room's own", SOON, || {
        let own = |side| fs::symlink_metadata(stage.data("ipc/room").join(side)).is_ok_and(|m| m.is_dir());
        ["messages", "tasks", "results"].iter().all(own).then_some(())
    });
    let result = stage.host.ask(ROOM, &format!("!message {}", message(ROOM, "while it lives")));
    assert!(result[0].contains(r#""ok":true"#) || result[1].contains(r#""ok":true"#), "{result:?}");
    // Once more, as leftovers for the next run.
    assert_eq!(stage.attack(&links(&canary)), "done");
    stage.end_run();
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
    let result = stage.host.ask(ROOM, &format!("!message {}", message(ROOM, "in the next run")));
    assert!(result.iter().any(|text| text.contains(r#""ok":true"#)), "{result:?}");
    sent(&mut events, ROOM, "while it lives");
    sent(&mut events, ROOM, "in the next run");
    assert!(!events.texts(ROOM).contains(&"from the canary".to_owned()));
    // The snapshots are regular files again, with the right content.
    let shown = stage.attack("cd /workspace/ipc; cat current_tasks.json; [ -L current_tasks.json ] || echo file");
    assert_eq!(shown, "[]file");
    // The skills exist again, in a folder of the agent's own.
    let skills = stage.data("sessions/room/.claude/skills");
    assert!(fs::symlink_metadata(&skills).is_ok_and(|m| m.is_dir()), "{skills:?}");
    assert_eq!(stage.seen(), before);
}

#[test]
fn link_inside_a_skill_is_replaced_and_not_followed() {
    let stage = Stage::new();
    stage.host.ask(ROOM, "hello");
    let skills = stage.data("sessions/room/.claude/skills");
    let shipped = names(&skills);
    assert!(!shipped.is_empty(), "no skills are shipped");
    let before = stage.seen();
    let canary = stage.canary.display();
    let first = &shipped[0];
    stage.attack(&format!(
        "cd /home/node/.claude/skills; rm -rf {first}; ln -s {canary}/skills {first}; mkdir mine; ln -s {canary} mine/x"
    ));
    stage.end_run();
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
    assert!(fs::symlink_metadata(skills.join(first)).unwrap().is_dir());
    assert!(!names(&skills.join(first)).is_empty(), "the shipped skill is back");
    assert!(fs::symlink_metadata(skills.join("mine/x")).unwrap().is_symlink(), "the group's own stays");
    assert_eq!(stage.seen(), before);
}

#[test]
fn objects_at_a_mount_point_do_not_block_the_next_run() {
    let stage = Stage::new();
    let canary = stage.canary.display().to_string();
    stage.host.ask(ROOM, "hello");
    let before = stage.seen();
    // The input folder is mounted into the IPC folder. Only a second room of the group, or the host, sees what is at
    // its place; here it is put there as a second room would do it.
    for (number, spoil) in
        ["ln -s {canary} input", "ln -s nowhere input", "echo x > input", "mkfifo input"].iter().enumerate()
    {
        stage.end_run();
        let dir = stage.data("ipc/room");
        let spoil = spoil.replace("{canary}", &canary);
        let script = format!("cd {} && rm -rf input && {spoil}", dir.display());
        assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
        let text = format!("round {number}");
        assert_eq!(stage.host.ask(ROOM, &text), [format!("echo: {text}")], "{spoil}");
        assert_eq!(stage.host.ask(ROOM, "follow up"), ["echo: follow up"], "{spoil}");
    }
    // Folders in the place of files.
    stage.attack(
        "cd /workspace/ipc; for f in current_tasks.json available_groups.json; do rm -rf $f; mkdir -p $f/x; done
cd /home/node/.claude; rm -rf settings.json skills; mkdir -p settings.json/x; echo x > skills
cd /app/agent; rm -f agent.toml; mkfifo agent.toml",
    );
    stage.end_run();
    assert_eq!(stage.host.ask(ROOM, "last"), ["echo: last"]);
    assert_eq!(stage.attack("cat /workspace/ipc/current_tasks.json"), "[]");
    assert_eq!(stage.seen(), before);
}

#[test]
fn names_swapped_in_a_loop_during_starts_lead_nowhere() {
    let stage = Stage::new();
    stage.host.ask(ROOM, "hello");
    let before = stage.seen();
    let canary = stage.canary.display();
    // A separate task beside the chat's run: while that run starts and ends, the task swaps names without a pause.
    let swap = format!(
        "(cd /workspace/ipc; while [ ! -e /workspace/group/stop ]; do
for d in messages tasks results /home/node/.claude/skills; do
mv $d $d.old; ln -sT {canary}/${{d##*/}} $d; rm -f $d; mv $d.old $d || mkdir $d; done
for f in current_tasks.json /home/node/.claude/settings.json; do ln -sf {canary}/target.json $f; done
echo . >> /workspace/group/rounds
done; rm -rf *.old; echo ended > /workspace/group/ended) >/dev/null 2>&1"
    );
    let task = serde_json::json!({
        "folder": "room", "prompt": format!("!sh {swap}"),
        "scheduleType": "once", "scheduleValue": "2099-01-01T00:00:00", "contextMode": "isolated", "id": "swapper",
    });
    stage.host.api.post("/v1/tasks", &task).expect(201);
    let mut events = stage.host.events();
    stage.host.api.post("/v1/tasks/swapper/run", &serde_json::json!({})).expect(200);
    let rounds = stage.host.root().join("groups/room/rounds");
    eventually("the swapping", SOON, || rounds.exists().then_some(()));
    let started = Instant::now();
    let mut runs = 0;
    while started.elapsed() < Duration::from_secs(10) {
        // Each start syncs skills, snapshots and folders, in the middle of the swapping.
        let answers = stage.host.ask(ROOM, "!exit 0");
        assert_eq!(answers.last().map(String::as_str), Some("exiting"));
        runs += 1;
    }
    assert_eq!(stage.host.ask(OTHER, "meanwhile"), ["echo: meanwhile"]);
    fs::write(stage.host.root().join("groups/room/stop"), "").unwrap();
    eventually("the end of the swapping", SOON, || stage.host.root().join("groups/room/ended").exists().then_some(()));
    let rounds = fs::read(rounds).unwrap().len() / 2;
    assert!(rounds > 20 && runs > 1, "{rounds} rounds, {runs} runs");
    assert_eq!(stage.seen(), before);
    // When the swapping ends, the room recovers.
    let answer = eventually("the room recovers", SOON, || {
        let answers = stage.host.ask(ROOM, &format!("!message {}", message(ROOM, "recovered")));
        answers.iter().any(|text| text.contains(r#""ok":true"#)).then_some(answers)
    });
    assert!(!answer.is_empty());
    // Skips all texts up to here.
    sent(&mut events, ROOM, "recovered");
    assert!(!events.texts(ROOM).contains(&"from the canary".to_owned()));
    stage.host.api.delete("/v1/tasks/swapper");
}
