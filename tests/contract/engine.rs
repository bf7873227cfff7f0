//! The contract of container engines: one suite, run against every engine of the machine with real containers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlor::container::engine::cli_engine::{CliEngine, CliOptions, Flavor};
use parlor::container::engine::detect::detect;
use parlor::container::engine::spec::{Mount, MountSource, Network, RunSpec};
use parlor::container::engine::{ContainerEngine, EngineError, Exit, Refusal};
use parlor::container::image::{Image, Inputs, silent};
use parlor::container::run::orphans;

use super::builds::a_build_that_is_broken_off_leaves_no_process_and_no_container;
use super::engine_here::{Bench, Done, Run, Which, bind, with};
use super::users::{
    any_user_id_works_and_owns_what_it_writes, the_agent_and_the_host_s_user_share_even_private_files,
    the_user_is_as_asked_and_owns_what_it_writes,
};

/// An agent that ignores SIGTERM.
const STUBBORN: &str = "trap '' TERM; echo up; while :; do sleep 1; done";

async fn streams_carry_every_byte(b: Arc<Bench>) {
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let spec = b.spec();
    let done = b.start(&spec, "echo said >&2; exec cat").await.finish(&bytes).await;
    assert_eq!(done.exit, Exit::Code(0), "{}", done.stderr);
    assert!(done.stdout == bytes, "{} bytes came back of {}", done.stdout.len(), bytes.len());
    assert!(done.stderr.contains("said"), "{}", done.stderr);
    b.gone(&spec.name).await;
}

async fn an_agent_need_not_read_its_input(b: Arc<Bench>) {
    // podman's client may lose output that is printed at the very end, if its own write fails in that moment.
    let done = b.start(&b.spec(), "echo done; sleep 1; exit 3").await.finish(&vec![b'x'; 4_000_000]).await;
    assert_eq!((&done.exit, done.text()), (&Exit::Code(3), "done"));
}

async fn exit_codes_come_through(b: Arc<Bench>) {
    assert_eq!(b.run(&b.spec(), "exit 0").await.exit, Exit::Code(0));
    assert_eq!(b.run(&b.spec(), "exit 7").await.exit, Exit::Code(7));
    // A shell's own word for it: the engine has started what it was to start.
    assert_eq!(b.run(&b.spec(), "no-such-program").await.exit, Exit::Code(127));
}

/// Why the engine did not start the container.
#[track_caller]
fn refusal(done: &Done) -> Refusal {
    match &done.exit {
        Exit::EngineRefused(refusal) => refusal.clone(),
        other => panic!("the engine has started it: {other:?}: {}", done.stderr),
    }
}

async fn a_missing_image_is_an_engine_error(b: Arc<Bench>) {
    let spec = RunSpec { image: "parlor-agent:no-such-image".into(), ..b.spec() };
    assert!(!b.engine.images().exists(&spec.image).await.unwrap());
    assert!(b.engine.images().exists(&b.image).await.unwrap());
    let attached = b.engine.start(&spec).await.unwrap();
    let done = Run::of(attached).finish(b"").await;
    let refusal = refusal(&done);
    assert!(!refusal.no_program && !refusal.error.to_string().is_empty(), "{refusal:?}");
}

async fn limits_hold_or_are_listed_as_unsupported(b: Arc<Bench>) {
    let spec = RunSpec { memory: Some("64m".into()), cpus: Some("0.5".into()), pids: Some(50), ..b.spec() };
    let script = "c=/sys/fs/cgroup; cat $c/memory.max 2>/dev/null || cat $c/memory/memory.limit_in_bytes; \
                  cat $c/pids.max 2>/dev/null || cat $c/pids/pids.max; \
                  cut -d' ' -f1 $c/cpu.max 2>/dev/null || cat $c/cpu/cpu.cfs_quota_us";
    let done = b.run(&spec, script).await;
    let lines: Vec<&str> = done.text().lines().collect();
    let wanted = [("memory", "67108864"), ("pids", "50"), ("cpus", "50000")];
    for (index, (what, value)) in wanted.into_iter().enumerate() {
        if b.lacks(what) {
            assert!(b.rootless(), "only rootless engines may lack {what}");
        } else {
            assert_eq!(lines.get(index), Some(&value), "{what}: {done:?}");
        }
    }
    if !b.lacks("pids") {
        let done = b.run(&spec, "for i in $(seq 100); do sleep 5 & done; echo all").await;
        assert!(!done.text().contains("all"), "a hundred processes started below a limit of fifty");
    }
}

