//! A group's agent home: skills, settings and the agent's own copy, through real runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::host::Host;
use crate::harness::{SOON, eventually, image};
use crate::room::sh;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Makes the next message open a new room.
fn renew(host: &Host, jid: &str) {
    host.ask(jid, "/new");
}

#[test]
fn skills_are_updated_before_each_run_and_the_groups_own_kept() {
    let host = Host::builder().prepare();
    let skills = host.root().join("container/skills");
    write(&skills.join("alpha/SKILL.md"), "alpha 1");
    write(&skills.join("alpha/bin/tool.sh"), "tool");
    write(&skills.join("beta/SKILL.md"), "beta 1");
    write(&skills.join("README.md"), "only folders are skills");
    let mut host = host;
    host.start();
    host.register("web:a", "a");
    host.register("web:b", "b");
    let list = |jid: &str| sh(&host, jid, "cd ~/.claude/skills && find . -type f | sort | tr '\\n' ' '");
    assert_eq!(list("web:a"), "./alpha/SKILL.md ./alpha/bin/tool.sh ./beta/SKILL.md");
    assert_eq!(list("web:b"), "./alpha/SKILL.md ./alpha/bin/tool.sh ./beta/SKILL.md");
    sh(
        &host,
        "web:a",
        "cd ~/.claude/skills && echo mine > alpha/SKILL.md && rm beta/SKILL.md && echo own > alpha/own.txt && mkdir gamma && \
         echo g > gamma/SKILL.md",
    );
    // The record of shipped skills is not accessible from the room.
    assert_eq!(sh(&host, "web:a", "grep -rl 'alpha/bin/tool.sh' /workspace /home /app 2>/dev/null; echo end"), "end");
    fs::remove_dir_all(skills.join("alpha/bin")).unwrap();
    write(&skills.join("beta/SKILL.md"), "beta 2");
    write(&skills.join("delta/SKILL.md"), "delta");
    renew(&host, "web:a");
    let all = "./alpha/SKILL.md ./alpha/own.txt ./beta/SKILL.md ./delta/SKILL.md ./gamma/SKILL.md";
    assert_eq!(list("web:a"), all);
    assert_eq!(
        sh(&host, "web:a", "cd ~/.claude/skills && cat alpha/SKILL.md beta/SKILL.md gamma/SKILL.md"),
        "alpha 1beta 2g"
    );
    // A live room keeps its skills; the next room gets the new ones.
    assert_eq!(list("web:b"), "./alpha/SKILL.md ./alpha/bin/tool.sh ./beta/SKILL.md");
    fs::remove_dir_all(skills.join("alpha")).unwrap();
    for jid in ["web:a", "web:b"] {
        renew(&host, jid);
    }
    assert_eq!(list("web:a"), "./alpha/own.txt ./beta/SKILL.md ./delta/SKILL.md ./gamma/SKILL.md");
    assert_eq!(list("web:b"), "./beta/SKILL.md ./delta/SKILL.md");
}

#[test]
fn settings_and_the_agents_copy_are_made_once_and_belong_to_the_group() {
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("src/index.ts"), "original");
    write(&source.path().join("package.json"), "{}");
    let host = Host::builder().env("AGENT_RUNNER_SRC", source.path().display()).start();
    host.register("web:a", "a");
    host.register("web:b", "b");
    let settings: Value = serde_json::from_str(&sh(&host, "web:a", "cat ~/.claude/settings.json")).unwrap();
    let switches = serde_json::json!({
        "CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1",
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0",
    });
    assert_eq!(settings["env"], switches);
    assert_eq!(sh(&host, "web:a", "cat /app/src/src/index.ts"), "original");
    assert!(sh(&host, "web:a", "cat /app/agent/agent.toml").contains("Settings of this group's agent"));
    let change = "echo mine > ~/.claude/settings.json; echo mine > /app/src/src/index.ts; rm /app/src/package.json; \
                  echo 'own = 1' > /app/agent/agent.toml; echo secret > ~/.claude/history";
    assert_eq!(sh(&host, "web:a", change), "");
    write(&source.path().join("src/index.ts"), "newer");
    renew(&host, "web:a");
    let now =
        sh(&host, "web:a", "cat ~/.claude/settings.json /app/src/src/index.ts /app/agent/agent.toml; ls /app/src");
    assert_eq!(now, "mine\nmine\nown = 1\nsrc");
    // Another group has its own copy, made from the present source.
    assert_eq!(sh(&host, "web:b", "cat /app/src/src/index.ts; ls -A ~/.claude"), "newersettings.json\nskills");
    assert!(sh(&host, "web:b", "cat /app/agent/agent.toml").contains("Settings of this group's agent"));
    assert_eq!(sh(&host, "web:b", "find / -name history 2>/dev/null; echo end"), "end");
}

#[test]
fn image_that_compiles_its_agent_runs_the_groups_own_copy() {
    let source = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-agent.sh");
    write(&source.path().join("index.sh"), &fs::read_to_string(script).unwrap());
    // The stand-in for the compiler writes beside the sources, too: they belong to the group.
    let start = "#!/bin/sh\nset -e\nsed 's/v1: /built: /' /app/src/index.sh > /tmp/agent.sh\ndate > /app/src/built\n\
                 exec sh /tmp/agent.sh\n";
    let image = image::script("compiles", start);
    let host = Host::builder().env("CONTAINER_IMAGE", image).env("AGENT_RUNNER_SRC", source.path().display()).start();
    host.register("web:a", "a");
    host.register("web:b", "b");
    assert_eq!(host.ask("web:a", "hello"), ["built: hello"]);
    let copy = host.root().join("data/sessions/a/agent-runner-src");
    assert!(copy.join("built").is_file());
    let changed = fs::read_to_string(copy.join("index.sh")).unwrap().replace("v1: ", "v1: changed ");
    fs::write(copy.join("index.sh"), changed).unwrap();
    renew(&host, "web:a");
    assert_eq!(host.ask("web:a", "hello"), ["built: changed hello"]);
    assert_eq!(host.ask("web:b", "hello"), ["built: hello"]);
    assert!(!source.path().join("built").exists(), "the operator's sources are nobody's to change");
}

#[test]
fn folders_of_a_new_group_exist_before_its_first_message() {
    let host = Host::builder().start();
    host.register("web:new", "new");
    let made = [
        "groups/new",
        "data/sessions/new/.claude/settings.json",
        "data/sessions/new/agent/agent.toml",
        "data/ipc/new/messages",
        "data/ipc/new/input",
    ];
    eventually("the new group's folders", SOON, || {
        made.iter().all(|path| host.root().join(path).exists()).then_some(())
    });
    assert!(host.containers().is_empty(), "only a message opens a room");
    // The folders are only a convenience: a missing one is created again.
    for path in ["groups/new", "data/sessions/new", "data/ipc/new"] {
        fs::remove_dir_all(host.root().join(path)).unwrap();
    }
    assert_eq!(host.ask("web:new", "hi"), ["echo: hi"]);
    for path in made {
        assert!(host.root().join(path).exists(), "{path}");
    }
}
