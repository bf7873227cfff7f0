//! A temporary installation with one group, in a folder that is removed afterwards.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use parlor_protocol::RunInput;
use secrecy::{ExposeSecret, SecretString};

use super::Options;
use super::desk::{self, Counter, Desk};
use super::room::Room;
use super::seen::Asked;
use super::tap::{Ears, Tap};
use crate::agent;
use crate::config::home::Home;
use crate::config::provider;
use crate::config::proxies;
use crate::config::secrets::{self, Redactor};
use crate::config::settings::Settings;
use crate::container::engine::ContainerEngine;
use crate::container::engine::spec::User;
use crate::container::engine::user;
use crate::container::mounts::masks::Masks;
use crate::container::mounts::{self, Room as Plan};
use crate::container::run;
use crate::container::run::inputs::Inputs;
use crate::container::run::timers::Limits;
use crate::dispatch::format_prompt;
use crate::domain::clock::{SharedClock, SystemClock, rfc3339};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::message::{Batch, Inbound, InboundState, Role};
use crate::domain::run::AgentNeeds;
use crate::policy::mounts::MountRules;
use crate::safe_dir::{Owner, SafeDir};

/// A user id that no image's passwd has.
const FOREIGN: u32 = 54_321;
/// The user id that most images have.
const NODE: u32 = 1000;
const FOLDER: &str = "conformance";
/// The checks have timers of their own, which must expire before the host's.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// The installation, its engine, and the options of the check.
pub(super) struct House {
    engine: Arc<dyn ContainerEngine>,
    clock: SharedClock,
    settings: Settings,
    options: Options,
    group: Group,
    user: User,
    instance: String,
    secrets: BTreeMap<String, SecretString>,
    counter: Counter,
}

/// Formats a message as the host does.
pub(super) fn prompt(text: &str, jid: &ChatJid, clock: &SharedClock) -> String {
    let message = Inbound {
        seq: 1,
        jid: jid.clone(),
        platform_id: String::new(),
        sender: "conformance".into(),
        sender_name: "conformance".into(),
        text: text.to_owned(),
        attachments: Vec::new(),
        quoted: None,
        sent_at: clock.now(),
        role: Role::Trigger,
        state: InboundState::Pending,
        run_id: None,
        input_name: None,
        tries: 0,
    };
    format_prompt(&Batch { messages: vec![message], omitted: 0 }, None)
}

impl House {
    /// Creates the folders.
    pub(super) fn build(
        engine: Arc<dyn ContainerEngine>,
        settings: &Settings,
        options: Options,
    ) -> anyhow::Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let instance = clock.ulid().to_string();
        let secrets =
            if options.secrets { secrets::read(&settings.home, &settings.secret_keys)? } else { BTreeMap::new() };
        let root = std::env::temp_dir().join(format!("parlor-conformance-{}", instance.to_lowercase()));
        fs::DirBuilder::new().mode(0o700).create(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let root = root.canonicalize()?;
        let process = rustix::process::getuid();
        let user = if process.is_root() {
            User { uid: FOREIGN, gid: FOREIGN, keep_id: false }
        } else {
            user::user_for(process.as_raw(), rustix::process::getgid().as_raw(), None, &engine.capabilities())
        };
        let mut settings = settings.clone();
        settings.home = Home::new(root);
        settings.image = Some(options.image.clone());
        let group = Group {
            folder: FOLDER.parse()?,
            jid: "web:conformance".parse()?,
            name: "Conformance".into(),
            trigger: None,
            requires_trigger: false,
            is_main: false,
            container_config: ContainerConfig::default(),
            created_at: clock.now(),
            paused: None,
        };
        let counter = Counter::default();
        Ok(Self { engine, clock, settings, options, group, user, instance, secrets, counter })
    }

