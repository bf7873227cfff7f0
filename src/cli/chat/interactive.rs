//! A conversation on the terminal: a line editor in its own thread, and incoming texts printed above its prompt.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::sync::mpsc;

use super::super::client::{Client, ClientError, EventStream};
use super::super::output::{harmless, is_dumb, tell};
use super::super::{Done, Failure};
use super::prompt::Prompt;
use super::screen::Screen;
use super::{COMMANDS, Room, Sent, attach, plain, window};
use crate::domain::message::Role;

const PROMPT: &str = "› ";
/// The largest number of lines in the history.
const HISTORY: usize = 10_000;
/// The interval of attempts to reach a lost host.
const RETRY: Duration = Duration::from_secs(1);

const HELP: &str = "\
/attach PATH [TEXT]
         send a file, with a text if there is one; a path with spaces in quotes
/help    show this
/quit    leave; so do Ctrl-D, and Ctrl-C twice
Everything else goes to the agent. Several lines can be pasted at once.";

/// Runs the conversation until the person leaves. `host`: this process is the host.
pub(super) async fn run(client: &Client, room: &Room, host: bool) -> Done {
    let events = client.events(None, Some(&room.jid)).await?;
    let simple = is_dumb() || !io::stdout().is_terminal();
    let prompt = Prompt::new(PROMPT, simple);
    let editor = if simple { None } else { Some(editor(&prompt)?) };
    let screen = Screen::new(prompt.clone(), room);
    screen.aside(&format!("{} · {} · /help shows commands", harmless(&room.name), harmless(&room.jid)));
    if host {
        screen.aside("This chat runs the host: it ends for all others when you leave.");
    }
    screen.print("");

    let (lines, typed) = mpsc::unbounded_channel();
    let _keys = editor.is_some().then(Keys::hold);
    // The line editor blocks. Its thread ends with the terminal, at the latest with the process.
    std::thread::Builder::new().spawn(move || match editor {
        Some(editor) => edit(editor, &prompt, &lines),
        None => plain::read(&prompt, &lines),
    })?;
    // With this cursor, nothing is lost even if the host ends before its first event.
    let cursor = events.cursor().map(str::to_owned);
    Talk { client, room, screen, typed, cursor, unsent: VecDeque::new() }.go_on(events).await;
    Ok(())
}

fn editor(prompt: &Prompt) -> Result<Editor<Prompt, FileHistory>, Failure> {
    let terminal = |e: ReadlineError| Failure::Failed(format!("this terminal cannot be used: {e}; use -m TEXT"));
    let config = Config::builder().max_history_size(HISTORY).map_err(terminal)?.auto_add_history(true).build();
    let mut editor: Editor<Prompt, FileHistory> = Editor::with_config(config).map_err(terminal)?;
    editor.set_helper(Some(prompt.clone()));
    Ok(editor)
}

/// The state of a conversation.
struct Talk<'a> {
    client: &'a Client,
    room: &'a Room,
    screen: Screen,
    typed: mpsc::UnboundedReceiver<String>,
    /// The place after the last event shown.
    cursor: Option<String>,
    /// Lines that wait for the host.
    unsent: VecDeque<String>,
}

