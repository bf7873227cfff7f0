//! Conversations in a real terminal.

use super::command;
use crate::harness::host::Host;
use crate::harness::terminal::{CTRL_C, CTRL_D, Terminal, UP};
use crate::harness::{SOON, eventually};

#[test]
fn conversation_shows_progress_markdown_and_history() {
    let mut host = Host::builder().start();
    let mut one = Terminal::open(&command(&host, &["chat"]));
    one.wait("main · tty:main");
    one.wait("› ");
    one.press("hello\r");
    one.wait("Andy works …");
    one.wait("echo: hello");
    one.wait("› ");
    one.press("!say **bold** and `code`\r");
    one.wait("\u{1b}[1mbold");
    // An earlier line comes back with the arrow key, even after later output.
    one.press(&format!("{UP}{UP}\r"));
    one.wait("echo: hello");

    // A second terminal: each shows what the agent sends to the other.
    let mut two = Terminal::open(&command(&host, &["chat", "main"]));
    two.wait("› ");
    two.press("from two\r");
    two.wait("echo: from two");
    // The question is shown, too, with its author.
    one.wait("ann:\u{1b}[0m from two");
    one.wait("echo: from two");

    // A half-typed line stays while an answer is shown above it.
    two.press("half a li");
    two.wait("half a li");
    one.press("!say above\r");
    two.wait("above");
    two.wait("› half a li");
    two.press("ne\r");
    two.wait("echo: half a line");
    two.press("/help\r");
    two.wait("/stop");

    one.press("!error auth\r");
    one.wait("The turn failed:");

    // A single message looks the same in a terminal, and works in scripts.
    let mut once = Terminal::open(&command(&host, &["chat", "-m", "!sleep 300\n!say **thick**"]));
    once.wait("Andy works …");
    once.wait("slept 300");
    once.wait("\u{1b}[1mthick");
    assert!(once.ended().0.success());
    one.wait("thick");

    // The host ends and comes back; the conversation continues.
    assert!(host.terminate().success());
    one.wait("The host is gone");
    // Messages that are typed meanwhile are sent when the host is back.
    one.press("written meanwhile\rand this, too\r");
    one.wait("and this, too");
    host.start();
    one.wait("The host is back.");
    one.wait("echo: and this, too");
    two.wait("The host is back.");
    two.wait("ann:\u{1b}[0m written meanwhile");
    two.wait("ann:\u{1b}[0m and this, too");
    one.press("again\r");
    one.wait("echo: again");

    one.press(CTRL_C);
    one.wait("Ctrl-C again or Ctrl-D leaves");
    one.press(CTRL_C);
    let (status, _) = one.ended();
    assert!(status.success(), "{status}");
    two.press(CTRL_D);
    assert!(two.ended().0.success());

    // The history outlives the conversations, and has the lines of both.
    let mut three = Terminal::open(&command(&host, &["chat"]));
    three.wait("› ");
    three.press(&UP.repeat(4));
    three.wait("again");
    three.press("\r");
    three.wait("echo: again");
    three.press("/quit\r");
    assert!(three.ended().0.success());
}

#[test]
fn closed_window_ends_the_host_inside_and_its_room() {
    let host = Host::builder().prepare();
    let mut window = Terminal::open(&command(&host, &["up", "--console"]));
    window.wait("› ");
    window.press("!say in a room\r");
    window.wait("in a room");
    window.wait("in a room");
    eventually("the room", SOON, || (host.containers().len() == 1).then_some(()));
    window.close();
    host.wait_no_containers();
}

