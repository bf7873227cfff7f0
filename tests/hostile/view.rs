//! The files that mounts hide.

use std::fs;
use std::path::PathBuf;

use super::{OTHER, Stage, names};
use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

/// A word that only the permitted groups may find.
const WORD: &str = "plover-1c7e";

fn plant(stage: &Stage) -> Vec<PathBuf> {
    let root = stage.host.root();
    let config = stage.host.config_dir();
    let places = [
        root.join("groups/other/notes.txt"),
        root.join("data/sessions/other/.claude/notes.txt"),
        root.join("data/sessions/other/agent/notes.txt"),
        root.join("data/ipc/other/notes.txt"),
        root.join("data/runs/other/notes.log"),
        root.join("data/quarantine/other/notes.json"),
        root.join("data/claimed-notes.json"),
        root.join("parlor-notes.txt"),
        config.join("notes.json"),
    ];
    for place in &places {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, WORD).unwrap();
    }
    places.to_vec()
}

/// Reads every file in the container, except for those of the kernel.
const SEARCH: &str = "find / -xdev -type f ! -path '/proc/*' ! -path '/sys/*' 2>/dev/null | head -1 >/dev/null
find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f -exec grep -l WORD {} + 2>/dev/null | sort";

fn search() -> String {
    // The word is put together inside, or the search would find its own command line.
    SEARCH.replace("WORD", "\"$(printf '%s-%s' plover 1c7e)\"")
}

#[test]
fn room_sees_its_own_folder_and_nothing_of_others() {
    let stage = Stage::with(Host::builder().dot_env(&format!("SOME_KEY={WORD}\n")));
    // The word is in the database, too.
    stage.host.ask(OTHER, &format!("remember {WORD}"));
    plant(&stage);
    fs::create_dir_all(stage.host.root().join("groups/global")).unwrap();
    fs::write(stage.host.root().join("groups/global/shared.txt"), "for all").unwrap();
    stage.host.ask("web:room", "hello");
    fs::write(stage.host.root().join("groups/room/mine.txt"), WORD).unwrap();
    assert_eq!(stage.attack(&search()), "/workspace/group/mine.txt");
    let tree = stage.attack("ls /workspace; ls -d /workspace/project /workspace/extra 2>&1 | grep -c 'No such'");
    assert!(!tree.contains("project\n") && !tree.contains("extra\n") && tree.ends_with('2'), "{tree}");
    // The shared memory is readable.
    let read = stage.attack(
        "(echo x > /workspace/global/x; rm -f /workspace/global/shared.txt) 2>/dev/null; cat /workspace/global/shared.txt",
    );
    assert_eq!(read, "for all");
    let shared = names(&stage.host.root().join("groups/global"));
    assert!(shared.contains(&"shared.txt".to_owned()) && !shared.contains(&"x".to_owned()), "{shared:?}");
}

#[test]
fn main_sees_the_installation_without_its_secrets_and_cannot_write_it() {
    let stage = Stage::with(Host::builder().dot_env(&format!("SOME_KEY={WORD}\n")));
    fs::write(stage.host.root().join(".env.local"), WORD).unwrap();
    stage.host.ask(OTHER, &format!("remember {WORD}"));
    plant(&stage);
    let found = stage.host.ask("web:main", &format!("!sh {}", search()));
    assert_eq!(found, ["/workspace/project/groups/other/notes.txt\n/workspace/project/parlor-notes.txt"]);
    let script =
        "cd /workspace/project; echo x > x; echo x > groups/other/x; rm -f parlor-notes.txt; ls data; echo end";
    let texts = stage.host.ask("web:main", &format!("!sh ({script}) 2>/dev/null"));
    assert_eq!(texts, ["end"]);
    for path in ["x", "groups/other/x"] {
        assert!(!stage.host.root().join(path).exists(), "{path}");
    }
    assert!(stage.host.root().join("parlor-notes.txt").exists());
}

#[test]
fn room_full_of_env_files_neither_stops_main_nor_hides_its_files() {
    let stage = Stage::new();
    let (host, root) = (&stage.host, stage.host.root());
    host.ask(OTHER, "hello");
    stage.host.ask("web:main", "hello");
    for (path, text) in [("main/CLAUDE.md", "rules"), ("other/notes.txt", "beside")] {
        fs::write(root.join("groups").join(path), text).unwrap();
    }
    let main = |text: &str| host.ask("web:main", text);
    let end = || assert_eq!(main("!exit 0").last().map(String::as_str), Some("exiting"));
    end();
    // Thousands of them, some deep, with every possible kind of name; main sees nothing of the room.
    stage.attack(
        "mkdir -p a/b/c; for n in $(seq 3000); do echo key > .env.$n; echo key > a/b/c/.env$n; done; echo open > notes
echo key > \"$(printf '.env:a,b\\n\\001\\377')\"; mkfifo .env-pipe; ln -s /workspace/group/CLAUDE.md .env-link",
    );
    let look = "!sh cd /workspace/project/groups; ls -A room; cat room/notes 2>/dev/null; cat other/notes.txt; cat /workspace/group/CLAUDE.md";
    assert_eq!(main(look), ["besiderules"]);
    assert!(crate::room::inspect(host, "main")["Mounts"].as_array().unwrap().len() < 20);
    end();
    // They come and go, and alternate with links to files that main should keep, while main starts again and again.
    stage.attack(
        "rm -rf a .env*; (mkdir -p d e; while [ ! -e stop ]; do
echo key > .env; rm .env; ln -s /workspace/group/CLAUDE.md .env; rm .env; echo key > d/.env; mv d x; ln -s /workspace/group d; rm d; mv x d; rm d/.env
echo . >> rounds; done) >/dev/null 2>&1 &",
    );
    for _ in 0..6 {
        assert_eq!(
            main("!sh cat /workspace/group/CLAUDE.md /workspace/project/groups/other/notes.txt"),
            ["rulesbeside"]
        );
        end();
    }
    fs::write(root.join("groups/room/stop"), "").unwrap();
    assert!(fs::read(root.join("groups/room/rounds")).unwrap().len() > 200);
    assert_eq!(fs::read_to_string(root.join("groups/main/CLAUDE.md")).unwrap(), "rules");
    let runs = eventually("the end of main's last run", SOON, || {
        let runs = host.api.get("/v1/runs?folder=main&limit=100").json()["runs"].as_array().unwrap().clone();
        runs.iter().all(|run| run["state"] != "running").then_some(runs)
    });
    assert!(runs.len() >= 8 && runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
}