impl Talk<'_> {
    /// Sends typed lines and shows events, until the person leaves.
    async fn go_on(mut self, mut events: EventStream) {
        loop {
            tokio::select! {
                biased;
                event = events.next() => {
                    if let Ok(Some(event)) = event {
                        self.cursor = event.id.clone().or(self.cursor);
                        self.screen.event(&event);
                    } else if let Some(new) = self.host_gone().await {
                        events = new;
                        self.send_waiting().await;
                    } else {
                        break;
                    }
                }
                line = self.typed.recv() => match line {
                    Some(text) => self.line(text).await,
                    None => break,
                },
            }
        }
        for text in &self.unsent {
            self.screen.aside(&format!("Not sent: {text}"));
        }
    }

    /// Waits for the host and keeps lines typed meanwhile. Returns None if the person leaves.
    async fn host_gone(&mut self) -> Option<EventStream> {
        self.screen.aside("The host is gone; waiting for it … What you write now is sent when it is back.");
        let back = again(self.client, self.room, &mut self.cursor, &self.screen);
        tokio::pin!(back);
        loop {
            tokio::select! {
                events = &mut back => return Some(events),
                line = self.typed.recv() => match line? {
                    text if text.trim() == "/help" => self.screen.print(&help()),
                    text => self.unsent.push_back(text),
                },
            }
        }
    }

    async fn send_waiting(&mut self) {
        self.screen.aside("The host is back.");
        if !self.unsent.is_empty() {
            // A starting host refuses messages. If it does not get ready, sending the first message reports that.
            let _ = super::ready(self.client).await;
        }
        for text in std::mem::take(&mut self.unsent) {
            self.line(text).await;
        }
    }

    async fn line(&mut self, text: String) {
        if text.trim() == "/help" {
            return self.screen.print(&help());
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let meant = match attach::parse(&text, home.as_deref()) {
            None => Ok((text.clone(), Vec::new())),
            Some(named) => named.and_then(|(path, text)| Ok((text, attach::open(&[path])?))),
        };
        let (said, files) = match meant {
            Ok(meant) => meant,
            Err(why) => return self.screen.aside(&format!("Not sent: {why}")),
        };
        match self.room.send(self.client, &said, files).await {
            // The end of the event stream will report it.
            Err(ClientError::NoHost(_)) => self.unsent.push_back(text),
            Err(error) => self.screen.aside(&format!("Not sent: {error}")),
            Ok(sent) => self.sent(&sent),
        }
    }

    /// Shows the result of sending, unless the following events will show it.
    fn sent(&mut self, sent: &Sent) {
        self.screen.sent(sent.seq);
        for file in &sent.refused {
            self.screen.aside(&format!("Not taken: {file}"));
        }
        match sent.role {
            Role::Trigger | Role::Command => {}
            Role::Context => self.screen.aside(&format!(
                "Kept as context: {} answers when a message begins with {}.",
                self.room.name,
                self.room.trigger().word()
            )),
            Role::Denied => self.screen.aside(&format!("Not answered: {}.", sent.denial())),
        }
    }
}

fn help() -> String {
    format!("{COMMANDS}\n{HELP}")
}

/// Reconnects to the events after the last one seen.
async fn again(client: &Client, room: &Room, cursor: &mut Option<String>, screen: &Screen) -> EventStream {
    loop {
        tokio::time::sleep(RETRY).await;
        match client.events(cursor.as_deref(), Some(&room.jid)).await {
            Ok(events) => {
                *cursor = events.cursor().map(str::to_owned).or(cursor.take());
                return events;
            }
            Err(ClientError::Problem { code, .. }) if code == "resync" => {
                screen.aside("Some of what was said meanwhile cannot be shown any more.");
                *cursor = None;
            }
            Err(_) => {}
        }
    }
}

/// Holds the terminal in raw mode between two lines, too, when the editor lets go of it. Otherwise Ctrl-C would end
/// the program as a signal, and Ctrl-D would be lost. On drop, the original mode is restored, whatever the editor
/// does then.
struct Keys(Option<Termios>);

impl Keys {
    fn hold() -> Self {
        // If this is no terminal, the editor finds out itself.
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut held) = before.clone() {
            held.local_modes.remove(LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO);
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &held);
        }
        Self(before)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // If the terminal is gone, there is nothing to restore.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Reads lines until the person leaves.
fn edit(mut editor: Editor<Prompt, FileHistory>, prompt: &Prompt, lines: &mpsc::UnboundedSender<String>) {
    window::take();
    let history = history_file();
    if let Some(path) = &history {
        // At first there is no history file.
        let _ = editor.load_history(path);
    }
    let mut interrupted = false;
    loop {
        let read = editor.readline(PROMPT);
        prompt.left();
        match read {
            Ok(text) => {
                interrupted = false;
                match text.trim() {
                    "" => continue,
                    "/quit" | "/exit" => break,
                    _ => {}
                }
                if lines.send(text).is_err() {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) if !interrupted => {
                interrupted = true;
                prompt.print_above("(Ctrl-C again or Ctrl-D leaves, /stop ends what the agent does)");
            }
            Err(_) => break,
        }
    }
    if let Some(path) = &history
        // Appended, not overwritten: another terminal may have added its lines meanwhile.
        && let Err(error) = editor.append_history(path)
    {
        tell(&format!("parlor: the history was not kept in {}: {error}", path.display()));
    }
}

/// The history file, `~/.local/state/parlor/history`; its folder is created.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("parlor");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
