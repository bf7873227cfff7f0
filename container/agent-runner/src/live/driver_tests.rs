//! The driver with a real process: a shell script, whose few words a vendor of the tests understands.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use chrono::DateTime;
use parlor_protocol::files::Folders;
use parlor_protocol::{ErrorKind, RunInput, Turn};

use super::*;
use crate::live::{Pending, Program, Words};
use crate::process::Working;
use crate::wire::Wire;

/// A vendor whose program is a script. Each message is a line `INPUT TEXT` to it; it answers with lines of one word
/// and a rest: `open`, `taken ID`, `answer TEXT`, `fail WHY`, `say TEXT`, `ask`, `wrong WHY` (a setting).
struct Script {
    file: PathBuf,
    settings: AgentToml,
    pending: Pending,
    /// None while there is no process, or one is on its way out.
    open: Option<bool>,
    words: Words,
}

impl Script {
    fn flush(&mut self) -> Vec<Step> {
        if self.open.is_none() {
            return Vec::new();
        }
        let line = |(id, content): (String, Vec<Value>)| {
            Step::Write(format!("{id} {}\n", content[0].as_str().unwrap().replace('\n', " ")))
        };
        self.pending.unwritten().into_iter().map(line).collect()
    }

    fn fail(&mut self, kind: ErrorKind, why: &str) -> Step {
        self.open = None;
        Step::Put(Box::new(Sorted::new(kind, why).output(self.pending.fail(), None)))
    }
}

impl Vendor for Script {
    const PROGRAM: Program = Program { title: "The script", name: "script", variable: "", remedy: "", exit: None };

    fn new(_: &Room, file: PathBuf) -> Self {
        let (settings, pending) = (AgentToml::default(), Pending::default());
        Self { file, settings, pending, open: None, words: Words::default() }
    }

    fn text(text: &str) -> Value {
        text.into()
    }

    fn picture(media_type: &str, data: &str) -> Value {
        format!("{media_type} {data}").into()
    }

    fn settings(&self) -> &AgentToml {
        &self.settings
    }

    fn folder(&self) -> PathBuf {
        self.file.parent().unwrap().to_owned()
    }

    fn command(&mut self, room: &Room) -> Result<Command, Sorted> {
        if !self.file.exists() {
            return Err(Self::PROGRAM.not_started(&self.file, &std::io::ErrorKind::NotFound.into()));
        }
        let mut command = Command::new("sh");
        command.arg(&self.file).current_dir(&room.folders.group);
        Ok(command)
    }

    fn started(&mut self) -> Vec<Step> {
        self.open = Some(false);
        self.flush()
    }

    fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        vec![Step::Put(Box::new(why.output(self.pending.fail(), None)))]
    }

    fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.pending.add(messages);
        self.flush()
    }

    fn line(&mut self, line: &str, _: DateTime<Utc>) -> Vec<Step> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match word {
            "open" => self.open = Some(true),
            "taken" => drop(self.pending.taken(rest)),
            "wrong" => self.settings.problem(rest.to_owned()),
            "say" => return vec![Step::Say(rest.to_owned())],
            "ask" => return vec![Step::Ask("well?")],
            "fail" => return vec![self.fail(ErrorKind::Overloaded, rest), Step::End],
            "answer" => {
                let consumed = self.pending.settle();
                let turn = Some(self.pending.turn());
                let put = Output { result: Some(rest.to_owned()), consumed, turn, ..Output::default() };
                let more = self.has_pending().then_some(Step::StillWorking);
                return std::iter::once(Step::Put(Box::new(put))).chain(more).collect();
            }
            _ => self.words.note(line),
        }
        Vec::new()
    }

    fn stuck(&mut self, _: DateTime<Utc>) -> Vec<Step> {
        vec![self.fail(ErrorKind::Other, &self.words.stuck("The script"))]
    }

    fn ended(&mut self, how: &str, said: &str, _: DateTime<Utc>) -> Vec<Step> {
        if self.open.take().is_none() || !self.has_pending() {
            return Vec::new();
        }
        let why = self.words.ended("The script", how, said);
        vec![self.fail(ErrorKind::Other, &why)]
    }

    fn is_ready(&self) -> bool {
        self.open == Some(true)
    }

    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn complete(&mut self, _: &Room, output: &mut Output) {
        output.cost_usd = Some(1.0);
    }
}

/// A run of a script, with the host's side of it.
struct Run {
    dir: tempfile::TempDir,
    to: Sender<Signal>,
    outputs: Receiver<Output>,
    wire: Wire,
    working: Working,
    driver: Option<JoinHandle<()>>,
}