#[test]
fn files_are_attached_in_a_conversation() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    // In the person's home, and with a space in its name.
    let home = host.config_dir().ancestors().nth(2).unwrap().to_owned();
    std::fs::write(home.join("my file.txt"), "text").unwrap();
    let mut chat = Terminal::open(&command(&host, &["chat"]));
    chat.wait("› ");
    chat.press("/attach ~/my file.txt\r");
    chat.wait("-my_file.txt (4 bytes)]");
    chat.press("/attach \"~/my file.txt\" and a word\r");
    chat.wait("echo: and a word");
    chat.press("/attach nowhere.txt see this\r");
    chat.wait("Not sent: nowhere.txt cannot be attached");
    chat.press("/attach\r");
    chat.wait("Not sent: /attach needs a file");
    chat.press(CTRL_D);
    assert!(chat.ended().0.success());
    assert_eq!(std::fs::read_dir(host.root().join("groups/main/attachments")).unwrap().count(), 2);
}

#[test]
fn pasted_lines_are_all_sent() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let mut events = host.events();
    let mut chat = Terminal::open(&command(&host, &["chat"]));
    chat.wait("› ");
    chat.press("aaa\rbbb\rccc\r");
    for text in ["aaa", "bbb", "ccc"] {
        events.wait(text, SOON, |e| e.name == "message_in" && e.text() == text);
    }
    // Wide characters, with the cursor among them while something is shown above.
    chat.press("家族の");
    chat.press("\u{1b}[D");
    chat.wait("の");
    let seq = host.send("tty:main", "!say above **all**");
    events.turn_done("tty:main", seq, SOON);
    chat.wait("above \u{1b}[1mall\u{1b}[0m\r\r\n› 家族の\r\u{1b}[6C");
    chat.press("グ\r");
    events.wait("the line", SOON, |e| e.name == "message_in" && e.text() == "家族グの");
    chat.press(CTRL_D);
    assert!(chat.ended().0.success());
}

#[test]
fn markdown_loses_no_text_and_leaves_code_unchanged() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let long = "x".repeat(100);
    let text = format!("!say rm *.tmp ; 2*3*4 ; 0 9 * * 1-5\n```sh\n{long} end\n\n  two\n```\n- a\n  - b\n    - c\n");
    let mut once = Terminal::open(&command(&host, &["chat", "-m", &text]));
    once.wait("rm *.tmp ; 2*3*4 ; 0 9 * * 1-5\r\n");
    once.wait(&format!("{long} end\u{1b}[0m\r\n\r\n\u{1b}[36m  two\u{1b}[0m\r\n- a\r\n  - b\r\n    - c\r\n"));
    assert!(once.ended().0.success());
}

#[test]
fn dumb_terminal_gets_no_escape_sequences() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let open = || Terminal::open(command(&host, &["chat"]).env("TERM", "dumb"));
    let mut chat = open();
    chat.wait("› ");
    assert!(chat.echoes());
    chat.press("hello\r");
    chat.wait("hello\r\n");
    chat.wait("echo: hello");
    chat.press("!say **bold**\r");
    chat.wait("\n**bold**");
    chat.press("/help\r");
    chat.wait("/stop");
    chat.press(CTRL_D);
    let (status, shown) = chat.ended();
    assert!(status.success() && !shown.contains('\u{1b}'), "{status} {shown:?}");
    let mut chat = open();
    chat.wait("› ");
    chat.press(CTRL_C);
    assert_eq!(chat.ended().0.code(), Some(130));
}

#[test]
fn chat_says_that_it_runs_the_host() {
    let host = Host::builder().prepare();
    let mut first = Terminal::open(&command(&host, &["chat"]));
    first.wait("This chat runs the host");
    first.wait("› ");
    let mut second = Terminal::open(&command(&host, &["chat"]));
    second.wait("main · tty:main");
    second.wait("› ");
    assert!(!second.shown.contains("runs the host"), "{}", second.shown);
    first.press(CTRL_D);
    assert!(first.ended().0.success());
    second.wait("The host is gone");
    second.press("nobody hears this\r");
    second.wait("nobody hears this");
    second.press(CTRL_D);
    second.wait("Not sent: nobody hears this");
    assert!(second.ended().0.success());
}
