//! The choice of a provider: at the first start in a terminal, and with `parlor setup`. The keys are for a stand-in
//! of a vendor's server; the check runs the real agent in a real room.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::eventually;
use crate::harness::host::Host;
use crate::harness::models::{KEY, Protocol, Reply, Server};
use crate::harness::terminal::{CTRL_C, CTRL_D, Terminal};
use crate::harness::{SOON, claude, vendor};

const QUESTION: &str = "Who is to answer in your groups?";
const ASKED: &str = "Enter takes 1: ";

/// Returns a command as somebody types it on a machine without any settings.
fn command(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command();
    command.args(words).env("USER", "ann").env_remove("PARLOR_PROVIDER");
    command
}

fn env_file(host: &Host) -> PathBuf {
    host.root().join(".env")
}

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Selects the line of the menu with this label.
fn choose(terminal: &mut Terminal, label: &str) {
    let menu = terminal.wait(label);
    let line = menu.lines().last().unwrap();
    let number: String = line.chars().filter(char::is_ascii_digit).collect();
    terminal.wait(ASKED);
    terminal.press(&format!("{number}\r"));
}

/// Types a key after the terminal has stopped echoing.
fn type_key(terminal: &mut Terminal, question: &str, key: &str) {
    terminal.wait(question);
    eventually("the key is not shown", SOON, || (!terminal.echoes()).then_some(()));
    terminal.press(key);
}

/// Keeps an address that is in `.env`.
fn stays(terminal: &mut Terminal, address: &str) {
    terminal.wait(&format!("There is {address} in .env"));
    terminal.wait("[Y/n] ");
    terminal.press("n\r");
    terminal.wait("It stays");
}

#[test]
fn setup_takes_the_guide_on_enter_and_does_not_ask_again() {
    let host = Host::builder().prepare();
    let mut terminal = Terminal::open(&command(&host, &["chat"]));
    terminal.wait(ASKED);
    terminal.press("x\r");
    terminal.wait("a number from 1 to");
    terminal.wait(ASKED);
    terminal.press("\r");
    terminal.wait("The guide answers.");
    // Typed before a prompt appears: it goes to the chat unchanged.
    terminal.press("hello\r");
    terminal.wait("Parlor's guide");
    terminal.press(CTRL_D);
    assert!(terminal.ended().0.success());
    assert!(!env_file(&host).exists(), "there was nothing to write");

    let mut again = Terminal::open(&command(&host, &["chat"]));
    assert!(!again.wait("› ").contains(QUESTION));
    again.press(CTRL_D);
    assert!(again.ended().0.success());
}

#[test]
fn setup_checks_and_keeps_an_own_server() {
    let server = Server::saying(Protocol::OpenAi, vec![Reply::text("yes, I am here")]);
    let host = Host::builder().prepare();
    let mut chat = command(&host, &["chat"]);
    chat.env("NO_COLOR", "1");
    let mut terminal = Terminal::open_wide(&chat, 40);
    choose(&mut terminal, "a model server");
    terminal.wait("Address (Enter skips): ");
    terminal.press("ftp://nowhere\r");
    terminal.wait("That is no address");
    terminal.wait("Address (Enter skips): ");
    // Nobody listens on this address.
    let (host_part, _) =
        server.outside().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    terminal.press(&format!("{host_part}:9/v1\r"));
    terminal.wait("Its key");
    terminal.press("\r");
    let why = terminal.wait("Type it again");
    assert!(why.contains("cannot be reached") && server.requests().is_empty(), "{why}");
    terminal.press("\r");
    terminal.wait("Address (Enter skips): ");
    terminal.press(&format!("{}/v1/\r", server.outside()));
    // The key as it may be pasted: with spaces, and broken into two lines.
    let (one, two) = KEY.split_at(10);
    type_key(&mut terminal, "Its key", &format!("  {one}\r{two}\r\r"));
    let said = terminal.wait("It works");
    assert!(said.contains("Checking"), "{said}");
    terminal.wait("› ");
    let asked = &terminal.shown[..terminal.shown.find("`parlor setup` changes it").unwrap()];
    // The typed text and a path are as long as they are.
    let own = asked.lines().filter(|line| !line.contains(&host_part) && !line.contains("/.env"));
    assert!(own.clone().count() > 20 && own.clone().all(|line| line.trim_end().chars().count() <= 40), "{asked}");
    assert!(!asked.contains('\u{1b}'), "no colours");
    assert_eq!(server.requests().len(), 1, "one request is what a check costs");
    terminal.press("anybody?\r");
    terminal.wait("yes, I am here");
    terminal.press(CTRL_D);
    let (status, shown) = terminal.ended();
    assert!(status.success() && !shown.contains(one), "{shown}");
    let text = fs::read_to_string(env_file(&host)).unwrap();
    assert_eq!(text, format!("OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL={}/v1\n", server.outside()));
    assert_eq!(mode(&env_file(&host)), 0o600);
}

