//! The images that tests run: the scripted agent, and an agent in plain shell that does not know Parlor.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::engine::Engine;

/// All folders of the image: a folder that is not in the archive would get its mode from the engine.
const FOLDERS: [(&str, u32); 9] = [
    ("app", 0o755),
    ("bin", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/node", 0o777),
    ("tmp", 0o1777),
    ("workspace", 0o755),
    ("workspace/group", 0o755),
    ("workspace/ipc", 0o755),
];

/// Returns the image of the scripted agent (`tests/agent`) in the engine that tests use; built once.
pub fn test_agent() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| test_agent_in(&Engine::default()))
}

/// Returns the image of the scripted agent in the given engine.
pub fn test_agent_in(engine: &Engine) -> String {
    static BINARY: OnceLock<Vec<u8>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| fs::read(agent_binary()).unwrap());
    import(engine, "parlor-test-agent", binary, "/app/agent-runner")
}

/// Returns the image of the agent in plain shell (`tests/fixtures/v1-agent.sh`).
pub fn shell_agent() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let script = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-agent.sh")).unwrap();
        import(&Engine::default(), "parlor-test-shell-agent", &script, "/app/v1-agent.sh")
    })
}

/// Returns an image whose agent is this shell script.
pub fn script(name: &str, script: &str) -> String {
    import(&Engine::default(), &format!("parlor-test-{name}"), script.as_bytes(), "/app/agent.sh")
}

/// Returns the base image of Parlor's image `full` in tests; built once per machine.
pub fn full_base() -> &'static str {
    static BASE: OnceLock<()> = OnceLock::new();
    BASE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-test-base.sh");
        let output = Command::new(script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    "parlor-test-base:bookworm"
}

/// Builds the static scripted agent with a separate cargo. It uses the folder in which build.rs builds the runner,
/// and shares the runner's libraries.
fn agent_binary() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("parlor-runner");
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    // The profile that build.rs uses for the runner in this kind of build.
    let profile = if cfg!(debug_assertions) { "runner-dev" } else { "runner" };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        // Variables that the outer cargo set for this test must not reach the inner one.
        let name = name.to_string_lossy().into_owned();
        let keep = ["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&name.as_str());
        if !keep && (name.starts_with("CARGO") || name.starts_with("RUSTFLAGS")) {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .args(["build", "--locked", "--package", "parlor-test-agent", "--profile", profile, "--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(target).join(profile).join("parlor-test-agent")
}

/// Makes an image from scratch with busybox and one program, unless it exists.
fn import(engine: &Engine, name: &str, program: &[u8], entrypoint: &str) -> String {
    let busybox = fs::read("/bin/busybox").unwrap_or_else(|e| panic!("/bin/busybox: {e}: apt install busybox-static"));
    let digest = Sha256::new().chain_update(program).chain_update(&busybox).chain_update(entrypoint);
    let digest = digest.chain_update(format!("{FOLDERS:?}")).finalize();
    let hash = format!("{:016x}", digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte)));
    let image = format!("{name}:{hash}");
    if engine.run(&["image", "inspect", &image]).status.success() {
        return image;
    }
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("root.tar");
    let mut archive = tar::Builder::new(File::create(&tar).unwrap());
    for (path, mode) in FOLDERS {
        entry(&mut archive, path, tar::EntryType::Directory, mode, b"");
    }
    entry(&mut archive, entrypoint.trim_start_matches('/'), tar::EntryType::Regular, 0o755, program);
    entry(&mut archive, "bin/busybox", tar::EntryType::Regular, 0o755, &busybox);
    entry(
        &mut archive,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n",
    );
    entry(&mut archive, "etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nnode:x:1000:\n");
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    archive.finish().unwrap();
    let start = format!("ENTRYPOINT [\"{entrypoint}\"]");
    let args = ["import", "--change", &start, "--change", "WORKDIR /workspace/group", "-", &image];
    // The archive goes over stdin: an engine of another user cannot read the file.
    let output = engine.run_with(&args, File::open(&tar).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image
}

fn entry(archive: &mut tar::Builder<File>, path: &str, kind: tar::EntryType, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content).unwrap();
}
