//! An agent's view of the host through its mounts, examined inside real containers on every engine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

use parlor::agent;
use parlor::config::settings::Settings;
use parlor::config::{Overrides, load_from};
use parlor::container::engine::Exit;
use parlor::container::engine::spec::RunSpec;
use parlor::container::mounts::masks::{Known, Masks};
use parlor::container::mounts::{Room, run_spec};
use parlor::container::run::inputs::Inputs;
use parlor::domain::group::{AdditionalMount, ContainerConfig, Group};
use parlor::domain::ids::RunId;
use parlor::policy::mounts::MountRules;
use parlor::safe_dir::{Owner, SafeDir};
use ulid::Ulid;

use super::engine_here::{Bench, Which, with};

/// Words that no agent may find.
const SECRET: &str = "hunter2hunter2";

/// Lists all files, and tries to write everywhere.
const LOOK: &str = concat!(
    "cd /workspace; grep -rl hunter2 . /home/node /app 2>/dev/null | sort | sed 's/^/secret /'; ",
    "for d in group global ipc ipc/input project extra/docs extra/ro /home/node/.claude /app/agent; do ",
    "[ -e $d ] || continue; if touch $d/probe 2>/dev/null; then echo rw $d; else echo ro $d; fi; done; ",
    "ls project 2>/dev/null | tr '\\n' ' '; ls -A project/data 2>/dev/null; echo; ",
    "wc -c < group/CLAUDE.md; cat extra/docs/text; ls project/groups/b 2>/dev/null; ",
    "cat project/tools/deep/readme project/deploy/readme project/groups/c/readme 2>/dev/null; echo end $TZ $HOME"
);

struct House {
    settings: Settings,
    rules: MountRules,
    owner: Owner,
}

