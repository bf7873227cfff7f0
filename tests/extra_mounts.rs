//! Extra folders of the host in a group's room: only through the operator's allowlist, which no container sees.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::room::{inspect, sh};

fn allow(host: &Host, rules: &Value) {
    fs::create_dir_all(host.config_dir()).unwrap();
    fs::write(host.config_dir().join("mount-allowlist.json"), rules.to_string()).unwrap();
}

/// Returns the extra mounts of a group's live room: container path, and true if it is writable.
fn extras(host: &Host, folder: &str) -> Vec<(String, bool)> {
    let container = inspect(host, folder);
    let all = container["Mounts"].as_array().unwrap().iter();
    let mut found: Vec<(String, bool)> = all
        .map(|m| (m["Destination"].as_str().unwrap().to_owned(), m["RW"].as_bool().unwrap()))
        .filter(|(target, _)| target.starts_with("/workspace/extra"))
        .collect();
    found.sort();
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn extra_mounts_pass_the_allowlist_or_are_refused_with_the_reason() {
    let outside = tempfile::Builder::new().prefix("px-").tempdir_in("/var/tmp").unwrap();
    let dir = |name: &str| {
        let path = outside.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("f.txt"), name).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        path
    };
    let (docs, shared, keys) = (dir("docs"), dir("shared"), dir("docs/.ssh"));
    let elsewhere = dir("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, docs.join("link")).unwrap();
    let host = Host::builder().tolerate("mount-allowlist.json cannot be used").start();
    let mount = |path: &Path, name: &str, readonly: bool| json!({ "hostPath": text(path), "containerPath": name, "readonly": readonly });
    let wanted = json!({ "additionalMounts": [
        mount(&docs, "docs", false),
        mount(&shared, "deep/er/shared", false),
        { "hostPath": text(&shared.join("f.txt")) },
        mount(&keys, "keys", true),
        mount(&docs.join("link"), "link", true),
        mount(&outside.path().join("missing"), "missing", true),
        mount(&host.root().join("data"), "data", true),
        mount(&host.config_dir(), "rules", true),
    ]});
    // The API refuses what no allowlist could allow.
    let escape = json!({ "jid": "web:z", "name": "z", "folder": "z", "trigger": "@Andy",
        "containerConfig": { "additionalMounts": [mount(&shared, "../group", true)] } });
    assert!(host.api.post("/v1/groups", &escape).expect(400).text().contains("must be relative"));
    host.register_with("web:x", "x", &wanted);
    host.register_with("web:y", "y", &wanted);
    host.api.patch("/v1/groups/x", &json!({ "isMain": true })).expect(200);

    // Without an allowlist there are no extra mounts.
    sh(&host, "web:x", "true");
    assert_eq!(extras(&host, "x"), []);
    assert!(host.log().contains("there is no mount-allowlist.json"), "{}", host.log());

    // The allowlist is read again for each run.
    let parent = host.config_dir().parent().unwrap().to_owned();
    allow(
        &host,
        &json!({ "allowedRoots": [
            { "path": text(&docs), "allowReadWrite": false, "description": "to read" },
            { "path": text(&shared), "allowReadWrite": true },
            { "path": text(host.root()), "allowReadWrite": true },
            { "path": text(&parent), "allowReadWrite": true },
        ], "blockedPatterns": [], "nonMainReadOnly": true }),
    );
    host.ask("web:x", "/new");
    for jid in ["web:x", "web:y"] {
        assert_eq!(
            sh(&host, jid, "cat /workspace/extra/docs/f.txt /workspace/extra/deep/er/shared/f.txt"),
            "docsshared"
        );
        let refused = sh(&host, jid, "touch /workspace/extra/docs/new || true");
        assert!(refused.contains("Read-only"), "{refused}");
    }
    let shown = |writable: bool| {
        [
            ("/workspace/extra/deep/er/shared", writable),
            ("/workspace/extra/docs", false),
            ("/workspace/extra/f.txt", false),
        ]
        .map(|(target, rw)| (target.to_owned(), rw))
    };
    assert_eq!(extras(&host, "x"), shown(true));
    assert_eq!(extras(&host, "y"), shown(false), "only main writes");
    assert_eq!(sh(&host, "web:x", "touch /workspace/extra/deep/er/shared/from-main && echo ok"), "ok");
    assert!(shared.join("from-main").exists());
    let log = host.log();
    for why in [
        "\".ssh\" is blocked",
        "under no allowed root",
        "cannot be resolved",
        "which no group may see",
        "nonMainReadOnly",
    ] {
        assert!(log.contains(why), "{why} in {log}");
    }
    // A blocked name inside an allowed folder is visible, because the operator allowed the folder; the allowlist is
    // not.
    assert_eq!(sh(&host, "web:x", "find / -name mount-allowlist.json 2>/dev/null; echo end"), "end");

    // A broken list allows nothing.
    fs::write(host.config_dir().join("mount-allowlist.json"), "{ \"allowedRoots\": [").unwrap();
    host.ask("web:y", "/new");
    sh(&host, "web:y", "true");
    assert_eq!(extras(&host, "y"), []);
    drop(host);
}
