//! `parlor image`: the agent's image is built once for all who need it, and again when one of its parts changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::geteuid;

use crate::harness::engine::{self, Engine};
use crate::harness::host::Host;
use crate::harness::{SOON, image};

/// The engine behind a program that records the images that it gets.
struct Watched {
    dir: tempfile::TempDir,
}

impl Watched {
    fn new() -> Self {
        let watched = Self { dir: tempfile::tempdir().unwrap() };
        let log = watched.dir.path().join("imports");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = import ]; then for name; do :; done; echo \"$name\" >>'{}'; fi\nexec {} \"$@\"\n",
            log.display(),
            engine::name(),
        );
        fs::write(watched.program(), script).unwrap();
        fs::set_permissions(watched.program(), fs::Permissions::from_mode(0o755)).unwrap();
        watched.certificates("first");
        watched
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("engine")
    }

    fn imports(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("imports")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Installs certificates that no other test uses.
    fn certificates(&self, which: &str) {
        fs::write(self.dir.path().join("ca.crt"), format!("{} {which}\n", self.dir.path().display())).unwrap();
    }

    /// Starts a `parlor image` command on a machine with these certificates.
    fn spawn(&self, host: &Host, words: &[&str]) -> Child {
        let bundle = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
        let bundle = bundle.into_iter().find(|path| Path::new(path).exists()).expect("a bundle of certificates");
        let parlor = host.command();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-euc", "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"", "-"])
            .arg(self.dir.path().join("ca.crt"))
            .arg(bundle)
            .arg(parlor.get_program())
            .args(parlor.get_args())
            .arg("image")
            .args(words)
            .env_clear()
            .envs(parlor.get_envs().filter_map(|(key, value)| Some((key, value?))))
            .env("CONTAINER_RUNTIME", self.program())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, host: &Host, words: &[&str]) -> Output {
        self.spawn(host, words).wait_with_output().unwrap()
    }

    /// Builds the image, and returns its name.
    fn build(&self, host: &Host) -> String {
        name(&self.run(host, &["build"]))
    }
}

fn name(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let name = text.split_whitespace().next().unwrap_or_default().to_owned();
    assert!(name.starts_with("parlor-agent:lite-"), "{text}");
    name
}

#[test]
fn image_is_built_once_for_all_and_again_when_its_parts_change() {
    if !geteuid().is_root() {
        eprintln!("not tested: only root can give a program other certificates than the machine's");
        return;
    }
    let (watched, host) = (Watched::new(), Host::builder().prepare());
    assert_eq!(watched.run(&host, &["status"]).status.code(), Some(1), "it is not there yet");

    let asking: Vec<Child> = (0..3).map(|_| watched.spawn(&host, &["build"])).collect();
    let names: Vec<String> = asking.into_iter().map(|child| name(&child.wait_with_output().unwrap())).collect();
    let first = names[0].clone();
    assert_eq!(names, [first.clone(), first.clone(), first.clone()]);
    assert_eq!(watched.imports(), [first.as_str()], "three processes asked at once");
    assert_eq!(watched.build(&host), first);
    assert_eq!(watched.imports().len(), 1, "nothing had changed");
    let status = watched.run(&host, &["status", "--json"]);
    assert!(status.status.success());
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["image"], &status["present"]), (&first.clone().into(), &true.into()));

    watched.certificates("second");
    assert_eq!(watched.run(&host, &["status"]).status.code(), Some(1), "its certificates changed");
    let second = watched.build(&host);
    assert_ne!(second, first);
    assert_eq!(watched.imports(), [first.clone(), second.clone()]);
    let engine = Engine::default();
    assert!(engine.run(&["image", "inspect", &first]).status.success(), "the older image stays");

    assert!(engine.run(&["rmi", &second]).status.success());
    assert_eq!(watched.run(&host, &["status"]).status.code(), Some(1), "the engine lost it");
    assert_eq!(watched.build(&host), second, "the same parts give the same name");
    assert_eq!(watched.imports().len(), 3);
    for image in [&first, &second] {
        assert!(engine.run(&["rmi", image]).status.success());
    }
}

#[test]
fn chat_is_notified_of_an_image_build_before_it_begins() {
    // The base has no Debian, so the build fails at its first command; the notice comes before it.
    let host = Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_IMAGE_BASE", image::test_agent())
        .env("PARLOR_PROVIDER", "claude")
        .dot_env("ANTHROPIC_API_KEY=sk-ant-test-of-an-image\n")
        .start();
    host.register("web:a", "a");
    let mut events = host.events();
    host.send("web:a", "hello");
    events.message("web:a", SOON, |text| {
        text.starts_with("This room needs the image with Claude Code") && text.contains(" MB are downloaded")
    });
    // The build is tried again and again, but announced once.
    for what in ["the first try", "the second"] {
        events.wait(what, Duration::from_secs(90), |event| {
            event.name == "run" && event.data["error"].as_str().is_some_and(|why| why.contains("image"))
        });
    }
    let told = events.texts("web:a").iter().filter(|text| text.starts_with("This room needs")).count();
    assert_eq!(told, 1, "{:?}", events.texts("web:a"));
}
