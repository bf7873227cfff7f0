//! Backups of a real installation, and of files that hostile agents left in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use chrono::Utc;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;

use super::*;
use crate::config::home::Home;
use crate::store::{Store, groups};

struct Case {
    dir: tempfile::TempDir,
    home: Home,
    store: Store,
}

impl Case {
    /// Makes an installation with a running host.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let put = |path: &str, text: &str| {
            let path = home.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("groups/lab/CLAUDE.md", "remember");
        put("groups/lab/agent", "#!/bin/sh\n");
        put("data/sessions/lab/.claude/settings.json", "{}");
        put("data/outbox-files/01A/report.pdf", "pdf");
        put("data/runs/lab/1.log", "a log");
        put("parlor.toml", "tz = \"UTC\"\n");
        put("prices.toml", "[own]\ninput = 1\noutput = 2\n");
        put(".env", "KEY=secret\n");
        fs::set_permissions(home.root().join("groups/lab/agent"), fs::Permissions::from_mode(0o755)).unwrap();
        let (wakes, _) = mpsc::unbounded_channel();
        let store = Store::open(&home.database(), wakes).unwrap();
        let jid = "web:lab".parse().unwrap();
        store.write(move |tx| groups::touch_chat(tx, &jid, Some("Lab"), None)).await.unwrap();
        Self { dir, home, store }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pack(&self, file: &Path, keys: bool) -> Result<Packed, BackupError> {
        pack(&Wish { home: self.home.clone(), file: file.to_owned(), keys, replace: false, now: Utc::now() })
    }
}

fn read(home: &Home, path: &str) -> Option<String> {
    fs::read_to_string(home.root().join(path)).ok()
}

