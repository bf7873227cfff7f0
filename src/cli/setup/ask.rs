//! Questions on a terminal. Lines are read byte by byte, so that input after an answer stays for the next reader.

use std::io::{self, IsTerminal};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::super::output::say;
use super::super::width as columns;
use super::super::{Done, Failure};

/// Lines that follow an answer within this time were pasted with it.
const PASTED: Duration = Duration::from_millis(100);
/// The smallest length of a further line of a pasted key; a shorter line is another answer.
const PART: usize = 8;
/// The largest width of texts.
const WIDEST: usize = 80;

/// Returns true if questions can be asked.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks questions and watches for signals meanwhile.
pub(super) struct Asker {
    signals: [Signal; 3],
    /// Lines pasted after a key that do not belong to it: they answer the next questions.
    waiting: Vec<Zeroizing<String>>,
}

impl Asker {
    pub(super) fn new() -> Result<Self, Failure> {
        let signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        Ok(Self { signals, waiting: Vec::new() })
    }

    /// Waits for Ctrl-C, or another signal that ends the program.
    pub(super) async fn interrupted(&mut self) {
        let [int, term, hup] = &mut self.signals;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }

    /// Reads an answer without the spaces around it; at the end of input it is empty.
    pub(super) async fn line(&mut self, question: &str) -> Result<String, Failure> {
        prompt(question)?;
        let line = self.read().await?;
        Ok(line.trim().to_owned())
    }

    /// Reads a key without echo, and removes pasted line breaks and spaces.
    pub(super) async fn key(&mut self, question: &str) -> Result<SecretString, Failure> {
        prompt(question)?;
        let quiet = Quiet::hold();
        let mut key = clean(&self.read().await?);
        while !key.is_empty() && is_more() {
            let line = self.read().await?;
            let part = clean(&line);
            if part.is_empty() {
                continue;
            }
            // Terminals and programs break long keys into lines.
            if part.len() >= PART && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                key.push_str(&part);
            } else {
                self.waiting.push(line);
                break;
            }
        }
        drop(quiet);
        say("\n")?;
        Ok(SecretString::from(key.as_str()))
    }

    /// Asks for yes or no; Enter gives the default, which is in capitals.
    pub(super) async fn yes(&mut self, question: &str, default: bool) -> Result<bool, Failure> {
        let hint = if default { "[Y/n]" } else { "[y/N]" };
        loop {
            match self.line(&format!("{question} {hint} ")).await?.to_ascii_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => tell("Please answer y or n.")?,
            }
        }
    }

    async fn read(&mut self) -> Result<Zeroizing<String>, Failure> {
        if !self.waiting.is_empty() {
            return Ok(self.waiting.remove(0));
        }
        let (done, line) = oneshot::channel();
        // Reading blocks; the thread ends with the line, at the latest with the process.
        std::thread::Builder::new().spawn(move || drop(done.send(read_line())))?;
        tokio::select! {
            line = line => match line {
                Ok(Ok(line)) => Ok(line),
                _ => Err(Failure::Failed("the terminal cannot be read; nothing was changed".into())),
            },
            () = self.interrupted() => {
                say("\n")?;
                Err(Failure::Failed("interrupted; nothing was changed".into()))
            }
        }
    }
}

fn read_line() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    let mut byte = [0];
    loop {
        match rustix::io::read(io::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => bytes.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns true if another line is there or comes at once.
fn is_more() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec { tv_sec: 0, tv_nsec: PASTED.as_nanos() as _ };
    poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
}

/// Removes the by-products of pasting: spaces, control characters, paste markers.
fn clean(text: &str) -> Zeroizing<String> {
    let text = Zeroizing::new(text.replace("\u{1b}[200~", "").replace("\u{1b}[201~", ""));
    let kept = text.chars().filter(|c| !c.is_control() && !c.is_whitespace());
    Zeroizing::new(kept.collect())
}

/// Switches echo off; the original mode is restored on drop.
struct Quiet(Option<Termios>);

impl Quiet {
    fn hold() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &quiet);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // If the terminal is gone, there is nothing to restore.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Prints a text, wrapped at the terminal's width.
pub(super) fn tell(text: &str) -> Done {
    say(&format!("{}\n", wrapped(text, width())))
}

fn prompt(question: &str) -> Done {
    let text = wrapped(question, width());
    say(&if question.ends_with(' ') { format!("{text} ") } else { text })
}

fn width() -> usize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col >= 20 => usize::from(size.ws_col).min(WIDEST),
        _ => WIDEST,
    }
}

/// Wraps text at `width` characters; continuation lines keep the indentation of their line.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = Vec::new();
    for line in text.lines() {
        let start = line.len() - line.trim_start().len();
        let number = line.trim_start().chars().take_while(char::is_ascii_digit).count();
        let indent = if number > 0 && start > 0 { start + number + 2 } else { start };
        let mut current = line[..start].to_owned();
        let mut fresh = true;
        for word in line.split_whitespace() {
            if !fresh && columns::of(&current) + 1 + columns::of(word) > width {
                out.push(std::mem::replace(&mut current, " ".repeat(indent)));
                fresh = true;
            }
            if !fresh {
                current.push(' ');
                // The text after a number is indented.
                if indent > start && current.trim().len() == number {
                    current.push(' ');
                }
            }
            current.push_str(word);
            fresh = false;
        }
        out.push(current);
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_into_narrow_terminals() {
        let menu = "Who answers?\n\n  1  the guide: needs no account and no key\n  2  Claude";
        let text = wrapped(menu, 24);
        assert_eq!(text, "Who answers?\n\n  1  the guide: needs no\n     account and no key\n  2  Claude");
        assert_eq!(wrapped(menu, 80), menu);
        assert_eq!(wrapped("averyveryverylongword b", 10), "averyveryverylongword\nb");
    }

    #[test]
    fn pasted_keys_are_joined_and_cleaned() {
        assert_eq!(clean(" \u{1b}[200~sk-ant-1 2\r\t3\u{1b}[201~ ").as_str(), "sk-ant-123");
    }
}
