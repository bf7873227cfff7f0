use std::collections::BTreeMap;

use parlor_protocol::AgentMay;

use super::*;

fn input(provider: &str) -> RunInput {
    RunInput { provider: Some(provider.into()), ..RunInput::default() }
}

fn only(set: &[&str], models: &[&str]) -> RunInput {
    let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    RunInput { agent_may: Some(AgentMay { set: own(set), models: own(models), notes: Vec::new() }), ..input("claude") }
}

const FULL: &str = "
provider = 'claude'
model = 'm-1'
system_prompt = 'Be kind.'
[tools]
allow = ['shell', 'files__*']
deny = ['files__remove']
[mcp.files]
command = 'python3'
args = ['files.py', '-v']
env = { API_KEY = 'own' }
[mcp.wiki]
url = 'https://wiki.example/mcp'
headers = { Authorization = 'Bearer own' }
[[hooks]]
event = 'PreToolUse'
matcher = 'shell|fetch'
command = './check.sh'
timeout = 5
[[hooks]]
event = 'Stop'
command = 'true'
[env]
LANG = 'C.UTF-8'
RETRIES = 3
[llm]
max_steps = 7
[claude]
effort = 'high'
";

#[test]
fn every_setting_of_agent_toml_is_read() {
    let mut found = AgentToml::parse(FULL, &input("llm"));
    assert_eq!(found.problems(), Vec::<String>::new());
    assert_eq!((found.model.as_deref(), found.system_prompt.as_deref()), (Some("m-1"), Some("Be kind.")));
    let tools = &found.tools;
    assert!(tools.allows("shell") && tools.allows("files__read") && !tools.allows("files__remove"));
    assert!(!tools.allows("fetch"));
    let own = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let program = Way::Program {
        command: "python3".into(),
        args: vec!["files.py".into(), "-v".into()],
        env: own("API_KEY", "own"),
    };
    assert_eq!(found.servers["files"].way, program);
    let address = Way::Address { url: "https://wiki.example/mcp".into(), headers: own("Authorization", "Bearer own") };
    assert_eq!(found.servers["wiki"].way, address);
    assert_eq!((found.hooks[0].timeout, found.hooks[1].timeout, found.hooks.len()), (5, 60, 2));
    assert_eq!(found.env["RETRIES"], "3");
    let mut keys = Vec::new();
    found.own(|key, _| {
        keys.push(key.to_owned());
        Ok(())
    });
    assert_eq!(keys, ["max_steps"]);
}