#[tokio::test]
async fn backup_beside_a_running_host_restores_the_installation() {
    let case = Case::new().await;
    let file = case.file("b.tar.gz");
    let packed = case.pack(&file, false).unwrap();
    assert_eq!((packed.changed, packed.left_out_count), (0, 0), "{packed:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(case.pack(&file, false).unwrap_err().to_string().contains("is there already"));
    let there = Home::new(case.file("other"));
    let restored = restore(&file, &there, false, Utc::now()).unwrap();
    assert_eq!(restored.aside, None);
    for (path, text) in [
        ("groups/lab/CLAUDE.md", Some("remember")),
        ("data/sessions/lab/.claude/settings.json", Some("{}")),
        ("data/outbox-files/01A/report.pdf", Some("pdf")),
        ("parlor.toml", Some("tz = \"UTC\"\n")),
        ("prices.toml", Some("[own]\ninput = 1\noutput = 2\n")),
        (".env", None),
        ("data/runs/lab/1.log", None),
    ] {
        assert_eq!(read(&there, path).as_deref(), text, "{path}");
    }
    let mode = fs::metadata(there.root().join("groups/lab/agent")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let copy = Store::open_to_read(&there.database()).unwrap();
    assert_eq!(copy.read(groups::chats).await.unwrap()[0].name, "Lab");
    assert_ne!(copy.id(), case.store.id(), "cursors of the other one do not fit");
    // No temporary file is left.
    let left: Vec<_> = fs::read_dir(case.home.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("backup")), "{left:?}");

    case.pack(&case.file("keys.tar.gz"), true).unwrap();
    let with_keys = Home::new(case.file("third"));
    restore(&case.file("keys.tar.gz"), &with_keys, false, Utc::now()).unwrap();
    assert_eq!(read(&with_keys, ".env").as_deref(), Some("KEY=secret\n"));
}

#[tokio::test]
async fn restore_refuses_or_moves_old_files_and_spares_a_live_host() {
    let case = Case::new().await;
    let file = case.file("b.tar.gz");
    case.pack(&file, false).unwrap();
    let there = Home::new(case.file("other"));
    restore(&file, &there, false, Utc::now()).unwrap();
    fs::write(there.root().join("groups/lab/CLAUDE.md"), "changed since").unwrap();
    let refused = restore(&file, &there, false, Utc::now()).unwrap_err().to_string();
    assert!(refused.contains("holds an installation already") && refused.contains("--replace"), "{refused}");
    assert_eq!(read(&there, "groups/lab/CLAUDE.md").as_deref(), Some("changed since"));
    let aside = restore(&file, &there, true, Utc::now()).unwrap().aside.unwrap();
    assert_eq!(read(&there, "groups/lab/CLAUDE.md").as_deref(), Some("remember"));
    assert!(!aside.starts_with(there.root()), "the main group's agent sees what lies in the home");
    assert_eq!(fs::read_to_string(aside.join("groups/lab/CLAUDE.md")).unwrap(), "changed since");
    assert!(aside.join("data/parlor.db").exists() && aside.join("prices.toml").exists());

    let lock = fs::File::create(there.lock()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = restore(&file, &there, true, Utc::now()).unwrap_err().to_string();
    assert!(refused.contains("a host is running") && refused.contains("parlor stop"), "{refused}");
}

#[tokio::test]
async fn links_are_kept_and_nothing_outside_is_read_or_written() {
    let case = Case::new().await;
    let secret = case.file("outside");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("secret.txt"), "secret").unwrap();
    let lab = case.home.root().join("groups/lab");
    symlink(&secret, lab.join("dir-link")).unwrap();
    symlink(secret.join("secret.txt"), lab.join("file-link")).unwrap();
    symlink("nowhere", lab.join("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, lab.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let file = case.file("b.tar.gz");
    let packed = case.pack(&file, false).unwrap();
    assert_eq!(packed.left_out_count, 1, "{packed:?}");
    assert!(packed.left_out[0].starts_with("groups/lab/pipe: "), "{packed:?}");
    let there = Home::new(case.file("other"));
    restore(&file, &there, false, Utc::now()).unwrap();
    let link = |name: &str| fs::read_link(there.root().join("groups/lab").join(name)).unwrap();
    assert_eq!((link("dir-link"), link("dangling")), (secret.clone(), PathBuf::from("nowhere")));
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
}

#[tokio::test]
async fn interrupted_restore_names_the_place_of_the_installation() {
    let case = Case::new().await;
    let deep = |levels: usize| -> PathBuf { std::iter::repeat_n("d".repeat(200), levels).collect() };
    fs::create_dir_all(case.home.root().join("groups/lab").join(deep(20))).unwrap();
    let file = case.file("b.tar.gz");
    case.pack(&file, false).unwrap();
    // The system refuses paths of that length there.
    let there = Home::new(case.dir.path().join(deep(1)).join("home"));
    fs::create_dir_all(there.groups()).unwrap();
    fs::write(there.groups().join("mine"), "mine").unwrap();
    let error = restore(&file, &there, true, Utc::now()).unwrap_err();
    let BackupError::BrokenOff { aside, .. } = &error else { panic!("{error}") };
    assert_eq!(fs::read_to_string(aside.join("groups/mine")).unwrap(), "mine");
    let said = error.to_string();
    assert!(said.contains("move it back") && said.contains(aside.to_str().unwrap()), "{said}");
    assert!(!there.database().exists());
}

#[tokio::test]
async fn half_moved_installation_is_reported_with_both_places() {
    let case = Case::new().await;
    // The second path has vanished since it was listed.
    let what = ["groups", "prices.gone"].map(PathBuf::from);
    let error = restore::move_aside(&case.home, &what, Utc::now()).unwrap_err();
    let BackupError::HalfMoved { aside, home, .. } = &error else { panic!("{error}") };
    assert_eq!(fs::read_to_string(aside.join("groups/lab/CLAUDE.md")).unwrap(), "remember");
    assert_eq!(home, case.home.root());
    let said = error.to_string();
    for part in ["prices.gone", aside.to_str().unwrap(), home.to_str().unwrap(), "move that part back"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Writes a backup with these entries and no manifest.
fn forged(path: &Path, entries: &[(&str, tar::EntryType, &str)]) {
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Set directly, because the tar library refuses such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        if *kind == tar::EntryType::Regular {
            header.set_size(content.len() as u64);
        } else {
            header.set_size(0);
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        let body = if *kind == tar::EntryType::Regular { content.as_bytes() } else { b"" };
        tar.append(&header, body).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[tokio::test]
async fn damaged_or_forged_backups_are_refused_before_any_write() {
    let case = Case::new().await;
    let whole = case.file("b.tar.gz");
    case.pack(&whole, false).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let bad = case.file("bad.tar.gz");
    let there = Home::new(case.file("other"));
    let refused = |what: &str| {
        let error = restore(&bad, &there, true, Utc::now()).unwrap_err().to_string();
        assert!(error.contains("is not a whole backup"), "{what}: {error}");
        assert!(!there.groups().exists() && !there.database().exists(), "{what}");
        error
    };
    for part in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&bad, &bytes[..part]).unwrap();
        refused(&format!("{part} bytes of it"));
    }
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 0x55;
    fs::write(&bad, &flipped).unwrap();
    refused("a flipped byte");
    fs::write(&bad, "no archive at all").unwrap();
    refused("another file");
    let file = tar::EntryType::Regular;
    for name in ["../escape", "/etc/escape", "groups/../../escape", "data/parlor.sock", "other/x", "data/runs/x"] {
        forged(&bad, &[(name, file, "x")]);
        let why = refused(name);
        assert!(why.contains("does not belong"), "{name}: {why}");
    }
    forged(&bad, &[("groups/x", tar::EntryType::Link, "/etc/passwd")]);
    assert!(refused("a hard link").contains("neither file, folder nor link"));
    forged(&bad, &[("groups/x", file, "x")]);
    assert!(refused("without a manifest").contains("no manifest"));
    let manifest = r#"{"format":1,"parlor":"1","created":"x","home":"/","keys":false,"entries":[]}"#;
    forged(&bad, &[("groups/x", file, "x"), ("manifest.json", file, manifest)]);
    assert!(refused("not in the manifest").contains("another number"));
    assert!(!case.file("escape").exists());
}

#[test]
fn backup_of_a_home_without_an_installation_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("none"));
    let wish = Wish { home, file: dir.path().join("b"), keys: false, replace: false, now: Utc::now() };
    assert!(pack(&wish).unwrap_err().to_string().contains("nothing to back up"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
