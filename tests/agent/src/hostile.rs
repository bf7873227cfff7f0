//! Directives that make the agent misbehave.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use parlor_protocol::IPC_DIR;
use parlor_protocol::files::write_atomically;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::Agent;
use crate::directive::Reply;

/// Carries out one of these directives.
pub fn run(agent: &mut Agent, name: &str, words: &[&str], rest: &str) -> io::Result<Reply> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let need = |at: usize| number(at).ok_or_else(|| io::Error::other(format!("argument {} must be a number", at + 1)));
    let text = |text: String| Ok(Reply::Text(text));
    let path = || words.first().map(Path::new).ok_or_else(|| io::Error::other("needs a path"));
    match name {
        "!crash" => {
            eprint!("{}", rest.split_once(' ').map_or("", |(_, stderr)| stderr));
            std::process::exit(need(0)? as i32)
        }
        "!exit" => {
            agent.wire.end(&Reply::Text("exiting".into()));
            std::process::exit(need(0)? as i32)
        }
        "!abort" => std::process::abort(),
        "!hang" => hang(),
        "!daemon" => daemon(),
        "!stderr" => flood(&mut io::stderr().lock(), need(0)?),
        "!stdout" => flood(&mut io::stdout().lock(), need(0)?),
        "!flood-outputs" => {
            let every = number(1).unwrap_or(1).max(1);
            for number in 0..need(0)? {
                let silent = number % every != 0;
                agent.wire.gather(&if silent { Reply::Silent } else { Reply::Text(number.to_string()) });
            }
            agent.wire.send_gathered();
            text("flood over".into())
        }
        "!memory" => {
            let held = vec![1_u8; need(0)? as usize * 1024 * 1024];
            text(format!("holding {} bytes", std::hint::black_box(held).len()))
        }
        "!ipcflood" => {
            let dir = Path::new(IPC_DIR).join(words.get(1).copied().unwrap_or("messages"));
            for number in 0..need(0)? {
                let message =
                    json!({"type": "message", "chatJid": agent.input.chat_jid, "text": format!("flood {number}")});
                write_atomically(&dir, &format!("flood-{number:08}.json"), message.to_string().as_bytes())?;
            }
            text(format!("dropped {} files", need(0)?))
        }
        "!link" => {
            let target = words.get(1).ok_or_else(|| io::Error::other("needs PATH TARGET"))?;
            clear(path()?)?;
            symlink(target, path()?)?;
            text(format!("linked {rest}"))
        }
        "!fifo" => {
            clear(path()?)?;
            mknodat(CWD, path()?, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
            text(format!("fifo {rest}"))
        }
        "!sparse" => {
            clear(path()?)?;
            File::create(path()?)?.set_len(need(1)?)?;
            text(format!("sparse {rest}"))
        }
        _ => text(format!("unknown directive {name}")),
    }
}

/// Sleeps for ever; signals still end the process.
pub fn sleep_for_ever() -> ! {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

fn hang() -> ! {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    sleep_for_ever()
}

/// Starts a child in its own process group: this program again, with a directive on stdin that makes it hang.
fn daemon() -> io::Result<Reply> {
    let mut child = Command::new("/proc/self/exe").process_group(0).stdin(Stdio::piped()).spawn()?;
    let input = json!({"prompt": "!hang", "groupFolder": "", "chatJid": "", "isMain": false});
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.to_string().as_bytes())?;
    }
    Ok(Reply::Text(format!("daemon {}", child.id())))
}

fn flood(stream: &mut dyn Write, seconds: u64) -> io::Result<Reply> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let block = "flood flood flood flood flood flood flood flood flood flood flood\n".repeat(1000);
    while Instant::now() < end {
        stream.write_all(block.as_bytes())?;
    }
    Ok(Reply::Text("flood over".into()))
}

/// Removes whatever is at this path.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(known) if known.is_dir() => fs::remove_dir_all(path).or_else(|_| {
            let aside = path.with_extension(format!("aside-{}", std::process::id()));
            fs::rename(path, aside)
        }),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
