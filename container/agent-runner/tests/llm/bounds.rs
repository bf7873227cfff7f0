//! Turns and conversations that would become too long.

use super::*;

#[test]
fn older_turns_are_summarised_and_archived() {
    let server = Server::start(Protocol::Anthropic, |request| {
        if request.system().starts_with("You condense the record") {
            return Reply::text("Ann told long stories.");
        }
        Reply::text(format!("answer {}", request.messages("user").len()))
    });
    let home = home();
    settings(&home, "context_tokens = 12000\n");
    let story = |n: usize| format!("story {n} {}", "lorem ipsum ".repeat(700));
    let mut agent = start(&home, input(&server, &story(0)));
    agent.reply();
    for n in 1..8 {
        home.follow_up(&format!("{n:04}.json"), &story(n));
        agent.reply();
    }
    home.close();
    assert!(agent.end().success());
    let last = server.newest();
    let texts = last.messages("user");
    assert!(texts[0].contains("Ann told long stories.") && texts.last().unwrap().contains("story 7"), "{texts:?}");
    assert!(texts.len() < 6, "{}", texts.len());
    assert!(server.requests().iter().all(|request| request.body.to_string().len() < 80_000));
    let archive = fs::read_dir(home.path("group/conversations")).unwrap().next().unwrap().unwrap().path();
    let archive = fs::read_to_string(archive).unwrap();
    assert!(archive.contains(&story(0)) && archive.contains(&story(1)));
}

#[test]
fn conversation_that_the_vendor_finds_too_long_is_shortened() {
    let server = Server::start(Protocol::OpenAi, |request| match request.number {
        0 => Reply::text("hello"),
        1 => Reply::refused(400, "context_length_exceeded", "maximum context length is 10 tokens"),
        2 => Reply::text("a summary"),
        _ => Reply::text("short enough"),
    });
    let home = home();
    let mut agent = start(&home, input(&server, &"long ".repeat(2000)));
    assert_eq!(agent.reply(), "hello");
    home.follow_up("1.json", "go on");
    assert_eq!(agent.reply(), "short enough");
    home.close();
    assert!(agent.end().success());
    assert!(server.newest().messages("user")[0].contains("a summary"));
}

#[test]
fn pictures_of_a_request_are_limited_in_bytes() {
    let server = Server::start(Protocol::Anthropic, |_| Reply::text("seen"));
    let home = home();
    let names: Vec<String> = (1..=5).map(|n| format!("{n}.png")).collect();
    let head = |n: usize| format!("picture {n} of 5.");
    for (n, name) in (1..).zip(&names) {
        let bytes = [head(n).as_bytes(), &vec![0; 3_750_000 - 15]].concat();
        fs::write(home.path("group").join(name), bytes).unwrap();
    }
    let image = |name: &String| json!({"relativePath": name, "mediaType": "image/png"});
    let images: Vec<Value> = names[..4].iter().map(image).collect();
    let mut agent = start(&home, with(input(&server, "four"), "imageAttachments", json!(images)));
    assert_eq!(agent.reply(), "seen");
    home.follow_up_with("1.json", "one more", &[&names[4]]);
    assert_eq!(agent.reply(), "seen");
    home.close();
    assert!(agent.end().success());
    let shown = |request: &Request| {
        let body = request.body.to_string();
        (1..=5).filter(|n| body.contains(&STANDARD.encode(head(*n)))).collect::<Vec<usize>>()
    };
    let requests = server.requests();
    assert_eq!((shown(&requests[0]), shown(&requests[1])), (vec![1, 2, 3, 4], vec![2, 3, 4, 5]));
    let second = requests[1].body.to_string();
    assert!(second.len() < 20_500_000 && second.contains("[The picture 1.png is not shown.]"), "{}", second.len());
}

#[test]
fn request_that_is_too_large_loses_pictures_before_it_is_summarised() {
    for protocol in BOTH {
        let server = Server::start(protocol, |request| {
            if request.body.to_string().contains(&STANDARD.encode(b"\x89PNG one")) {
                return Reply::refused(413, "request_too_large", "Request exceeds the maximum size");
            }
            Reply::text("small enough")
        });
        let home = home();
        fs::write(home.path("group/1.png"), b"\x89PNG one").unwrap();
        let mut agent = start(&home, input(&server, &"long ".repeat(2000)));
        assert_eq!(agent.reply(), "small enough");
        home.follow_up_with("1.json", "look", &["1.png"]);
        assert_eq!(agent.reply(), "small enough");
        home.close();
        assert!(agent.end().success());
        assert_eq!(server.requests().len(), 3, "nobody was asked for a summary");
        let asked = server.newest().messages("user");
        assert!(asked[0].contains("long long") && asked[1].contains("[The picture 1.png is not shown.]"), "{asked:?}");
        assert!(!home.path("group/conversations").exists());
    }
}

#[test]
fn turn_ends_even_if_the_model_never_stops_calling_tools() {
    for protocol in BOTH {
        // It obeys the tool choice, as vendors do.
        let server = Server::start(protocol, |request| match &request.body["tool_choice"] {
            Value::Null => Reply::Calls("on it".into(), vec![("list_files".into(), json!({}))]),
            choice => Reply::text(format!("half is done ({})", choice["type"].as_str().or(choice.as_str()).unwrap())),
        });
        let home = home();
        settings(&home, "max_steps = 3\n");
        let mut agent = start(&home, input(&server, "go round in circles"));
        let said =
            "half is done (none)\n\n(I had to stop after 3 steps, the most of one turn. Write again, and I go on.)";
        assert_eq!(agent.reply(), said);
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert!(requests[2].last().contains("used up the steps"));
        assert!(!requests[2].tools().is_empty(), "the conversation speaks of them");
        home.follow_up("1.json", "and now?");
        assert_eq!(agent.reply(), said);
        assert!(server.requests()[3].body["tool_choice"].is_null(), "a new turn has its own steps");
        home.close();
        assert!(agent.end().success());
    }
}

#[test]
fn turn_ends_even_if_the_model_ignores_the_tool_choice() {
    let server =
        Server::saying(Protocol::Anthropic, vec![Reply::Calls("on it".into(), vec![("list_files".into(), json!({}))])]);
    let home = home();
    settings(&home, "max_steps = 2\n");
    let mut agent = start(&home, input(&server, "go round in circles"));
    let said = agent.reply();
    assert!(said.starts_with("on it\n\n(I had to stop after 2 steps"), "{said}");
    assert_eq!(server.requests().len(), 2);
    home.follow_up("1.json", "and now?");
    agent.reply();
    assert!(server.requests()[2].body.to_string().contains("Interrupted: "), "the last call has an answer");
    home.close();
    assert!(agent.end().success());
}