#[test]
fn wrong_entries_are_reported_and_the_rest_is_used() {
    let text = "modell = 'x'\nmodel = 'two words'\nsystem_prompt = 'x'\nmax_steps = 3\nhooks = 'x'\n[tools]\nban = []\n\
                [mcp.parlor]\ncommand = 'x'\n[mcp.a__b]\ncommand = 'x'\n[mcp.both]\ncommand = 'x'\nurl = 'http://x'\n\
                [mcp.leak]\nurl = 'https://x'\nheaders = { a = '${ANTHROPIC_API_KEY}' }\n[mcp.ftp]\nurl = 'ftp://x'\n\
                [mcp.good]\ncommand = 'x'\n";
    let found = AgentToml::parse(text, &input("claude"));
    assert_eq!(found.system_prompt.as_deref(), Some("x"));
    assert_eq!(found.servers.keys().collect::<Vec<_>>(), ["good"]);
    let told = found.problems().join("\n");
    for part in [
        "modell is left out: there is no such setting",
        "model is left out: it must be one word",
        "max_steps is left out: the provider claude does not know it",
        "a hook is left out: write each",
        "tools.ban is left out: there is no such list",
        "the agent has no tools",
        "mcp.parlor is left out: the name is taken",
        "mcp.a__b is left out",
        "mcp.both is left out: it needs either",
        "mcp.leak is left out: variables such as ${NAME}",
        "mcp.ftp is left out: url must begin",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(found.problems().len(), 11, "{told}");
    let broken = AgentToml::parse("model = ", &input("claude"));
    assert_eq!((broken.model, broken.problems.len()), (None, 1));
}

#[test]
fn faulty_part_never_widens_the_allowed_tools() {
    let fine = "[tools]\nallow = ['a', 'b']\ndeny = ['b']\n";
    assert!(AgentToml::parse(fine, &input("llm")).tools.allows("a"));
    for faulty in [
        "tools = 'a'",
        "[tools]\nallow = 'a'\ndeny = ['b']",
        "[tools]\nallow = ['a', 7]",
        "[tools]\nallow = ['-a']",
        "[tools]\nallow = ['a']\ndeny = 'b'",
        "[tools]\ndeny = ['b', ['c']]",
        "[tools]\ndenny = ['b']",
        "tools.allow = [",
        "[tools]\ndeny = ['b']\nmodel = ",
        "hooks = 'check.sh'",
        "[[hooks]]\nevent = 'PreToolUse'\ncommand = 'check.sh'\nmatcher = '('",
        "[[hooks]]\nevent = 'PreTool'\ncommand = 'check.sh'",
    ] {
        let found = AgentToml::parse(faulty, &input("llm"));
        for tool in ["a", "b", "c", "mcp__x"] {
            assert!(!found.tools.allows(tool), "{tool}: {faulty}");
        }
        let told = found.problems().join("\n");
        assert!(told.contains("the agent has no tools"), "{faulty}: {told}");
        // If the operator does not let the group set tools and hooks, faults in them do not matter either.
        let bounded = AgentToml::parse(faulty, &only(&["prompt"], &[]));
        assert!(bounded.tools.allows("a"), "{faulty}");
    }
    // Faults in other parts do not change the tools.
    let other = format!("model = 'two words'\n[env]\nPATH = 'x'\n{fine}");
    assert!(AgentToml::parse(&other, &input("llm")).tools.allows("a"));
}

#[test]
fn hooks_are_checked_one_by_one_and_limited_to_the_provider() {
    let text = "[[hooks]]\nevent = 'Never'\ncommand = 'x'\n[[hooks]]\nevent = 'Stop'\n[[hooks]]\nevent = 'Stop'\n\
                command = 'x'\nmatcher = '('\n[[hooks]]\nevent = 'Stop'\ncommand = 'x'\ntimeout = 0\n\
                [[hooks]]\nevent = 'SessionEnd'\ncommand = 'x'\n[[hooks]]\nevent = 'Stop'\ncommand = 'y'\nmatcher = '*'\n";
    let mut found = AgentToml::parse(text, &input("llm"));
    assert_eq!((found.hooks.len(), found.problems().len()), (2, 5), "{:?}", found.problems());
    found.keep_hooks("llm", &["Stop"]);
    assert_eq!(found.hooks.len(), 1);
    assert!(found.problems()[5].contains("no event SessionEnd; it has Stop"), "{:?}", found.problems());
}

#[test]
fn env_variables_that_could_redirect_a_key_are_reserved() {
    let reserved = [
        "PATH",
        "HOME",
        "LD_PRELOAD",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDECODE",
        "MY_API_KEY",
        "SOME_BASE_URL",
        "https_proxy",
        "HTTP_PROXY",
        "NODE_OPTIONS",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "IS_SANDBOX",
        "PARLOR_GROUP",
        "DISABLE_TELEMETRY",
        "OF_THE_OPERATOR",
        "1A",
        "A-B",
    ];
    let lines: Vec<String> = reserved.iter().map(|name| format!("\"{name}\" = 'x'")).collect();
    let lines = lines.join("\n");
    let mut input = input("claude");
    input.secrets.insert("OF_THE_OPERATOR".into(), "secret".into());
    let found = AgentToml::parse(&format!("[env]\nEDITOR = 'vi'\nNODE_ENV = 'test'\nTABLE = []\n{lines}"), &input);
    assert_eq!(found.env.keys().collect::<Vec<_>>(), ["EDITOR", "NODE_ENV"]);
    assert_eq!(found.problems().len(), reserved.len() + 1, "{:?}", found.problems());
}

#[test]
fn operators_limits_on_settings_are_applied() {
    let found = AgentToml::parse(FULL, &only(&["prompt"], &[]));
    assert_eq!(found.system_prompt.as_deref(), Some("Be kind."));
    let bare = AgentToml { system_prompt: found.system_prompt.clone(), ..AgentToml::default() };
    let rest = AgentToml { own: Table::new(), problems: Vec::new(), ..found.clone() };
    assert_eq!(rest, bare);
    assert_eq!(found.problems().len(), 6, "{:?}", found.problems());
    for (models, fine) in [(vec!["m-*"], true), (vec!["x", "m-1"], true), (vec!["m-12", "x*"], false)] {
        let input = only(&["model"], &models);
        let found = AgentToml::parse("model = 'm-1'", &input);
        assert_eq!((found.model.is_some(), found.problems().is_empty()), (fine, fine), "{models:?}");
    }
}

#[test]
fn model_of_the_operator_wins_and_the_installations_comes_last() {
    let found = AgentToml::parse("model = 'of-the-file'", &input("llm"));
    let mut input = RunInput { default_model: Some("of-the-house".into()), ..input("llm") };
    assert_eq!(found.model(&input), Some("of-the-file"));
    assert_eq!(AgentToml::default().model(&input), Some("of-the-house"));
    assert_eq!(AgentToml::default().chosen_model(&input), None);
    input.model = Some("of-the-operator".into());
    assert_eq!(found.model(&input), Some("of-the-operator"));
}

#[test]
fn unreadable_agent_toml_sets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    assert_eq!(load(&path), Ok(None));
    fs::write(&path, "a".repeat(FILE_LIMIT as usize + 1)).unwrap();
    assert!(load(&path).unwrap_err().contains("more than"));
    fs::write(&path, b"\xff").unwrap();
    assert!(load(&path).is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(load(&path).unwrap_err().contains("not a file"));
    fs::remove_dir(&path).unwrap();
    // Nobody writes into the pipe: opening it would block for ever.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(load(&path).unwrap_err().contains("not a file"));
}

#[test]
fn notices_reach_the_chat_once_until_the_problems_change() {
    let home = tempfile::tempdir().unwrap();
    let wrong = |text: &str| AgentToml::parse(text, &input("llm"));
    let told = |settings: &AgentToml| {
        let mut notices = Notices::new(settings, home.path());
        let mut result = Some("hi".to_owned());
        notices.add_to(&mut result);
        let first = result.take();
        notices.add_to(&mut result);
        assert_eq!(result, None, "only once in a run");
        first.unwrap()
    };
    assert!(told(&wrong("a = 1")).starts_with("hi\n\n(Not all of this group's settings"));
    assert_eq!(told(&wrong("a = 1")), "hi");
    assert!(told(&wrong("b = 1")).contains("b is left out"));
    assert_eq!(told(&wrong("")), "hi");
    assert!(told(&wrong("b = 1")).contains("b is left out"));
}

#[test]
fn deeply_nested_agent_toml_is_reported_or_ignored() {
    let deep = format!("x={}1{}", format!("{{{}a=", "a.".repeat(79)).repeat(80), "}".repeat(80));
    let found = AgentToml::parse(&deep, &RunInput::default());
    assert_eq!(found.problems().len(), 1, "{:?}", found.problems());
}

#[test]
fn providers_own_keys_are_refused_if_the_operator_sets_the_model() {
    let may = AgentMay { set: vec!["prompt".into()], models: Vec::new(), notes: Vec::new() };
    let input = RunInput { provider: Some("llm".into()), agent_may: Some(may), ..RunInput::default() };
    let mut found = AgentToml::parse("max_steps = 5\n[llm]\nprice = { input = 0, output = 0 }\n", &input);
    let told = found.problems().join("\n");
    assert!(told.contains("max_steps is left out: the operator") && told.contains("llm is left out: the op"), "{told}");
    found.own(|key, _| panic!("{key}"));
}
