//! A person's terminal: a program behind a pseudo-terminal, the pressed keys, and the shown text.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{SOON, eventually};

/// The keys Ctrl-C and Ctrl-D.
pub const CTRL_C: &str = "\u{3}";
pub const CTRL_D: &str = "\u{4}";
/// The arrow key up.
pub const UP: &str = "\u{1b}[A";

/// A terminal of 80 columns that runs a program.
#[derive(Debug)]
pub struct Terminal {
    master: Option<File>,
    output: Receiver<Vec<u8>>,
    /// The shown text so far, with its escape sequences.
    pub shown: String,
    /// The position from which [`wait`](Self::wait) searches.
    mark: usize,
    child: Child,
}

impl Terminal {
    /// Starts a program as the leader of the terminal's session, as a terminal emulator does.
    pub fn open(program: &Command) -> Self {
        Self::open_wide(program, 80)
    }

    /// Like [`open`](Self::open), with the given number of columns.
    pub fn open_wide(program: &Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let side = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args()).env_clear();
        command.env("TERM", "xterm-256color").envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (outgoing, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails when the last program on the other side is gone.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if outgoing.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master: Some(master), output, shown: String::new(), mark: 0, child }
    }

    /// Sets the window's number of columns.
    pub fn resize(&self, columns: u16) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_ref().unwrap(), size).unwrap();
    }

    pub fn press(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a text is shown, and returns the shown text up to its end. The next wait searches after it.
    #[track_caller]
    pub fn wait(&mut self, text: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(at) = self.shown[self.mark..].find(text) {
                let end = self.mark + at + text.len();
                return self.shown[std::mem::replace(&mut self.mark, end)..end].to_owned();
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} is not shown; the screen got {:?}", &self.shown[self.mark..])
                }
            }
        }
    }

    /// Returns true if the terminal echoes typed text.
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(self.master.as_ref().unwrap()).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = eventually("the program in the terminal ends", SOON, || self.child.try_wait().unwrap());
        while let Ok(bytes) = self.output.recv_timeout(std::time::Duration::from_millis(100)) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status, std::mem::take(&mut self.shown))
    }

    /// Closes the window: the kernel sends a hang-up.
    #[track_caller]
    pub fn close(mut self) -> ExitStatus {
        // The reading thread holds the other handle, and ends only with the child; so the hang-up is sent here.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        self.master = None;
        eventually("the program ends with its terminal", SOON, || self.child.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
