use std::path::PathBuf;

use super::super::spec::User;
use super::*;

fn spec() -> RunSpec {
    let mount = |source, target: &str, writable| Mount { source, target: target.into(), writable };
    let host = |path: &str| MountSource::Host(PathBuf::from(path));
    RunSpec {
        name: "parlor-main-01j".into(),
        image: "parlor-agent:lite-0123456789abcdef".into(),
        labels: [("parlor.instance", "i1"), ("parlor.kind", "run"), ("parlor.group", "main"), ("parlor.run", "01J")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        env: [("TZ", "Europe/Berlin"), ("HOME", "/home/node")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        mounts: vec![
            mount(host("/srv/parlor/groups/main"), "/workspace/group", true),
            mount(host("/srv/parlor"), "/workspace/project", false),
            mount(MountSource::Null, "/workspace/project/.env", false),
            mount(MountSource::Tmpfs, "/workspace/project/data", false),
        ],
        user: User { uid: 1000, gid: 1000, keep_id: false },
        network: Network::None,
        gateway: None,
        memory: Some("2g".into()),
        cpus: Some("2".into()),
        pids: Some(512),
    }
}

/// Returns the command line with one option per line.
fn shown(dialect: &Dialect, spec: &RunSpec) -> String {
    let words = run(dialect, spec).unwrap();
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let word = word.to_string_lossy();
        let fresh = word.starts_with('-') || word == "run" || index + 1 == words.len();
        text += if fresh { "\n" } else { " " };
        text += &word;
    }
    text.trim().to_owned()
}

#[test]
fn docker() {
    let dialect = Dialect { submounts: Submounts::Disabled, ..Dialect::default() };
    insta::assert_snapshot!(shown(&dialect, &spec()), @r"
    run
    -i
    --rm
    --init
    --pull=never
    --name parlor-main-01j
    --label parlor.group=main
    --label parlor.instance=i1
    --label parlor.kind=run
    --label parlor.run=01J
    --log-driver none
    --memory 2g
    --cpu-shares 512
    --cpus 2
    --pids-limit 512
    --cap-drop ALL
    --security-opt no-new-privileges
    --user 1000:1000
    --network none
    -e HOME=/home/node
    -e TZ=Europe/Berlin
    --mount type=bind,src=/srv/parlor/groups/main,dst=/workspace/group
    --mount type=bind,src=/srv/parlor,dst=/workspace/project,bind-recursive=disabled,readonly
    --mount type=bind,src=/dev/null,dst=/workspace/project/.env,readonly
    --mount type=tmpfs,dst=/workspace/project/data,tmpfs-size=65536,tmpfs-mode=0555,readonly
    parlor-agent:lite-0123456789abcdef
    ");
}

#[test]
fn podman_rootful_that_may_not_raise_limits() {
    let dialect = Dialect {
        podman: true,
        ulimits: Some(Ulimits { nofile: 20000, nproc: 4096 }),
        oci_runtime: Some("/usr/sbin/runc".into()),
        ..Dialect::default()
    };
    insta::assert_snapshot!(shown(&dialect, &spec()), @r"
    --runtime /usr/sbin/runc
    run
    -i
    --rm
    --init
    --pull=never
    --name parlor-main-01j
    --label parlor.group=main
    --label parlor.instance=i1
    --label parlor.kind=run
    --label parlor.run=01J
    --log-driver none
    --memory 2g
    --cpu-shares 512
    --cpus 2
    --pids-limit 512
    --ulimit nofile=20000:20000
    --ulimit nproc=4096:4096
    --cap-drop ALL
    --security-opt no-new-privileges
    --user 1000:1000
    --network none
    -e HOME=/home/node
    -e TZ=Europe/Berlin
    --mount type=bind,src=/srv/parlor/groups/main,dst=/workspace/group
    --mount type=bind,src=/srv/parlor,dst=/workspace/project,bind-nonrecursive=true,ro=true
    --mount type=bind,src=/dev/null,dst=/workspace/project/.env,ro=true
    --mount type=tmpfs,dst=/workspace/project/data,tmpfs-size=65536,tmpfs-mode=0555,notmpcopyup,ro=true
    parlor-agent:lite-0123456789abcdef
    ");
}

#[test]
fn podman_rootless_on_old_control_groups_with_selinux() {
    let dialect = Dialect {
        podman: true,
        no_memory: true,
        no_cpus: true,
        no_pids: true,
        label_disable: true,
        submounts: Submounts::Shown,
        ..Dialect::default()
    };
    let mut spec =
        RunSpec { user: User { uid: 1234, gid: 100, keep_id: true }, network: Network::Named("lan".into()), ..spec() };
    spec.mounts.drain(2..);
    insta::assert_snapshot!(shown(&dialect, &spec), @r"
    run
    -i
    --rm
    --init
    --pull=never
    --name parlor-main-01j
    --label parlor.group=main
    --label parlor.instance=i1
    --label parlor.kind=run
    --label parlor.run=01J
    --log-driver none
    --cap-drop ALL
    --security-opt no-new-privileges
    --security-opt label=disable
    --userns keep-id
    --user 1234:100
    --network lan
    -e HOME=/home/node
    -e TZ=Europe/Berlin
    --mount type=bind,src=/srv/parlor/groups/main,dst=/workspace/group
    --mount type=bind,src=/srv/parlor,dst=/workspace/project,ro=true
    parlor-agent:lite-0123456789abcdef
    ");
}

#[test]
fn no_limits_and_the_default_network_add_nothing() {
    let spec = RunSpec { memory: None, cpus: None, pids: None, network: Network::Default, ..spec() };
    let text = shown(&Dialect::default(), &spec);
    for flag in ["--memory", "--cpus", "--pids-limit", "--network", "--ulimit", "--runtime"] {
        assert!(!text.contains(flag), "{flag} in {text}");
    }
}

#[test]
fn paths_outside_the_mount_syntax_are_refused() {
    for path in ["/srv/a:b", "/srv/a,readonly=false", "/srv/\"a", "/srv/a\nb"] {
        let mut spec = spec();
        spec.mounts[0].source = MountSource::Host(path.into());
        assert_eq!(run(&Dialect::default(), &spec), Err(ArgvError::Path { path: path.into() }));
        let mut spec = self::spec();
        spec.mounts[0].target = path.into();
        assert_eq!(run(&Dialect::default(), &spec), Err(ArgvError::Path { path: path.into() }));
    }
    let mut spec = spec();
    spec.mounts[0].source = MountSource::Host("groups/main".into());
    assert_eq!(run(&Dialect::default(), &spec), Err(ArgvError::Relative { path: "groups/main".into() }));
}

#[test]
fn names_that_look_like_options_are_refused() {
    for image in ["", "--privileged", "a b"] {
        let spec = RunSpec { image: image.into(), ..spec() };
        assert_eq!(run(&Dialect::default(), &spec), Err(ArgvError::Image { image: image.into() }));
    }
    for key in ["", "A=B"] {
        let spec = RunSpec { env: [(key.to_owned(), String::new())].into(), ..spec() };
        assert_eq!(run(&Dialect::default(), &spec), Err(ArgvError::Env { key: key.into() }));
    }
}

#[test]
fn gateway_is_an_option_for_docker_and_built_into_podman() {
    let spec = RunSpec { gateway: Some("host.docker.internal".into()), network: Network::Default, ..spec() };
    let line = shown(&Dialect::default(), &spec);
    assert!(line.contains("--add-host host.docker.internal:host-gateway"), "{line}");
    let line = shown(&Dialect { podman: true, ..Dialect::default() }, &spec);
    assert!(!line.contains("--add-host"), "{line}");
}
