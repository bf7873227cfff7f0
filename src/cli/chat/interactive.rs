//! A conversation on the terminal: a line editor in a thread of its own, and what comes in printed above its prompt.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::sync::mpsc;

use super::super::client::{Client, ClientError, EventStream, ServerEvent};
use super::super::output::{colours, harmless, say};
use super::super::{Done, Failure};
use super::prompt::Prompt;
use super::{Room, Sent, attach, render};
use crate::domain::message::Role;

const PROMPT: &str = "› ";
/// Lines that the history keeps.
const HISTORY: usize = 10_000;
/// How often a lost host is looked for.
const RETRY: Duration = Duration::from_secs(1);

const HELP: &str = "\
/stop    end what the agent does now
/new     begin a new conversation
/status  show what runs and what waits
/attach PATH [TEXT]
         send a file, with a text if there is one; a path with spaces in quotes
/help    show this
/quit    leave; so do Ctrl-D, and Ctrl-C twice
Everything else goes to the agent. Several lines can be pasted at once.";

pub(super) async fn run(client: &Client, room: &Room) -> Done {
    let mut events = client.events(None, Some(&room.jid)).await?;
    let terminal = |e: ReadlineError| Failure::Failed(format!("this terminal cannot be used: {e}; use -m TEXT"));
    let config = Config::builder().max_history_size(HISTORY).map_err(terminal)?.auto_add_history(true).build();
    let mut editor: Editor<Prompt, FileHistory> = Editor::with_config(config).map_err(terminal)?;
    let prompt = Prompt::new(PROMPT);
    editor.set_helper(Some(prompt.clone()));
    let mut screen = Screen {
        prompt: prompt.clone(),
        colours: colours(),
        assistant: harmless(&room.assistant).into_owned(),
        working: false,
    };
    let hello = format!("{} · {} · /help shows commands", harmless(&room.name), harmless(&room.jid));
    say(&format!("{}\n", render::aside(&hello, screen.colours)))?;

    let (lines, mut typed) = mpsc::unbounded_channel();
    let _keys = Keys::hold();
    // A line editor blocks; the thread ends with its terminal, at the latest with the process.
    std::thread::spawn(move || edit(editor, &prompt, &lines));
    // Also a host that ends before its first event loses nothing.
    let mut cursor = events.cursor().map(str::to_owned);
    loop {
        tokio::select! {
            line = typed.recv() => match line {
                Some(text) => one_line(client, room, &text, &mut screen).await,
                None => return Ok(()),
            },
            event = events.next() => {
                if let Ok(Some(event)) = event {
                    cursor = event.id.clone().or(cursor);
                    screen.event(&event);
                } else {
                    screen.aside("The host is gone; waiting for it …");
                    events = tokio::select! {
                        events = again(client, room, &mut cursor, &mut screen) => events,
                        () = typed_end(&mut typed) => return Ok(()),
                    };
                    screen.aside("The host is back.");
                }
            }
        }
    }
}

/// Waits until the person leaves; what is typed meanwhile cannot be sent.
async fn typed_end(typed: &mut mpsc::UnboundedReceiver<String>) {
    while typed.recv().await.is_some() {}
}

/// Follows the events again, from the last one seen.
async fn again(client: &Client, room: &Room, cursor: &mut Option<String>, screen: &mut Screen) -> EventStream {
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

async fn one_line(client: &Client, room: &Room, text: &str, screen: &mut Screen) {
    if text.trim() == "/help" {
        screen.print(HELP);
        return;
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let meant = match attach::parse(text, home.as_deref()) {
        None => Ok((text.to_owned(), Vec::new())),
        Some(named) => named.and_then(|(path, text)| Ok((text, attach::open(&[path])?))),
    };
    let (text, files) = match meant {
        Ok(meant) => meant,
        Err(why) => return screen.aside(&format!("Not sent: {why}")),
    };
    let sent = room.send(client, &text, files).await;
    for file in sent.iter().flat_map(|sent| &sent.refused) {
        screen.aside(&format!("Not taken: {file}"));
    }
    match sent {
        Err(error) => screen.aside(&format!("Not sent: {error}")),
        Ok(Sent { role: Role::Trigger | Role::Command, .. }) => {}
        Ok(Sent { role: Role::Context, .. }) => screen.aside(&format!(
            "Kept as context: {} answers when a message begins with {}.",
            room.name,
            room.trigger().word()
        )),
        Ok(sent @ Sent { role: Role::Denied, .. }) => screen.aside(&format!("Not answered: {}.", sent.denial())),
    }
}

/// Holds the terminal so that keys stay keys between two lines, too, when the editor lets go of it: a Ctrl-C there would
/// end the program as a signal, and a Ctrl-D would be lost. The end puts back what was, whatever the editor does then.
struct Keys(Option<Termios>);

impl Keys {
    fn hold() -> Self {
        // The editor itself finds out when this is no terminal.
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
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Reads lines until the person leaves.
fn edit(mut editor: Editor<Prompt, FileHistory>, prompt: &Prompt, lines: &mpsc::UnboundedSender<String>) {
    let history = history_file();
    if let Some(path) = &history {
        // There is none at first.
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
                println!("(Ctrl-C again or Ctrl-D leaves, /stop ends what the agent does)");
            }
            Err(_) => break,
        }
    }
    if let Some(path) = &history
        // Not saved over: another terminal may have added its lines meanwhile.
        && let Err(error) = editor.append_history(path)
    {
        eprintln!("parlor: the history was not kept in {}: {error}", path.display());
    }
}

/// `~/.local/state/parlor/history`, its folder made.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("parlor");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// What is shown above the prompt.
struct Screen {
    prompt: Prompt,
    colours: bool,
    assistant: String,
    /// Whether it was shown that the agent works.
    working: bool,
}

impl Screen {
    fn event(&mut self, event: &ServerEvent) {
        match event.name.as_str() {
            "message" => {
                self.working = false;
                let text = render::message(&event.data);
                self.print(&render::text(&text, true, self.colours));
            }
            "typing" => {
                let on = event.data["on"] == true;
                if on && !self.working {
                    self.aside(&format!("{} works …", self.assistant));
                }
                self.working = on;
            }
            "turn" if event.data["state"] == "failed" => {
                let reason = event.data["reason"].as_str().unwrap_or("no reason is known");
                self.aside(&format!("The turn failed: {reason}"));
            }
            _ => {}
        }
    }

    fn aside(&self, text: &str) {
        self.print(&render::aside(text, self.colours));
    }

    fn print(&self, text: &str) {
        self.prompt.print_above(text);
    }
}
