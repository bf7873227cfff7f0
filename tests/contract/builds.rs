//! Builds of images that nobody waits for any more are ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use parlor::container::engine::image_store::{Build, ImageStore};
use parlor::container::image::broken_off;
use tokio::sync::Notify;

use super::engine_here::Bench;

/// Time limit for the engine to begin a build's step, or to undo it.
const SOON: Duration = Duration::from_secs(120);

pub async fn a_build_that_is_broken_off_leaves_no_process_and_no_container(b: Arc<Bench>) {
    // Both names identify this build's remains among those of others.
    let mark = ulid::Ulid::new();
    let from = format!("parlor-test-from-{mark}:one").to_lowercase();
    let seconds = 1_000_000 + (mark.random() % 1_000_000_000) as u64;
    b.engine.tag(&b.image, &from).await.unwrap();
    let folder = b.folder("build");
    std::fs::write(folder.join("Dockerfile"), format!("FROM {from}\nRUN echo begun; sleep {seconds}\n")).unwrap();
    let (begun, log) = (Notify::new(), Mutex::new(Vec::new()));
    let line = |line: &str| {
        log.lock().unwrap().push(line.to_owned());
        if line.trim().ends_with("begun") && !line.contains("echo") {
            begun.notify_one();
        }
    };
    let image = format!("parlor-test-never-{mark}:one").to_lowercase();
    let build = Build { folder: &folder, image: &image, args: &[], inherit: &[], host_network: true };
    tokio::select! {
        ended = b.engine.build(&build, &line) => panic!("{ended:?}: {:?}", log.lock().unwrap()),
        () = begun.notified() => {}
        () = tokio::time::sleep(SOON) => panic!("the step never began: {:?}", log.lock().unwrap()),
    }
    broken_off::all_ended().await;
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let left = (processes(&format!("sleep\0{seconds}")), containers(&b, &[&from, &seconds.to_string()]));
        if left == (Vec::new(), Vec::new()) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!ImageStore::exists(&b.engine, &image).await.unwrap());
    ImageStore::remove(&b.engine, &from).await.unwrap();
}

/// Returns the command lines on this machine that contain a text.
fn processes(part: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(part)).collect()
}

/// Returns the engine's containers that match one of these names, including those that only builds have.
fn containers(b: &Bench, parts: &[&str]) -> Vec<String> {
    let mut command = std::process::Command::new(&b.client[0]);
    command.args(&b.client[1..]).args(["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.Command}}"]);
    if b.which.is_podman() {
        command.arg("--external");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| parts.iter().any(|part| line.contains(part))).map(str::to_owned).collect()
}
