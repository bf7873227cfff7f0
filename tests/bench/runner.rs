//! Measures the program in the room by itself: time to the guide's answer, memory while it waits, size of its image.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use parlor::container::image::runner::Runner;
use parlor_protocol::OUTPUT_START;

use crate::Effort;
use crate::harness::host::Host;
use crate::harness::{engine, process};
use crate::report::{Figure, Report, Target, ms};

const INPUT: &str =
    r#"{"prompt":"hello","groupFolder":"g","chatJid":"web:g","isMain":false,"runId":"R1","provider":"guide"}"#;

pub fn measure(effort: Effort, report: &mut Report) {
    let place = tempfile::tempdir().unwrap();
    let program = unpack(place.path());
    let (mut starts, mut bare, mut more, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..effort.samples(200, 20) {
        let room = Room::new(place.path(), round);
        // The order alternates, so that neither profits from the other.
        let early = (round % 2 == 0).then(|| version(&program));
        let (start, peak) = room.turn(&program);
        let plain = early.unwrap_or_else(|| version(&program));
        starts.push(start);
        bare.push(plain);
        more.push(start - plain);
        memory.push(peak);
    }
    report.add(Figure::new(
        "agent-runner: spawned → guide's answer, minus a process that only prints",
        "ms",
        Target::AtMost(5.0),
        more,
    ));
    report.add(Figure::new("– agent-runner: spawned → guide's answer", "ms", Target::None, starts));
    report.add(Figure::new("– the same program, spawned → its version", "ms", Target::None, bare));
    report.add(Figure::new(
        "agent-runner's memory (VmHWM), guide, waiting in an open room",
        "MiB",
        Target::AtMost(10.0),
        memory,
    ));
    report.add(Figure::one("image lite, as the engine says", "MiB", Target::AtMost(20.0), image()));
}

/// Unpacks the program as it is in the image.
fn unpack(place: &Path) -> PathBuf {
    let path = place.join("agent-runner");
    let mut file = File::create(&path).unwrap();
    std::io::copy(&mut Runner::Embedded.open().1, &mut file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

struct Room(PathBuf);

impl Room {
    fn new(place: &Path, round: usize) -> Self {
        let root = place.join(round.to_string());
        for folder in ["ipc/input", "ipc/messages", "ipc/tasks", "ipc/results", "group"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self(root)
    }

    /// Returns the milliseconds to the first marker, and the highest memory use until it waits for input.
    fn turn(&self, program: &Path) -> (f64, f64) {
        let mut command = Command::new(program);
        command
            .env("PARLOR_IPC_DIR", self.0.join("ipc"))
            .env("PARLOR_INPUT_DIR", self.0.join("ipc/input"))
            .env("PARLOR_GROUP_DIR", self.0.join("group"));
        let begun = Instant::now();
        let (mut child, mut lines) = spawn(&mut command, INPUT);
        let first = lines.next().unwrap();
        let took = ms(begun.elapsed());
        assert_eq!(first, OUTPUT_START);
        assert!(lines.next().unwrap().contains("Hello! I am "));
        lines.next();
        let peak = process::peak_kib(child.id()) as f64 / 1024.0;
        fs::write(self.0.join("ipc/input/_close"), "").unwrap();
        assert!(child.wait().unwrap().success());
        (took, peak)
    }
}

/// Returns the milliseconds that the program takes to print its version.
fn version(program: &Path) -> f64 {
    let begun = Instant::now();
    let (mut child, mut lines) = spawn(Command::new(program).arg("--version"), "");
    assert!(lines.next().unwrap().starts_with("agent-runner "));
    let took = ms(begun.elapsed());
    child.wait().unwrap();
    took
}

fn spawn(command: &mut Command, stdin: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A program that only prints may have exited already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

/// Returns the image's size in MiB.
fn image() -> f64 {
    let host = Host::builder().env("CONTAINER_IMAGE", "").prepare();
    let made = host.command().args(["image", "build"]).output().unwrap();
    let text = String::from_utf8(made.stdout).unwrap();
    let name = text.split_whitespace().next().expect("the image's name");
    let size = engine::lines(&["image", "inspect", "--format", "{{.Size}}", name]);
    size[0].trim().parse::<f64>().unwrap() / f64::from(1 << 20)
}
