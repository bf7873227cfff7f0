//! One turn: asks the model, runs the tools that it calls, sends their results, until it calls no more.

use chrono::Utc;
use genai::chat::ChatMessage;
use parlor_protocol::{ErrorKind, ImageAttachment, Output};
use serde_json::Value;

use super::compact;
use super::ending::Ending;
use super::fault::{Fault, Remedy};
use super::hooks::Hooks;
use super::model::{Answer, Model, Offer};
use super::pictures;
use super::session::{Entry, Session};
use super::settings::Settings;
use super::tools::Tools;
use super::whole::{Next, Troubles, speaks};
use crate::host;
use crate::provider::{Mail, Room};

/// Sent to the chat if a turn reached its limit of steps, which replaces `{}`.
const OUT_OF_STEPS: &str = "(I had to stop after {} steps, the most of one turn. Write again, and I go on.)";
/// Sent to the model when the turn has used up its steps.
const ENOUGH: &str =
    "[You have used up the steps of this turn. Say now, without tools, what is done and what is left.]";

/// The result of a call with incomplete arguments.
const HALF: &str =
    "Error: the arguments of this call are not a whole JSON object, so it was not carried out. Call it again.";
/// Sent to the chat once if the model takes no tools.
const TOOLLESS: &str = "cannot call tools: I answer without them, so I can neither run commands nor keep files or reminders. \
                        Another model is chosen with `parlor groups update FOLDER --model NAME`.";

