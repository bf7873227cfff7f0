//! Other objects in the place of files, and files that are traps.

use std::fs;
use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage, message, names, sent};
use crate::harness::process;
use crate::harness::{SOON, eventually};

impl Stage {
    /// Returns the reasons why files of the room were quarantined.
    fn reasons(&self) -> Vec<String> {
        let dir = self.data("quarantine/room");
        let reasons = names(&dir).into_iter().filter(|name| name.ends_with(".reason"));
        reasons.map(|name| fs::read_to_string(dir.join(name)).unwrap()).collect()
    }

    /// Waits until the host has handled all files of the room.
    fn wait_empty(&self) {
        eventually("all files are handled", SOON, || {
            let left = ["ipc/room/messages", "ipc/room/tasks", "claimed"].map(|dir| names(&self.data(dir)).len());
            (left == [0; 3]).then_some(())
        });
    }
}

#[test]
fn objects_other_than_files_are_quarantined_without_blocking() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    let before = stage.seen();
    let mut events = stage.host.events();
    stage.attack(&format!(
        "cd /workspace/ipc/messages
mkfifo fifo.json; mknod null.json c 1 3 2>/dev/null; mknod zero.json c 1 5 2>/dev/null
mkdir dir.json; mkdir -p full.json/a/b; echo x > full.json/a/b/c; mkdir locked.json; chmod 000 locked.json
ln -s {canary}/messages/1.json link.json; ln -s loop.json loop.json; ln -s nowhere dangling.json
ln ../current_tasks.json hard.json
: > empty.json; (nc -lU socket.json >/dev/null 2>&1 &) ; echo ok",
        canary = stage.canary.display()
    ));
    assert_eq!(stage.host.ask(OTHER, "meanwhile"), ["echo: meanwhile"]);
    stage.attack(&format!("echo '{}' > /workspace/ipc/messages/zzz.json", message(ROOM, "after")));
    sent(&mut events, ROOM, "after");
    stage.wait_empty();
    // A room may not be allowed to create devices and sockets.
    let reasons = stage.reasons();
    assert!(reasons.len() >= 8, "{reasons:#?}");
    assert_eq!(stage.attack("cat /workspace/ipc/current_tasks.json"), "[]");
    assert!(!events.texts(ROOM).contains(&"from the canary".to_owned()));
    assert_eq!(stage.seen(), before);
}

#[test]
fn huge_and_deep_files_are_refused_in_bounded_memory_and_time() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    let mut events = stage.host.events();
    process::reset_peak(stage.host.pid());
    let resting = process::peak_kib(stage.host.pid());
    stage.attack(&format!(
        r#"cd /workspace/ipc
truncate -s 10G t; mv t messages/sparse.json
head -c 104857600 /dev/zero | tr '\0' x > t; mv t messages/large.json
(printf '{{"type":"message","chatJid":"{ROOM}","text":"x","y":'; head -c 100000 /dev/zero | tr '\0' '['; head -c 100000 /dev/zero | tr '\0' ']'; printf '}}') > t; mv t messages/deep.json
(printf '{{"type":"message","chatJid":"{ROOM}","text":"'; head -c 52428800 /dev/zero | tr '\0' y; printf '"}}') > t; mv t messages/string.json
(printf '{{"type":"message","chatJid":"{ROOM}","text":"'; head -c 300000 /dev/zero | tr '\0' z; printf '"}}') > t; mv t messages/long.json
printf '\377\376\0' > t; mv t messages/bytes.json
printf '{{"type":"message"' > t; mv t messages/half.json
printf '[1,2]' > t; mv t tasks/array.json
printf '{{"type":"message","chatJid":"{ROOM}","text":"after"}}' > t; mv t messages/zzz.json; echo ok"#
    ));
    let asked = Instant::now();
    sent(&mut events, ROOM, "after");
    assert_eq!(stage.host.ask(OTHER, "meanwhile"), ["echo: meanwhile"]);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    stage.wait_empty();
    let reasons = stage.reasons();
    assert_eq!(reasons.len(), 8, "{reasons:#?}");
    let kept: u64 =
        fs::read_dir(stage.data("quarantine/room")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(kept < 50 << 20, "{kept} bytes are kept");
    let grown = process::peak_kib(stage.host.pid()) - resting;
    assert!(grown < 32 << 10, "the host grew by {grown} KiB");
    assert!(!events.texts(ROOM).iter().any(|text| text.len() > 100_000));
}

