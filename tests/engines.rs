//! The whole host on every engine of this machine, for every kind of user: a message in, a reply out, files with the
//! right owner, a shutdown that leaves nothing. Limits that an engine cannot enforce are reported.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Instant;

use rustix::process::geteuid;
use serde_json::Value;

use crate::harness::engine::{Account, Engine};
use crate::harness::host::{Builder, Host};
use crate::harness::{SOON, eventually};

/// A user whom the machine does not know.
const SUDO_CALLER: (u32, u32) = (1234, 1235);

/// The user that runs the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// Root, without another user behind it.
    Root,
    /// Root, through `sudo` by [`SUDO_CALLER`].
    Sudo,
    /// A user with these ids and access to docker.
    Ids(u32, u32),
    /// The user of rootless engines, or the one who runs the tests.
    Rootless,
}

/// A user's uid and gid.
type Ids = (u32, u32);

/// A host on an engine.
struct Place {
    builder: Builder,
    engine: Engine,
    /// The owner of its agents' files.
    files: Ids,
    /// The agents' user in the container.
    inside: Ids,
}

/// Prepares a host for this combination; returns the reason if this machine does not support it.
fn place(program: &str, runner: Runner) -> Result<Place, String> {
    let root = geteuid().is_root();
    let (user, files) = match (runner, root) {
        (Runner::Root, true) => (None, (1000, 1000)),
        (Runner::Sudo, true) => (None, SUDO_CALLER),
        (Runner::Ids(uid, gid), true) => (Some(docker_user(uid, gid)?), (uid, gid)),
        (Runner::Rootless, true) => {
            let user = Account::rootless()?;
            let ids = (user.uid, user.gid);
            (Some(user), ids)
        }
        (Runner::Rootless, false) => (None, (Account::me().uid, Account::me().gid)),
        (_, false) => return Err("it needs root".to_owned()),
    };
    let account = user.clone().unwrap_or_else(Account::me);
    let own_docker = (program, runner) == ("docker", Runner::Rootless);
    let engine = if own_docker { Engine::rootless_docker(account) } else { Engine::new(program, account) };
    engine.answers()?;
    let mut builder = Host::builder().engine(&engine).env("IDLE_TIMEOUT", "600000");
    if let Some(user) = &user {
        builder = builder.user(user);
    }
    if runner == Runner::Sudo {
        builder = builder.env("SUDO_UID", files.0).env("SUDO_GID", files.1);
    }
    // Rootless docker maps only its root to the host's user.
    let inside = if own_docker { (0, 0) } else { files };
    Ok(Place { builder, engine, files, inside })
}

/// Returns a user in the group of docker's socket.
fn docker_user(uid: u32, gid: u32) -> Result<Account, String> {
    let socket = fs::metadata("/var/run/docker.sock").map_err(|e| format!("/var/run/docker.sock: {e}"))?;
    Ok(Account { extra_group: Some(socket.gid()), ..Account::ids(uid, gid) })
}

fn on(program: &str, runner: Runner) {
    let place = place(program, runner);
    let Place { builder, engine, files, inside } = match place {
        Ok(place) => place,
        Err(reason) => {
            let name = if runner == Runner::Rootless { format!("{program}-rootless") } else { program.to_owned() };
            let demanded = std::env::var("PARLOR_TEST_ENGINES").unwrap_or_default();
            let needs_root = !geteuid().is_root() && runner != Runner::Rootless;
            assert!(needs_root || !demanded.split(',').any(|one| one == name), "{name}: {reason}");
            eprintln!("{name} with {runner:?} is not tested on this machine: {reason}");
            return;
        }
    };
    let host_user = (engine.user.uid, engine.user.gid);
    let mut host = builder.prepare();
    // As in a checkout of the sources, where the folder exists before the first start.
    fs::create_dir(host.root().join("data")).unwrap();
    chown(host.root().join("data"), Some(host_user.0), Some(host_user.1)).unwrap();
    host.start();
    what_is_not_enforced_is_said(&host);
    host.register("web:a", "a");
    a_message_is_answered_and_its_files_are_owned(&host, files, inside);
    one_container_serves_the_follow_up_and_ends_at_once_when_told(&host);
    a_killed_host_leaves_nothing_to_its_successor(&mut host);
    host_files_belong_to(&host, host_user);
    let before = Instant::now();
    assert!(host.terminate().success());
    assert!(before.elapsed() < SOON);
    host.wait_no_containers();
}

/// Checks that the log of the start and `parlor doctor` name the same limits.
fn what_is_not_enforced_is_said(host: &Host) {
    let output = host.command().args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let bad: Vec<&Value> = findings.iter().filter(|f| f["state"] == "failed").collect();
    assert!(bad.is_empty() && output.status.success(), "{bad:?}");
    let engine = findings.iter().find(|f| f["check"] == "engine").expect("doctor looks at the engine");
    let rootless = engine["found"].as_str().unwrap().contains("rootless");
    let log = host.log();
    assert_eq!(log.contains(", rootless"), rootless, "{log}");
    let told: Vec<&Value> = findings.iter().filter(|f| f["check"] == "limits").collect();
    // One sentence at the start, however many limits it names.
    let said: Vec<&str> = log.lines().filter(|line| line.contains(" cannot limit ")).collect();
    assert_eq!(said.len(), usize::from(!told.is_empty()), "{told:?}\n{log}");
    for finding in told {
        let what = finding["found"].as_str().unwrap().split(' ').next().unwrap();
        assert!(said[0].contains(what), "{what}: {said:?}");
        assert!(rootless || what != "network", "{finding}");
        assert!(!finding["todo"].as_str().unwrap().is_empty());
    }
}

