//! `parlor doctor`: each fault changes its own line, and no other.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Ran, command};
use crate::harness::faults::SmallDisk;
use crate::harness::host::Host;

/// The id of an unprivileged user.
const NOBODY: u32 = 65534;

/// The exit code, and the states of each check.
type Lines = (i32, BTreeMap<String, Vec<String>>);

fn lines(command: &mut Command) -> Lines {
    let ran = Ran::of(&command.args(["doctor", "--json"]).output().unwrap());
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in ran.json().as_array().unwrap() {
        if line["state"] != "ok" {
            assert_ne!(line["todo"], "", "says what to do: {line}");
        }
        lines.entry(line["check"].to_string()).or_default().push(line["state"].to_string());
    }
    (ran.code, lines)
}

fn doctor(host: &Host) -> Lines {
    lines(&mut command(host, &[]))
}

/// Returns the checks that differ between two reports, with their new states.
fn changed(healthy: &Lines, now: &Lines) -> BTreeMap<String, String> {
    let checks = healthy.1.keys().chain(now.1.keys());
    let differ = checks.filter(|check| healthy.1.get(*check) != now.1.get(*check));
    differ.map(|check| (check.replace('"', ""), now.1.get(check).map(|s| s.join(" ")).unwrap_or_default())).collect()
}

#[track_caller]
fn only(healthy: &Lines, now: &Lines, check: &str) {
    let changed = changed(healthy, now);
    let states: Vec<(&str, bool)> = changed.iter().map(|(k, v)| (k.as_str(), v.contains("failed"))).collect();
    assert_eq!(states, [(check, true)], "{changed:?}");
    assert_eq!(now.0, 1);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn doctor_reports_each_fault_in_its_own_line() {
    let mut host = Host::builder().dot_env("A=b\n").start();
    host.register_main("tty:main", "main");
    let running = doctor(&host);
    assert_eq!(running.0, 0, "{:?}", running.1);
    let page = Ran::of(&command(&host, &["doctor"]).output().unwrap()).expect(0).out;
    assert!(page.contains("✓ host: runs and is ready") && page.contains("✓ store: the running host"), "{page}");

    // A host that hangs is reported, and not waited for.
    host.signal(Signal::STOP);
    let hangs = changed(&running, &doctor(&host));
    host.signal(Signal::CONT);
    assert!(hangs["host"].contains("failed"), "{hangs:?}");

    assert!(host.terminate().success());
    let healthy = doctor(&host);
    assert_eq!(healthy.0, 0, "{:?}", healthy.1);

    let gone = changed(&healthy, &lines(command(&host, &[]).env("CONTAINER_RUNTIME", "/nonexistent/docker")));
    assert_eq!(gone["engine"], "\"failed\"");
    assert!(
        gone.keys().all(|check| ["engine", "image", "init", "limits", "rooms"].contains(&check.as_str())),
        "{gone:?}"
    );
    let image = lines(command(&host, &[]).env("CONTAINER_IMAGE", "parlor-test-no-such-image:1"));
    only(&healthy, &image, "image");

    let wrong = lines(command(&host, &[]).env("PARLOR_CPUS", "loud").env("MAX_CONCURRENT_CONTAINERS", "none"));
    assert_eq!((wrong.0, wrong.1), (1, BTreeMap::from([("\"settings\"".into(), vec!["\"failed\"".into(); 2])])));

    let root = host.root().to_owned();
    mode(&root.join(".env"), 0o644);
    only(&healthy, &doctor(&host), ".env");
    mode(&root.join(".env"), 0o600);

    let config = host.config_dir();
    fs::create_dir_all(&config).unwrap();
    for (file, check) in [("mount-allowlist.json", "mounts"), ("sender-allowlist.json", "senders")] {
        let file = config.join(file);
        fs::write(&file, "{").unwrap();
        only(&healthy, &doctor(&host), check);
        fs::remove_file(file).unwrap();
    }

    // Other users can reach only files in folders that they may enter.
    let above = root.parent().unwrap();
    mode(above, 0o755);
    mode(&root.join("data"), 0o755);
    only(&healthy, &doctor(&host), "folders");
    mode(&root.join("data"), 0o700);
    fs::rename(root.join("groups"), root.join("away")).unwrap();
    fs::write(root.join("groups"), "").unwrap();
    only(&healthy, &doctor(&host), "folders");
    fs::remove_file(root.join("groups")).unwrap();
    fs::rename(root.join("away"), root.join("groups")).unwrap();

    let database = root.join("data/parlor.db");
    fs::rename(root.join("data"), root.join("sound")).unwrap();
    fs::create_dir(root.join("data")).unwrap();
    mode(&root.join("data"), 0o700);
    fs::write(&database, "not a database ".repeat(1000)).unwrap();
    only(&healthy, &doctor(&host), "store");
    fs::remove_dir_all(root.join("data")).unwrap();
    fs::rename(root.join("sound"), root.join("data")).unwrap();
    assert_eq!(changed(&healthy, &doctor(&host)), BTreeMap::new(), "all is well again");
}

#[test]
fn full_disk_and_wrong_owners_are_reported() {
    if !rustix::process::geteuid().is_root() {
        // The rest needs root's rights; as another user it cannot be tested.
        return;
    }
    let disk = SmallDisk::mount(24).unwrap();
    let host = Host::builder().home(&disk.path().join("h")).prepare();
    let (_, found) = doctor(&host);
    assert_eq!(found["\"disk\""], ["\"failed\""]);

    // An unprivileged user, in a home that belongs to them except for one group's folder.
    let host = Host::builder().prepare();
    let root = host.root();
    for folder in ["groups/main", "data/ipc/main", "data/sessions/main"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    mode(root.parent().unwrap(), 0o755);
    mode(&root.join("data"), 0o700);
    let visit = || {
        let as_nobody = command(&host, &[]);
        let ids = format!("--reuid={NOBODY}");
        let mut visit = Command::new("setpriv");
        visit.args([&ids, &format!("--regid={NOBODY}"), "--clear-groups"]).arg(as_nobody.get_program());
        visit.args(as_nobody.get_args()).env_clear();
        visit.envs(as_nobody.get_envs().filter_map(|(key, value)| Some((key, value?))));
        lines(&mut visit)
    };
    assert!(Command::new("chown").arg("-R").arg(NOBODY.to_string()).arg(root).status().unwrap().success());
    let healthy = visit();
    chown(root.join("groups/main"), Some(0), Some(0)).unwrap();
    only(&healthy, &visit(), "ownership");
    chown(root.join("groups/main"), Some(NOBODY), None).unwrap();
    chown(root.join("data"), Some(0), Some(0)).unwrap();
    let found = changed(&healthy, &visit());
    assert!(found["folders"].contains("failed"), "{found:?}");
}
