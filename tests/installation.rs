//! The documented requirements of a machine are true, and are checked.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Parses a version into numbers, which compare as versions do.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn metadata() -> Value {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", env::consts::ARCH))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn required_rust_version_is_enough_for_all_packages() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = env!("CARGO_PKG_RUST_VERSION");
    let mut looked = 0;
    for package in packages {
        let Some(needed) = package["rust_version"].as_str() else { continue };
        looked += 1;
        let name = package["name"].as_str().unwrap();
        assert!(numbers(needed) <= [numbers(ours), vec![0]].concat(), "{name} needs Rust {needed}, we ask for {ours}");
    }
    assert!(looked > 50, "only {looked} packages say what they need");
}

#[test]
fn old_rust_is_refused_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["rustc", "cargo"] {
        let path = dir.path().join(program);
        fs::write(&path, format!("#!/bin/sh\necho '{program} 1.70.0 (90c541806 2023-05-31)'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), env::var("PATH").unwrap());
    for target in ["run", "test"] {
        let output = Command::new("make")
            .arg(target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .env("PATH", &path)
            .env_remove("SUDO_USER")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("Rust 1.70 is too old") && said.contains("rustup update stable"), "{said}");
    }
}
