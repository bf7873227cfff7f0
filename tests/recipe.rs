//! Images for groups, as the documents describe them: the recipe for programs with an interpreter, and Parlor's own
//! images by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::host::Host;
use crate::harness::{engine, image};

/// Returns the only Dockerfile in a document.
fn recipe() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/WRITING_AGENTS.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("```dockerfile\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[track_caller]
fn parlor(host: &Host, args: &[&str]) -> String {
    let output = host.command().env("CONTAINER_IMAGE", "").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn images_of(host: &Host) -> Vec<String> {
    let names = host.containers();
    names.iter().flat_map(|name| engine::lines(&["inspect", "--format", "{{.Config.Image}}", name])).collect()
}

#[test]
fn documented_recipe_makes_an_image_that_runs_programs() {
    let mut host = Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_PROVIDER", "exec").start();
    assert!(parlor(&host, &["image", "build"]).contains("also as parlor-agent:lite"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), recipe()).unwrap();
    let name = format!("parlor-test-recipe:{}", std::process::id());
    // An image without anything of Parlor stands in for the one with the interpreter.
    let base = format!("BASE={}", image::shell_agent());
    let built = engine::run(&["build", "-t", &name, "--build-arg", &base, folder.path().to_str().unwrap()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    parlor(&host, &["groups", "add", "web:py", "py", "--image", &name, "--requires-trigger", "false"]);
    let program = host.root().join("groups/py/agent");
    fs::write(&program, "#!/bin/sh\ncat > /dev/null\nparlor-tool send from-the-tool > /dev/null\necho answered\n")
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(host.ask("web:py", "hello"), ["from-the-tool", "answered"]);
    assert!(images_of(&host).iter().all(|image| image.ends_with(&name)), "{:?}", images_of(&host));
    assert!(host.terminate().success());
    engine::run(&["image", "rm", &name]);
}

#[test]
fn own_images_have_stable_names_and_old_ones_are_found() {
    let host = Host::builder().start();
    parlor(&host, &["groups", "add", "web:a", "a", "--image", "lite", "--requires-trigger", "false"]);
    assert!(host.ask("web:a", "what can you do").join("").contains("remind"), "the guide of Parlor's own image");
    let lite = images_of(&host).pop().unwrap();
    assert!(lite.contains("parlor-agent:lite-"), "{lite}");

    // As an earlier version would have left it. Nothing else is removed: the test shares the engine.
    let old = "parlor-agent:lite-00000000000000aa";
    engine::run(&["tag", image::shell_agent(), old]);
    let found: serde_json::Value =
        serde_json::from_str(&parlor(&host, &["image", "prune", "--dry-run", "--json"])).unwrap();
    let names: Vec<&str> = found["removed"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(names.contains(&old), "{found}");
    assert!(!names.iter().any(|name| lite.ends_with(name)), "{found}");
    engine::run(&["image", "rm", old]);
    // A home in which the image was never built finds it, too.
    let fresh = Host::builder().prepare();
    let status: serde_json::Value = serde_json::from_str(&parlor(&fresh, &["image", "status", "--json"])).unwrap();
    assert_eq!((&status["present"], lite.ends_with(status["image"].as_str().unwrap())), (&true.into(), true));
    assert!(!fresh.root().join("data").exists());
}
