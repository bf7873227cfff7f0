//! Names the agent's user: the host chooses the user's number, and programs such as `ssh` and `whoami` need a name
//! for it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// The name for a user or group that the image does not know.
const NAME: &str = "agent";

/// Adds this process's user and group to the image's lists if they are missing. If the image does not allow that, its
/// programs see only the numbers.
pub fn ensure() {
    let Ok(own) = fs::metadata("/proc/self") else { return };
    let home = std::env::var("HOME").unwrap_or_default();
    for (path, id, rest) in [
        ("/etc/passwd", own.uid(), format!("{}::{}:/bin/sh", own.gid(), plain(&home))),
        ("/etc/group", own.gid(), String::new()),
    ] {
        // Only if everybody may write the list: no machine's own list allows that.
        if !fs::metadata(path).is_ok_and(|list| list.mode() & 0o002 != 0) {
            continue;
        }
        let Ok(list) = fs::read_to_string(path) else { continue };
        if let Some(line) = missing(&list, id, &rest) {
            let _ = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }
}

/// Returns a folder if the list's format allows its name.
fn plain(home: &str) -> &str {
    if home.starts_with('/') && !home.contains([':', '\n']) { home } else { "/" }
}

/// Returns the line to add for a number; None if the list has the number already.
fn missing(list: &str, id: u32, rest: &str) -> Option<String> {
    let mut names = Vec::new();
    for line in list.lines() {
        let mut fields = line.split(':');
        names.push(fields.next().unwrap_or_default());
        if fields.nth(1) == Some(&id.to_string()) {
            return None;
        }
    }
    let name = if names.contains(&NAME) { format!("{NAME}{id}") } else { NAME.to_owned() };
    let start = if list.is_empty() || list.ends_with('\n') { "" } else { "\n" };
    Some(format!("{start}{name}:x:{id}:{rest}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_user_gets_a_line() {
        let list = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n";
        assert_eq!(missing(list, 1000, ""), None);
        assert_eq!(missing(list, 0, ""), None);
        let line = missing(list, 4242, "100::/home/node:/bin/sh").unwrap();
        assert_eq!(line, "agent:x:4242:100::/home/node:/bin/sh\n");
        assert_eq!(missing("agent:x:7:", 8, "").unwrap(), "\nagent8:x:8:\n");
        assert_eq!(missing("", 8, "").unwrap(), "agent:x:8:\n");
        // The same number in another field is something else.
        assert!(missing("a:x:1:4242:::\n", 4242, "").is_some());
        assert_eq!((plain("/home/node"), plain("x"), plain("/a:b")), ("/home/node", "/", "/"));
    }
}
