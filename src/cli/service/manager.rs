//! Calls systemd's commands: the manager of the system, or of a user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::Failure;

/// The systemd manager that runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    /// The system's manager, which only root can use.
    System,
    /// The user's own manager.
    User,
}

impl Manager {
    /// The folder of its unit files.
    pub(super) fn folder(self) -> Result<PathBuf, Failure> {
        if self == Self::System {
            return Ok("/etc/systemd/system".into());
        }
        let below = |key: &str, rest: &str| {
            let root = std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute())?;
            Some(root.join(rest))
        };
        below("XDG_CONFIG_HOME", "systemd/user").or_else(|| below("HOME", ".config/systemd/user")).ok_or_else(|| {
            Failure::Failed("there is no HOME to put the unit below: set it to your home folder".to_owned())
        })
    }

    /// The target that starts its units.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::System => "multi-user.target",
            Self::User => "default.target",
        }
    }

    /// The `systemctl` command for messages, as someone would type it.
    pub(super) fn spoken(self) -> &'static str {
        match self {
            Self::System => "systemctl",
            Self::User => "systemctl --user",
        }
    }

    /// The command that shows a service's log.
    pub(super) fn log_command(self, name: &str) -> String {
        match self {
            Self::System => format!("journalctl -u {name}"),
            Self::User => format!("journalctl --user -u {name}"),
        }
    }

    fn systemctl(self, args: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        if self == Self::User {
            command.arg("--user");
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs `systemctl`; a failure has its output.
    pub(super) fn run(self, args: &[&str]) -> Result<(), Failure> {
        let spoken = format!("{} {}", self.spoken(), args.join(" "));
        let output = self
            .systemctl(args)
            .output()
            .map_err(|error| Failure::Failed(format!("{spoken}: {error}: is systemd installed?")))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        let hint = if why.contains("Failed to connect to bus") {
            ": log in as this user (not through su or sudo), or install it as root with --system"
        } else {
            ""
        };
        Err(Failure::Failed(format!("`{spoken}` failed: {why}{hint}")))
    }

    /// Returns true if a unit is active.
    pub(super) fn is_active(self, name: &str) -> bool {
        self.systemctl(&["is-active", "--quiet", name]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }
}

/// Returns true if systemd runs this machine. Its own programs test the same folder.
pub(super) fn runs_here() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Lets a user's services run while the user is not logged in. The error says why that failed.
pub(super) fn linger() -> Result<(), String> {
    let output = Command::new("loginctl").arg("enable-linger").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Err(error.to_string()),
    }
}
