//! A live run as its group sees it: the messages it answers, the texts it sent, and what its outputs mean for the
//! store. Pure; ids and time are passed in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parlor_protocol::session_id;
use parlor_protocol::{ErrorKind, Output, Status};

use super::failure::Failure;
use super::fallback::Answering;
use super::machine::Ids;
use super::steps::Step;
use crate::container::run::inputs;
use crate::container::run::turn::Settled;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::event::TurnState;
use crate::domain::group::ContainerConfig;
use crate::domain::ids::{ChatJid, GroupFolder, RunId, TaskId};
use crate::domain::message::{Batch, InboundState, Role};
use crate::domain::task::FireState;
use crate::domain::text;
use crate::store::sessions;
use crate::store::tasks::FireEnd;

/// The number of characters of a task's result that its history keeps.
const RESULT_KEPT: usize = 500;

/// The work that a run is for.
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

/// A message that was given to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// Its sequence number.
    pub seq: i64,
    /// The number of failed tries before this one.
    pub tries: u32,
}

/// The consequences of an agent's outputs.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Stored in one transaction.
    pub steps: Vec<Step>,
    /// The messages of a failed turn, and the failure.
    pub failed: Option<(Vec<Given>, Failure)>,
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub run: RunId,
    pub folder: GroupFolder,
    pub jid: ChatJid,
    pub work: Work,
    /// True if the group was main when the run started.
    pub is_main: bool,
    /// When its group was registered: one that was removed and registered again is another group.
    pub registered: DateTime<Utc>,
    /// The group's settings when the run started.
    pub config: ContainerConfig,
    /// True if the group keeps the sessions of this run.
    pub keeps_session: bool,
    /// The provider that answers; sessions are kept per provider.
    pub provider: &'static str,
    /// The provider, and whether it is a fallback.
    pub answering: Answering,
    /// The error of a failed turn; the room then closes.
    pub failed: Option<String>,
    /// True if the run resumed or has stored a session.
    pub had_session: bool,
    /// True if the end of the task's firing is stored, or the firing waits again.
    pub fire_ended: bool,
    /// True while a turn is open.
    pub open: bool,
    /// True if the open turn has already sent a text.
    pub said: bool,
    /// The last text it sent.
    pub last_text: Option<String>,
    /// An error that the agent reported, for a task.
    pub last_error: Option<String>,
    /// The first prompt's messages, until they are settled.
    prompt: Vec<Given>,
    /// Messages of follow-ups by input file, until they are settled.
    inputs: BTreeMap<String, Vec<Given>>,
    next_input: u64,
    /// The platform id of the message that replies refer to.
    reply_to: Option<String>,
    /// The outbox position up to which its prompts repeated texts from outside its session.
    pub told: i64,
    /// Runs whose open turns this one takes over.
    resumed: Vec<RunId>,
    /// The session id of the open turn; stored when the turn ends well.
    session: Option<String>,
    /// True if an unusable session id was logged.
    unfit_session: bool,
}

impl Conversation {
    /// A run that starts with a batch, or with a task's prompt and an empty batch.
    pub(super) fn new(run: RunId, folder: GroupFolder, jid: ChatJid, work: Work, keeps_session: bool) -> Self {
        Self {
            run,
            folder,
            jid,
            work,
            is_main: false,
            registered: DateTime::UNIX_EPOCH,
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

    /// Notes the first prompt's messages.
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

    /// Keeps no session of this run from now on, not even the open turn's.
    pub(super) fn forget_session(&mut self) {
        self.keeps_session = false;
        self.session = None;
    }

    /// Returns the step for a resumed session that does not exist: the provider's next session starts anew.
    pub(super) fn lose_session(&self) -> Step {
        Step::LoseSession { folder: self.folder.clone(), provider: self.provider }
    }

    /// The name of the next input file.
    pub(super) fn next_name(&mut self) -> String {
        self.next_input += 1;
        inputs::file_name(self.next_input)
    }

    /// Notes the messages of a follow-up.
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

    /// Takes all messages that no turn has settled.
    pub(super) fn take_unsettled(&mut self) -> Vec<Given> {
        let mut all = std::mem::take(&mut self.prompt);
        all.extend(std::mem::take(&mut self.inputs).into_values().flatten());
        all
    }

    /// Takes the unsettled messages when the run ends: (messages that the agent took, messages that it never saw).
    pub(super) fn take_rest(&mut self, taken: &[String]) -> (Vec<Given>, Vec<Given>) {
        let mut had = std::mem::take(&mut self.prompt);
        let mut untouched = Vec::new();
        for (name, given) in std::mem::take(&mut self.inputs) {
            if taken.contains(&name) { had.extend(given) } else { untouched.extend(given) }
        }
        (had, untouched)
    }

    /// Returns true if the first prompt is not settled.
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

    /// Handles an output: adds the steps to store, and the failure if a turn failed.
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
            // Stored with the answer, so that after a crash during the linger the firing does not count as
            // interrupted.
            let end = FireEnd { state: FireState::Done, result: self.last_text.clone(), error: None };
            to.steps.push(Step::FireEnd { task: task.clone(), due: *due, jid: self.jid.clone(), end });
        }
    }

    /// Handles an unreadable last output of a turn. The answer is lost; the turn is not repeated, because its work
    /// would be done twice.
    pub(super) fn unreadable(&mut self, why: &str, settled: &Settled, open: bool, ids: &Ids, to: &mut Effects) {
        self.open = open;
        let text = format!("The answer could not be read: {why}. Ask again if you need it.");
        to.steps.push(self.say(text, DeliveryKind::Notice, false, ids));
        self.last_error.get_or_insert_with(|| why.to_owned());
        let given = self.take(settled);
        self.settle(&given, InboundState::Failed, TurnState::Failed, Some(why.to_owned()), to);
    }

    /// Notes the session id, unless it is unfit: ids become parts of command lines and file names.
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

    /// Drops the open turn's session id, because the turn failed.
    pub(super) fn drop_session(&mut self) {
        self.session = None;
    }

    /// Settles a turn that ended well, or that counts as ended.
    pub(super) fn settle(
        &mut self,
        given: &[Given],
        state: InboundState,
        turn: TurnState,
        reason: Option<String>,
        to: &mut Effects,
    ) {
        if let Some(id) = self.session.take() {
            // The room's next turns continue this session.
            self.had_session = true;
            // Only the last session id of a transaction counts.
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

    /// Returns the step that sends a text to the chat.
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
