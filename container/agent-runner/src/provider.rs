//! A provider: what answers the prompts of a run, what it gets, and how it says that it failed.

use std::process::ExitCode;
use std::sync::Arc;

use parlor_protocol::files::Folders;
use parlor_protocol::inputs::{Input, Inputs, Next};
use parlor_protocol::{ErrorKind, ImageAttachment, Output, RunInput, Status, Turn};

use crate::process::Working;
use crate::wire::Wire;

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

/// Runs a provider: a turn for the first prompt, then a turn for whatever follow-ups wait, until `_close`.
pub fn serve(mut provider: impl Provider, room: &Room, mut inputs: Inputs) -> ExitCode {
    let mut closed = false;
    let first = std::slice::from_ref(&room.input.prompt);
    let pictures = room.input.image_attachments.clone();
    let mail = Mail { inputs: &mut inputs, consumed: Vec::new(), pictures, closed: &mut closed };
    turn(&mut provider, room, first, mail);
    loop {
        let next = if closed { inputs.take().unwrap_or(Next::Close) } else { inputs.wait() };
        match next {
            Next::Close => return ExitCode::SUCCESS,
            Next::Inputs(list) => {
                let (consumed, pictures) = (Vec::new(), Vec::new());
                let mut mail = Mail { inputs: &mut inputs, consumed, pictures, closed: &mut closed };
                let prompts = mail.note(list);
                turn(&mut provider, room, &prompts, mail);
            }
        }
    }
}

fn turn(provider: &mut impl Provider, room: &Room, prompts: &[String], mut mail: Mail<'_>) {
    room.wire.begin_turn();
    let answer = provider.answer(prompts, &mut mail);
    room.wire.end_turn(&Output { turn: Some(Turn::Done), consumed: mail.consumed, ..answer });
}

/// An output for a turn that failed.
pub fn failure(reason: String) -> Output {
    Output { status: Status::Error, error: Some(reason), error_kind: Some(ErrorKind::Other), ..Output::default() }
}

/// The same for one that would fail again, whoever tries it.
pub fn refused(reason: String) -> Output {
    Output { error_kind: Some(ErrorKind::Refused), ..failure(reason) }
}
