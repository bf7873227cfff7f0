//! Groups, tasks and ids, as operators type them.

use std::os::unix::fs::MetadataExt;

use super::{command, run};
use crate::harness::SOON;
use crate::harness::eventually;
use crate::harness::host::Host;

#[test]
fn group_is_added_shown_and_changed_with_options() {
    let host = Host::builder().start();
    let added = run(&host, &["groups", "add", "tty:me", "me", "--main", "--requires-trigger", "false"]).expect(0);
    let folder = host.root().join("groups/me");
    assert_eq!(added.out, format!("Registered me for tty:me, as main.\nIts folder: {}\n", folder.display()));
    // The owner of files that agents write.
    assert_eq!(run(&host, &["chat", "-m", "!sh touch by-agent && echo ok"]).expect(0).out, "ok\n");
    let owner = |path: &std::path::Path| std::fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&folder), owner(&folder.join("by-agent")));

    let refused = run(&host, &["groups", "add", "family2", "f2"]).expect(2);
    assert!(refused.err.contains("web:family2"), "{}", refused.err);
    let unserved = run(&host, &["groups", "add", "wa:family", "f2"]).expect(0);
    assert!(unserved.err.contains("no channel of this Parlor serves wa:family"), "{}", unserved.err);
    let wrong = run(&host, &["groups", "update", "f2", "--agent-provider", "gpt"]).expect(1);
    assert!(
        wrong.err.starts_with("parlor: --agent-provider: provider \"gpt\" is not known: use guide"),
        "{}",
        wrong.err
    );
    let wrong = run(&host, &["groups", "update", "f2", "--memory", "much"]).expect(1);
    assert!(wrong.err.starts_with("parlor: --memory: use "), "{}", wrong.err);
    let wrong = run(&host, &["--provider", "gpt", "groups", "list"]).expect(1);
    assert!(wrong.err.contains("--provider = \"gpt\""), "{}", wrong.err);

    let table = run(&host, &["groups", "ls"]).expect(0).out;
    assert!(table.contains("PROVIDER") && table.contains("@Andy"), "{table}");
    let page = run(&host, &["groups", "show", "f2"]).expect(0).out;
    for line in ["trigger     @Andy (the installation's)", "chat        wa:family", "groups/f2\n", "(UTC)"] {
        assert!(page.contains(line), "{line}: {page}");
    }
    run(&host, &["groups", "rm", "f2"]).expect(0);
    for args in [
        &["tasks", "list", "nosuch"][..],
        &["runs", "list", "nosuch"],
        &["usage", "nosuch"],
        &["groups", "show", "nosuch"],
    ] {
        let refused = run(&host, args).expect(1);
        assert!(refused.err.starts_with("parlor: there is no group nosuch"), "{args:?}: {}", refused.err);
    }
    for path in ["/v1/tasks?folder=nosuch", "/v1/runs?folder=nosuch", "/v1/usage?folder=nosuch", "/v1/sessions/nosuch"]
    {
        host.api.get(path).expect(404);
    }
}

#[test]
fn group_update_closes_an_idle_room_and_warns_of_refused_mounts() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    assert_eq!(host.containers().len(), 1, "the room stays open");
    let changed = run(&host, &["groups", "update", "room", "--mount", "/srv/x:pics"]).expect(0);
    assert!(changed.out.contains("An idle room closes now."), "{}", changed.out);
    assert!(changed.err.contains("there is no mount-allowlist.json"), "{}", changed.err);
    host.wait_no_containers();
    host.ask("web:a", "hello");
    run(&host, &["groups", "update", "room", "--budget-tokens", "1000000"]).expect(0);
    assert_eq!(host.ask("web:a", "again"), ["echo: again"], "a budget is kept outside of the room");
}

#[test]
fn tasks_are_added_with_options_and_found_by_an_ids_beginning() {
    let host = Host::builder().env("TZ", "Europe/Berlin").start();
    host.register("web:a", "room");
    let berlin = |args: &[&str]| {
        let output = command(&host, args).env("TZ", "Europe/Berlin").output().unwrap();
        super::Ran::of(&output)
    };
    let once = ["tasks", "add", "room", "x", "--once", "2031-12-24 18:00", "--id", "xmas"];
    assert_eq!(berlin(&once).expect(0).out, "Scheduled xmas; it fires next at 2031-12-24 18:00:00 (Europe/Berlin).\n");
    berlin(&["tasks", "add", "room", "x", "--every", "10m", "--id", "often"]).expect(0);
    let table = berlin(&["tasks", "list"]).expect(0).out;
    let heading = table.lines().next().unwrap();
    assert!(heading.contains("NEXT (Europe/Berlin)"), "{table}");
    assert!(table.contains("once 2031-12-24 18:00") && table.contains("  2031-12-24 18:00:00  "), "{table}");
    assert!(table.contains("every 10 minutes"), "{table}");
    // With `--json` the host's answer is printed.
    let json = berlin(&["tasks", "show", "xm", "--json"]).expect(0).json();
    assert_eq!(json["nextDue"], "2031-12-24T17:00:00.000Z");
    let shown = berlin(&["tasks", "show", "xmas"]).expect(0).out;
    assert!(shown.contains("2031-12-24 18:00:00\n") && shown.contains("Europe/Berlin\n"), "{shown}");

    let refused = berlin(&["tasks", "add", "room", "x", "--every", "5s"]).expect(2);
    assert_eq!(refused.err, "parlor: --every 5s is too short: use 10 seconds or more\n");
    assert_eq!(berlin(&["tasks", "pause", "xm"]).expect(0).out, "Paused xmas.\n");
    assert!(berlin(&["tasks", "pause", "nope"]).expect(1).err.contains("there is no task nope"));
    berlin(&["tasks", "add", "room", "x", "--every", "1h", "--id", "xtra"]).expect(0);
    let ambiguous = berlin(&["tasks", "cancel", "x"]).expect(1);
    assert_eq!(ambiguous.err, "parlor: several task ids begin with x: xmas, xtra; give more of it\n");
    assert_eq!(berlin(&["tasks", "rm", "xt"]).expect(0).out, "Cancelled xtra.\n");

    berlin(&["tasks", "add", "room", "!say soon", "--in", "1s", "--id", "soon"]).expect(0);
    let fired = eventually("it fires", SOON, || {
        let history = berlin(&["tasks", "history", "soo", "--json"]).expect(0).json();
        (history[0]["state"] == "done").then(|| history[0]["result"].clone())
    });
    assert_eq!(fired, "soon");
    let runs = berlin(&["runs", "list", "--json"]).expect(0).json();
    let id = runs[0]["id"].as_str().unwrap();
    assert_eq!(berlin(&["runs", "show", &id[..22].to_lowercase(), "--json"]).expect(0).json()["id"], id);
}
