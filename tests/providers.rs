//! The contract of all providers: a chat can rely on the same behaviour, whichever answers. A row has a provider's
//! host, the words that make it act, and the supported parts of the contract; everything else is the same for all.
//! The vendors' clouds are stand-ins (`harness/cloud.rs`); the agents are real.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::claude::{build, builder};
use crate::harness::cloud::{Cloud, Question, Trouble, Word};
use crate::harness::eventually;
use crate::harness::host::{Builder, Host};
use crate::harness::models::KEY;
use crate::harness::rows::{runs, states};

const JID: &str = "web:p";
/// Time limit of a turn on a busy machine.
const TURN: Duration = Duration::from_secs(60);

/// The program of the provider `exec`'s agent.
const PROGRAM: &str = r#"#!/bin/sh
text=$(tr '\n' '\001' | sed 's/.*<message [^>]*>\(.*\)<\/message>.*/\1/' | tr '\001' '\n')
case $text in
    'sh: '*) eval "${text#sh: }" ;;
    *) echo "$text" ;;
esac
"#;

/// A provider under test.
struct Row {
    name: &'static str,
    /// The stand-in for its vendor, if it has one.
    cloud: Option<Cloud>,
    builder: Builder,
    /// Returns a message that makes it say a word, and the text that it says then.
    say: fn(&str) -> (String, String),
    /// Returns a message that makes it run a command.
    shell: fn(&str) -> String,
    /// Returns a message that makes it send a word with the host's tool.
    send: fn(&str) -> String,
    /// Messages that cause a refused key in the next turn and an overloaded vendor; and the text that is said after
    /// those.
    troubles: Option<[&'static str; 3]>,
    /// The message that makes it report its usage; empty if it does so in each turn.
    usage: Option<&'static str>,
    /// True if a later room knows an earlier room's conversation.
    sessions: bool,
    /// True if its commands do not have its key in their environment.
    hides_key: bool,
}

impl Row {
    /// An agent without a model. A key is set anyway, and its commands must not see it.
    fn plain(name: &'static str) -> Self {
        let builder = Host::builder().env("CONTAINER_IMAGE", "").dot_env(&format!("ANTHROPIC_API_KEY={KEY}\n"));
        Self {
            name,
            cloud: None,
            builder,
            say: |word| (word.to_owned(), word.to_owned()),
            shell: |command| format!("sh: {command}"),
            send: |word| format!("sh: parlor-tool send {word}"),
            troubles: None,
            usage: None,
            sessions: true,
            hides_key: true,
        }
    }

    fn model(name: &'static str, cloud: Cloud, builder: Builder) -> Self {
        Self {
            cloud: Some(cloud),
            builder,
            say: |word| (word.to_owned(), format!("heard: {word}")),
            shell: |command| format!("[sh: {command}]#"),
            send: |word| format!("[send: {word}]"),
            troubles: Some(["[refuse: key]", "[refuse: overload]", "heard after all"]),
            usage: Some(""),
            ..Self::plain(name)
        }
    }

