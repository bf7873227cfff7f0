//! Commands that read the home without a running host.

use std::fs;
use std::path::Path;

use super::run;
use crate::harness::SOON;
use crate::harness::host::Host;

const READ: [&[&str]; 9] = [
    &["groups", "list", "--json"],
    &["groups", "show", "main", "--json"],
    &["tasks", "list", "--json"],
    &["tasks", "show", "t1", "--json"],
    &["runs", "list", "--json"],
    &["sessions", "list", "--json"],
    &["outbox", "list", "--all", "--json"],
    &["refusals", "--json"],
    &["usage", "--json"],
];

fn data(root: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(root.join("data")).unwrap().map(Result::unwrap);
    let mut all: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len())).collect();
    all.sort();
    all
}

#[test]
fn reading_commands_work_without_a_host_and_change_nothing() {
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    run(&host, &["tasks", "add", "main", "!say tick", "--every", "1h", "--id", "t1"]).expect(0);
    host.ask("tty:main", "hello");
    // A failed run has ended, and so has a log.
    run(&host, &["chat", "-m", "!error auth"]).expect(1);
    let log = |host: &Host| {
        let runs = run(host, &["runs", "list", "--json"]).expect(0).json();
        let id = runs[0]["id"].as_str().unwrap().to_owned();
        run(host, &["runs", "log", &id[..20]])
    };
    crate::harness::eventually("the log", SOON, || (log(&host).code == 0).then_some(()));
    assert!(host.terminate().success());
    let live: Vec<String> = {
        host.start();
        let all = READ.iter().map(|args| run(&host, args).expect(0)).map(|ran| {
            assert_eq!(ran.err, "");
            ran.out
        });
        let all = all.collect();
        assert!(host.terminate().success());
        all
    };
    let kept = data(host.root());
    for (args, live) in READ.iter().zip(&live) {
        let ran = run(&host, args).expect(0);
        assert_eq!((&ran.out, ran.err.as_str()), (live, "(no host is running)\n"), "{args:?}");
    }
    assert!(log(&host).expect(0).out.contains("exit:"));
    let status = run(&host, &["status"]).expect(0);
    assert!(status.out.starts_with("No host is running for "), "{}", status.out);
    assert_eq!(run(&host, &["status", "--json"]).expect(0).json()["ready"], false);
    assert_eq!(data(host.root()), kept);

    for args in [
        &["groups", "remove", "main"][..],
        &["tasks", "pause", "t1"],
        &["runs", "retry", "main"],
        &["sessions", "forget", "main"],
        &["outbox", "retry"],
    ] {
        let refused = run(&host, args).expect(1);
        assert!(
            refused.err.contains("no host is running for ") && refused.err.contains("parlor up"),
            "{}",
            refused.err
        );
    }
    assert!(run(&host, &["tasks", "list", "nosuch"]).expect(1).err.contains("there is no group nosuch"));
}

#[test]
fn home_of_a_killed_host_is_read_and_an_empty_one_reported() {
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    host.kill();
    assert_eq!(run(&host, &["groups", "list", "--json"]).expect(0).json()[0]["folder"], "main");
    let fresh = Host::builder().prepare();
    let none = run(&fresh, &["groups", "list"]).expect(1);
    assert!(none.err.contains("no host is running for "), "{}", none.err);
    assert!(!fresh.root().join("data").exists());
}
