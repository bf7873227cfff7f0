//! A vendor's behaviour beside answering: it refuses, cuts, filters, sends thoughts, or says nothing.

use std::fs;

use parlor_protocol::{ErrorKind, Status};
use serde_json::json;

use super::models::{Protocol, Reply, Server};
use super::{home, input, once, settings, start, with};

const ALL: [Protocol; 4] = [Protocol::Anthropic, Protocol::OpenAi, Protocol::Gemini, Protocol::Ollama];

/// Each vendor's words for an answer that was cut, and for one that was filtered.
const ENDINGS: [(Protocol, &str, &str); 4] = [
    (Protocol::Anthropic, "max_tokens", "refusal"),
    (Protocol::OpenAi, "length", "content_filter"),
    (Protocol::Gemini, "MAX_TOKENS", "SAFETY"),
    (Protocol::Ollama, "length", "content_filter"),
];

#[test]
fn permanent_refusal_ends_the_turn_whatever_its_words() {
    for protocol in ALL {
        for (status, said, kind) in [
            (404, "model 'test' not found, try pulling it first", ErrorKind::Refused),
            (400, "the server is overloaded with nonsense; try again later", ErrorKind::SessionRefused),
            (405, "temporarily unavailable", ErrorKind::Refused),
        ] {
            let server = Server::saying(protocol, vec![Reply::refused(status, "api_error", said)]);
            let output = once(&home(), input(&server, "hi"));
            assert_eq!((output.status, output.error_kind), (Status::Error, Some(kind)), "{protocol:?} {output:?}");
            assert!(output.error.as_deref().unwrap().contains(said), "{output:?}");
            assert_eq!((server.requests().len(), output.retry_at), (1, None));
        }
    }
}

#[test]
fn model_without_tools_answers_and_the_chat_is_notified_once() {
    for protocol in ALL {
        let server = Server::start(protocol, |request| {
            if request.tools().is_empty() {
                return Reply::text("hello");
            }
            Reply::refused(400, "api_error", "registry/library/test does not support tools")
        });
        let home = home();
        let agent = start(&home, input(&server, "hi"));
        let first = agent.output().result.unwrap();
        assert!(first.starts_with("hello\n\n(") && first.contains("cannot call tools"), "{first}");
        assert_eq!(server.requests().len(), 2, "asked once more");
        home.follow_up("0001.json", "again");
        assert_eq!(agent.output().result.as_deref(), Some("hello"));
        assert_eq!(server.requests().len(), 3, "it is known now");
    }
}

#[test]
fn thoughts_reach_neither_the_chat_nor_the_history() {
    for protocol in ALL {
        let server = Server::start(protocol, |request| match request.number {
            0 => Reply::text("<think>they said hi, the fools</think>\n\nHello."),
            _ => Reply::text("In code: `<think>x</think>`."),
        });
        let home = home();
        let agent = start(&home, input(&server, "hi"));
        assert_eq!(agent.output().result.as_deref(), Some("Hello."), "{protocol:?}");
        home.follow_up("0001.json", "again");
        assert_eq!(agent.output().result.as_deref(), Some("In code: `<think>x</think>`."));
        let body = server.newest().body.to_string();
        assert!(body.contains("Hello.") && !body.contains("the fools"), "{body}");
    }
}

#[test]
fn answer_that_was_cut_is_continued_or_reported() {
    for (protocol, cut, _) in ENDINGS {
        let server = Server::saying(protocol, vec![Reply::ended(cut, "One, "), Reply::text("two.")]);
        let output = once(&home(), input(&server, "count"));
        assert_eq!(output.result.as_deref(), Some("One, two."), "{protocol:?}");
        let server = Server::saying(protocol, vec![Reply::ended(cut, "on and ")]);
        let said = once(&home(), input(&server, "count")).result.unwrap();
        assert!(said.starts_with("on and on and ") && said.contains("max_tokens in agent.toml"), "{said}");
        assert!(server.requests().len() < 6, "{}", server.requests().len());
        // Only thoughts, up to the limit.
        let server = Server::saying(protocol, vec![Reply::ended(cut, "<think>hm"), Reply::text("two.")]);
        assert_eq!(once(&home(), input(&server, "count")).result.as_deref(), Some("two."));
    }
}

