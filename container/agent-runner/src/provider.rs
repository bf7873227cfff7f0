//! The provider's interface: it answers the prompts of a run. Also the run's data for it, and its failures.

use std::process::ExitCode;
use std::sync::Arc;

use parlor_protocol::files::Folders;
use parlor_protocol::inputs::{Input, Inputs, Next};
use parlor_protocol::{ErrorKind, ImageAttachment, Output, RunInput, Status, Turn};

use crate::process::Working;
use crate::wire::Wire;

/// The data and channels of a run. Clones share the channels.
#[derive(Debug, Clone)]
pub struct Room {
    /// The run's input from stdin.
    pub input: Arc<RunInput>,
    /// The session's id: the one to resume, else a fresh one.
    pub session: String,
    /// The folders of the room.
    pub folders: Folders,
    /// The agent's stdout, for texts before a turn's end.
    pub wire: Wire,
    /// The running command, so that SIGTERM ends it, too.
    pub working: Working,
}

/// An agent that answers prompts.
pub trait Provider {
    /// Answers the prompts of one turn, in order. Only the outcome in the output counts; the caller adds the turn's
    /// end and the consumed inputs. Messages that come during the turn may be taken from `mail`; the rest belongs to
    /// the next turn.
    fn answer(&mut self, prompts: &[String], mail: &mut Mail<'_>) -> Output;
}

/// The run's inputs during a turn.
#[derive(Debug)]
pub struct Mail<'a> {
    inputs: &'a mut Inputs,
    /// Names of the inputs that the turn took.
    consumed: Vec<String>,
    /// Pictures of the turn's prompts that the provider has not taken yet.
    pictures: Vec<ImageAttachment>,
    /// True if the host asked for the end meanwhile; the turn is still completed.
    closed: &'a mut bool,
}

impl Mail<'_> {
    /// Takes the waiting follow-ups. They count as consumed by this turn.
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

    /// Takes the pictures of the turn's prompts so far, each once.
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

/// Runs a provider: a turn for the first prompt, then a turn for all waiting follow-ups, until `_close`.
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

/// Makes the output of a failed turn.
pub fn failure(reason: String) -> Output {
    Output { status: Status::Error, error: Some(reason), error_kind: Some(ErrorKind::Other), ..Output::default() }
}

/// Makes the output of a turn that would fail again, whatever the retry.
pub fn refused(reason: String) -> Output {
    Output { error_kind: Some(ErrorKind::Refused), ..failure(reason) }
}
