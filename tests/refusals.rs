//! A vendor's refusals, for every provider that asks a vendor: each is reported once, with the remedy, and retried
//! only if a retry can help. The vendors' clouds are stand-ins; the agents are real.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::harness::claude::{build, builder, parlor};
use crate::harness::cloud::{Cloud, Question, Trouble, Word};
use crate::harness::door::Door;
use crate::harness::events::Events;
use crate::harness::host::{Builder, Host};
use crate::harness::{engine, eventually};

/// Time limit of a turn on a busy machine.
const TURN: Duration = Duration::from_secs(60);

/// The consequence of a refusal.
enum Outcome {
    /// The turn fails at the first request.
    Fails,
    /// The turn is retried when the refusal is over.
    Passes,
}

/// Each refusal: its kind, its group, the words in the chat, the consequence.
const TROUBLES: [(Trouble, &str, &str, Outcome); 6] = [
    (Trouble::BadKey, "auth", "credentials were refused", Outcome::Fails),
    (Trouble::Quota, "quota", "quota is used up", Outcome::Fails),
    (Trouble::NoModel, "model", "Is the model's name right?", Outcome::Fails),
    (Trouble::Odd, "odd", "This cannot be answered", Outcome::Fails),
    (Trouble::Limit, "limit", "rate limit is reached", Outcome::Passes),
    (Trouble::Overloaded, "overload", "overloaded", Outcome::Passes),
];

/// A provider's separate program.
struct Program {
    /// Arguments with which `pkill` finds it.
    find: &'static [&'static str],
    /// The folder in its home with its conversations.
    conversations: &'static str,
    /// The remedy if the image does not have it.
    remedy: &'static str,
}

struct Row {
    name: &'static str,
    builder: Builder,
    cloud: Cloud,
    tries: Arc<Mutex<HashMap<String, u32>>>,
    gate: Arc<Door>,
    /// How often the agent itself retries when the vendor is overloaded.
    patience: u32,
    /// Refusals after which the agent itself asks again, and how often: the vendors' programs try another way before
    /// they give up.
    insists: &'static [(Trouble, u32)],
    program: Option<Program>,
}

impl Row {
    fn new(name: &'static str, patience: u32, cloud: fn(crate::harness::cloud::Script) -> Cloud) -> Self {
        let tries: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let gate = Arc::new(Door::default());
        let (counted, door) = (Arc::clone(&tries), Arc::clone(&gate));
        let cloud = cloud(Box::new(move |question| model(question, &counted, &door, patience)));
        let builder = builder(&cloud.dot_env());
        Self { name, builder, cloud, tries, gate, patience, insists: &[], program: None }
    }

    fn tried(&self, name: &str) -> u32 {
        self.tries.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

/// Returns the part of a text between two marks, at the last such place.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.rsplit_once(from)?.1.split_once(to).map(|(inside, _)| inside)
}

/// Answers with the refusal that the last message names, as long as it lasts; else repeats the chat's text.
fn model(question: &Question, tries: &Mutex<HashMap<String, u32>>, gate: &Door, patience: u32) -> Word {
    let last = question.said.rsplit_once("<message ").map_or("", |(_, last)| last);
    let Some(word) = between(last, "[trouble: ", "]") else {
        let text = between(last, "\">", "</message>").unwrap_or_default();
        return Word::Text(format!("heard: {text}"));
    };
    let count = {
        let mut tries = tries.lock().unwrap();
        let count = tries.entry(word.to_owned()).or_default();
        *count += 1;
        *count
    };
    if word == "crash" && count == 1 {
        gate.pass();
        return Word::Text("nobody hears this".to_owned());
    }
    let row = TROUBLES.iter().find(|(_, name, ..)| *name == word);
    match row {
        Some((trouble, _, _, Outcome::Fails)) => Word::Trouble(*trouble),
        Some((Trouble::Overloaded, ..)) if count <= patience => Word::Trouble(Trouble::Overloaded),
        Some((Trouble::Limit, ..)) if count == 1 => Word::Trouble(Trouble::Limit),
        _ => Word::Text("heard after all".to_owned()),
    }
}

struct Stage {
    row: Row,
    host: Host,
}

impl Stage {
    fn open(mut row: Row) -> Self {
        let builder = std::mem::take(&mut row.builder).env("PARLOR_PROVIDER", row.name);
        let mut host = builder.prepare();
        if row.program.is_some() {
            build(&host);
        }
        host.start();
        let stage = Self { row, host };
        let names = TROUBLES.iter().map(|(_, name, ..)| *name).chain(["crash", "lost"]);
        for name in names {
            stage.host.register_with(&format!("web:{name}"), name, &stage.config());
        }
        stage
    }

