//! `mount-allowlist.json`: the host folders that groups may see beyond their own.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::RuleFile;
use super::rules_text::{complaint, flag, is_texts, object};
use crate::domain::group::AdditionalMount;

/// A valid file with every possible field.
pub const EXAMPLE: &str = r#"{"allowedRoots": [{"path": "~/photos", "allowReadWrite": false, "description": "holidays"}], "blockedPatterns": ["private"], "nonMainReadOnly": true}"#;

/// The place of extra mounts in a container.
const TARGET: &str = "/workspace/extra/";

/// The most bytes of a path.
const MAX_PATH: usize = 4096;

/// Never mounted, whatever the file allows: paths with a component that contains one of these, in upper or lower
/// case.
const BLOCKED: [&str; 17] = [
    ".ssh",
    ".gnupg",
    ".gpg",
    ".aws",
    ".azure",
    ".gcloud",
    ".kube",
    ".docker",
    "credentials",
    ".env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    "id_rsa",
    "id_ed25519",
    "private_key",
    ".secret",
];

/// The rules of the file, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRules {
    list: Result<List, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    allowed_roots: Vec<Root>,
    #[serde(default)]
    blocked_patterns: Vec<String>,
    #[serde(default = "yes")]
    non_main_read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Root {
    path: String,
    #[serde(default)]
    allow_read_write: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "for the people who read the file")]
    description: Option<String>,
}

fn yes() -> bool {
    true
}

/// An extra mount that the rules allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedMount {
    /// The host's folder or file, with links resolved.
    pub host: PathBuf,
    /// The path in the container.
    pub target: String,
    /// True if the container may write to it.
    pub writable: bool,
    /// Why it is read-only although writing was requested.
    pub note: Option<String>,
}

/// The facts about the host that a check needs.
pub struct HostView<'a> {
    /// The operator's home, for `~`.
    pub user_home: Option<&'a Path>,
    /// The installation's own folders and files; no extra mount may contain them or be inside them.
    pub protected: &'a [PathBuf],
    /// Makes a path absolute and free of links. Returns an error if it does not exist.
    pub resolve: &'a dyn Fn(&Path) -> io::Result<PathBuf>,
}

impl MountRules {
    /// Reads the rules. A file that is missing, unreadable or not valid allows nothing.
    pub fn from_file(file: RuleFile) -> Self {
        let list = match file {
            Ok(None) => Err("there is no mount-allowlist.json".to_owned()),
            Ok(Some(text)) => serde_json::from_str::<List>(&text).map_err(|error| {
                let e = complaint(&text, &error, look, EXAMPLE);
                tracing::error!("mount-allowlist.json cannot be used ({e}): no extra mounts until it is mended");
                format!("mount-allowlist.json cannot be used ({e})")
            }),
            Err(why) => {
                tracing::error!("mount-allowlist.json cannot be read ({why}): no extra mounts until it can");
                Err(format!("mount-allowlist.json cannot be read ({why})"))
            }
        };
        Self { list }
    }

    /// Returns why nothing is allowed, if so.
    pub fn problem(&self) -> Option<&str> {
        self.list.as_ref().err().map(String::as_str)
    }

    /// Checks one mount. The error is for people.
    pub fn validate(
        &self,
        mount: &AdditionalMount,
        is_main: bool,
        view: &HostView<'_>,
    ) -> Result<AllowedMount, String> {
        let wanted = &mount.host_path;
        let refuse = |why: String| format!("extra mount {wanted:?} is refused: {why}");
        let list = self.list.as_ref().map_err(|why| refuse(why.clone()))?;
        let path = expand(wanted, view.user_home).map_err(refuse)?;
        let host = (view.resolve)(&path).map_err(|e| refuse(format!("it cannot be resolved ({e})")))?;
        let target = target(mount, &host).map_err(refuse)?;
        engine_safe(&host).map_err(refuse)?;
        for part in [&path, &host] {
            if let Some(name) = list.blocked(part) {
                return Err(refuse(format!("{name:?} is blocked")));
            }
        }
        if let Some(own) = view.protected.iter().find(|own| own.starts_with(&host) || host.starts_with(own)) {
            return Err(refuse(format!("it would show {}, which no group may see", own.display())));
        }
        let root = list.root_of(&host, view).ok_or_else(|| {
            refuse("it is under no allowed root; add one to mount-allowlist.json if it should be seen".into())
        })?;
        let asked = mount.readonly == Some(false);
        let note = match (asked, is_main) {
            (true, false) if list.non_main_read_only => Some("only main may write extra mounts (nonMainReadOnly)"),
            (true, _) if !root.allow_read_write => Some("its root does not allow writing (allowReadWrite)"),
            _ => None,
        };
        Ok(AllowedMount { host, target, writable: asked && note.is_none(), note: note.map(str::to_owned) })
    }
}