#[test]
fn setup_reports_a_wrong_key_and_keeps_all_other_lines() {
    let broke = Reply::refused(429, "insufficient_quota", "You exceeded your current quota");
    let server = Server::saying(Protocol::OpenAi, vec![broke, Reply::text("yes")]);
    let lines = format!("# mine\nOPENAI_BASE_URL={}/v1\nTZ=\"UTC\"\n", server.outside());
    let host = Host::builder().dot_env(&format!("ANTHROPIC_API_KEY=sk-ant-of-old\n{lines}")).prepare();
    // A key or an address in `.env` is already an answer: the first start does not ask.
    let mut first = Terminal::open(&command(&host, &["chat"]));
    assert!(!first.wait("› ").contains(QUESTION));
    first.press(CTRL_D);
    assert!(first.ended().0.success());

    let mut terminal = Terminal::open(&command(&host, &["setup"]));
    choose(&mut terminal, "OpenAI's models");
    stays(&mut terminal, "OPENAI_BASE_URL");
    type_key(&mut terminal, "OPENAI_API_KEY (", "nonsense\r");
    terminal.wait("usually begin with sk-");
    terminal.press("\r");
    terminal.wait("There is ANTHROPIC_API_KEY in .env, too");
    terminal.wait("[y/N] ");
    terminal.press("y\r");
    let why = terminal.wait("Type it again");
    assert!(why.contains("That did not work:") && why.contains("401"), "{why}");
    terminal.press("a\r");
    // Earlier answers do not count.
    stays(&mut terminal, "OPENAI_BASE_URL");
    type_key(&mut terminal, "OPENAI_API_KEY (", &format!("{KEY}\r"));
    terminal.wait("There is ANTHROPIC_API_KEY in .env, too");
    terminal.wait("[y/N] ");
    terminal.press("y\r");
    // The key is right, but the account is empty: the key is still kept.
    let why = terminal.wait("Type it again");
    assert!(why.contains("You exceeded your current quota"), "{why}");
    terminal.press("k\r");
    let (status, shown) = terminal.ended();
    assert!(status.success() && !shown.contains(KEY) && !shown.contains("nonsense"), "{shown}");
    let expected = format!("{lines}OPENAI_API_KEY={KEY}\n");
    assert_eq!(fs::read_to_string(env_file(&host)).unwrap(), expected);
    assert_eq!(mode(&env_file(&host)), 0o600);

    // Again: existing values are kept unless the user says no. Then the guide, which needs its own line now.
    let mut terminal = Terminal::open(&command(&host, &["setup"]));
    choose(&mut terminal, "OpenAI's models");
    stays(&mut terminal, "OPENAI_BASE_URL");
    terminal.wait("Keep it? [Y/n] ");
    terminal.press("\r");
    terminal.wait("It works: llm answered after");
    terminal.wait("Nothing was changed.");
    assert!(terminal.ended().0.success());
    let mut terminal = Terminal::open(&command(&host, &["setup"]));
    choose(&mut terminal, "the guide");
    terminal.wait("The guide answers.");
    assert!(terminal.ended().0.success());
    assert_eq!(fs::read_to_string(env_file(&host)).unwrap(), format!("{expected}PARLOR_PROVIDER=guide\n"));
    host.wait_no_containers();
}

#[test]
fn setup_sends_a_key_only_to_its_own_server() {
    // The server accepts one key: a request succeeds only if that key was sent.
    let server = Server::saying(Protocol::OpenAi, vec![Reply::text("yes")]);
    let address = format!("{}/v1", server.outside());
    let nobody = format!("{}:9/v1", server.outside().rsplit_once(':').unwrap().0);
    let text = format!("TZ=UTC\nOPENAI_API_KEY={KEY}\n");
    let host = Host::builder().dot_env(&text).prepare();
    let mut terminal = Terminal::open(&command(&host, &["setup"]));
    choose(&mut terminal, "a model server");
    // First a server with a key, then one without.
    terminal.wait("Address (Enter skips): ");
    terminal.press(&format!("{nobody}\r"));
    type_key(&mut terminal, "Its key", &format!("{KEY}\r"));
    terminal.wait("Type it again");
    terminal.press("a\r");
    terminal.wait("Address (Enter skips): ");
    terminal.press(&format!("{address}\r"));
    terminal.wait("Its key");
    terminal.press("\r");
    terminal.wait("There is OPENAI_API_KEY in .env");
    terminal.wait("[Y/n] ");
    terminal.press("\r");
    let why = terminal.wait("Type it again");
    assert!(why.contains("401") && server.requests().is_empty(), "{why}");
    terminal.press("k\r");
    terminal.wait("Taken out of");
    assert!(terminal.ended().0.success());
    let kept = format!("TZ=UTC\nOPENAI_BASE_URL={address}\n");
    assert_eq!(fs::read_to_string(env_file(&host)).unwrap(), kept);

    // A key for the vendor beside an old address: the address is asked about first. Without a key everything is kept.
    let mut terminal = Terminal::open(&command(&host, &["setup"]));
    choose(&mut terminal, "OpenAI's models");
    terminal.wait("There is OPENAI_BASE_URL in .env");
    terminal.wait("[Y/n] ");
    terminal.press("\r");
    type_key(&mut terminal, "OPENAI_API_KEY (", "\r");
    terminal.wait("Nothing was changed.");
    assert!(terminal.ended().0.success());
    assert_eq!(fs::read_to_string(env_file(&host)).unwrap(), kept);
}