/// A failed test must not leave its script behind.
impl Drop for Run {
    fn drop(&mut self) {
        self.working.kill();
    }
}

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a limit is where a test is not about it.
const LONG: Limits = Limits { open: PATIENCE, exit: Some(PATIENCE) };

impl Run {
    /// Starts it with the prompt `first`.
    fn start(script: &str, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("script");
        if !script.is_empty() {
            fs::write(&file, script).unwrap();
        }
        let (wire, outputs) = Wire::captured();
        let working = Working::default();
        let folder = || dir.path().to_owned();
        let folders = Folders { ipc: folder(), input: folder(), group: folder(), global: folder() };
        let input = RunInput { prompt: "first".to_owned(), ..RunInput::default() };
        let room = Room {
            input: Arc::new(input),
            session: String::new(),
            folders,
            wire: wire.clone(),
            working: working.clone(),
        };
        let (to, signals) = mpsc::channel();
        let mut driver = Driver::new(Script::new(&room, file), room, to.clone(), limits);
        let driver = thread::spawn(move || {
            driver.begin();
            driver.attend(&signals);
        });
        Self { dir, to, outputs, wire, working, driver: Some(driver) }
    }

    fn give(&self, names: &[&str]) {
        let input = |name: &&str| Input { name: (*name).to_owned(), text: (*name).to_owned(), images: Vec::new() };
        self.to.send(Signal::Inputs(names.iter().map(input).collect())).unwrap();
    }

    fn close(&self) {
        self.to.send(Signal::Close).unwrap();
    }

    fn output(&self) -> Output {
        self.outputs.recv_timeout(PATIENCE).expect("an output")
    }

    /// The text of an output that ends a turn well, and the inputs that it answers.
    fn answer(&self) -> (String, Vec<String>) {
        let output = self.output();
        assert_eq!((output.status, output.turn), (Status::Success, Some(Turn::Done)), "{output:?}");
        (output.result.unwrap(), output.consumed)
    }