/// A turn in progress.
pub struct Turn<'a> {
    pub(super) room: &'a Room,
    pub(super) settings: &'a Settings,
    pub(super) system: String,
    pub(super) model: &'a mut Model,
    pub(super) tools: &'a mut Tools,
    pub(super) session: &'a mut Session,
    /// Tokens that the server read, and the estimate of those sent, if it read far fewer.
    pub(super) cut: Option<(usize, usize)>,
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Turn<'_> {
    /// Answers the prompts. The output has only text, usage and cost.
    pub async fn run(mut self, prompts: &[String], first: bool, mail: &mut Mail<'_>) -> Result<Output, Fault> {
        let hooks = Hooks::new(self.room, &self.settings.common);
        self.model.begin_turn();
        let again = self.session.begin_turn();
        self.session.entries.push(self.opening(prompts, first, again, mail.pictures()));
        self.save()?;
        // A task may have nothing to report.
        let silent = self.room.input.is_scheduled_task;
        let (mut steps, mut held, mut troubles) = (0, false, Troubles::default());
        let text = loop {
            let more = mail.take();
            if !more.is_empty() {
                self.session.entries.push(Entry::user(more.join("\n"), mail.pictures()));
                self.save()?;
            }
            steps += 1;
            let last = steps >= self.settings.max_steps;
            if last {
                self.session.entries.push(Entry::user(ENOUGH, Vec::new()));
            }
            let answer = self.ask(last).await?;
            let text = answer.content.joined_texts().unwrap_or_default();
            let whole = answer.ending == Ending::Whole;
            let calls: Vec<_> = answer.content.tool_calls().into_iter().filter(|_| whole).cloned().collect();
            if !calls.is_empty() || !text.trim().is_empty() {
                self.session.entries.push(Entry::assistant(if whole { answer.content } else { text.clone().into() }));
            }
            match troubles.next(&answer.ending, &text, !calls.is_empty(), last) {
                Next::Ask(why) => {
                    self.session.entries.push(Entry::user(why, Vec::new()));
                    self.save()?;
                    continue;
                }
                Next::Say(_) if silent && text.trim().is_empty() && whole => break String::new(),
                Next::Say(text) => break text,
                Next::GoOn => {}
            }
            let text = format!("{}{text}", troubles.said);
            // A turn of one step has no tools at all, and its end needs no notice.
            if last && (steps > 1 || text.trim().is_empty()) {
                let told = OUT_OF_STEPS.replace("{}", &steps.to_string());
                break format!("{}\n\n{told}", text.trim());
            }
            if last {
                break text;
            }
            if calls.is_empty() {
                let Some(why) = hooks.at_end(text.trim(), held).filter(|_| !held) else { break text };
                // Once per turn: a hook that always refuses would never let it end.
                held = true;
                self.session.entries.push(Entry::user(format!("[A hook of the group says: {why}]"), Vec::new()));
            }
            self.save()?;
            for call in &calls {
                let result = if answer.half.contains(&call.call_id) {
                    HALF.to_owned()
                } else {
                    self.call(&hooks, &call.fn_name, &call.fn_arguments).await
                };
                troubles.spoke |= speaks(&call.fn_name, &call.fn_arguments) && !result.starts_with("Error: ");
                self.session.answer(call, result);
                self.save()?;
            }
        };
        self.session.end_turn();
        let notes = self.notes();
        self.save()?;
        let parts: Vec<&str> = std::iter::once(text.trim()).chain(notes.iter().map(String::as_str)).collect();
        let text = parts.join("\n\n");
        let text = text.trim();
        Ok(Output {
            result: (!text.is_empty()).then(|| text.to_owned()),
            usage: Some(self.model.usage()),
            cost_usd: self.model.cost(),
            ..Output::default()
        })
    }

    /// Returns the notices about the model for the chat, each once per conversation.
    fn notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.model.takes_tools() && self.session.tell("tools") {
            notes.push(format!("({} {TOOLLESS})", capital(&self.model.name())));
        }
        if let Some((read, sent)) = self.cut
            && self.session.tell("context")
        {
            notes.push(format!(
                "({} read only {read} of about {sent} tokens: its context is too small, so it has not seen all of this \
                 conversation. Give it a larger one, on Ollama with OLLAMA_CONTEXT_LENGTH; from now on I keep the \
                 conversation short enough.)",
                capital(&self.model.name())
            ));
        }
        notes
    }

    /// Calls a tool, unless a hook refuses it.
    async fn call(&mut self, hooks: &Hooks<'_>, name: &str, args: &Value) -> String {
        if let Err(why) = hooks.before(name, args) {
            return why;
        }
        let result = self.tools.call(name, args).await;
        match hooks.after(name, args, &result) {
            Some(said) => format!("{result}\n[A hook of the group says: {said}]"),
            None => result,
        }
    }

    fn save(&self) -> Result<(), Fault> {
        let failed = |error| Fault::new(ErrorKind::Other, format!("The conversation cannot be saved: {error}"));
        self.session.save().map_err(failed)
    }

    /// Makes the first message of the turn, with the facts that the model must know.
    fn opening(&self, prompts: &[String], first: bool, again: bool, images: Vec<ImageAttachment>) -> Entry {
        let mut text = format!("[{}]\n", host::now_told(Utc::now(), host::zone()));
        if again {
            text.push_str(
                "[Your work above was interrupted, and what it was for comes again. Go on from there: look at what is done \
                 before you do it once more.]\n",
            );
        }
        let resumed = &self.room.input.resumed;
        if first && !resumed.is_empty() {
            text.push_str("[An earlier try of these messages already sent this to the chat; do not say it again:\n");
            for sent in resumed {
                text.extend([sent.as_str(), "\n"]);
            }
            text.push_str("]\n");
        }
        text.push_str(&prompts.join("\n"));
        Entry::user(text, images)
    }

    /// Asks the model after shortening the conversation as needed; if the vendor still finds it too long, asks once
    /// more. In a turn's last request the model may not call tools.
    async fn ask(&mut self, last: bool) -> Result<Answer, Fault> {
        let mut budget = self.model.budget(self.settings);
        let (mut compacted, mut images) = (false, true);
        loop {
            if self.size() > budget {
                self.compact(budget).await?;
            }
            let estimate = self.estimate();
            let tools = self.tools.offered();
            let offer = if last { Offer::Shown(tools) } else { Offer::Free(tools) };
            let fault = match self.model.ask(&self.system, self.messages(images), offer).await {
                Ok(answer) => {
                    if let Some(counted) = answer.prompt_tokens {
                        self.model.learn(estimate, counted);
                        // Vendors count pictures differently.
                        let sent = estimate - compact::pictures(&self.session.entries);
                        if self.model.was_cut(sent, counted) {
                            self.cut = Some((counted, sent));
                        }
                    }
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            match fault.remedy {
                Remedy::NoImages | Remedy::Smaller if images && self.has_images() => images = false,
                Remedy::NoTools if self.model.takes_tools() && !tools.is_empty() => self.model.go_without_tools(),
                Remedy::Compact | Remedy::Smaller if !compacted => {
                    compacted = true;
                    budget = self.size() / 2;
                }
                _ => return Err(self.archived(fault)),
            }
        }
    }

    /// Archives the conversation if the host is about to forget it.
    fn archived(&self, fault: Fault) -> Fault {
        let before = &self.session.entries[..self.session.open_turn.unwrap_or(0).min(self.session.entries.len())];
        if fault.kind == ErrorKind::SessionRefused
            && !before.is_empty()
            && let Err(error) = compact::archive(&self.room.folders.group, &self.room.session, before, Utc::now())
        {
            eprintln!("the conversation cannot be archived: {error}");
        }
        fault
    }

    /// Estimates the tokens of a request, from the vendor's earlier counts.
    fn size(&self) -> usize {
        self.model.scaled(self.estimate())
    }

    fn estimate(&self) -> usize {
        let tools = self.tools.offered().iter().map(|spec| spec.about.len() + spec.schema.to_string().len());
        compact::estimate_all(&self.session.entries) + (self.system.len() + tools.sum::<usize>()).div_ceil(4)
    }

    /// Replaces the older part of the conversation with a summary, after archiving it in full.
    async fn compact(&mut self, budget: usize) -> Result<(), Fault> {
        let Some(count) = compact::split(&self.session.entries, budget) else { return Ok(()) };
        let old = self.session.entries[..count].to_vec();
        if let Err(error) = compact::archive(&self.room.folders.group, &self.room.session, &old, Utc::now()) {
            eprintln!("the older part of the conversation cannot be archived: {error}");
        }
        let record = compact::record(&old, budget / 2);
        let summary = match self.model.ask(compact::INSTRUCTION, vec![ChatMessage::user(record)], Offer::Nothing).await
        {
            Ok(answer) => answer.content.joined_texts().filter(|text| !text.trim().is_empty()),
            // If the model cannot be asked at all, the turn's own request reports it.
            Err(fault) if fault.kind == ErrorKind::Other && fault.remedy == Remedy::None => {
                eprintln!("the older part of the conversation cannot be summarised: {}", fault.text);
                None
            }
            Err(fault) => return Err(fault),
        };
        let summary =
            summary.unwrap_or_else(|| "(It could not be summarised. Read it there where you need it.)".to_owned());
        compact::replace(self.session, count, &summary);
        self.save()
    }

    fn has_images(&self) -> bool {
        self.session.entries.iter().any(|entry| !entry.images.is_empty())
    }

    /// Returns the conversation as it is sent, with its newest pictures.
    fn messages(&self, images: bool) -> Vec<ChatMessage> {
        let mut room = if images { pictures::Room::new() } else { pictures::Room::none() };
        let one = |entry: &Entry| {
            let mut message = entry.message.clone();
            for image in entry.images.iter().rev() {
                message.content.push(room.part(&self.room.folders.group, image));
            }
            message
        };
        let mut messages: Vec<ChatMessage> = self.session.entries.iter().rev().map(one).collect();
        messages.reverse();
        messages
    }
}