    /// Returns a group's settings: a model that no program treats as special, and no retries of the program's own,
    /// which would only make the test longer.
    fn config(&self) -> serde_json::Value {
        let model = match self.row.name {
            "codex" => "test-model",
            "gemini" => "gemini-2.5-flash",
            _ => "claude-test",
        };
        let env = json!({ "CLAUDE_CODE_MAX_RETRIES": "0", "PARLOR_GEMINI_ATTEMPTS": "1" });
        if self.row.name == "claude" { json!({ "env": env }) } else { json!({ "env": env, "model": model }) }
    }

    fn ask(&self, jid: &str, text: &str) -> Vec<String> {
        let mut events = self.host.events();
        let seq = self.host.send(jid, text);
        events.turn_done(jid, seq, TURN);
        events.texts(jid)
    }

    fn every_trouble_is_told_once_and_tried_again_where_that_helps(&self) {
        let mut events = self.host.events();
        let send = |name: &'static str| self.host.send(&format!("web:{name}"), &format!("[trouble: {name}]"));
        let sent: Vec<i64> = TROUBLES.iter().map(|(_, name, ..)| send(name)).collect();
        for ((trouble, name, told, outcome), seq) in TROUBLES.iter().zip(sent) {
            let jid = format!("web:{name}");
            match outcome {
                Outcome::Fails => {
                    events.wait("a failed turn", TURN, |event| event.is_turn(&jid, "failed", seq));
                    assert!(only(&events, name).contains(told), "{name}: {}", only(&events, name));
                    let most = self.row.insists.iter().find(|(of, _)| of == trouble).map_or(1, |(_, times)| *times);
                    assert!(self.row.tried(name) <= most, "{name} is asked {} times", self.row.tried(name));
                    // The host itself tries once.
                    let runs = self.host.api.get(&format!("/v1/runs?folder={name}")).expect(200).json();
                    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{name}: {runs}");
                }
                Outcome::Passes => {
                    events.turn_done(&jid, seq, TURN);
                    let texts = events.texts(&jid);
                    assert!(texts.len() == 2 && texts[0].contains(told) && texts[1] == "heard after all", "{texts:?}");
                }
            }
        }
        for (_, name, ..) in &TROUBLES {
            let texts = events.texts(&format!("web:{name}")).join("\n");
            assert!(!texts.contains("..") && texts.matches(".env").count() <= 1, "{texts}");
        }
        assert_eq!((self.row.tried("limit"), self.row.tried("overload")), (2, self.row.patience + 1));
    }

    /// Checks that a program that is killed in the middle of a turn is started again with its message.
    fn a_crash_is_survived(&self, program: &Program) {
        assert_eq!(self.ask("web:crash", "hello"), ["heard: hello"]);
        let mut events = self.host.events();
        let seq = self.host.send("web:crash", "[trouble: crash]");
        eventually("the cloud is asked", TURN, || (self.row.tried("crash") == 1).then_some(()));
        let room = self.host.containers().into_iter().find(|name| name.starts_with("parlor-crash-")).unwrap();
        let kill = [&["exec", room.as_str(), "pkill", "-KILL"][..], program.find].concat();
        assert!(engine::run(&kill).status.success());
        events.turn_done("web:crash", seq, TURN);
        self.row.gate.open();
        assert_eq!(only(&events, "crash"), "heard after all");
        assert!(self.said().contains("heard: hello"), "the conversation goes on");
    }

