//! A live run as its group sees it: whom it answers, what it said, and what its outputs mean for the store. Pure but
//! for ids and time, which are passed in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parlor_protocol::session_id;
use parlor_protocol::{ErrorKind, Output, Status};

use super::failure::Failure;
use super::fallback::Answering;
use super::machine::Ids;
use super::steps::Step;
use crate::container::inputs;
use crate::container::turn::Settled;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::event::TurnState;
use crate::domain::group::ContainerConfig;
use crate::domain::ids::{ChatJid, GroupFolder, RunId, TaskId};
use crate::domain::message::{Batch, InboundState, Role};
use crate::domain::task::FireState;
use crate::domain::text;
use crate::store::sessions;
use crate::store::tasks::FireEnd;

/// Characters of a task's result that its history keeps.
const RESULT_KEPT: usize = 500;

/// Whom a run works for.
#[derive(Debug)]
pub(super) enum Work {
    /// Messages of the chat.
    Messages,
    /// One firing of a task.
    Task {
        /// The task.
        task: TaskId,
        /// The due time.
        due: DateTime<Utc>,
    },
}

/// A message that was given to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// Its sequence number.
    pub seq: i64,
    /// Failed tries before this one.
    pub tries: u32,
}

/// What an agent's outputs lead to.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To be stored together.
    pub steps: Vec<Step>,
    /// A turn failed: what it had, and how.
    pub failed: Option<(Vec<Given>, Failure)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The run.
    pub run: RunId,
    /// The group's folder.
    pub folder: GroupFolder,
    /// The chat.
    pub jid: ChatJid,
    /// Whom it works for.
    pub work: Work,
    /// True if the group was main when the run started.
    pub is_main: bool,
    /// The group's settings when the run started.
    pub config: ContainerConfig,
    /// True if sessions of this run are the group's.
    pub keeps_session: bool,
    /// Who answers: its sessions are its own.
    pub provider: &'static str,
    /// The same, with who stands in.
    pub answering: Answering,
    /// Why a turn failed; the room is asked to close with it.
    pub failed: Option<String>,
    /// The run resumed a session.
    pub had_session: bool,
    /// The task's firing is stored as done, or as waiting again.
    pub fire_ended: bool,
    /// A turn is open.
    pub open: bool,
    /// Something was sent in the open turn.
    pub said: bool,
    /// The last text it sent.
    pub last_text: Option<String>,
    /// An error it reported, for a task.
    pub last_error: Option<String>,
    /// The first prompt's messages, until they are settled.
    prompt: Vec<Given>,
    /// Messages by input file, until they are settled.
    inputs: BTreeMap<String, Vec<Given>>,
    next_input: u64,
    /// The message that replies answer.
    reply_to: Option<String>,
    /// Up to where in the outbox its prompts told what was said outside its session.
    pub told: i64,
    /// Runs whose open turns this one takes over.
    resumed: Vec<RunId>,
    /// A session id of the open turn; stored when the turn ends well.
    session: Option<String>,
    /// The log knows that the agent names sessions that cannot be.
    unfit_session: bool,
}

impl Conversation {
    /// A run that starts with a batch, or with a task's prompt (an empty batch).
    pub(super) fn new(run: RunId, folder: GroupFolder, jid: ChatJid, work: Work, keeps_session: bool) -> Self {
        Self {
            run,
            folder,
            jid,
            work,
            is_main: false,
            config: ContainerConfig::default(),
            keeps_session,
            provider: sessions::ANY,
            answering: Answering::default(),
            failed: None,
            had_session: false,
            fire_ended: false,
            open: true,
            said: false,
            last_text: None,
            last_error: None,
            prompt: Vec::new(),
            inputs: BTreeMap::new(),
            next_input: 0,
            reply_to: None,
            told: 0,
            resumed: Vec::new(),
            session: None,
            unfit_session: false,
        }
    }

    /// The first prompt's messages.
    pub(super) fn begin(&mut self, batch: &Batch) {
        self.prompt = given(batch);
        self.note(batch);
        for message in &batch.messages {
            if let Some(run) = message.run_id
                && !self.resumed.contains(&run)
            {
                self.resumed.push(run);
            }
        }
    }

    /// No session of this run is kept any more, not even one that its open turn has told.
    pub(super) fn forget_session(&mut self) {
        self.keeps_session = false;
        self.session = None;
    }

    /// The session that the run resumed is not there: the provider's next one begins anew.
    pub(super) fn lose_session(&self) -> Step {
        Step::LoseSession { folder: self.folder.clone(), provider: self.provider }
    }

    /// The name of the next input file.
    pub(super) fn next_name(&mut self) -> String {
        self.next_input += 1;
        inputs::file_name(self.next_input)
    }

    /// A follow-up's messages.
    pub(super) fn follow_up(&mut self, name: &str, batch: &Batch) {
        self.inputs.insert(name.to_owned(), given(batch));
        self.note(batch);
        self.open = true;
    }

    fn note(&mut self, batch: &Batch) {
        if let Some(last) = batch.messages.iter().rfind(|m| m.role == Role::Trigger) {
            self.reply_to = Some(last.platform_id.clone());
        }
    }

    /// Everything that no turn has settled.
    pub(super) fn take_unsettled(&mut self) -> Vec<Given> {
        let mut all = std::mem::take(&mut self.prompt);
        all.extend(std::mem::take(&mut self.inputs).into_values().flatten());
        all
    }

    /// The same at the end of a run, apart: what the agent had, and what it never took.
    pub(super) fn take_rest(&mut self, taken: &[String]) -> (Vec<Given>, Vec<Given>) {
        let mut had = std::mem::take(&mut self.prompt);
        let mut untouched = Vec::new();
        for (name, given) in std::mem::take(&mut self.inputs) {
            if taken.contains(&name) { had.extend(given) } else { untouched.extend(given) }
        }
        (had, untouched)
    }

