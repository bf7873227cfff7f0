//! The optional parts of the image `full` work in a real room, as the room's user and within a group's limits.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use flate2::read::ZlibDecoder;
use serde_json::json;

use crate::harness::claude::{build, builder, parlor};
use crate::harness::host::Host;

/// An agent that runs the message's command in the room, and returns its output.
const AGENT: &str = r#"#!/bin/sh
command=$(tr '\n' ' ' | sed 's/.*<message [^>]*>\(.*\)<\/message>.*/\1/')
out=$(sh -c "$command" 2>err) || { echo "exit $?: $(tail -n 3 err)"; exit 0; }
echo "$out"
"#;

/// A page that is correct only after its script has run.
const PAGE: &str = "<!doctype html><title>t</title><body style='margin:0;background:#c00000'><p id='sum'>not yet</p>\
    <script>document.getElementById('sum').textContent = 'sum ' + (40 + 2)</script>";

/// A host with a group whose agent runs commands in the image.
fn host() -> Host {
    let mut host = builder("").prepare();
    let image = build(&host);
    let folder = host.root().join("groups/room");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("agent"), AGENT).unwrap();
    fs::set_permissions(folder.join("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("page.html"), PAGE).unwrap();
    host.start();
    host.register_with("web:room", "room", &json!({ "provider": "exec", "image": image }));
    host
}

fn ask(host: &Host, command: &str) -> String {
    host.ask("web:room", command).join("\n")
}

#[test]
fn programs_of_the_full_image_work_in_a_room() {
    let host = host();
    assert_ne!(ask(&host, "id -u"), "0", "agents are not root");
    assert_eq!(ask(&host, "claude --version"), "2.1.329 (Claude Code)");
    assert_eq!(ask(&host, "codex --version"), "codex-cli 0.169.0");
    assert_eq!(ask(&host, "gemini --version"), "0.61.0");
    let version = ask(&host, "chromium --version");
    assert!(version.starts_with("Chromium "), "{version}");
    assert_eq!(ask(&host, "echo $CHROME_BIN $PUPPETEER_EXECUTABLE_PATH"), ["/usr/local/bin/chromium"; 2].join(" "));
    // Python's packages, inside a virtual environment and outside; UTF-8 text; a name for the room's user.
    let pips = ask(&host, "python3 -m venv v; v/bin/pip --version; pip --version");
    assert_eq!(pips.lines().filter(|line| line.starts_with("pip ")).count(), 2, "{pips}");
    assert_eq!(ask(&host, "echo $LANG; locale charmap"), "C.UTF-8\nUTF-8");
    assert_eq!(ask(&host, "whoami; echo $?").lines().last(), Some("0"));
    // Codex starts this program for the newer models.
    assert_eq!(ask(&host, "test -x /usr/local/lib/codex/bin/codex-code-mode-host; echo $?"), "0");
}

#[test]
fn browser_of_the_full_image_renders_a_page() {
    let host = host();
    let dom = ask(&host, "chromium --headless --dump-dom file:///workspace/group/page.html | grep -o sum.42");
    assert_eq!(dom, "sum 42");
    let dom = ask(&host, "chromium --headless --dump-dom data:text/plain,hello | grep -o hello");
    assert_eq!(dom, "hello");
    let shot =
        "chromium --headless --screenshot=shot.png --window-size=320,240 file:///workspace/group/page.html; echo $?";
    assert_eq!(ask(&host, shot), "0");
    let picture = fs::read(host.root().join("groups/room/shot.png")).unwrap();
    let (size, first) = png(&picture);
    assert_eq!((size, &first[..3]), ((320, 240), [0xc0, 0, 0].as_slice()));
}

#[test]
fn image_build_full_announces_its_programs_and_size() {
    let host = builder("").prepare();
    // A base image that does not exist: the build announces its plan, and fails before anything is downloaded.
    let mut command = parlor(&host, &["image", "build", "full"]);
    command.env("PARLOR_IMAGE_BASE", "parlor-test-no-such-base:1").env("PARLOR_IMAGE_WITH", "gemini, codex");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("Making the image with Claude Code 2.1.329, Codex 0.169.0, Gemini CLI 0.61.0: "),
        "{text}"
    );
    let megabytes: u32 = first.split_once("about ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(megabytes > 400, "more than without them: {first}");

    let output = parlor(&host, &["image", "build", "full"]).env("PARLOR_IMAGE_WITH", "firefox").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("PARLOR_IMAGE_WITH") && text.contains("chromium, codex and gemini"), "{text}");
}

/// Returns width, height, and the bytes of the first pixel, which every filter leaves unchanged.
fn png(bytes: &[u8]) -> ((u32, u32), Vec<u8>) {
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut data) = (8, Vec::new());
    while at < bytes.len() {
        let length = number(at) as usize;
        if &bytes[at + 4..at + 8] == b"IDAT" {
            data.extend_from_slice(&bytes[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut row = [0; 4];
    ZlibDecoder::new(&*data).read_exact(&mut row).unwrap();
    ((number(16), number(20)), row[1..].to_vec())
}