fn a_message_is_answered_and_its_files_are_owned(host: &Host, (uid, gid): Ids, inside: Ids) {
    let script = "id -u; id -g; mkdir sub && echo mine > sub/file && cat /workspace/ipc/current_tasks.json >/dev/null \
                  && touch ~/.claude/own /app/agent/own && echo wrote";
    let told = host.ask("web:a", &format!("!sh {script}"));
    assert_eq!(told, [format!("{}\n{}\nwrote", inside.0, inside.1)]);
    assert_eq!(fs::read_to_string(host.root().join("groups/a/sub/file")).unwrap(), "mine\n");
    let mut seen = 0;
    for tree in ["groups/a", "data/ipc/a", "data/sessions/a/.claude", "data/sessions/a/agent"] {
        each_below(&host.root().join(tree), &mut |path, meta| {
            assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{}", path.display());
            seen += 1;
        });
    }
    assert!(seen > 10, "only {seen} files");
}

fn one_container_serves_the_follow_up_and_ends_at_once_when_told(host: &Host) {
    let before = host.containers();
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(host.ask("web:a", "again"), ["echo: again"]);
    assert_eq!(host.containers(), before, "a follow-up started another container");
    let mut events = host.events();
    let seq = host.send("web:a", "!hang");
    events.wait("start of the turn", SOON, |e| e.is_turn("web:a", "started", seq));
    host.send("web:a", "/stop");
    events.wait("end of the turn", SOON, |e| e.is_turn("web:a", "cancelled", seq));
    host.wait_no_containers();
}

fn a_killed_host_leaves_nothing_to_its_successor(host: &mut Host) {
    assert_eq!(host.ask("web:a", "up"), ["echo: up"]);
    let orphans = host.containers();
    assert_eq!(orphans.len(), 1);
    let mut events = host.events();
    let seq = host.send("web:a", "!sleep 1500");
    events.wait("start of the turn", SOON, |e| e.is_turn("web:a", "started", seq));
    let cursor = events.cursor().unwrap();
    host.kill();
    host.start();
    eventually("the orphan is gone", SOON, || host.containers().iter().all(|name| *name != orphans[0]).then_some(()));
    // A message that was accepted but not answered is answered now.
    host.events_since(&cursor).turn_done("web:a", seq, SOON);
}

/// Checks the owner of the host's own files, which no container sees.
fn host_files_belong_to(host: &Host, ids: Ids) {
    let data = fs::metadata(host.root().join("data")).unwrap();
    assert_eq!(data.mode() & 0o077, 0, "data/ is open to others");
    for name in ["parlor.db", "lock", "runs", "claimed", "quarantine"] {
        let meta = fs::symlink_metadata(host.root().join("data").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((meta.uid(), meta.gid()), ids, "{name}");
    }
}

fn each_below(path: &Path, look: &mut impl FnMut(&Path, &fs::Metadata)) {
    let meta = fs::symlink_metadata(path).unwrap();
    look(path, &meta);
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each_below(&entry.unwrap().path(), look);
        }
    }
}

#[test]
fn docker_as_root() {
    on("docker", Runner::Root);
}

#[test]
fn docker_through_sudo() {
    on("docker", Runner::Sudo);
}

#[test]
fn docker_as_the_first_user_of_a_machine() {
    on("docker", Runner::Ids(1000, 1000));
}

#[test]
fn docker_as_another_user() {
    on("docker", Runner::Ids(1717, 100));
}

/// The host gets no settings: it finds its user's daemon, because root's does not let it in.
#[test]
fn docker_rootless() {
    on("docker", Runner::Rootless);
}

#[test]
fn root_does_not_start_on_a_users_rootless_docker() {
    if !geteuid().is_root() {
        return;
    }
    let engine = Account::rootless().map(Engine::rootless_docker);
    let engine = match engine.and_then(|engine| engine.answers().map(|()| engine)) {
        Ok(engine) => engine,
        Err(reason) => {
            let demanded = std::env::var("PARLOR_TEST_ENGINES").unwrap_or_default();
            assert!(!demanded.contains("docker-rootless"), "{reason}");
            return;
        }
    };
    let docker_host = engine.docker_host().unwrap();
    let mut host = Host::builder().env("DOCKER_HOST", &docker_host).prepare();
    host.spawn();
    assert!(!host.wait_ended().success());
    assert!(host.log().contains("run Parlor as that user"), "{}", host.log());
    let output = host.command().env("DOCKER_HOST", &docker_host).args(["doctor", "--json"]).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let found = findings.iter().find(|f| f["check"] == "engine").unwrap();
    assert!(found["state"] == "failed" && found["found"].as_str().unwrap().contains("rootless"), "{found}");
}

#[test]
fn podman_as_root() {
    on("podman", Runner::Root);
}

#[test]
fn podman_through_sudo() {
    on("podman", Runner::Sudo);
}

#[test]
fn podman_rootless() {
    on("podman", Runner::Rootless);
}
