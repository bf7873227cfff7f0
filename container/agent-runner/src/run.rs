//! The start of a run: stdin, signals, and the provider that the run names.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parlor_protocol::RunInput;
use parlor_protocol::files::{Folders, fresh_id};
use parlor_protocol::inputs::Inputs;

use crate::limits;
use crate::passwd;
use crate::process::Working;
use crate::provider::{Room, refused};
use crate::providers;
use crate::tools::context;
use crate::wire::Wire;

/// Interval of the heartbeats during a turn.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// The longest time that an unfinished frame delays the exit on SIGTERM.
const FRAME_LIMIT: Duration = Duration::from_millis(50);

/// Runs an agent from stdin to its end.
pub fn main() -> ExitCode {
    passwd::ensure();
    // Watch before stdin is read: no follow-up can come earlier.
    let folders = Folders::from_env();
    let inputs = Inputs::open(&folders.input);
    let wire = Wire::new(heartbeat_interval());
    let working = Working::default();
    if let Err(error) = end_on_signals(wire.clone(), working.clone()) {
        eprintln!("signals are left to the system: {error}");
    }
    let input = match read_stdin() {
        Ok(input) => input,
        Err(reason) => {
            eprintln!("{reason}");
            wire.end_turn(&refused(reason));
            return ExitCode::FAILURE;
        }
    };
    limits::of_group(&input.group_folder);
    let session = input.session_id.clone().unwrap_or_else(fresh_id);
    let provider = input.provider.clone().unwrap_or_else(|| providers::DEFAULT.to_owned());
    let room = Room { input: Arc::new(input), session, folders, wire, working };
    context::leave(&room.input);
    providers::run(&provider, room, inputs)
}

fn read_stdin() -> Result<RunInput, String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("stdin cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("stdin is not the JSON of a run: {error}"))
}

/// Returns the interval: a minute, or `PARLOR_HEARTBEAT_MS` in tests.
fn heartbeat_interval() -> Duration {
    let ms = std::env::var("PARLOR_HEARTBEAT_MS").ok().and_then(|text| text.parse().ok()).filter(|ms| *ms > 0);
    ms.map_or(HEARTBEAT, Duration::from_millis)
}

/// On SIGTERM or SIGINT, kills the running command and exits: with 0 when idle, with 143 in a turn.
fn end_on_signals(wire: Wire, working: Working) -> io::Result<()> {
    let (mut signalled, handler) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, handler.try_clone()?)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, handler)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signalled.read_exact(&mut [0]).is_ok() {
            let aborted = wire.settle(FRAME_LIMIT);
            working.end();
            std::process::exit(if aborted { 143 } else { 0 });
        }
    })?;
    Ok(())
}