/// Returns the first error in a file that is JSON.
fn look(value: &Value) -> Result<(), String> {
    let file = object(value, "the file", &["allowedRoots", "blockedPatterns", "nonMainReadOnly"])?;
    let roots = file.get("allowedRoots").and_then(Value::as_array);
    for root in roots.ok_or("\"allowedRoots\" must be a list of folders")? {
        let root = object(root, "each of \"allowedRoots\"", &["path", "allowReadWrite", "description"])?;
        if !root.get("path").is_some_and(Value::is_string) {
            return Err("each of \"allowedRoots\" needs a \"path\"".to_owned());
        }
        flag(root, "allowReadWrite")?;
        if !root.get("description").is_none_or(|text| text.is_string() || text.is_null()) {
            return Err("a \"description\" must be a text".to_owned());
        }
    }
    if !file.get("blockedPatterns").is_none_or(is_texts) {
        return Err("\"blockedPatterns\" must be a list of texts".to_owned());
    }
    flag(file, "nonMainReadOnly")
}

impl List {
    fn blocked(&self, path: &Path) -> Option<String> {
        let own = self.blocked_patterns.iter().map(String::as_str).filter(|p| !p.is_empty());
        let patterns: Vec<String> = BLOCKED.into_iter().chain(own).map(str::to_lowercase).collect();
        path.components()
            .map(|part| part.as_os_str().to_string_lossy().to_lowercase())
            .find(|part| patterns.iter().any(|pattern| part.contains(pattern.as_str())))
    }

    /// Returns the closest root above a path.
    fn root_of(&self, host: &Path, view: &HostView<'_>) -> Option<&Root> {
        self.allowed_roots
            .iter()
            .filter_map(|root| {
                let path = (view.resolve)(&expand(&root.path, view.user_home).ok()?).ok()?;
                host.starts_with(&path).then(|| (path.components().count(), root))
            })
            .max_by_key(|(depth, _)| *depth)
            .map(|(_, root)| root)
    }
}

fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = home.ok_or("the operator's home is not known; give an absolute path")?;
            home.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(text),
    };
    if !path.is_absolute() {
        return Err("the host path must be absolute or start with `~/`".into());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("the host path must not contain `..`".into());
    }
    Ok(path)
}

/// Refuses paths that engines cannot separate from the rest of a mount's text.
pub fn engine_safe(path: &Path) -> Result<(), String> {
    let Some(text) = path.to_str() else {
        return Err(format!("{} is not valid UTF-8; rename it", path.display()));
    };
    match text.chars().find(|c| matches!(c, ':' | ',' | '"') || c.is_control()) {
        Some(c) => Err(format!("{text:?} contains {c:?}, which container engines cannot mount; rename it")),
        None => Ok(()),
    }
}

/// Refuses mounts that no allowlist could allow. The error names the field.
pub fn check(mount: &AdditionalMount) -> Result<(), String> {
    let of_host = |why| format!("hostPath: {why}");
    if mount.host_path.len() > MAX_PATH {
        return Err(of_host(format!("it has {} bytes, at most {MAX_PATH} are allowed", mount.host_path.len())));
    }
    // The owner of the home does not matter here.
    let host = expand(&mount.host_path, Some(Path::new("/home"))).map_err(of_host)?;
    engine_safe(&host).map_err(of_host)?;
    match &mount.container_path {
        Some(name) => target_of(name).map(drop).map_err(|why| format!("containerPath: {why}")),
        None if host.file_name().is_none() => {
            Err(of_host("it has no name to be called by: give a containerPath".into()))
        }
        None => Ok(()),
    }
}

fn target(mount: &AdditionalMount, host: &Path) -> Result<String, String> {
    match &mount.container_path {
        Some(name) => target_of(name),
        None => target_of(&host.file_name().map(|n| n.to_string_lossy()).unwrap_or_default()),
    }
}

fn target_of(name: &str) -> Result<String, String> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || name.len() > 255 {
        return Err(format!("container path {name:?} must be relative, without `..`, at most 255 bytes"));
    }
    engine_safe(path).map_err(|why| format!("container path {why}"))?;
    // Rebuilt from its parts, without doubled or trailing slashes.
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Ok(format!("{TARGET}{}", parts.join("/")))
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
