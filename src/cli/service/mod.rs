//! `parlor service`: runs the host as a systemd service, so that it does not end with a terminal.

mod manager;
mod unit;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::output::{say, tell};
use super::{Done, Failure};
use crate::config;
use crate::config::settings::Settings;
use manager::Manager;
use unit::{MARK, Unit};

/// How long a started service may take until it answers: its first start builds the agent's image.
const START: Duration = Duration::from_secs(120);

#[derive(Debug, Subcommand)]
pub(super) enum Service {
    /// Install the host as a service, and start it
    Install {
        #[command(flatten)]
        which: Which,
        /// Only print the unit file
        #[arg(long)]
        print: bool,
    },
    /// Stop the service and remove it; the installation stays
    Uninstall {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// A service of the machine; what root gets when nothing is said
    #[arg(long, conflicts_with = "user")]
    system: bool,
    /// A service of this user
    #[arg(long)]
    user: bool,
    /// Its name; another one for each further installation
    #[arg(long, default_value = "parlor")]
    name: String,
}

impl Which {
    fn manager(&self) -> Manager {
        let root = rustix::process::geteuid().is_root();
        if self.system || (root && !self.user) { Manager::System } else { Manager::User }
    }

    /// The checked name of the unit; it becomes a file's name.
    fn unit(&self) -> Result<String, Failure> {
        let fine = (1..=64).contains(&self.name.len())
            && self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if fine {
            return Ok(format!("{}.service", self.name));
        }
        Err(Failure::Usage(format!("--name {:?} is not allowed: use letters, digits, `-` and `_`", self.name)))
    }
}

impl Service {
    pub(super) async fn run(self, settings: &Settings, client: &Client) -> Done {
        match self {
            Self::Install { which, print: true } => {
                which.unit()?;
                say(&text(settings, which.manager())?)
            }
            Self::Install { which, print: false } => install(&which, settings, client).await,
            Self::Uninstall { which } => uninstall(&which),
        }
    }
}

async fn install(which: &Which, settings: &Settings, client: &Client) -> Done {
    let (manager, name) = (which.manager(), which.unit()?);
    if !manager::runs_here() {
        return Err(Failure::Failed(
            "systemd does not run on this machine: start `parlor up` with what starts services here \
             (`parlor service install --print` shows what it needs)"
                .into(),
        ));
    }
    let path = manager.folder()?.join(&name);
    let old = ours(&path)?;
    let text = text(settings, manager)?;
    let active = manager.is_active(&name);
    if !active && client.get("/healthz").await.is_ok() {
        return Err(Failure::Failed(format!(
            "a host is running for {} already: end it first (Ctrl-C in its terminal), then install again",
            settings.home.root().display()
        )));
    }
    if active && old.as_deref() == Some(&text) {
        return say(&format!("{name} is installed and runs already ({}).\n", path.display()));
    }
    for key in from_the_shell() {
        tell(&format!(
            "parlor: {key} is set in this shell alone: write it into .env or parlor.toml, the service does not have it"
        ));
    }
    write(&path, &text)?;
    say(&format!("Wrote {}.\n", path.display()))?;
    manager.run(&["daemon-reload"])?;
    manager.run(&["enable", &name])?;
    manager.run(&["restart", &name])?;
    wait_until_ready(manager, &name, client).await?;
    say(&format!("{name} runs, and will after every start of the machine. Its log: {}\n", manager.log_command(&name)))?;
    if manager == Manager::User
        && let Err(why) = manager::linger()
    {
        tell(&format!(
            "parlor: it ends when you log out ({why}): as root, `loginctl enable-linger USER` lets it live without you"
        ));
    }
    Ok(())
}

fn uninstall(which: &Which) -> Done {
    let (manager, name) = (which.manager(), which.unit()?);
    let path = manager.folder()?.join(&name);
    if ours(&path)?.is_none() {
        return say(&format!("{name} is not installed ({} is not there).\n", path.display()));
    }
    if manager::runs_here() {
        manager.run(&["disable", "--now", &name])?;
    }
    fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
    if manager::runs_here() {
        manager.run(&["daemon-reload"])?;
    }
    say(&format!("{name} is stopped and removed; the installation is as it was.\n"))
}

fn text(settings: &Settings, manager: Manager) -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::Failed(format!("where this program lies: {e}")))?;
    let home = settings.home.root();
    let user = if manager == Manager::System { owner(home) } else { None };
    let unit = Unit {
        program: &program,
        home,
        user: user.as_deref(),
        wanted_by: manager.target(),
        grace: settings.shutdown_grace,
    };
    Ok(unit.text())
}

/// The owner of the installation, unless that is root; the service runs as this user. systemd accepts a number, too.
fn owner(home: &Path) -> Option<String> {
    let uid = fs::metadata(home).ok()?.uid();
    (uid != 0).then(|| uid.to_string())
}

/// The text of the existing unit, if Parlor made it; a foreign one is refused.
fn ours(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.starts_with(MARK) => Ok(Some(text)),
        Ok(_) => Err(Failure::Failed(format!(
            "{} was not made by Parlor and is left alone: remove it, or choose another --name",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, &error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = PathBuf::from(format!("{}.new", path.display()));
        fs::write(&fresh, text)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| cannot("write", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => ": a service of the machine is root's; --user installs one of your own",
        _ => "",
    };
    Failure::Failed(format!("cannot {verb} {}: {error}{hint}", path.display()))
}

/// Settings that exist only in this shell's environment.
fn from_the_shell() -> impl Iterator<Item = &'static str> {
    // A service has the machine's zone anyway, and a terminal's log level is not meant for it.
    let names = config::names().map(|(env, _)| env).filter(|env| !["TZ", "LOG_LEVEL"].contains(env));
    names.filter(|env| std::env::var_os(env).is_some_and(|value| !value.is_empty()))
}

async fn wait_until_ready(manager: Manager, name: &str, client: &Client) -> Done {
    let end = Instant::now() + START;
    loop {
        if client.get("/readyz").await.is_ok() {
            return Ok(());
        }
        if !manager.is_active(name) || Instant::now() > end {
            return Err(Failure::Failed(format!(
                "{name} was installed but does not answer: `{}` says why, `parlor doctor` what to do",
                manager.log_command(name)
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
