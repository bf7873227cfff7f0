//! A run: stdin, one turn for the first prompt, then a turn for whatever follow-ups wait, until `_close`.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parlor_protocol::files::{Folders, fresh_id};
use parlor_protocol::inputs::{Input, Inputs, Next};
use parlor_protocol::session_id;
use parlor_protocol::{ErrorKind, ImageAttachment, Output, RunInput, Status, Turn};

use crate::agent_toml::Notices;
use crate::claude;
use crate::codex;
use crate::exec::Exec;
use crate::gemini;
use crate::guide::Guide;
use crate::limits;
use crate::llm::Llm;
use crate::passwd;
use crate::process::Working;
use crate::tools::context;
use crate::wire::Wire;

/// How often a turn at work shows a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How long a frame in the making holds a SIGTERM back.
const FRAME_LIMIT: Duration = Duration::from_millis(50);

/// What a provider knows of its run. Clones share the channels.
#[derive(Debug, Clone)]
pub struct Room {
    /// What came on stdin.
    pub input: Arc<RunInput>,
    /// The session's id: the one to resume, else a fresh one.
    pub session: String,
    /// Where things lie.
    pub folders: Folders,
    /// For texts before a turn's end.
    pub wire: Wire,
    /// Where a command at work is noted, so that SIGTERM ends it too.
    pub working: Working,
}

/// Something that answers prompts.
pub trait Provider {
    /// Answers the prompts of one turn, in order. Of the output only the outcome counts; the turn's end and the
    /// consumed inputs are added by the caller. What comes during the turn may be taken from `mail`; what is left there
    /// is the next turn's.
    fn answer(&mut self, prompts: &[String], mail: &mut Mail<'_>) -> Output;
}

/// The run's inputs while a turn is at work.
#[derive(Debug)]
pub struct Mail<'a> {
    inputs: &'a mut Inputs,
    /// Names of the inputs that the turn took.
    consumed: Vec<String>,
    /// Pictures that came with the turn's prompts, until they are asked for.
    pictures: Vec<ImageAttachment>,
    /// Set when the host asked for the end meanwhile; the turn still comes to its own.
    closed: &'a mut bool,
}

