//! The text of the service's unit file. Pure.

use std::path::Path;
use std::time::Duration;

/// The first line of every unit made by Parlor: units without it are not changed.
pub(super) const MARK: &str = "# Made by `parlor service install`; made anew by it, too.";

/// The contents of a unit.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// The program's path.
    pub(super) program: &'a Path,
    /// The installation's folder.
    pub(super) home: &'a Path,
    /// The user as whom it runs; None for a user's own manager.
    pub(super) user: Option<&'a str>,
    /// The target that starts it.
    pub(super) wanted_by: &'static str,
    /// How long the host may take to end its runs.
    pub(super) grace: Duration,
}

impl Unit<'_> {
    /// The text of the unit file.
    pub(super) fn text(&self) -> String {
        let user = self.user.map(|user| format!("User={user}\n")).unwrap_or_default();
        // Only the system's manager knows these units; a user's manager starts after them anyway.
        let after = if self.user.is_some() || self.wanted_by == "multi-user.target" {
            "Wants=network-online.target\nAfter=network-online.target docker.service\n"
        } else {
            ""
        };
        format!(
            "{MARK}\n[Unit]\nDescription=Parlor, AI agents for chat groups ({})\n{after}\n\
             [Service]\n{user}ExecStart={} --home {} up\nRestart=on-failure\nRestartSec=2\n\
             # The host ends its rooms itself: their engine's clients must not be signalled beside it.\n\
             KillMode=mixed\nTimeoutStopSec={}\n\n[Install]\nWantedBy={}\n",
            line(&self.home.display().to_string()),
            quoted(self.program),
            quoted(self.home),
            // The host's grace period, and the time for killing what does not end by itself.
            self.grace.as_secs() + 30,
            self.wanted_by,
        )
    }
}

/// Puts a text on one line and escapes it, so that systemd expands nothing.
fn line(text: &str) -> String {
    text.replace('%', "%%").replace(char::is_control, " ")
}

/// Quotes a path for a unit's command line, so that systemd expands nothing.
fn quoted(path: &Path) -> String {
    let mut out = String::from("\"");
    for c in path.display().to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_a_user_and_one_of_the_system() {
        let unit = Unit {
            program: Path::new("/usr/local/bin/parlor"),
            home: Path::new("/srv/my parlor"),
            user: None,
            wanted_by: "default.target",
            grace: Duration::from_secs(20),
        };
        insta::assert_snapshot!(unit.text());
        insta::assert_snapshot!(Unit { user: Some("ann"), wanted_by: "multi-user.target", ..unit }.text());
    }

    #[test]
    fn unit_paths_are_not_expanded() {
        assert_eq!(quoted(Path::new(r#"/a b/%h/$HOME/"q"\"#)), r#""/a b/%%h/$$HOME/\"q\"\\""#);
    }
}