    /// Checks that a conversation whose files are gone begins anew, with a notice.
    fn a_lost_conversation_begins_anew(&mut self, folder: &str) {
        assert_eq!(self.ask("web:lost", "hello"), ["heard: hello"]);
        assert!(self.host.terminate().success());
        fs::remove_dir_all(self.host.root().join("data/sessions/lost").join(folder)).unwrap();
        self.host.start();
        let mut events = self.host.events();
        let seq = self.host.send("web:lost", "again");
        events.message("web:lost", TURN, |text| text == "heard: again");
        events.turn_done("web:lost", seq, TURN);
        let texts = events.texts("web:lost");
        assert!(texts.len() == 2 && texts[0].contains("earlier conversation is gone"), "{texts:?}");
        assert_eq!(self.ask("web:lost", "more"), ["heard: more"]);
        assert!(self.said().contains("heard: again"), "the new conversation goes on");
    }

    /// Checks that an image without the program reports what is missing.
    fn an_image_without_the_program_says_so(&self, program: &Program) {
        let lite = String::from_utf8(parlor(&self.host, &["image", "build"]).output().unwrap().stdout).unwrap();
        let lite = lite.split_whitespace().next().unwrap();
        self.host.register_with("web:bare", "bare", &json!({ "image": lite, "provider": self.row.name }));
        let mut events = self.host.events();
        let seq = self.host.send("web:bare", "hello");
        events.wait("a failed turn", TURN, |event| event.is_turn("web:bare", "failed", seq));
        assert!(only(&events, "bare").contains(program.remedy), "{}", only(&events, "bare"));
    }

    fn said(&self) -> String {
        self.row.cloud.asked().pop().unwrap().said
    }
}

/// Returns a chat's only text.
fn only(events: &Events, name: &str) -> String {
    let texts = events.texts(&format!("web:{name}"));
    assert_eq!(texts.len(), 1, "{name}: {texts:?}");
    texts.into_iter().next().unwrap()
}

fn holds(row: Row) {
    let mut stage = Stage::open(row);
    stage.every_trouble_is_told_once_and_tried_again_where_that_helps();
    let Some(program) = stage.row.program.take() else {
        return stage.a_lost_conversation_begins_anew(".claude/parlor-llm");
    };
    stage.a_crash_is_survived(&program);
    stage.a_lost_conversation_begins_anew(program.conversations);
    stage.an_image_without_the_program_says_so(&program);
}

#[test]
fn llm() {
    let row = Row::new("llm", 4, Cloud::llm);
    let builder = Host::builder().env("CONTAINER_IMAGE", "").dot_env(&row.cloud.dot_env());
    holds(Row { builder, ..row });
}

#[test]
fn claude() {
    let row = Row::new("claude", 1, Cloud::claude);
    // A subscription's token: only that has a quota.
    let builder = builder(&row.cloud.subscription());
    let program =
        Program { find: &["-x", "claude"], conversations: ".claude/projects", remedy: "parlor image build full" };
    let insists = &[
        // Claude Code looks for a newer token.
        (Trouble::BadKey, 2),
        // It asks once without streaming, in case a gateway supports only that.
        (Trouble::NoModel, 2),
        // It drops, one after the other, fields that older servers do not know (the form of thoughts, tools that are
        // loaded later), and asks again each time.
        (Trouble::Odd, 6),
    ];
    holds(Row { builder, insists, program: Some(program), ..row });
}

#[test]
fn codex() {
    let program = Program { find: &["-x", "codex"], conversations: ".codex", remedy: "PARLOR_IMAGE_WITH" };
    holds(Row { program: Some(program), ..Row::new("codex", 3, Cloud::codex) });
}

#[test]
fn gemini() {
    let program =
        Program { find: &["-f", "gemini.*--acp"], conversations: ".gemini/tmp", remedy: "PARLOR_IMAGE_WITH=gemini" };
    holds(Row { program: Some(program), ..Row::new("gemini", 1, Cloud::gemini) });
}