fn house(b: &Bench) -> House {
    let root = b.folder("home");
    let base = root.parent().unwrap().to_owned();
    for dir in ["tools/deep/er", "deploy/a:b,c", "data/ipc/a/input", "data/ipc/main/input"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for group in ["a", "b", "c/sub", "global", "main"] {
        fs::create_dir_all(root.join("groups").join(group)).unwrap();
    }
    for dir in ["docs", "ro"] {
        fs::create_dir_all(base.join("extra").join(dir)).unwrap();
    }
    fs::write(base.join("extra/docs/text"), "from outside\n").unwrap();
    for file in [".env", ".env.prod", "tools/.env.local", "data/parlor.db", "groups/b/diary"] {
        fs::write(root.join(file), format!("KEY={SECRET}\n")).unwrap();
    }
    // Secrets in deep folders; one whose path no engine can mount, and one in a group's folder.
    for file in ["tools/deep/er/.env", "deploy/a:b,c/.env", "groups/c/sub/.env.local"] {
        fs::write(root.join(file), format!("KEY={SECRET}\n")).unwrap();
    }
    for dir in ["tools/deep", "deploy", "groups/c"] {
        fs::write(root.join(dir).join("readme"), format!("of {dir}\n")).unwrap();
    }
    for group in ["a", "main"] {
        fs::write(root.join("groups").join(group).join("CLAUDE.md"), "memory").unwrap();
    }
    fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let environment =
        [("HOME".to_owned(), base.join("user").display().to_string()), ("TZ".to_owned(), "Asia/Kathmandu".to_owned())]
            .into();
    let settings =
        load_from(&Overrides { home: Some(root), ..Overrides::default() }, &environment, &base).expect("settings");
    let list = format!(
        r#"{{"allowedRoots":[{{"path":"{0}/extra/docs","allowReadWrite":true}},{{"path":"{0}/extra/ro"}}],"nonMainReadOnly":false}}"#,
        base.canonicalize().unwrap().display()
    );
    let rules = MountRules::from_file(Ok(Some(list)));
    assert_eq!(rules.problem(), None);
    House { settings, rules, owner: Owner { uid: b.owner.0, gid: b.owner.1 } }
}

fn group(name: &str, base: &Path) -> Group {
    let mount = |dir: &str| AdditionalMount {
        host_path: base.join("extra").join(dir).display().to_string(),
        container_path: None,
        readonly: Some(false),
    };
    let additional_mounts = vec![mount("docs"), mount("ro"), mount("../home/data"), mount("../home/groups/b")];
    Group {
        folder: name.parse().unwrap(),
        jid: format!("web:{name}").parse().unwrap(),
        name: name.into(),
        trigger: None,
        requires_trigger: true,
        is_main: name == "main",
        container_config: ContainerConfig { additional_mounts, ..ContainerConfig::default() },
        created_at: chrono::DateTime::UNIX_EPOCH,
        paused: None,
    }
}

/// Gives everything below a folder to the containers' user, as the host does.
fn own_all(root: &Path, owner: Owner) {
    if rustix::process::geteuid().is_root() {
        SafeDir::open(root).unwrap().chown_tree(owner).unwrap();
        chown(root, Some(owner.uid), Some(owner.gid)).unwrap();
    }
}

fn spec(b: &Bench, house: &House, name: &str) -> RunSpec {
    let base = b.dir.path().canonicalize().unwrap();
    let group = group(name, &base);
    let run = RunId(Ulid::new());
    let agent = agent::prepare(&house.settings.home, &house.settings, &group, Some(house.owner)).unwrap();
    Inputs::create(&house.settings.home, run, Some(house.owner)).unwrap();
    own_all(b.dir.path(), house.owner);
    let spec = run_spec(&Room {
        name: format!("parlor-{name}-{run}").to_lowercase(),
        run,
        image: b.image.clone(),
        instance: &b.instance,
        user: b.user,
        group: &group,
        settings: &house.settings,
        agent: agent.mounts(),
        rules: &house.rules,
        masks: &Masks::find(&house.settings.home, &mut Known::default()).unwrap(),
        gateway: "host.docker.internal",
    })
    .unwrap();
    // This machine may not be able to enforce limits; they have their own test.
    RunSpec { memory: None, cpus: None, pids: None, ..spec }
}

/// Returns what a group's agent finds.
async fn look(b: &Bench, house: &House, name: &str) -> Vec<String> {
    let spec = spec(b, house, name);
    let done = b.run(&spec, LOOK).await;
    assert_eq!(done.exit, Exit::Code(0), "{}", done.stderr);
    done.text().lines().map(|line| line.trim().to_owned()).collect()
}

async fn agents_see_what_is_theirs_and_no_secret(b: Arc<Bench>) {
    let house = house(&b);
    let seen = look(&b, &house, "a").await;
    assert_eq!(
        seen,
        [
            "rw group",
            "ro global",
            "rw ipc",
            "rw ipc/input",
            "rw extra/docs",
            "ro extra/ro",
            "rw /home/node/.claude",
            "rw /app/agent",
            "",
            "6",
            "from outside",
            "end Asia/Kathmandu /home/node",
        ]
    );
    let seen = look(&b, &house, "main").await;
    assert_eq!(
        seen,
        [
            // Main may look at other groups' folders; the installation's secrets are not among them.
            "secret ./project/groups/b/diary",
            "rw group",
            "rw global",
            "rw ipc",
            "rw ipc/input",
            "ro project",
            "rw extra/docs",
            "ro extra/ro",
            "rw /home/node/.claude",
            "rw /app/agent",
            "data deploy groups tools",
            "6",
            "from outside",
            "diary",
            // The other two are in folders that are hidden as a whole.
            "of tools/deep",
            "end Asia/Kathmandu /home/node",
        ]
    );
    let secrets = fs::read_to_string(house.settings.home.env_file()).unwrap();
    assert!(secrets.contains(SECRET), "masked, not changed");
}

/// Editors replace files by renaming, and operators create `.env` when they get a key.
async fn secrets_that_come_while_main_lives_stay_hidden(b: Arc<Bench>) {
    let house = house(&b);
    let root = house.settings.home.root().to_owned();
    fs::remove_file(root.join(".env.prod")).unwrap();
    let spec = spec(&b, &house, "main");
    let mut run = b.start(&spec, "echo ready; read -r x; cat /workspace/project/.env*; echo seen").await;
    assert_eq!(run.line().await, "ready");
    for name in [".env", ".env.prod"] {
        fs::write(root.join("new"), format!("KEY={SECRET}-new\n")).unwrap();
        fs::rename(root.join("new"), root.join(name)).unwrap();
    }
    let done = run.finish(b"go\n").await;
    assert_eq!((&done.exit, done.text()), (&Exit::Code(0), "seen"), "{}", done.stderr);
}

async fn all(b: Arc<Bench>) {
    agents_see_what_is_theirs_and_no_secret(b.clone()).await;
    fs::remove_dir_all(b.dir.path().join("home")).unwrap();
    secrets_that_come_while_main_lives_stay_hidden(b).await;
}

#[tokio::test]
async fn docker() {
    with(Which::Docker, all).await;
}

#[tokio::test]
async fn docker_rootless() {
    with(Which::DockerRootless, all).await;
}

#[tokio::test]
async fn podman() {
    with(Which::Podman, all).await;
}

#[tokio::test]
async fn podman_rootless() {
    with(Which::PodmanRootless, all).await;
}
