//! Checks the `use crate::` lines of `src/` against the layer table of ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns a module's layer; two services of `channel` are above its adapters.
fn layer(path: &str) -> u8 {
    match path.split("::").collect::<Vec<_>>().as_slice() {
        ["app" | "cli" | "main" | "lib", ..] => 40,
        ["conformance", ..] => 35,
        ["dispatch" | "scheduler" | "ipc" | "api" | "import" | "backup", ..]
        | ["channel", "ingest" | "outbound" | "post" | "typing" | "retention" | "pace", ..] => 30,
        ["ops", ..] => 25,
        ["store" | "container" | "agent" | "channel", ..] => 20,
        ["config" | "policy" | "safe_dir", ..] => 10,
        ["lifecycle" | "domain" | "host_log", ..] => 0,
        other => panic!("{other:?} has no layer: add it to the table"),
    }
}

/// Pairs of modules of the same or a wrong order that may still be used, each with its reason.
const HANDLES: &[(&str, &str)] = &[
    // Verbs of a peer.
    ("dispatch", "ipc"),
    // Interrupted firings are recovered together with everything else.
    ("dispatch", "scheduler"),
    ("api", "dispatch"),
    ("api", "channel"),
    // One place decides the meaning of a message for its group.
    ("import", "channel"),
    // Channels show typing, which dispatch broadcasts.
    ("channel", "dispatch"),
    // The policy, which reads the allowlists, also parses them.
    ("config", "policy"),
    // The route of a chat's texts is a plain enum of the outbox.
    ("channel", "store"),
    // The agent shares the engines' capabilities with the planner of mounts.
    ("agent", "container"),
];

fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

fn module_of(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap().with_extension("");
    let parts: Vec<_> = relative.iter().map(|p| p.to_str().unwrap()).filter(|p| *p != "mod").collect();
    parts.join("::")
}

#[test]
fn layers_use_only_those_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let from = module_of(file, &root);
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if from.ends_with("tests") {
            continue;
        }
        for line in code.lines() {
            let Some(to) = line.trim().strip_prefix("use crate::") else { continue };
            let to = to.replace(['{', ';'], "");
            let (from_top, to_top) = (from.split("::").next().unwrap(), to.split("::").next().unwrap());
            if from_top == to_top || HANDLES.contains(&(from_top, to_top)) {
                continue;
            }
            if layer(&to) >= layer(&from) {
                wrong.push(format!("{from} (layer {}) uses {to} (layer {})", layer(&from), layer(&to)));
            }
        }
    }
    assert!(wrong.is_empty(), "against the layer table:\n{}", wrong.join("\n"));
}

/// Agents of other authors may depend on the protocol's crate, which must bring only serde with it.
#[test]
fn the_protocol_depends_on_serde_alone() {
    let manifest = include_str!("../container/protocol/Cargo.toml").parse::<toml::Table>().unwrap();
    let own = manifest["dependencies"].as_table().unwrap();
    let always = own.iter().filter(|(_, how)| how.get("optional").is_none()).map(|(name, _)| name.as_str());
    assert_eq!(always.collect::<Vec<_>>(), ["serde", "serde_json"]);
}
