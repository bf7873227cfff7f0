//! Cases of the engines' suite: the agent's user, and the owner of its files.

use std::os::unix::fs::{MetadataExt, chown};
use std::sync::Arc;

use parlor::container::engine::Exit;
use parlor::container::engine::spec::{RunSpec, User};

use super::engine_here::{Bench, Which, bind};

pub async fn the_user_is_as_asked_and_owns_what_it_writes(b: Arc<Bench>) {
    let group = b.folder("group");
    let spec = RunSpec { mounts: vec![bind(&group, "/workspace/group", true)], ..b.spec() };
    let done = b.run(&spec, "id -u; id -g; mkdir d; echo hello > d/file; echo x > $HOME/own; pwd").await;
    assert_eq!(done.exit, Exit::Code(0), "{}", done.stderr);
    assert_eq!(done.text(), format!("{}\n{}\n/workspace/group", b.user.uid, b.user.gid));
    let file = group.join("d/file");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello\n");
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.gid()), b.owner);
}

pub async fn any_user_id_works_and_owns_what_it_writes(b: Arc<Bench>) {
    let me = rustix::process::geteuid();
    // Without root on the host there is only one user, whoever that is in the container.
    let others = [(1000, 1000), (1234, 100), (501, 20)].map(|(uid, gid)| (User { uid, gid, ..b.user }, (uid, gid)));
    let users = if b.rootless() || !me.is_root() { vec![(b.user, b.owner)] } else { others.to_vec() };
    for (user, owner) in users {
        let group = b.folder(&format!("group-{}", user.uid));
        if me.is_root() {
            chown(&group, Some(owner.0), Some(owner.1)).unwrap();
        }
        let spec = RunSpec { user, mounts: vec![bind(&group, "/workspace/group", true)], ..b.spec() };
        let done = b.run(&spec, "id -u; id -g; touch f ~/f /tmp/f && echo wrote").await;
        assert_eq!(done.text(), format!("{}\n{}\nwrote", user.uid, user.gid), "{}", done.stderr);
        let meta = std::fs::metadata(group.join("f")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), owner);
    }
}

pub async fn the_agent_and_the_host_s_user_share_even_private_files(b: Arc<Bench>) {
    let group = b.folder("group");
    b.as_owner(&group, "umask 077; mkdir ours; echo from the host > ours/note");
    let spec = RunSpec { mounts: vec![bind(&group, "/workspace/group", true)], ..b.spec() };
    let script = "umask 077; cat ours/note; echo and the agent >> ours/note; mkdir theirs; echo from the agent > theirs/note; \
                  ln -s note theirs/link; chown 65534:65534 theirs/note 2>/dev/null && echo gave it away; echo end";
    let done = b.run(&spec, script).await;
    assert_eq!((&done.exit, done.text()), (&Exit::Code(0), "from the host\nend"), "{}", done.stderr);
    let seen =
        b.as_owner(&group, "cat ours/note theirs/link; echo and the host >> theirs/note; find . ! -user $(id -u)");
    assert_eq!(seen, "from the host\nand the agent\nfrom the agent");
    let done = b.run(&RunSpec { name: b.spec().name, ..spec }, "cat theirs/note; rm -r ours && echo removed").await;
    assert_eq!(done.text(), "from the agent\nand the host\nremoved", "{}", done.stderr);
    b.as_owner(&group, "rm -r theirs");
    if b.which == Which::DockerRootless {
        // All ids but the container's root are foreign to the host's user; therefore agents are root there.
        let user = User { uid: 1000, gid: 1000, ..b.user };
        let spec = RunSpec { user, mounts: vec![bind(&group, "/workspace/group", true)], ..b.spec() };
        let done = b.run(&spec, "touch f 2>/dev/null && echo wrote; echo end").await;
        assert_eq!(done.text(), "end", "{}", done.stderr);
    }
}
