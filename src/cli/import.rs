//! `parlor import`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Done;
use super::output::{harmless, has_progress, say, say_json};
use crate::config::settings::Settings;
use crate::container::engine::user;
use crate::domain::clock::{SharedClock, SystemClock};
use crate::import::{self, Kind, Options, Outcome, Report, Step};
use crate::safe_dir::Owner;

/// Items of one kind that are shown to people.
const MAX_SHOWN: usize = 20;

/// Take over an installation of NanoClaw v1, without changing it
///
/// Takes groups, sessions, tasks with their history, messages, groups' folders, agents' homes, allowlists and the keys
/// that Parlor knows. What is here already is never replaced; an import that was broken off is completed by the same
/// command, and one that is complete changes nothing when it is repeated. No host may run meanwhile; stop NanoClaw
/// first, so that its last changes come along.
///
/// Parlor has channels for tty: and web: chats. Chats of WhatsApp, Telegram and other platforms are kept with
/// everything that belongs to them, and wait for a channel: what their agents write stays in the outbox until then.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "shown to people as it is")]
pub(super) struct Import {
    /// NanoClaw's folder, with groups/, store/ and data/
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Where NanoClaw's allowlists lie [default: ~/.config/nanoclaw]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        let options = Options {
            source: self.from,
            config: self.config.or_else(|| Some(settings.user_home.as_ref()?.join(".config/nanoclaw"))),
            dry_run: self.dry_run,
            owner: rustix::process::getuid().is_root().then(|| {
                let user::SudoIds { uid, gid } = user::under_root(user::sudo_ids());
                Owner { uid, gid }
            }),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let bar = has_progress().then(bar);
        let progress = |step: Step<'_>| {
            if let Some(bar) = &bar {
                bar.set_length(step.of);
                bar.set_position(step.done);
                bar.set_message(harmless(&step.path.to_string_lossy()).into_owned());
            }
        };
        let report = import::run(&options, settings, &clock, &progress).await;
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        let report = report?;
        if self.json { say_json(&serde_json::to_value(&report)?) } else { say(&harmless(&text(&report))) }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {bytes}/{total_bytes} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Group, "groups"),
    (Kind::Session, "sessions"),
    (Kind::Task, "tasks"),
    (Kind::Firing, "task history"),
    (Kind::Message, "messages"),
    (Kind::Chat, "chats"),
    (Kind::File, "files"),
    (Kind::Allowlist, "allowlists"),
    (Kind::Key, "keys of .env"),
];

fn text(report: &Report) -> String {
    let (source, home) = (report.source.display(), report.home.display());
    let mut out = if report.dry_run {
        format!("A dry run: this would come from {source} to {home}, and nothing was changed.\n")
    } else {
        format!("From {source} to {home}:\n")
    };
    for (kind, name) in KINDS {
        let count = |outcome| report.count(kind, outcome);
        let (taken, here, left) = (count(Outcome::Taken), count(Outcome::Present), count(Outcome::LeftOut));
        if taken + here + left > 0 {
            let _ = writeln!(out, "  {name:<13} {taken} taken, {here} here already, {left} left out");
        }
    }
    for (outcome, heading) in
        [(Outcome::Taken, "Taken"), (Outcome::Changed, "Taken, but not as it was"), (Outcome::LeftOut, "Left out")]
    {
        let mut begun = false;
        for (kind, name) in KINDS {
            let items: Vec<_> = report.items.iter().filter(|i| i.kind == kind && i.outcome == outcome).collect();
            for item in items.iter().take(MAX_SHOWN) {
                if !std::mem::replace(&mut begun, true) {
                    let _ = writeln!(out, "\n{heading}:");
                }
                let count = if item.count > 1 { format!(" ({})", item.count) } else { String::new() };
                let colon = if item.detail.is_empty() { "" } else { ": " };
                let _ = writeln!(out, "  {name}: {}{count}{colon}{}", one_line(&item.name), one_line(&item.detail));
            }
            if items.len() > MAX_SHOWN {
                let _ = writeln!(out, "  {name}: and {} more lines, see --json", items.len() - MAX_SHOWN);
            }
        }
    }
    if !report.todo.is_empty() {
        out.push_str("\nTo do:\n");
        for todo in &report.todo {
            let _ = writeln!(out, "  - {}", one_line(todo));
        }
    }
    out
}

/// Puts a name on one line: it may be any text.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}
