//! Checks every path of `src/` that leads to another module against the layer table of ARCHITECTURE.md: `use` lines, paths
//! inside code, and `super::` that climbs to the crate's root.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns a module's layer; two services of `channel` are above its adapters.
fn layer(path: &str) -> u8 {
    match path.split("::").collect::<Vec<_>>().as_slice() {
        ["app" | "cli" | "main" | "lib", ..] => 40,
        ["conformance", ..] => 35,
        ["dispatch" | "scheduler" | "ipc" | "api" | "import" | "backup" | "retention", ..]
        | ["channel", "intake" | "delivery" | "typing" | "receive", ..] => 30,
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
    // The route of a chat's texts is a plain enum of the outbox.
    ("channel", "store"),
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

/// Paths of a line from the crate's root on. `depth` is that of its module: so many `super::` lead to the root.
fn paths(line: &str, depth: usize) -> Vec<String> {
    let code = line.split("//").next().unwrap();
    let climb = "super::".repeat(depth);
    let mut found = Vec::new();
    for root in ["crate::", climb.as_str()] {
        for (at, _) in code.match_indices(root) {
            let inside_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c));
            let path: String =
                code[at + root.len()..].chars().take_while(|c| c.is_ascii_lowercase() || "_:".contains(*c)).collect();
            if !inside_a_word && path.contains("::") {
                found.push(path.trim_end_matches(':').to_owned());
            }
        }
    }
    found
}

#[test]
fn paths_are_found_wherever_they_stand() {
    assert_eq!(paths("use crate::store::{Store, Tx};", 2), ["store"]);
    assert_eq!(paths("    let all = crate::channel::local::Local::web(a); // crate::cli::x", 2), ["channel::local"]);
    assert_eq!(paths("use super::super::store::Store;", 2), ["store"]);
    assert_eq!(paths("use super::lane::Lane;", 2), Vec::<String>::new());
    assert_eq!(paths("pub(crate) fn x() -> $crate::y::Z {}", 2), Vec::<String>::new());
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
        let of_tests = |part: &str| part.ends_with("tests") || part == "sim" || part == "testing";
        if from.split("::").any(of_tests) {
            continue;
        }
        for to in code.lines().flat_map(|line| paths(line, from.split("::").count())) {
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
