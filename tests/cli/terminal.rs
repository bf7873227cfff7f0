//! Conversations in a real terminal.

use super::command;
use crate::harness::host::Host;
use crate::harness::terminal::{CTRL_C, CTRL_D, Terminal, UP};
use crate::harness::{SOON, eventually};

#[test]
fn a_conversation_shows_work_markdown_and_history_and_ends_as_people_end_it() {
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
    // What was typed before comes back with the arrow, also after what came in between.
    one.press(&format!("{UP}{UP}\r"));
    one.wait("echo: hello");

    // A second terminal: each sees what the agent says to the other.
    let mut two = Terminal::open(&command(&host, &["chat", "main"]));
    two.wait("› ");
    two.press("from two\r");
    two.wait("echo: from two");
    one.wait("echo: from two");

    // Half a line stays while an answer comes in above it.
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

    // One message from a terminal looks the same, and works in scripts.
    let mut once = Terminal::open(&command(&host, &["chat", "-m", "!sleep 300\n!say **thick**"]));
    once.wait("Andy works …");
    once.wait("slept 300");
    once.wait("\u{1b}[1mthick");
    assert!(once.ended().0.success());
    one.wait("thick");

    // The host goes and comes back; nobody has to begin anew.
    assert!(host.terminate().success());
    one.wait("The host is gone");
    host.start();
    one.wait("The host is back.");
    one.press("again\r");
    one.wait("echo: again");

    one.press(CTRL_C);
    one.wait("Ctrl-C again or Ctrl-D leaves");
    one.press(CTRL_C);
    let (status, _) = one.ended();
    assert!(status.success(), "{status}");
    two.wait("The host is back.");
    two.press(CTRL_D);
    assert!(two.ended().0.success());

    // The history outlives the conversations, with the lines of both.
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
fn a_window_that_is_closed_ends_the_host_inside_and_its_room() {
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
