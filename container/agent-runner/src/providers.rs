//! The providers of this runner, by name.

use std::path::PathBuf;
use std::process::ExitCode;

use parlor_protocol::inputs::Inputs;
use parlor_protocol::session_id;
use parlor_protocol::{ErrorKind, Output, Status};

use crate::agent_toml::Notices;
use crate::claude::Claude;
use crate::codex::Codex;
use crate::exec::Exec;
use crate::gemini::Gemini;
use crate::guide::Guide;
use crate::live::driver;
use crate::llm::Llm;
use crate::provider::{Mail, Provider, Room, failure, refused, serve};

/// The provider of a run that names none.
pub const DEFAULT: &str = "guide";

/// Runs the provider of this name from the first prompt to `_close`.
pub fn run(name: &str, room: Room, inputs: Inputs) -> ExitCode {
    if let Some(foreign) = foreign_session(name, &room) {
        return serve(foreign, &room, inputs);
    }
    match name {
        "guide" => serve(WithNotices::new(Guide::new(room.clone()), &room), &room, inputs),
        "exec" => serve(WithNotices::new(Exec::new(room.clone()), &room), &room, inputs),
        "llm" => serve(Llm::new(room.clone()), &room, inputs),
        "claude" => driver::run::<Claude>(room, inputs),
        "codex" => driver::run::<Codex>(room, inputs),
        "gemini" => driver::run::<Gemini>(room, inputs),
        other => serve(Unknown(other.to_owned()), &room, inputs),
    }
}

/// A provider that reads no `agent.toml` itself: of the file, it tells what the host did not follow.
struct WithNotices<P> {
    inner: P,
    notices: Notices,
}

impl<P> WithNotices<P> {
    fn new(inner: P, room: &Room) -> Self {
        let notes = room.input.agent_may.as_ref().map(|may| may.notes.clone()).unwrap_or_default();
        let kept = std::env::var_os("HOME").map_or_else(|| "/home/node".into(), PathBuf::from).join(".claude");
        Self { inner, notices: Notices::of(&notes, &kept) }
    }
}

impl<P: Provider> Provider for WithNotices<P> {
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

fn foreign_session(provider: &str, room: &Room) -> Option<ForeignSession> {
    let id = room.input.session_id.as_deref()?;
    let shown: String = id.chars().take(40).collect();
    (!session_id::is_usable(provider, id)).then(|| ForeignSession(format!("{shown:?} is no session of {provider}")))
}

impl Provider for ForeignSession {
    fn answer(&mut self, _: &[String], _: &mut Mail<'_>) -> Output {
        Output { error_kind: Some(ErrorKind::SessionMissing), ..failure(self.0.clone()) }
    }
}
