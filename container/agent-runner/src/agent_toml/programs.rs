//! Checks whether the room has the programs of a group's MCP servers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::servers::{Server, Way};

/// Returns why a server cannot be started: the room does not have its program. Checks only a bare name or an absolute
/// path.
pub(super) fn missing(server: &Server, path: Option<&OsStr>) -> Option<String> {
    let Way::Program { command, env, .. } = &server.way else { return None };
    // A server with its own PATH searches elsewhere; a relative path begins in the group's folder.
    if env.contains_key("PATH") || (command.contains('/') && !command.starts_with('/')) {
        return None;
    }
    let is_there = if command.starts_with('/') {
        Path::new(command).exists()
    } else {
        path.is_none_or(|path| std::env::split_paths(path).any(|dir| is_program(&dir.join(command))))
    };
    (!is_there).then(|| {
        format!(
            "this room's image has no `{command}`: put a program that needs nothing else into the group's folder and \
             name its path, or give the group an image that has `{command}` (`parlor groups update FOLDER --image NAME`)"
        )
    })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Removes the servers whose program is missing. Returns each name with the reason.
pub(super) fn take_missing(servers: &mut BTreeMap<String, Server>) -> Vec<(String, String)> {
    let path = std::env::var_os("PATH");
    let missing: Vec<(String, String)> = servers
        .iter()
        .filter_map(|(name, server)| missing(server, path.as_deref()).map(|why| (name.clone(), why)))
        .collect();
    for (name, _) in &missing {
        servers.remove(name);
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn program_missing_from_the_room_is_reported_with_a_remedy() {
        let server = |command: &str, env: &[(&str, &str)]| Server {
            way: Way::Program {
                command: command.into(),
                args: vec![],
                env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            },
            start: Duration::from_secs(1),
        };
        let path = OsStr::new("/bin:/usr/bin");
        let why = missing(&server("python99", &[]), Some(path)).unwrap();
        assert!(why.contains("this room's image has no `python99`") && why.contains("--image"), "{why}");
        assert!(missing(&server("/opt/none/such", &[]), Some(path)).is_some());
        for (command, env) in [("sh", &[][..]), ("/bin/sh", &[]), ("./mine", &[]), ("x", &[("PATH", "/opt")])] {
            assert_eq!(missing(&server(command, env), Some(path)), None, "{command}");
        }
        let web = Server {
            way: Way::Address { url: "https://x".into(), headers: BTreeMap::new() },
            start: Duration::from_secs(1),
        };
        assert_eq!(missing(&web, Some(path)), None);
    }
}
