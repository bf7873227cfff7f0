use super::*;

#[test]
fn odd_keys_give_a_warning_and_are_not_refused() {
    assert_eq!(oddity("ANTHROPIC_API_KEY", "sk-ant-api03-0123456789abcdef"), None);
    assert_eq!(oddity("GEMINI_API_KEY", "AIzaSy0123456789abcdefg"), None);
    let why = |key, value| oddity(key, value).unwrap();
    assert!(why("ANTHROPIC_API_KEY", "sk-ant-oat01-0123456789").contains("setup-token"));
    assert!(why("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-api03-01234567").contains("key of Anthropic"));
    assert!(why("OPENAI_API_KEY", "sk-1").contains("shorter"));
    assert!(why("GEMINI_API_KEY", "AIzaSy/0123456789abcdefgé").contains("characters"));
}

#[test]
fn server_addresses_determine_their_setting() {
    assert_eq!(server("box"), Ok(("OLLAMA_HOST", "box".into())));
    assert_eq!(server("http://box:11434/"), Ok(("OLLAMA_HOST", "http://box:11434".into())));
    assert_eq!(server(" https://box/v1/ "), Ok(("OPENAI_BASE_URL", "https://box/v1".into())));
    for wrong in ["ftp://box", "a b", "http://"] {
        assert!(server(wrong).is_err(), "{wrong}");
    }
    assert!(is_loopback("http://localhost:1/v1") && is_loopback("127.0.0.1:11434") && !is_loopback("http://box"));
}

#[test]
fn keys_that_come_first_are_rivals() {
    let env: BTreeMap<String, String> =
        [("ANTHROPIC_API_KEY", "k"), ("OPENAI_BASE_URL", "u"), ("OPENAI_API_KEY", "k"), ("TZ", "UTC")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    assert_eq!(rivals(Choice::OpenAi, "OPENAI_API_KEY", &env), ["ANTHROPIC_API_KEY"]);
    assert_eq!(
        rivals(Choice::Gemini, "GEMINI_API_KEY", &env),
        ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"]
    );
    assert_eq!(rivals(Choice::ClaudeToken, "CLAUDE_CODE_OAUTH_TOKEN", &env), ["ANTHROPIC_API_KEY"]);
    assert_eq!(rivals(Choice::Claude, "ANTHROPIC_API_KEY", &env), Vec::<&str>::new());
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(SecretString::from))).collect()
}

#[test]
fn vendors_have_their_key_and_addresses_that_agents_read() {
    for choice in ALL {
        assert_eq!(choice.vendor().is_some(), choice.key().is_some(), "{choice:?}");
    }
    let of = |choice: Choice| choice.vendor().unwrap().addresses;
    assert_eq!((of(Choice::OpenAi), of(Choice::Codex)), (&["OPENAI_BASE_URL"][..], &["OPENAI_BASE_URL"][..]));
    assert_eq!((of(Choice::Claude), of(Choice::ClaudeToken)), (&["ANTHROPIC_BASE_URL"][..], of(Choice::Claude)));
    assert_eq!(of(Choice::Gemini), ["GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"]);
    assert_eq!(of(Choice::GeminiCli), of(Choice::Gemini));
    let known = crate::config::secrets::DEFAULT_KEYS;
    let addresses = known.iter().filter(|key| key.ends_with("_BASE_URL")).count();
    assert_eq!(VENDORS.iter().map(|vendor| vendor.addresses.len()).sum::<usize>(), addresses);
    assert!(
        VENDORS.iter().flat_map(|vendor| vendor.keys.iter().chain(vendor.addresses)).all(|key| known.contains(key))
    );
}

#[test]
fn vendor_key_that_would_go_to_an_own_server_is_a_stray() {
    let real = env(&[("OPENAI_API_KEY", "real"), ("CODEX_API_KEY", "real, too"), ("GEMINI_API_KEY", "g")]);
    let url = ("OPENAI_BASE_URL", Some("http://ann:pw@box/v1"));
    let both = [("OPENAI_API_KEY", "http://…@box/v1".to_owned()), ("CODEX_API_KEY", "http://…@box/v1".to_owned())];
    assert_eq!(strays("OPENAI_BASE_URL", &real, &changes(&[url])), both);
    // A key given for the server, or removed, is no stray.
    let given = changes(&[url, ("OPENAI_API_KEY", Some("its own")), ("CODEX_API_KEY", None)]);
    assert_eq!(strays("OPENAI_BASE_URL", &real, &given), []);
    // The same address again, with the answer that it needs no key.
    let old = env(&[("OPENAI_BASE_URL", "http://box/v1"), ("OPENAI_API_KEY", "k"), ("CODEX_API_KEY", "k")]);
    let same = changes(&[("OPENAI_BASE_URL", Some("http://box/v1"))]);
    assert_eq!(strays("OPENAI_BASE_URL", &old, &same), [("OPENAI_API_KEY", "http://box/v1".to_owned())]);
}

#[test]
fn own_servers_key_that_would_go_to_the_vendor_is_a_stray() {
    let old = env(&[
        ("ANTHROPIC_BASE_URL", "http://a"),
        ("ANTHROPIC_AUTH_TOKEN", "t"),
        ("OPENAI_BASE_URL", "http://o/v1"),
        ("OPENAI_API_KEY", "k"),
        ("GEMINI_BASE_URL", ""),
        ("GOOGLE_GEMINI_BASE_URL", "http://g"),
        ("GOOGLE_API_KEY", "k"),
    ]);
    let strays = |own: &str, gone: &str| strays(own, &old, &changes(&[(gone, None)]));
    assert_eq!(strays("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"), [("ANTHROPIC_AUTH_TOKEN", "Anthropic".into())]);
    assert_eq!(strays("OLLAMA_HOST", "OPENAI_BASE_URL"), [("OPENAI_API_KEY", "OpenAI".into())]);
    assert_eq!(strays("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"), [("GOOGLE_API_KEY", "Google".into())]);
    // A key that the person kept knowingly, or that did not change.
    assert_eq!(strays("OPENAI_API_KEY", "OPENAI_BASE_URL"), []);
    assert_eq!(strays("OPENAI_API_KEY", "TZ"), []);
}

#[test]
fn addresses_are_shown_without_logins() {
    assert_eq!(place("http://box/v1"), "http://box/v1");
    assert_eq!(place("https://ann:p@ss/w@box/v1"), "https://…@box/v1");
    assert_eq!(place("ann:pw@box"), "…@box");
}

#[test]
fn menu_answer_may_be_a_number_or_a_name() {
    let offered = Choice::offered();
    for (answer, choice) in [
        ("1", Choice::Guide),
        ("guide", Choice::Guide),
        ("Claude", Choice::Claude),
        (" ollama ", Choice::Server),
        ("codex", Choice::Codex),
        ("nothing", Choice::Skip),
        ("subscr", Choice::ClaudeToken),
    ] {
        assert_eq!(meant(&offered, answer).as_ref(), Ok(&choice), "{answer}");
    }
    for answer in ["0", "99", "key", "with", "x", "oracle", "-1"] {
        let why = meant(&offered, answer).unwrap_err();
        assert!(why.contains("number"), "{answer}: {why}");
    }
}

#[test]
fn setup_offers_only_existing_agents() {
    let offered = Choice::offered();
    assert_eq!(offered[0], Choice::Guide);
    assert_eq!(offered.contains(&Choice::Codex), provider::parse("codex").is_ok());
    assert_eq!(offered.last(), Some(&Choice::Skip));
}