async fn without_a_network_there_is_no_way_out(b: Arc<Bench>) {
    let script = "cut -s -d: -f1 /proc/net/dev | tr -d ' '; tail -n +2 /proc/net/route | wc -l";
    let done = b.run(&b.spec(), script).await;
    assert_eq!(done.text(), "lo\n0");
    if b.lacks("network") {
        assert_eq!(b.which, Which::PodmanRootless, "only rootless podman may lack a network");
        return;
    }
    let done = b.run(&RunSpec { network: Network::Default, ..b.spec() }, script).await;
    let lines: Vec<&str> = done.text().lines().collect();
    assert!(lines.len() > 2 && lines.last() != Some(&"0"), "{done:?}");
}

async fn environment_and_confinement(b: Arc<Bench>) {
    let mut spec = b.spec();
    spec.env.insert("ODD".into(), "a b=c,\"d\" $HOME".into());
    let script = "echo \"$HOME|$TZ|$ODD\"; date -d @0 +%H; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status \
                  | tr -d '\\t'; cat /proc/1/comm; parlor-tool </dev/null && echo tool";
    let done = b.run(&spec, script).await;
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!(lines[0], "/home/node|Europe/Berlin|a b=c,\"d\" $HOME");
    assert_eq!(lines[1], "01", "the zone is known in the image");
    assert_eq!(lines[2..5], ["CapEff:0000000000000000", "NoNewPrivs:1", "Seccomp:2"]);
    assert!(["docker-init", "podman-init"].contains(&lines[5]), "{}", lines[5]);
    assert_eq!(lines[6], "tool");
}

async fn masks_hide_and_read_only_holds(b: Arc<Bench>) {
    let home = b.folder("home");
    std::fs::create_dir(home.join("data")).unwrap();
    for file in [".env", "data/parlor.db", "CLAUDE.md"] {
        std::fs::write(home.join(file), "secret").unwrap();
    }
    let at = "/workspace/project";
    let mount = |source, path: &str| Mount { source, target: format!("{at}{path}"), writable: false };
    let mounts = vec![
        bind(&home, at, false),
        mount(MountSource::Null, "/.env"),
        mount(MountSource::Tmpfs, "/data"),
        Mount { source: MountSource::Tmpfs, target: "/workspace/extra/scratch".into(), writable: true },
    ];
    let script = "cd /workspace/project; cat CLAUDE.md .env; ls -A data; for f in CLAUDE.md new data/new; do \
                  (echo x > $f) 2>/dev/null && echo wrote $f; done; echo y > /workspace/extra/scratch/f && echo scratch";
    let done = b.run(&RunSpec { mounts, ..b.spec() }, script).await;
    assert_eq!(done.text(), "secretscratch", "{done:?}");
    assert_eq!(std::fs::read_to_string(home.join("CLAUDE.md")).unwrap(), "secret");
    assert!(!home.join("new").exists() && !home.join("data/new").exists());
}

async fn what_is_mounted_below_a_read_only_folder_is_not_writable(b: Arc<Bench>) {
    // Only for rootful engines, and only root can mount: otherwise a bind mount gives nobody a new right.
    if b.rootless() || !rustix::process::geteuid().is_root() {
        return;
    }
    let home = b.folder("home");
    let below = b.folder("home/below");
    let mounted = |args: &[&str]| std::process::Command::new(args[0]).args(&args[1..]).arg(&below).status().unwrap();
    assert!(mounted(&["mount", "-t", "tmpfs", "-o", "mode=0777", "none"]).success());
    let spec = RunSpec { mounts: vec![bind(&home, "/workspace/project", false)], ..b.spec() };
    let done = b.run(&spec, "touch /workspace/project/below/f && echo wrote; echo end").await;
    let left = std::fs::read_dir(&below).unwrap().count();
    assert!(mounted(&["umount", "-l"]).success());
    assert_eq!((done.text(), left), ("end", 0));
}

