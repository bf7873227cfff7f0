//! The text of the service's unit file. Pure.

use std::path::Path;
use std::time::Duration;

/// The first line of every unit that Parlor made: others are left alone.
pub(super) const MARK: &str = "# Made by `parlor service install`; made anew by it, too.";

/// What a unit says.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// The program.
    pub(super) program: &'a Path,
    /// The installation.
    pub(super) home: &'a Path,
    /// Whom it runs as; none in a user's own manager, which knows.
    pub(super) user: Option<&'a str>,
    /// What the manager starts it with.
    pub(super) wanted_by: &'static str,
    /// How long the host may take to end its rooms.
    pub(super) grace: Duration,
}

impl Unit<'_> {
    /// The unit file.
    pub(super) fn text(&self) -> String {
        let user = self.user.map(|user| format!("User={user}\n")).unwrap_or_default();
        // Only the system's manager knows these units; a user's own starts after them anyway.
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
            // What the host may take, and what killing what does not listen takes after that.
            self.grace.as_secs() + 30,
            self.wanted_by,
        )
    }
}

/// One line, with what units expand taken literally.
fn line(text: &str) -> String {
    text.replace('%', "%%").replace(char::is_control, " ")
}

/// A word of a command line in a unit: quoted, and nothing in it expanded.
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
    fn nothing_in_a_path_is_expanded() {
        assert_eq!(quoted(Path::new(r#"/a b/%h/$HOME/"q"\"#)), r#""/a b/%%h/$$HOME/\"q\"\\""#);
    }
}