    /// Replaces the agent's keys by these.
    pub(super) fn with_secrets(self, secrets: BTreeMap<String, SecretString>) -> Self {
        Self { secrets, ..self }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn user(&self) -> User {
        self.user
    }

    /// Returns true if this process may choose the agent's user: only root may.
    pub(super) fn may_be_another() -> bool {
        rustix::process::getuid().is_root()
    }

    /// Starts a run.
    pub(super) async fn open(&self, session: Option<String>) -> anyhow::Result<Room> {
        self.open_as(self.user, &self.group, session).await
    }

    /// Starts a run in another group's folders, as user 1000.
    pub(super) async fn open_as_node(&self) -> anyhow::Result<Room> {
        let user = User { uid: NODE, gid: NODE, keep_id: false };
        let group = Group { folder: "conformance-node".parse()?, ..self.group.clone() };
        self.open_as(user, &group, None).await
    }

    async fn open_as(&self, user: User, group: &Group, session: Option<String>) -> anyhow::Result<Room> {
        let (home, owner) = (&self.settings.home, owner_of(user));
        let agent = agent::prepare(home, &self.settings, group, owner).context("the agent's folders")?;
        let ipc = self.ipc(&group.folder, owner).context("the IPC folder")?;
        let run = RunId(self.clock.ulid());
        let inputs = Inputs::create(home, run, owner).context("the input folder")?;
        let rules = MountRules::from_file(Ok(None));
        let mut spec = mounts::run_spec(&Plan {
            name: format!("parlor-{}-{}", group.folder, run.to_string().to_lowercase()),
            run,
            image: self.options.image.clone(),
            instance: &self.instance,
            user,
            group,
            settings: &self.settings,
            agent: AgentNeeds { network: self.options.secrets, runner_src: agent.runner_src, home_folder: None },
            rules: &rules,
            masks: &Masks::default(),
            gateway: proxies::gateway(self.engine.name()),
        })?;
        spec.labels.insert("parlor.kind".into(), "conformance".into());
        let redactor = Redactor::of(&self.secrets);
        let plan = run::Plan {
            id: run,
            spec,
            input: self.input(group, run, session),
            inputs,
            limits: Limits { hard: NEVER, configured: NEVER, idle: NEVER, turn: NEVER, task: false },
            max_output: self.settings.max_output_bytes,
            max_log: self.settings.max_log_bytes,
            log_dir: home.runs(&group.folder),
            verbose: false,
            redact: Arc::new(move |text| match redactor.redact(text) {
                std::borrow::Cow::Owned(clean) => Some(clean),
                std::borrow::Cow::Borrowed(_) => None,
            }),
        };
        let ears = Ears::default();
        let tap = Tap { engine: self.engine.clone(), ears: ears.clone(), limit: self.settings.max_output_bytes };
        let (handle, events) = run::start(Arc::new(tap), &self.clock, plan).await?;
        Ok(Room {
            handle,
            events,
            ears,
            inputs: home.input(run),
            jid: group.jid.clone(),
            clock: self.clock.clone(),
            desk: Desk::open(ipc, owner, self.counter.clone()),
            waiting: std::collections::VecDeque::new(),
            outcome: None,
            count: 0,
        })
    }

    fn input(&self, group: &Group, run: RunId, session: Option<String>) -> RunInput {
        let provider = match self.settings.provider.as_str() {
            provider::AUTO if self.options.secrets => provider::IMAGE,
            provider::AUTO => provider::GUIDE,
            name => name,
        };
        RunInput {
            prompt: prompt(&self.options.say, &group.jid, &self.clock),
            session_id: session,
            group_folder: group.folder.to_string(),
            chat_jid: group.jid.to_string(),
            assistant_name: Some(self.settings.assistant_name.clone()),
            secrets: self.secrets.iter().map(|(k, v)| (k.clone(), v.expose_secret().to_owned())).collect(),
            run_id: Some(run.to_string()),
            default_model: self.settings.model.clone(),
            provider: Some(provider.to_owned()),
            ..RunInput::default()
        }
    }

    /// Creates the folders of requests and results, and the snapshots, with access times that show a later read.
    fn ipc(&self, folder: &GroupFolder, owner: Option<Owner>) -> anyhow::Result<SafeDir> {
        let data = SafeDir::open(&self.settings.home.data())?;
        let ipc = data.ensure_dir(&Path::new("ipc").join(folder.as_str()), owner, 0o755)?;
        for name in ["messages", "tasks", "results", "input"] {
            ipc.ensure_dir(Path::new(name), owner, 0o755)?;
        }
        let groups = format!(r#"{{"groups": [], "lastSync": "{}"}}"#, rfc3339(self.clock.now()));
        for (name, text) in [("current_tasks.json", "[]"), ("available_groups.json", groups.as_str())] {
            if !ipc.exists(OsStr::new(name))? {
                ipc.write_atomic(OsStr::new(name), text.as_bytes(), owner, 0o644)?;
                desk::unread(&ipc, name);
            }
        }
        Ok(ipc)
    }

    /// The agents' requests to the host.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.counter.asked()
    }

    /// Files that were not renamed to `*.json`.
    pub(super) fn partial(&self) -> Vec<String> {
        let Ok(ipc) = SafeDir::open(&self.ipc_path()) else { return Vec::new() };
        desk::leftover(&ipc)
    }

    pub(super) fn results_read(&self) -> usize {
        let Ok(ipc) = SafeDir::open(&self.ipc_path()) else { return self.counter.read() };
        ipc.open_dir(Path::new("results")).map_or(0, |results| desk::count_read(&results)).max(self.counter.read())
    }

    pub(super) fn snapshots_read(&self) -> bool {
        let Ok(ipc) = SafeDir::open(&self.ipc_path()) else { return false };
        ["current_tasks.json", "available_groups.json"].into_iter().any(|name| desk::was_read(&ipc, name))
    }

    /// The mounted folders in which the agent wrote.
    pub(super) fn wrote(&self) -> Vec<&'static str> {
        let home = &self.settings.home;
        let session = home.session(&self.group.folder);
        [
            ("/workspace/group", home.group(&self.group.folder), &[][..]),
            ("/home/node/.claude", session.join(".claude"), &["settings.json", "skills"][..]),
            ("/app/agent", session.join("agent"), &["agent.toml"][..]),
        ]
        .into_iter()
        .filter(|(_, path, known)| {
            let names = SafeDir::open(path).and_then(|dir| dir.names(1000)).unwrap_or_default();
            names.iter().any(|name| !known.iter().any(|known| name == known))
        })
        .map(|(target, ..)| target)
        .collect()
    }

    fn ipc_path(&self) -> PathBuf {
        self.settings.home.ipc(&self.group.folder)
    }

    /// Removes the installation's folder. Its containers are gone already.
    pub(super) fn demolish(&self) {
        let root = self.settings.home.root();
        if let Err(error) = fs::remove_dir_all(root) {
            tracing::warn!("cannot remove {}: {error}", root.display());
        }
    }
}

/// The owner of the agent's files; None for the host's own user.
fn owner_of(user: User) -> Option<Owner> {
    rustix::process::getuid().is_root().then_some(Owner { uid: user.uid, gid: user.gid })
}

/// A time before any read.
pub(super) const LONG_AGO: SystemTime = SystemTime::UNIX_EPOCH;