async fn a_path_no_engine_can_be_told_is_refused(b: Arc<Bench>) {
    let spec = RunSpec { mounts: vec![bind(Path::new("/srv/a:b"), "/x", false)], ..b.spec() };
    let error = b.engine.start(&spec).await.unwrap_err();
    assert!(matches!(&error, EngineError::Failed { reason, .. } if reason.contains("/srv/a:b")), "{error}");
    let spec = RunSpec { mounts: vec![bind(Path::new("/nonexistent/parlor"), "/x", false)], ..b.spec() };
    let attached = b.engine.start(&spec).await.unwrap();
    let done = Run::of(attached).finish(b"").await;
    assert!(!refusal(&done).no_program, "a folder that is missing is not made: {done:?}");
    assert!(!Path::new("/nonexistent").exists());
}

async fn a_polite_agent_stops_at_once(b: Arc<Bench>) {
    let spec = b.spec();
    let mut run = b.start(&spec, "echo up; exec sleep 1000").await;
    assert_eq!(run.line().await, "up");
    let before = Instant::now();
    b.engine.stop(&spec.name, Duration::from_secs(100)).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
    run.client().wait().await.unwrap();
    b.gone(&spec.name).await;
}

async fn an_agent_that_ignores_the_request_is_ended_after_the_grace(b: Arc<Bench>) {
    let spec = b.spec();
    let mut run = b.start(&spec, STUBBORN).await;
    assert_eq!(run.line().await, "up");
    let before = Instant::now();
    b.engine.stop(&spec.name, Duration::from_secs(1)).await.unwrap();
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(30), "{took:?}");
    assert_eq!(run.client().wait().await.unwrap(), Exit::Code(137));
    b.gone(&spec.name).await;
}

async fn kill_ends_at_once_and_proves_it(b: Arc<Bench>) {
    let spec = b.spec();
    let mut run = b.start(&spec, STUBBORN).await;
    assert_eq!(run.line().await, "up");
    assert!(b.engine.exists(&spec.name).await.unwrap());
    let before = Instant::now();
    b.engine.kill(&spec.name).await.unwrap();
    // An engine that asks first waits ten seconds for an answer.
    assert!(before.elapsed() < Duration::from_millis(9_500), "{:?}", before.elapsed());
    run.client().wait().await.unwrap();
    b.gone(&spec.name).await;
}

async fn what_is_not_there_is_gone_already(b: Arc<Bench>) {
    let name = b.spec().name;
    b.engine.stop(&name, Duration::from_secs(1)).await.unwrap();
    b.engine.kill(&name).await.unwrap();
    b.engine.remove(&[name.clone(), format!("{name}x")]).await.unwrap();
    b.engine.remove(&[]).await.unwrap();
    assert!(!b.engine.exists(&name).await.unwrap());
    assert_eq!(b.engine.list("parlor.instance", &b.instance).await.unwrap(), [""; 0]);
    assert_eq!(orphans::clear(&b.engine, &b.instance).await.unwrap(), 0);
}

async fn a_container_outlives_its_client_and_is_stopped_by_name(b: Arc<Bench>) {
    let spec = b.spec();
    let mut run = b.start(&spec, STUBBORN).await;
    assert_eq!(run.line().await, "up");
    run.client().abandon();
    assert_eq!(run.client().wait().await.unwrap(), Exit::Signal(9));
    drop(run);
    assert!(b.engine.exists(&spec.name).await.unwrap(), "the container lives on");
    b.engine.stop(&spec.name, Duration::from_secs(1)).await.unwrap();
    b.engine.kill(&spec.name).await.unwrap();
    b.gone(&spec.name).await;
}

async fn a_name_in_use_is_refused_and_its_holder_unharmed(b: Arc<Bench>) {
    let spec = b.spec();
    let mut first = b.start(&spec, "echo up; read x; echo $x").await;
    assert_eq!(first.line().await, "up");
    let attached = b.engine.start(&spec).await.unwrap();
    let second = Run::of(attached).finish(b"").await;
    assert!(!refusal(&second).no_program, "{second:?}");
    assert!(second.stderr.contains("in use"), "{}", second.stderr);
    let done = first.finish(b"still here\n").await;
    assert_eq!((&done.exit, done.text()), (&Exit::Code(0), "still here"));
}