#[test]
fn setup_changes_nothing_on_ctrl_c() {
    let host = Host::builder().prepare();
    for _ in 0..2 {
        let mut terminal = Terminal::open(&command(&host, &["up"]));
        choose(&mut terminal, "Claude, with an API key");
        type_key(&mut terminal, "ANTHROPIC_API_KEY (", "sk-ant-half");
        terminal.press(CTRL_C);
        terminal.wait("interrupted; nothing was changed");
        eventually("the terminal is as it was", SOON, || terminal.echoes().then_some(()));
        let (status, shown) = terminal.ended();
        assert_eq!((status.code(), shown.contains("sk-ant-half")), (Some(1), false));
        assert!(!env_file(&host).exists(), "and the next start asks again");
    }
    // A user who has declined is not asked again.
    let mut terminal = Terminal::open(&command(&host, &["chat"]));
    choose(&mut terminal, "do not ask again");
    terminal.wait("› ");
    terminal.press(CTRL_D);
    assert!(terminal.ended().0.success());
    assert!(host.root().join("data/setup-asked").exists() && !env_file(&host).exists());
}

#[test]
fn setup_asks_only_in_a_terminal_without_a_provider() {
    let pairs = [("YES", "1"), ("PARLOR_PROVIDER", "auto"), ("GEMINI_API_KEY", "in-the-environment")];
    for (key, value) in pairs {
        let host = Host::builder().prepare();
        let mut chat = command(&host, &["chat"]);
        let mut terminal = Terminal::open(chat.env(key, value));
        let shown = terminal.wait("› ");
        assert!(!shown.contains(QUESTION), "{key}: {shown}");
        terminal.press(CTRL_D);
        assert!(terminal.ended().0.success());
    }
    let host = Host::builder().prepare();
    let output = command(&host, &["setup"]).stdin(std::process::Stdio::null()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && why.contains("ANTHROPIC_API_KEY="), "{why}");
    assert!(!host.root().join("data/setup-asked").exists(), "nobody was asked");
}

#[test]
fn setup_keeps_a_token_even_if_the_image_cannot_be_built() {
    let host = Host::builder().prepare();
    // A stand-in for the vendor's program on this machine: the real one opens a browser.
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("claude");
    fs::write(&program, "#!/bin/sh\necho \"the stand-in logs in: $*\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut setup = command(&host, &["setup"]);
    setup.env("PATH", path).env("PARLOR_IMAGE_BASE", "parlor-test-no-such-base:1");
    for answer in ["y", "n"] {
        let mut terminal = Terminal::open(&setup);
        choose(&mut terminal, "Claude Code, with a subscription");
        if answer == "n" {
            terminal.wait("Keep it? [Y/n] ");
            terminal.press("n\r");
        }
        terminal.wait("Run `claude setup-token` now? [Y/n] ");
        terminal.press("\r");
        terminal.wait("the stand-in logs in: setup-token");
        type_key(&mut terminal, "CLAUDE_CODE_OAUTH_TOKEN (", &format!("sk-ant-oat01-0123456789abcdef-{answer}\r"));
        terminal.wait("It needs the image with Claude Code 2.1.329: about 350 MB");
        terminal.wait("Make it now? [Y/n] ");
        terminal.press(&format!("{answer}\r"));
        terminal.wait(if answer == "y" { "The image was not made: " } else { "until then the guide answers" });
        terminal.wait("holds CLAUDE_CODE_OAUTH_TOKEN now");
        assert!(terminal.ended().0.success());
        let text = fs::read_to_string(env_file(&host)).unwrap();
        assert_eq!(text, format!("CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-0123456789abcdef-{answer}\n"));
    }
}

#[test]
fn setup_checks_a_subscriptions_token_with_claude_code() {
    let vendor = vendor::Vendor::start(|_| vendor::Answer::Say("yes".into()));
    let address = vendor.dot_env().lines().find(|line| line.starts_with("ANTHROPIC_BASE_URL=")).unwrap().to_owned();
    let host = claude::builder(&format!("{address}\n")).prepare();
    claude::build(&host);
    let mut setup = claude::parlor(&host, &["setup"]);
    // No program `claude` on this machine: nobody can log in here.
    setup.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin").env_remove("PARLOR_PROVIDER");
    let mut terminal = Terminal::open(&setup);
    choose(&mut terminal, "Claude Code, with a subscription");
    stays(&mut terminal, "ANTHROPIC_BASE_URL");
    terminal.wait("claude setup-token");
    type_key(&mut terminal, "CLAUDE_CODE_OAUTH_TOKEN (", "sk-ant-oat01-0123456789abcdef\r");
    let said = terminal.wait("claude answered after");
    assert!(!said.contains("It needs the image"), "it is there: {said}");
    assert!(terminal.ended().0.success());
    let text = fs::read_to_string(env_file(&host)).unwrap();
    assert_eq!(text, format!("{address}\nCLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-0123456789abcdef\n"));
}
