//! The user who runs the host decides the agents' user: agents can write the rooms' folders, and their files have the
//! right owner. `room.rs` tests a host that root starts; here are the other users that root can simulate.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::harness::engine;
use crate::harness::host::Host;
use crate::room::{inspect, sh};

/// Writes in every folder of the room, and prints its user.
const TRY: &str = "for d in /workspace/group /workspace/ipc/tasks /home/node/.claude /app/agent /tmp /home/node; do \
                   touch $d/made || echo cannot write $d; done; rm /workspace/ipc/tasks/made; echo $(id -u):$(id -g) $HOME";

fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

/// A file of a message may be changed and removed like anything else in the folder.
#[track_caller]
fn a_sent_file_is_the_agents(host: &Host, folder: &str, user: (u32, u32)) {
    let jid = format!("web:{folder}");
    let said = serde_json::json!({ "sender": "ann", "text": "!silent" });
    let answer = host.api.post_form(&jid, &said, &[("a.txt", b"sent")]).expect(202).json();
    let path = host.root().join("groups").join(folder).join(answer["attachments"][0]["path"].as_str().unwrap());
    assert_eq!((owner(&path), owner(path.parent().unwrap())), (user, user));
    assert_eq!(sh(host, &jid, "cd attachments; f=$(echo *a.txt); echo , more >> $f; cat $f; rm $f"), "sent, more");
}

fn may_play() -> bool {
    rustix::process::geteuid().is_root() && engine::name() == "docker"
}

#[test]
fn files_belong_to_the_caller_of_sudo() {
    if !may_play() {
        return;
    }
    let mut host = Host::builder().env("SUDO_UID", 4321).env("SUDO_GID", 4322).start();
    host.register("web:s", "s");
    assert_eq!(sh(&host, "web:s", TRY), "4321:4322 /home/node");
    assert_eq!(inspect(&host, "s")["Config"]["User"], "4321:4322");
    a_sent_file_is_the_agents(&host, "s", (4321, 4322));
    for made in ["groups/s", "groups/s/made", "data/sessions/s/agent/made"] {
        assert_eq!(owner(&host.root().join(made)), (4321, 4322), "{made}");
    }
    // Files that somebody else adds while the host is down belong to the agent after the next start.
    host.terminate();
    let brought = host.root().join("groups/s/brought/inner");
    fs::create_dir_all(&brought).unwrap();
    fs::write(brought.join("f"), "x").unwrap();
    host.start();
    crate::harness::eventually("ownership is repaired", crate::harness::SOON, || {
        (owner(&brought.join("f")) == (4321, 4322)).then_some(())
    });
    assert_eq!(sh(&host, "web:s", "echo more >> brought/inner/f && echo ok"), "ok");
}

#[test]
fn unprivileged_host_runs_agents_as_its_own_user() {
    if !may_play() {
        return;
    }
    // The program, readable for everyone, is started as a user with access to the engine.
    let dir = tempfile::Builder::new().prefix("pu-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("parlor");
    fs::copy(env!("CARGO_BIN_EXE_parlor"), &program).unwrap();
    let group = fs::metadata("/var/run/docker.sock").unwrap().gid();
    let wrapper = dir.path().join("as-user");
    let line =
        format!("#!/bin/sh\nexec setpriv --reuid=4321 --regid=4322 --groups={group} {} \"$@\"\n", program.display());
    fs::write(&wrapper, line).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let mut host = Host::builder().binary(&wrapper).prepare();
    let parent = host.root().parent().unwrap().to_owned();
    for path in [parent.clone(), parent.join("h"), parent.join("out")] {
        chown(path, Some(4321), Some(4322)).unwrap();
    }
    host.start();
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    assert!(status.contains("Uid:\t4321\t4321"), "{status}");
    host.register("web:u", "u");
    assert_eq!(sh(&host, "web:u", TRY), "4321:4322 /home/node");
    a_sent_file_is_the_agents(&host, "u", (4321, 4322));
    for made in ["groups/u", "groups/u/made", "data/parlor.db", "data/ipc/u/tasks"] {
        assert_eq!(owner(&host.root().join(made)), (4321, 4322), "{made}");
    }
}
