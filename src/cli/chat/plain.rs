//! Reads lines from a terminal without escape sequences, such as a shell inside an editor: the terminal itself
//! echoes, edits, and sends Ctrl-C and Ctrl-D.

use std::io::{self, BufRead};

use tokio::sync::mpsc;

use super::prompt::Prompt;

/// Reads lines until the person leaves.
pub(super) fn read(prompt: &Prompt, lines: &mpsc::UnboundedSender<String>) {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        prompt.show();
        line.clear();
        // Ctrl-D, or the terminal is gone.
        if !matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
            return;
        }
        prompt.left();
        let text = String::from_utf8_lossy(&line);
        match text.trim() {
            "" => {}
            "/quit" | "/exit" => return,
            text if lines.send(text.to_owned()).is_err() => return,
            _ => {}
        }
    }
}
