//! Builds the agent runner as a static binary with a separate cargo, and embeds it in `parlor`.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The runner's size limit in a release, in bytes: a larger one would be a mistake, and is part of every `parlor` and
/// image.
const MAX_BYTES: u64 = 20 * 1024 * 1024;
/// The limit in a development build, which has assertions and unwinds.
const MAX_DEV_BYTES: u64 = 32 * 1024 * 1024;

fn main() -> ExitCode {
    match skills().and_then(|()| build()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: what parlor carries inside cannot be built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for package in ["agent-runner", "protocol"] {
        println!("cargo::rerun-if-changed=container/{package}/src");
        println!("cargo::rerun-if-changed=container/{package}/Cargo.toml");
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = env::var("TARGET")?;
    // One folder for debug and release. It is beside `debug/` and `release/`, whose locks the outer cargo holds, so that
    // the two never wait for each other.
    let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not inside a target folder")?.join("parlor-runner");
    // An optimised build takes a minute or more after every change of the runner: development builds use a quick
    // profile.
    let release = env::var("PROFILE")? == "release";
    let (profile, max) = if release { ("runner", MAX_BYTES) } else { ("runner-dev", MAX_DEV_BYTES) };
    let output = cargo(&root, &target, &target_dir, profile).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let hint = if text.contains("-lc") || text.contains("libc.a") || text.contains("crt1.o") {
            "\nThe static C library is missing. Install it: `apt install gcc libc6-dev` (Debian, Ubuntu), \
             `dnf install gcc glibc-static` (Fedora)."
        } else if text.contains("linker `cc` not found") {
            "\nA linker is missing. Install one: `apt install gcc libc6-dev` (Debian, Ubuntu)."
        } else {
            ""
        };
        return Err(format!("cargo says:\n{text}{hint}").into());
    }
    let built = target_dir.join(&target).join(profile).join("agent-runner");
    let bytes = fs::read(&built).map_err(|e| format!("{}: {e}", built.display()))?;
    let size = bytes.len() as u64;
    if size > max {
        return Err(format!("{} has {size} bytes, at most {max} are allowed", built.display()).into());
    }
    // Unpacked only once, when the image is built.
    let packed = deflate(&bytes)?;
    let embedded = out.join("agent-runner.deflate");
    if fs::read(&embedded).ok().as_deref() != Some(packed.as_slice()) {
        fs::write(&embedded, &packed)?;
    }
    println!("cargo::rustc-env=PARLOR_RUNNER_BIN={}", embedded.display());
    println!("cargo::rustc-env=PARLOR_RUNNER_ID={:016x}-{size}", fnv1a(&bytes));
    println!("cargo::rustc-env=PARLOR_RUNNER_SIZE={size}");
    Ok(())
}

fn deflate(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Lists the shipped skills as sorted constants: path, content, whether the file is executable.
fn skills() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("container/skills");
    // Cargo would run this script at every build if a watched path is missing.
    let watched = if root.is_dir() { "container/skills" } else { "container" };
    println!("cargo::rerun-if-changed={watched}");
    let mut files = Vec::new();
    let mut folders = if root.is_dir() { vec![root.clone()] } else { Vec::new() };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if folder != root {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut code = String::from("const EMBEDDED: &[(&str, &[u8], bool)] = &[\n");
    for path in files {
        let name = path.strip_prefix(&root)?.to_str().ok_or("a skill's name is not UTF-8")?;
        let run = fs::metadata(&path)?.permissions().mode() & 0o111 != 0;
        // Not the absolute path: a moved checkout is not built anew.
        let from_root = format!("/container/skills/{name}");
        writeln!(code, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {from_root:?})), {run}),")?;
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("skills.rs"), code)?;
    Ok(())
}

/// Returns the inner cargo, without the outer cargo's variables for this package, its clippy or its target folder.
fn cargo(root: &Path, target: &str, target_dir: &Path, profile: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (key, _) in env::vars_os() {
        let Some(name) = key.to_str() else { continue };
        let keep = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_INCREMENTAL"].contains(&name)
            || ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"].iter().any(|p| name.starts_with(p));
        let leaks = name.starts_with("CARGO")
            || name.starts_with("RUSTFLAGS")
            || name.starts_with("DEP_")
            || ["MAKEFLAGS", "MFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC", "RUSTDOC", "TARGET", "HOST", "OUT_DIR"]
                .contains(&name)
            || ["PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "CLIPPY_ARGS"].contains(&name);
        if leaks && !keep {
            command.env_remove(&key);
        }
    }
    command
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .args(["build", "--locked", "--package", "parlor-agent-runner"])
        .args(["--bin", "agent-runner", "--profile", profile, "--target", target, "--target-dir"])
        .arg(target_dir);
    command
}

/// Returns a fingerprint of the runner, so that a start need not hash megabytes. Not for security.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