    /// Waits for the end of the driver; nothing more may come out.
    fn end(mut self) {
        self.driver.take().unwrap().join().unwrap();
        assert_eq!(self.outputs.try_recv().ok(), None);
        assert!(!self.wire.settle(Duration::ZERO), "no turn is open");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Answers each message with its last word, and writes a file when its stdin ends.
const ECHO: &str = "echo open
while read -r id text; do echo taken $id; echo answer ${text##* }; done
echo left >left";

fn told(text: &str, consumed: &[&str]) -> (String, Vec<String>) {
    (text.to_owned(), consumed.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn messages_are_answered_and_at_the_close_the_program_ends_by_itself() {
    let run = Run::start(ECHO, LONG);
    assert_eq!(run.answer(), told("first", &[]));
    run.give(&["second"]);
    assert_eq!(run.answer(), told("second", &["second"]));
    run.give(&["third"]);
    run.close();
    assert_eq!(run.answer(), told("third", &["third"]), "what came before the close is answered");
    let left = run.file("left");
    eventually("it had the time to write it down", || left.exists());
    run.end();
}

#[test]
fn a_program_that_does_not_exit_is_ended() {
    let script = "echo open; read -r id text; echo taken $id; echo answer $text; while :; do sleep 0.05; done";
    for exit in [Some(Duration::from_millis(200)), None] {
        let run = Run::start(script, Limits { exit, ..LONG });
        run.answer();
        run.close();
        run.end();
    }
}

#[test]
fn a_program_that_opens_no_conversation_is_ended_and_the_next_one_gets_what_came_since() {
    // The first is deaf to SIGTERM, so that the next message comes while it goes.
    let script = "trap '' TERM
if mkdir once 2>/dev/null; then echo waiting for a server; while :; do sleep 0.05; done; fi
echo open; while read -r id text; do echo taken $id; echo answer ${text##* }; done";
    let run = Run::start(script, Limits { open: Duration::from_secs(1), ..LONG });
    let failed = run.output();
    let reason = failed.error.unwrap();
    assert_eq!(reason, "The script did not open a conversation in time and was ended: waiting for a server");
    run.give(&["late"]);
    assert_eq!(run.answer(), told("late", &["late"]));
    run.close();
    run.end();
}

#[test]
fn a_failed_program_is_not_heard_any_more_and_settles_nothing_that_came_since() {
    // It goes on to talk for as long as a gentle end takes.
    let script = "echo open
if mkdir once 2>/dev/null; then
    trap 'touch dying' TERM
    read -r id text; echo taken $id; echo fail no time
    while :; do echo answer of nobody; echo say this neither; sleep 0.02; done
fi
while read -r id text; do echo taken $id; echo answer ${text##* }; done";
    let run = Run::start(script, LONG);
    let failed = run.output();
    assert_eq!((failed.error_kind, failed.cost_usd), (Some(ErrorKind::Overloaded), Some(1.0)));
    eventually("it is asked to end", || run.file("dying").exists());
    run.give(&["late", "later"]);
    assert_eq!(run.answer(), told("late", &["late"]));
    assert_eq!(run.answer(), told("later", &["later"]));
    run.close();
    run.end();
}

#[test]
fn a_turn_settles_what_was_taken_and_the_rest_is_the_next_turns() {
    // Takes the first two of three messages, and the third after their answer.
    let script = "echo open; read -r a text; read -r b text; read -r c text
echo taken $b; echo answer of its own accord; echo taken $a; echo say meanwhile; echo answer both
while [ ! -e go ]; do sleep 0.02; done
echo taken $c; echo answer third; cat >/dev/null";
    let run = Run::start(script, LONG);
    run.give(&["1", "2"]);
    let early = run.output();
    assert_eq!((early.turn, early.consumed), (Some(Turn::Open), vec!["1".to_owned()]), "the first prompt waits");
    assert_eq!(run.output().result.as_deref(), Some("meanwhile"));
    assert_eq!(run.answer(), told("both", &[]));
    eventually("the next turn is open", || run.wire.settle(Duration::ZERO));
    fs::write(run.file("go"), "").unwrap();
    assert_eq!(run.answer(), told("third", &["2"]));
    run.close();
    run.end();
}

#[test]
fn a_question_of_the_runner_is_one_more_message() {
    let script = "echo open; read -r a text; echo taken $a; echo ask; read -r b text
echo taken $b; echo answer asked $text; cat >/dev/null";
    let run = Run::start(script, LONG);
    assert_eq!(run.answer(), told("asked well?", &[]));
    run.close();
    run.end();
}

#[test]
fn an_end_in_the_middle_of_a_turn_is_a_failure_and_between_turns_it_is_none() {
    let script = "echo open; read -r id text
case $text in *first) echo out of memory >&2; exit 3;; esac
echo taken $id; echo answer ${text##* }";
    let run = Run::start(script, LONG);
    let failed = run.output();
    assert_eq!(failed.error.as_deref(), Some("The script ended with exit code 3: out of memory"));
    // This one ends after its answer.
    run.give(&["second"]);
    assert_eq!(run.answer(), told("second", &["second"]));
    run.close();
    run.end();
}

#[test]
fn a_program_that_cannot_be_started_fails_each_message_for_good() {
    let run = Run::start("", LONG);
    assert_eq!(run.output().error_kind, Some(ErrorKind::Refused));
    run.give(&["a", "b"]);
    let failed = run.output();
    assert_eq!((failed.turn, failed.consumed.len()), (Some(Turn::Done), 2));
    assert!(failed.error.unwrap().contains("script) cannot be started"));
    run.close();
    run.end();
}

#[test]
fn what_is_wrong_with_the_settings_is_told_once_and_again_when_there_is_more() {
    let script = "echo open
while read -r id text; do
    case $text in *second) ;; *first) echo wrong this;; *) echo wrong that;; esac
    echo taken $id; echo answer ${text##* }
done";
    let run = Run::start(script, LONG);
    assert!(run.answer().0.ends_with("are used:\n- this)"));
    run.give(&["second"]);
    assert_eq!(run.answer().0, "second");
    run.give(&["third"]);
    assert!(run.answer().0.ends_with("are used:\n- this\n- that)"));
    run.close();
    run.end();
}

#[test]
fn a_task_a_repeated_try_and_pictures_are_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.png"), b"foo").unwrap();
    let image = |path: &str| ImageAttachment { relative_path: path.into(), media_type: "image/png".into() };
    let input = RunInput {
        prompt: "look".into(),
        is_scheduled_task: true,
        resumed: vec!["said".into()],
        image_attachments: vec![image("a.png"), image("gone.png"), image(".")],
        ..RunInput::default()
    };
    let content = content::<Script>(brief::prompt(&input), &input.image_attachments, dir.path());
    let text = content[0].as_str().unwrap();
    for part in ["[It is ", "[A scheduled task", "\n\nlook\n\n", "said]", "gone.png cannot be shown", "not a file"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(content[1..], ["image/png Zm9v"]);
}

#[test]
fn servers_that_start_slowly_make_the_limit_longer() {
    let limit = |text: &str| open_limit(&AgentToml::parse(text, &RunInput::default()), OPEN_LIMIT);
    assert_eq!(limit(""), Duration::from_secs(120));
    assert_eq!(limit("[mcp.slow]\ncommand = 'x'\nstart_timeout = 90\n"), Duration::from_secs(150));
}