#[test]
fn call_with_half_its_arguments_is_never_carried_out() {
    for (protocol, cut, _) in ENDINGS {
        let write = |reason: &str, args| Reply::Ended(reason.into(), String::new(), vec![("write_file".into(), args)]);
        let whole = json!({"path": "cut", "content": "x"});
        let half = json!("{\"path\": \"half\", \"content\": \"x");
        // Vendors that send arguments as a text may also send half of them without any sign.
        let quiet = if matches!(protocol, Protocol::Anthropic | Protocol::OpenAi) {
            write(if protocol == Protocol::Anthropic { "tool_use" } else { "tool_calls" }, half)
        } else {
            Reply::text("done")
        };
        let server = Server::saying(protocol, vec![write(cut, whole), quiet, Reply::text("done")]);
        let home = home();
        let output = once(&home, input(&server, "write"));
        assert_eq!(output.result.as_deref(), Some("done"), "{protocol:?} {output:?}");
        assert!(!home.path("group/cut").exists() && !home.path("group/half").exists());
        assert!(server.requests()[1].body.to_string().contains("was not carried out"));
    }
}

#[test]
fn filtered_answer_is_reported() {
    for (protocol, _, filtered) in ENDINGS {
        let server = Server::saying(protocol, vec![Reply::ended(filtered, "So far")]);
        let said = once(&home(), input(&server, "hi")).result.unwrap().to_lowercase();
        assert!(said.starts_with("so far\n\n(") && said.contains("content filter"), "{protocol:?} {said}");
        assert!(said.contains(&filtered.to_lowercase()), "{said}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn empty_answer_is_asked_about_once_and_then_reported() {
    for protocol in ALL {
        let server = Server::saying(protocol, vec![Reply::text(""), Reply::text("Here I am.")]);
        assert_eq!(once(&home(), input(&server, "hi")).result.as_deref(), Some("Here I am."), "{protocol:?}");
        let server = Server::saying(protocol, vec![Reply::text("")]);
        let output = once(&home(), input(&server, "hi"));
        assert!(output.result.unwrap().contains("gave no answer"));
        assert_eq!(server.requests().len(), 2);
        // Text inside the tags is an answer.
        let server = Server::saying(protocol, vec![Reply::text("<internal>nothing to say</internal>")]);
        once(&home(), input(&server, "hi"));
        assert_eq!(server.requests().len(), 1);
        // A task may have nothing to report.
        let server = Server::saying(protocol, vec![Reply::text("")]);
        let task = with(input(&server, "look"), "isScheduledTask", json!(true));
        assert_eq!(once(&home(), task).result, None);
    }
}

#[test]
fn ollama_gets_a_context_size_and_every_result() {
    let server = Server::start(Protocol::Ollama, |request| match request.number {
        0 => Reply::Calls(
            String::new(),
            vec![
                ("shell".into(), json!({"command": "echo first"})),
                ("shell".into(), json!({"command": "echo second"})),
            ],
        ),
        _ => Reply::text("done"),
    });
    let home = home();
    let output = once(&home, input(&server, "work"));
    assert_eq!(output.result.as_deref(), Some("done"), "{output:?}");
    let request = server.newest();
    assert_eq!(request.body["options"]["num_ctx"], 32_768);
    let results = request.messages("tool");
    assert!(results.len() == 2 && results[0].contains("first") && results[1].contains("second"), "{results:?}");
    settings(&home, "context_tokens = 50000\n");
    once(&home, input(&server, "work"));
    assert_eq!(server.newest().body["options"]["num_ctx"], 40_960, "the most that the model takes");
}

#[test]
fn server_that_reads_only_a_part_is_reported_once() {
    // Ollama behind its other protocol: the client cannot ask for a larger context.
    let server = Server::start(Protocol::Ollama, |_| Reply::text("well"));
    let home = home();
    settings(&home, "context_tokens = 1000\n");
    fs::write(home.path("group/CLAUDE.md"), "Remember. ".repeat(1_000)).unwrap();
    let agent = start(&home, input(&server, "hi"));
    let said = agent.output().result.unwrap();
    assert!(said.starts_with("well\n\n(") && said.contains("read only 1000 of about"), "{said}");
    home.follow_up("0001.json", "again");
    assert_eq!(agent.output().result.as_deref(), Some("well"));
}

#[test]
fn refused_conversation_is_archived() {
    let server = Server::start(Protocol::OpenAi, |request| match request.number {
        0 => Reply::text("hello"),
        _ => Reply::refused(400, "invalid_request_error", "messages[1] is odd"),
    });
    let home = home();
    let session = once(&home, input(&server, "remember the milk")).new_session_id.unwrap();
    let again = once(&home, with(input(&server, "and?"), "sessionId", json!(session)));
    assert_eq!(again.error_kind, Some(ErrorKind::SessionRefused), "{again:?}");
    let kept = fs::read_dir(home.path("group/conversations")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(kept).unwrap().contains("remember the milk"));
}