async fn orphans_go_together_and_other_installations_stay(b: Arc<Bench>) {
    let mut runs = Vec::new();
    let mut names = Vec::new();
    for _ in 0..5 {
        let spec = b.spec();
        let mut run = b.start(&spec, STUBBORN).await;
        assert_eq!(run.line().await, "up");
        run.client().abandon();
        names.push(spec.name);
        runs.push(run);
    }
    let other = format!("{}-other", b.instance);
    let mut theirs = b.spec();
    theirs.labels.insert("parlor.instance".into(), other.clone());
    let mut run = b.start(&theirs, STUBBORN).await;
    assert_eq!(run.line().await, "up");

    let mut listed = b.engine.list("parlor.instance", &b.instance).await.unwrap();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
    let before = Instant::now();
    assert_eq!(orphans::clear(&b.engine, &b.instance).await.unwrap(), 5);
    let took = before.elapsed();
    eprintln!("{:?}: five orphans removed in {took:?}", b.which);
    // Asking the five one after the other, or even one of them, would take ten seconds or more. The benchmarks
    // measure the speed on an idle machine.
    assert!(took < Duration::from_millis(9_500), "{took:?}");
    let left = b.engine.list("parlor.instance", &other).await.unwrap();
    b.engine.remove(&left).await.unwrap();
    assert_eq!(left, [theirs.name]);
}

async fn the_probe_tells_what_the_engine_is(b: Arc<Bench>) {
    let caps = b.engine.probe().await.unwrap();
    assert_eq!(caps, b.engine.capabilities());
    assert!(caps.version.starts_with(|c: char| c.is_ascii_digit()), "{}", caps.version);
    // A tester without root may have made a rootless daemon the default one.
    if b.which != Which::Docker || rustix::process::geteuid().is_root() {
        assert_eq!(caps.rootless, b.which.is_rootless());
        assert_eq!(caps.keep_id, b.which == Which::PodmanRootless);
    }
    for gap in &caps.unsupported {
        assert!(!gap.why.is_empty(), "{gap:?}");
    }
    let argv = b.engine.describe(&b.spec());
    assert_eq!(argv.last(), Some(&b.image));
    assert!(argv.contains(&"--cap-drop".to_owned()));
}

async fn the_image_is_made_once(b: Arc<Bench>) {
    let data = tempfile::tempdir().unwrap();
    // Unique content, so that no earlier run of this test has built it.
    let runner = format!("#!/bin/sh\n# {}\n", b.instance).into_bytes();
    let image = Image::new(Inputs { runner: runner.into(), ..Inputs::system() }, data.path().to_owned());
    assert!(!image.status(&b.engine).await.unwrap().present);
    let steps = std::sync::Mutex::new(Vec::new());
    let note = |step: parlor::container::image::Step| steps.lock().unwrap().push((step.number, step.of));
    let (one, two) = tokio::join!(image.ensure(&b.engine, &note), image.ensure(&b.engine, &note));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one, two);
    assert_eq!(*steps.lock().unwrap(), [(1, 4), (2, 4), (3, 4), (4, 4)]);
    assert_eq!(one.len(), "parlor-agent:lite-".len() + 16);
    let status = image.status(&b.engine).await.unwrap();
    assert_eq!((status.image.as_deref(), status.present), (Some(one.as_str()), true));
    assert_eq!(image.ensure(&b.engine, &note).await.unwrap(), one);
    assert_eq!(steps.lock().unwrap().len(), 4, "nothing is built again");
    let left = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_tar = |name: std::ffi::OsString| std::path::Path::new(&name).extension().is_some_and(|end| end == "tar");
    assert!(!left.into_iter().any(is_tar));
    b.engine.images().remove(&one).await.unwrap();
    assert!(!image.status(&b.engine).await.unwrap().present);
}