    /// An agent that is a vendor's program, in the image `full`.
    fn program(name: &'static str, cloud: Cloud) -> Self {
        let builder = builder(&cloud.dot_env());
        Self::model(name, cloud, builder)
    }
}

/// The model behind every stand-in: follows the last message, and repeats the chat's texts.
fn model() -> Box<dyn Fn(&Question) -> Word + Send + Sync> {
    let overloaded = AtomicBool::new(false);
    Box::new(move |question| {
        let last = messages(&question.said).pop().unwrap_or_default();
        let inside = |from: &str, to: &str| Some(last.strip_prefix(from)?.strip_suffix(to)?.to_owned());
        if question.has_result && last.starts_with('[') {
            return Word::Text("done".to_owned());
        }
        if let Some(command) = inside("[sh: ", "]#") {
            return Word::Shell(command);
        }
        if let Some(word) = inside("[send: ", "]") {
            return Word::Send(word);
        }
        match last.as_str() {
            "[refuse: key]" => Word::Trouble(Trouble::BadKey),
            "[refuse: overload]" if !overloaded.swap(true, Ordering::Relaxed) => Word::Trouble(Trouble::Overloaded),
            "[refuse: overload]" => Word::Text("heard after all".to_owned()),
            _ => Word::Text(format!("heard: {last}")),
        }
    })
}

/// Returns the texts of the chat's messages in a prompt.
fn messages(prompt: &str) -> Vec<String> {
    let inside = |part: &str| Some(part.rsplit_once("<message ")?.1.split_once('>')?.1.to_owned());
    prompt.split("</message>").filter_map(inside).collect()
}

/// A provider's host with one group.
struct Stage {
    row: Row,
    host: Host,
}

impl Stage {
    fn open(mut row: Row) -> Self {
        let builder = std::mem::take(&mut row.builder).env("PARLOR_PROVIDER", row.name).env("IDLE_TIMEOUT", 600_000);
        let mut host = builder.prepare();
        if matches!(row.name, "claude" | "codex" | "gemini") {
            build(&host);
        }
        host.start();
        // By default a vendor's program would only retry for longer.
        let env = json!({ "CLAUDE_CODE_MAX_RETRIES": "0", "PARLOR_GEMINI_ATTEMPTS": "1" });
        let mut config = if row.cloud.is_some() { json!({ "env": env }) } else { json!({}) };
        if row.name == "codex" {
            // Codex does not know this model, and treats it as any model.
            config["model"] = json!("test-model");
        }
        host.register_with(JID, "room", &config);
        let groups = host.root().join("groups");
        for (folder, text) in [("room", "The colour is mauve."), ("global", "The password is swordfish.")] {
            fs::create_dir_all(groups.join(folder)).unwrap();
            fs::write(groups.join(folder).join("CLAUDE.md"), text).unwrap();
        }
        fs::write(groups.join("room/agent"), PROGRAM).unwrap();
        fs::set_permissions(groups.join("room/agent"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { row, host }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.root().join("groups/room").join(name)
    }

    fn made(&self, name: &str) {
        eventually(&format!("a command makes {name}"), TURN, || self.file(name).exists().then_some(()));
    }

    /// Sends a message, and returns the texts sent in answer.
    fn ask(&self, text: &str) -> Vec<String> {
        let mut events = self.host.events();
        let seq = self.host.send(JID, text);
        events.turn_done(JID, seq, TURN);
        events.texts(JID)
    }

    /// Checks that a word is the only text.
    fn says(&self, word: &str) {
        let (message, reply) = (self.row.say)(word);
        assert_eq!(self.ask(&message), [reply]);
    }

    fn session(&self) -> Option<String> {
        self.host.api.get("/v1/sessions/room").json()["sessionId"].as_str().map(str::to_owned)
    }

    fn the_first_message_is_answered_once(&self) {
        self.says("one");
        if let Some(cloud) = &self.row.cloud {
            let asked = cloud.asked();
            assert_eq!(asked.len(), 1, "{asked:?}");
            let told = format!("{}\n{}", asked[0].system, asked[0].said);
            for memory in ["mauve", "swordfish"] {
                assert!(told.contains(memory), "a memory is not told: {memory}");
            }
        }
    }

    fn a_follow_up_is_answered_in_order(&self) {
        let mut events = self.host.events();
        let working = self.host.send(JID, &(self.row.shell)("touch began; until [ -e go ]; do sleep 0.1; done"));
        self.made("began");
        let (message, reply) = (self.row.say)("two");
        let late = self.host.send(JID, &message);
        events.wait("the follow-up is given", TURN, |event| event.is_turn(JID, "started", late));
        fs::write(self.file("go"), "").unwrap();
        events.turn_done(JID, working, TURN);
        events.turn_done(JID, late, TURN);
        let texts = events.texts(JID).join("\n");
        assert!(texts.ends_with(&reply) && texts.matches(&reply).count() == 1, "{texts}");
        assert_eq!(runs(&self.host, "room").len(), 1, "one room for all of it");
    }

    fn the_hosts_tools_reach_the_chat(&self) {
        let texts = self.ask(&(self.row.send)("on-my-way"));
        assert_eq!(texts.iter().filter(|text| *text == "on-my-way").count(), 1, "{texts:?}");
    }

    fn commands_see_no_key(&self) {
        self.ask(&(self.row.shell)("env | tee env.txt"));
        let environment = fs::read_to_string(self.file("env.txt")).unwrap();
        assert!(environment.contains("PATH="), "{environment}");
        assert!(!self.row.hides_key || !environment.contains(self.key()), "{environment}");
    }

    fn a_later_room_goes_on(&mut self) {
        let before = self.session();
        assert!(self.host.terminate().success());
        self.host.start();
        self.says("three");
        assert_eq!(self.session(), before, "the session is the same");
        assert_eq!(before.is_some(), self.row.sessions);
        if let Some(cloud) = &self.row.cloud {
            let said = cloud.asked().pop().unwrap().said;
            assert!(said.contains("heard: one"), "nothing is known of the first room: {said}");
        }
    }

    fn stop_ends_a_turn_and_the_next_is_answered(&self) {
        let mut events = self.host.events();
        let seq = self.host.send(JID, &(self.row.shell)("touch stuck; sleep 600"));
        self.made("stuck");
        self.host.send(JID, "/stop");
        events.wait("the end of the turn", TURN, |event| event.is_turn(JID, "cancelled", seq));
        events.message(JID, TURN, |text| text.starts_with("Stopped"));
        self.says("four");
    }

    fn a_vendor_that_refuses_is_told_of(&self) {
        let Some([bad_key, overload, after_all]) = self.row.troubles else { return };
        let asked = |cloud: &Cloud| {
            let refused = |one: &&Question| messages(&one.said).last().is_some_and(|last| last == bad_key);
            cloud.asked().iter().filter(refused).count()
        };
        let mut events = self.host.events();
        let seq = self.host.send(JID, bad_key);
        events.wait("a failed turn", TURN, |event| event.is_turn(JID, "failed", seq));
        self.says("five");
        let notices: Vec<String> =
            events.texts(JID).into_iter().filter(|text| text.contains("credentials were refused")).collect();
        assert_eq!(notices.len(), 1, "{:?}", events.texts(JID));
        assert!(self.row.cloud.as_ref().is_none_or(|cloud| asked(cloud) == 1), "it was tried again");

        let texts = self.ask(overload);
        assert_eq!(texts.last().map(String::as_str), Some(after_all), "{texts:?}");
        // An agent that retries by itself reports nothing.
        assert!(texts.len() == 1 || texts.len() == 2 && texts[0].contains("overloaded"), "{texts:?}");
    }

    fn use_is_recorded(&self) {
        let rows = || self.host.api.get("/v1/usage").json()["usage"].as_array().unwrap().clone();
        let Some(message) = self.row.usage else {
            assert!(rows().is_empty(), "{:?}", rows());
            return;
        };
        if !message.is_empty() {
            self.ask(message);
        }
        let used = rows().remove(0);
        assert!(used["inputTokens"].as_u64() > Some(0) && used["outputTokens"].as_u64() > Some(0), "{used}");
    }

    fn nothing_is_left(mut self) {
        let left: Vec<String> =
            states(&self.host).into_keys().filter(|state| ["pending", "in_flight"].contains(&state.as_str())).collect();
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(self.host.api.get("/v1/outbox").json()["outbox"], json!([]));
        assert!(self.host.terminate().success());
        self.host.wait_no_containers();
        let key = self.key().as_bytes();
        assert!(memchr::memmem::find(self.host.log().as_bytes(), key).is_none(), "the log has the key");
        for folder in ["data", "groups"] {
            each_file(&self.host.root().join(folder), &mut |path| {
                let found = fs::read(path).is_ok_and(|bytes| memchr::memmem::find(&bytes, key).is_some());
                // If commands have the key, one of them wrote it to a file above.
                assert!(!found || !self.row.hides_key, "{} has the key", path.display());
            });
        }
    }

    fn key(&self) -> &'static str {
        self.row.cloud.as_ref().map_or(KEY, Cloud::key)
    }
}

fn each_file(dir: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), look),
            Ok(kind) if kind.is_file() => look(&entry.path()),
            _ => {}
        }
    }
}