#[test]
fn file_names_are_treated_as_data() {
    let stage = Stage::new();
    stage.host.ask(ROOM, "hello");
    let mut events = stage.host.events();
    let long = "n".repeat(250);
    let ok = |n: u32| message(ROOM, &format!("name {n}"));
    stage.attack(&format!(
        r#"cd /workspace/ipc/messages
put() {{ echo "$1" > ../t; mv -- ../t "$2"; }}
put '{0}' "$(printf 'new\nline.json')"
put '{1}' "$(printf '\033[31mred\033[2J.json')"
put '{2}' ./-rf.json
put '{3}' "$(printf '\377\376.json')"
put '{4}' '$(touch x);`touch y`.json'
put '{5}' '{long}.json'
put broken "$(printf 'bad\033[2J\n2026 WARN forged line.json')"
put ignored .json; put ignored x.json.tmp; put ignored x.JSON; echo ok"#,
        ok(0),
        ok(1),
        ok(2),
        ok(3),
        ok(4),
        ok(5)
    ));
    for n in 0..6 {
        sent(&mut events, ROOM, &format!("name {n}"));
    }
    eventually("the broken one is put away", SOON, || (stage.reasons_or_none().len() == 1).then_some(()));
    let reason = &stage.reasons()[0];
    assert!(!reason.contains('\u{1b}') && reason.contains("\\u{1b}"), "{reason:?}");
    // A name cannot start a line or set a colour in the log.
    let log = stage.host.log();
    assert!(!log.contains('\u{1b}'), "an escape is in the log");
    assert!(!log.lines().any(|line| line.starts_with("2026 WARN")), "a name made a line of the log");
    assert_eq!(names(&stage.data("ipc/room/messages")), [".json", "x.JSON", "x.json.tmp"]);
    assert!(!stage.host.root().join("x").exists() && !stage.host.root().join("y").exists());
}

impl Stage {
    fn reasons_or_none(&self) -> Vec<String> {
        if self.data("quarantine/room").exists() { self.reasons() } else { Vec::new() }
    }
}

/// A file that is changed after it was taken: the content that was read and checked once counts.
#[test]
fn file_changed_between_check_and_use_has_one_meaning() {
    let stage = Stage::new();
    stage.host.ask(ROOM, "hello");
    let mut events = stage.host.events();
    // Both texts have the same length, so that the file is whole at any moment.
    let mine = message("web:room", "mine").to_string();
    let others = message("web:main", "hers").to_string();
    assert_eq!(mine.len(), others.len());
    stage.attack(&format!(
        "cd /workspace/ipc
for n in $(seq 60); do
printf '%s' '{mine}' > t$n
(exec 3<>t$n; for i in $(seq 40); do printf '%s' '{others}' | dd of=t$n conv=notrunc 2>/dev/null; printf '%s' '{mine}' | dd of=t$n conv=notrunc 2>/dev/null; done) &
mv t$n messages/$n.json
wait; rm -f t$n
done; echo '{}' > messages/zzz.json; echo ok",
        message(ROOM, "after")
    ));
    sent(&mut events, ROOM, "after");
    stage.wait_empty();
    let refused = stage.refusals().len();
    let sent = events.texts(ROOM).iter().filter(|text| *text == "mine").count();
    let odd = stage.reasons_or_none().len();
    assert_eq!(events.texts("web:main").len(), 0, "{:?}", events.texts("web:main"));
    assert!(sent + refused + odd >= 60, "{sent} sent, {refused} refused, {odd} put away");
    let texts = events.texts(ROOM);
    assert!(texts.iter().all(|t| ["mine", "after", "@@\nok"].contains(&t.as_str())), "{texts:?}");
}

#[test]
fn leftovers_of_a_run_are_cleared_and_the_next_run_starts() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    let printed = stage.attack(
        "cd /workspace/ipc/input; n=0; while [ $n -lt 1500 ]; do mkdir d; cd d; n=$((n+1)); done
cd /workspace/ipc/input; n=0; while [ $n -lt 10000 ]; do n=$((n+1)); : > f$n; : > ../results/$n.json; done
mkdir locked; : > locked/x; chmod 000 locked; ln -s / root; mkfifo pipe; echo made",
    );
    assert_eq!(printed, "made");
    assert_eq!(stage.host.ask(ROOM, "a follow-up finds its way"), ["echo: a follow-up finds its way"]);
    stage.end_run();
    assert_eq!(stage.host.ask(OTHER, "meanwhile"), ["echo: meanwhile"]);
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
    // The folders of the two live rooms.
    eventually("the folder is gone", SOON, || (names(&stage.data("inputs")).len() == 2).then_some(()));
    let answer = stage.host.ask(ROOM, &format!("!message {}", message(ROOM, "answered")));
    assert!(answer.iter().any(|text| text.contains(r#""ok":true"#)), "{answer:?}");
    assert!(names(&stage.data("ipc/room/results")).len() < 10_000, "old answers are kept for ever");
}