impl Mail<'_> {
    /// The follow-ups that wait now. They count as consumed by this turn.
    pub fn take(&mut self) -> Vec<String> {
        match self.inputs.take() {
            Some(Next::Inputs(list)) => self.note(list),
            Some(Next::Close) => {
                *self.closed = true;
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Pictures of the prompts that the turn has had so far, each given once.
    pub fn pictures(&mut self) -> Vec<ImageAttachment> {
        std::mem::take(&mut self.pictures)
    }

    fn note(&mut self, list: Vec<Input>) -> Vec<String> {
        let mut texts = Vec::new();
        for one in list {
            self.consumed.push(one.name);
            self.pictures.extend(one.images);
            texts.push(one.text);
        }
        texts
    }
}

/// Runs an agent from stdin to its end.
pub fn main() -> ExitCode {
    passwd::ensure();
    // Watched before stdin is read: no follow-up can come earlier than that.
    let folders = Folders::from_env();
    let mut inputs = Inputs::open(&folders.input);
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
    let room = Room { input: Arc::new(input), session, folders, wire, working };
    context::leave(&room.input);
    // These take follow-ups also during a turn: their loops are their own.
    match room.input.provider.as_deref() {
        _ if foreign_session(&room).is_some() => {}
        Some("claude") => return claude::main(room, inputs),
        Some("codex") => return codex::main(room, inputs),
        Some("gemini") => return gemini::main(room, inputs),
        _ => {}
    }
    let mut provider = provider(&room);
    let mut closed = false;
    let first = std::slice::from_ref(&room.input.prompt);
    let pictures = room.input.image_attachments.clone();
    let mail = Mail { inputs: &mut inputs, consumed: Vec::new(), pictures, closed: &mut closed };
    turn(provider.as_mut(), &room, first, mail);
    loop {
        let next = if closed { inputs.take().unwrap_or(Next::Close) } else { inputs.wait() };
        match next {
            Next::Close => return ExitCode::SUCCESS,
            Next::Inputs(list) => {
                let (consumed, pictures) = (Vec::new(), Vec::new());
                let mut mail = Mail { inputs: &mut inputs, consumed, pictures, closed: &mut closed };
                let prompts = mail.note(list);
                turn(provider.as_mut(), &room, &prompts, mail);
            }
        }
    }
}

fn turn(provider: &mut dyn Provider, room: &Room, prompts: &[String], mut mail: Mail<'_>) {
    room.wire.begin_turn();
    let answer = provider.answer(prompts, &mut mail);
    room.wire.end_turn(&Output { turn: Some(Turn::Done), consumed: mail.consumed, ..answer });
}

fn provider(room: &Room) -> Box<dyn Provider> {
    if let Some(foreign) = foreign_session(room) {
        return Box::new(foreign);
    }
    match room.input.provider.as_deref().unwrap_or("guide") {
        "guide" => Box::new(Telling::new(Guide::new(room.clone()), room)),
        "exec" => Box::new(Telling::new(Exec::new(room.clone()), room)),
        "llm" => Box::new(Llm::new(room.clone())),
        other => Box::new(Unknown(other.to_owned())),
    }
}

/// A provider that reads no `agent.toml` itself: of the file, it tells what the host did not follow.
struct Telling<P> {
    inner: P,
    notices: Notices,
}

impl<P> Telling<P> {
    fn new(inner: P, room: &Room) -> Self {
        let notes = room.input.agent_may.as_ref().map(|may| may.notes.clone()).unwrap_or_default();
        let kept = std::env::var_os("HOME").map_or_else(|| "/home/node".into(), PathBuf::from).join(".claude");
        Self { inner, notices: Notices::of(&notes, &kept) }
    }
}

impl<P: Provider> Provider for Telling<P> {
    fn answer(&mut self, prompts: &[String], mail: &mut Mail<'_>) -> Output {
        let mut output = self.inner.answer(prompts, mail);
        if output.status == Status::Success {
            self.notices.add_to(&mut output.result);
        }
        output
    }
}

/// Stands in for a provider that this runner does not have.
struct Unknown(String);

impl Provider for Unknown {
    fn answer(&mut self, _: &[String], _: &mut Mail<'_>) -> Output {
        refused(format!(
            "This image's agent-runner has no provider {:?}; it has guide, exec, claude, codex, gemini and llm. Choose one of them for the group, \
             or an image that has the provider.",
            self.0
        ))
    }
}

/// A session that the provider cannot have made: it is as good as gone, and the provider's program is not asked.
struct ForeignSession(String);

fn foreign_session(room: &Room) -> Option<ForeignSession> {
    let provider = room.input.provider.as_deref().unwrap_or("guide");
    let id = room.input.session_id.as_deref()?;
    let shown: String = id.chars().take(40).collect();
    (!session_id::is_usable(provider, id)).then(|| ForeignSession(format!("{shown:?} is no session of {provider}")))
}

impl Provider for ForeignSession {
    fn answer(&mut self, _: &[String], _: &mut Mail<'_>) -> Output {
        Output { error_kind: Some(ErrorKind::SessionMissing), ..failure(self.0.clone()) }
    }
}

/// An output for a turn that failed.
pub fn failure(reason: String) -> Output {
    Output { status: Status::Error, error: Some(reason), error_kind: Some(ErrorKind::Other), ..Output::default() }
}

/// The same for one that would fail again, whoever tries it.
pub fn refused(reason: String) -> Output {
    Output { error_kind: Some(ErrorKind::Refused), ..failure(reason) }
}

/// An output for a program that cannot be started: most of what keeps one from it stays so.
pub fn not_started(error: &io::Error, reason: String) -> Output {
    const ENOEXEC: i32 = 8;
    let stays =
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput);
    if stays || error.raw_os_error() == Some(ENOEXEC) { refused(reason) } else { failure(reason) }
}

fn read_stdin() -> Result<RunInput, String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("stdin cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("stdin is not the JSON of a run: {error}"))
}

/// A minute; tests make it shorter with `PARLOR_HEARTBEAT_MS`.
fn heartbeat_interval() -> Duration {
    let ms = std::env::var("PARLOR_HEARTBEAT_MS").ok().and_then(|text| text.parse().ok()).filter(|ms| *ms > 0);
    ms.map_or(HEARTBEAT, Duration::from_millis)
}

/// On SIGTERM or SIGINT the command at work is killed and the program exits: 0 when idle, 143 out of a turn.
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