/// Checks the contract.
fn holds(row: Row) {
    let mut stage = Stage::open(row);
    stage.the_first_message_is_answered_once();
    stage.a_follow_up_is_answered_in_order();
    stage.the_hosts_tools_reach_the_chat();
    stage.commands_see_no_key();
    stage.a_later_room_goes_on();
    stage.stop_ends_a_turn_and_the_next_is_answered();
    stage.a_vendor_that_refuses_is_told_of();
    stage.use_is_recorded();
    stage.nothing_is_left();
}

#[test]
fn guide() {
    holds(Row {
        say: |word| (format!("say {word}"), word.to_owned()),
        shell: |command| format!("run {command}"),
        send: |word| format!("run parlor-tool send {word}"),
        ..Row::plain("guide")
    });
}

#[test]
fn exec() {
    holds(Row::plain("exec"));
}

#[test]
fn image() {
    holds(Row {
        builder: Host::builder().dot_env(&format!("ANTHROPIC_API_KEY={KEY}\n")),
        say: |word| (word.to_owned(), format!("echo: {word}")),
        shell: |command| format!("!sh {command}"),
        send: |word| format!("!message {}", json!({ "type": "message", "chatJid": JID, "text": word })),
        troubles: Some(["!error auth", "!once !error overloaded", "once: over"]),
        usage: Some("!usage 10 2 0.5"),
        ..Row::plain("image")
    });
}

#[test]
fn llm() {
    let cloud = Cloud::llm(model());
    let builder =
        Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_MODEL", "claude-test").dot_env(&cloud.dot_env());
    holds(Row::model("llm", cloud, builder));
}

#[test]
fn claude() {
    // Claude Code passes its environment to its commands.
    holds(Row { hides_key: false, ..Row::program("claude", Cloud::claude(model())) });
}

#[test]
fn codex() {
    holds(Row::program("codex", Cloud::codex(model())));
}

#[test]
fn gemini() {
    holds(Row::program("gemini", Cloud::gemini(model())));
}