async fn the_real_agent_answers_in_the_real_image(b: Arc<Bench>) {
    let data = tempfile::tempdir().unwrap();
    let image = Image::new(Inputs::system(), data.path().to_owned());
    let name = image.ensure(&b.engine, &silent).await.unwrap();
    let (ipc, group) = (b.folder("ipc"), b.folder("group"));
    std::fs::write(b.folder("ipc/input").join("_close"), "").unwrap();
    let mounts = vec![bind(&ipc, "/workspace/ipc", true), bind(&group, "/workspace/group", true)];
    let run = Run::of(b.engine.start(&RunSpec { image: name, mounts, ..b.spec() }).await.unwrap());
    let prompt = "<messages>\n<message sender=\"Ann\" time=\"2026-01-01T00:00:00Z\">hello</message>\n</messages>";
    let input = serde_json::json!({"prompt": prompt, "groupFolder": "main", "chatJid": "tty:main", "isMain": true,
        "provider": "guide"});
    let done = run.finish(input.to_string().as_bytes()).await;
    assert_eq!(done.exit, Exit::Code(0), "{done:?}");
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!((lines[0], lines[2]), ("---NANOCLAW_OUTPUT_START---", "---NANOCLAW_OUTPUT_END---"));
    let output: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(output["status"], "success");
    assert!(output["result"].as_str().is_some_and(|text| !text.is_empty()), "{output}");
}

/// Runs every case against one engine.
macro_rules! suite {
    ($module:ident, $which:expr, [$($case:ident),* $(,)?]) => {
        mod $module {
            use super::Which;
            $(
                #[tokio::test]
                async fn $case() {
                    super::with($which, super::$case).await;
                }
            )*
        }
    };
}

macro_rules! suites {
    ($($module:ident: $which:expr),* => $cases:tt) => { $( suite!($module, $which, $cases); )* };
}

suites!(
    docker: Which::Docker,
    docker_rootless: Which::DockerRootless,
    podman: Which::Podman,
    podman_rootless: Which::PodmanRootless
=> [
    streams_carry_every_byte,
    an_agent_need_not_read_its_input,
    exit_codes_come_through,
    a_missing_image_is_an_engine_error,
    the_user_is_as_asked_and_owns_what_it_writes,
    any_user_id_works_and_owns_what_it_writes,
    the_agent_and_the_host_s_user_share_even_private_files,
    limits_hold_or_are_listed_as_unsupported,
    without_a_network_there_is_no_way_out,
    environment_and_confinement,
    masks_hide_and_read_only_holds,
    what_is_mounted_below_a_read_only_folder_is_not_writable,
    a_path_no_engine_can_be_told_is_refused,
    a_polite_agent_stops_at_once,
    an_agent_that_ignores_the_request_is_ended_after_the_grace,
    kill_ends_at_once_and_proves_it,
    what_is_not_there_is_gone_already,
    a_container_outlives_its_client_and_is_stopped_by_name,
    a_name_in_use_is_refused_and_its_holder_unharmed,
    orphans_go_together_and_other_installations_stay,
    the_probe_tells_what_the_engine_is,
    the_image_is_made_once,
    a_build_that_is_broken_off_leaves_no_process_and_no_container,
    the_real_agent_answers_in_the_real_image,
]);

#[tokio::test]
async fn missing_daemon_is_reported_with_a_hint() {
    let words = ["env", "DOCKER_HOST=unix:///nonexistent/docker.sock", "docker"].map(Into::into).to_vec();
    let docker = CliEngine::new(Flavor::Docker, words, CliOptions::default());
    let error = docker.probe().await.unwrap_err();
    // Without docker, `env` reports that in its own words.
    if !error.to_string().contains("No such file") {
        assert!(matches!(&error, EngineError::Unreachable { hint, .. } if hint.contains("start docker")), "{error}");
    }
}

#[tokio::test]
async fn detection_uses_the_named_engine_or_reports_why_not() {
    let options = CliOptions::default();
    let error = detect(Some("/nonexistent/docker"), &options).await.unwrap_err();
    assert!(matches!(&error, EngineError::Missing { hint, .. } if hint.contains("CONTAINER_RUNTIME")), "{error}");
    let error = detect(Some("/bin/true"), &options).await.unwrap_err();
    assert!(error.to_string().contains("neither docker nor podman"), "{error}");
    let found = detect(None, &options).await.expect("a machine that runs these tests has an engine");
    assert!(["docker", "podman"].contains(&found.name()));
}