    /// The first prompt is not settled.
    pub(super) fn prompt_open(&self) -> bool {
        !self.prompt.is_empty() || (matches!(self.work, Work::Task { .. }) && self.last_text.is_none())
    }

    fn take(&mut self, settled: &Settled) -> Vec<Given> {
        let mut all = if settled.prompt { std::mem::take(&mut self.prompt) } else { Vec::new() };
        for name in &settled.inputs {
            all.extend(self.inputs.remove(name).unwrap_or_default());
        }
        all
    }

    /// An output: what is to be stored, and whether a turn failed with it.
    pub(super) fn output(
        &mut self,
        output: Output,
        settled: Option<&Settled>,
        open: bool,
        ids: &Ids,
        to: &mut Effects,
    ) {
        self.open = open;
        if let Some(id) = output.new_session_id.filter(|_| self.keeps_session) {
            self.note_session(id);
        }
        let failed = output.status == Status::Error;
        if let Some(said) = output.result.map(text::strip_internal_owned).filter(|t| !t.trim().is_empty()) {
            if failed {
                self.last_error.get_or_insert(said);
            } else {
                to.steps.push(self.say(said, DeliveryKind::Reply, settled.is_none(), ids));
                self.said |= settled.is_none();
            }
        }
        let Some(settled) = settled else { return };
        let seqs = self.take(settled);
        if failed {
            self.session = None;
            let error = output.error.or_else(|| self.last_error.take()).unwrap_or_else(|| "no reason was given".into());
            let kind = output.error_kind.unwrap_or(ErrorKind::Other);
            let retry_at = output.retry_at.and_then(|t| DateTime::parse_from_rfc3339(&t).ok()).map(|t| t.to_utc());
            to.failed = Some((seqs, Failure { kind, error, retry_at }));
            return;
        }
        self.settle(&seqs, InboundState::Done, TurnState::Done, None, to);
        if let Work::Task { task, due } = &self.work
            && !std::mem::replace(&mut self.fire_ended, true)
        {
            // With its answer: a host that dies while the room lingers must not call it interrupted.
            let end = FireEnd { state: FireState::Done, result: self.last_text.clone(), error: None };
            to.steps.push(Step::FireEnd { task: task.clone(), due: *due, jid: self.jid.clone(), end });
        }
    }

    /// The last output of a turn, which cannot be read: its answer is lost, and another try would do the turn's work
    /// twice.
    pub(super) fn unreadable(&mut self, why: &str, settled: &Settled, open: bool, ids: &Ids, to: &mut Effects) {
        self.open = open;
        let text = format!("The answer could not be read: {why}. Ask again if you need it.");
        to.steps.push(self.say(text, DeliveryKind::Notice, false, ids));
        self.last_error.get_or_insert_with(|| why.to_owned());
        let given = self.take(settled);
        self.settle(&given, InboundState::Failed, TurnState::Failed, Some(why.to_owned()), to);
    }

    /// What cannot be an id is none: it comes back as a part of command lines and of file names.
    fn note_session(&mut self, id: String) {
        if session_id::is_fit(&id) {
            self.session = Some(id);
        } else if !std::mem::replace(&mut self.unfit_session, true) {
            let start: String = id.chars().take(40).collect();
            tracing::warn!(
                "{}: the agent of run {} names a session {start:?} ({} bytes), which is not kept: an id is {}",
                self.folder,
                self.run,
                id.len(),
                session_id::FIT
            );
        }
    }

    /// A session id that the open turn told is not kept: the turn failed.
    pub(super) fn drop_session(&mut self) {
        self.session = None;
    }

    /// A turn ended well, or is to count as ended.
    pub(super) fn settle(
        &mut self,
        given: &[Given],
        state: InboundState,
        turn: TurnState,
        reason: Option<String>,
        to: &mut Effects,
    ) {
        if let Some(id) = self.session.take() {
            // What comes next in this room goes on with it.
            self.had_session = true;
            // Of many ids in one transaction only the last one counts.
            to.steps.retain(|s| !matches!(s, Step::Session { .. }));
            to.steps.push(Step::Session { folder: self.folder.clone(), provider: self.provider, id });
        }
        let mut runs = vec![self.run];
        runs.append(&mut self.resumed);
        to.steps.push(Step::CloseTurn(runs));
        if self.told > 0 && state == InboundState::Done {
            to.steps.push(Step::Told { jid: self.jid.clone(), seq: self.told });
        }
        self.said = false;
        if let Some(through_seq) = given.iter().map(|g| g.seq).max() {
            to.steps.push(Step::Settle { seqs: given.iter().map(|g| g.seq).collect(), state });
            to.steps.push(Step::Turn { jid: self.jid.clone(), state: turn, through_seq, reason });
        }
    }

    /// A text for the chat.
    pub(super) fn say(&mut self, text: String, kind: DeliveryKind, turn_open: bool, ids: &Ids) -> Step {
        if kind == DeliveryKind::Reply {
            self.last_text = Some(text.chars().take(RESULT_KEPT).collect());
        }
        let new = NewDelivery {
            id: ids.delivery(),
            jid: self.jid.clone(),
            text,
            sender: None,
            reply_to: self.reply_to.clone(),
            file: None,
            kind,
            run_id: Some(self.run),
        };
        Step::Say { new, turn_open }
    }
}

fn given(batch: &Batch) -> Vec<Given> {
    batch.messages.iter().map(|m| Given { seq: m.seq, tries: m.tries }).collect()
}
