//! A run's command line: a pure function from the spec and what the engine can do.

use std::ffi::OsString;
use std::path::Path;

use thiserror::Error;

use super::spec::{Mount, MountSource, Network, RunSpec};

/// A room's weight where the cores do not suffice: half of what the host, the engine and all else has (1024). The host
/// and the engine carry every room's words, so a room that works on every core must not make them wait.
const SHARES: &str = "512";

/// What one engine's command line differs in, here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialect {
    /// Podman copies what lies below into a tmpfs unless told not to.
    pub podman: bool,
    /// Leave out `--memory`: the engine cannot enforce it here.
    pub no_memory: bool,
    /// Leave out `--cpus` and `--cpu-shares`.
    pub no_cpus: bool,
    /// Leave out `--pids-limit`.
    pub no_pids: bool,
    /// SELinux is on: containers could not touch the mounted folders. Relabelling them (`:z`) would rewrite the labels
    /// of the operator's own files, the whole home among them, so the separation by labels is switched off for these
    /// containers instead; users, capabilities, namespaces and seccomp stay.
    pub label_disable: bool,
    /// Largest open-file and process limits the engine may give, where it may not raise its own.
    pub ulimits: Option<Ulimits>,
    /// How to keep what is mounted below a read-only folder from staying writable.
    pub submounts: Submounts,
    /// An OCI runtime other than the engine's default.
    pub oci_runtime: Option<String>,
}

/// `ro` makes the mounted folder itself read-only, not other file systems that are mounted below it on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submounts {
    /// They are left out, in the words of podman and of docker's clients before 25.
    #[default]
    Hidden,
    /// They are left out, in the words of docker's clients since 25.
    Disabled,
    /// They come along, as an engine without root must: the kernel refuses it to hide them. They are as writable as
    /// they are for the engine's own user.
    Shown,
}

/// Hard limits of the host's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimits {
    /// Open files.
    pub nofile: u64,
    /// Processes of the user.
    pub nproc: u64,
}

/// A spec that no command line can say.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgvError {
    /// The engines' mount syntax has no way to say such a path.
    #[error(
        "cannot mount {path:?}: a path with a colon, a comma, a quote or a line break cannot be given to the container \
         engine; rename it, or choose another home"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// A mount needs absolute paths.
    #[error("cannot mount {path:?}: the path must be absolute")]
    Relative {
        /// The path.
        path: String,
    },
    /// The image would be read as an option.
    #[error("{image:?} is not an image name: check CONTAINER_IMAGE and the group's image")]
    Image {
        /// What was given.
        image: String,
    },
    /// A variable's name.
    #[error("{key:?} is not a name for an environment variable: check the group's env")]
    Env {
        /// What was given.
        key: String,
    },
}

/// Everything after the engine's program: `run -i --rm …`.
pub fn run(dialect: &Dialect, spec: &RunSpec) -> Result<Vec<OsString>, ArgvError> {
    if spec.image.is_empty() || spec.image.starts_with('-') || spec.image.contains(char::is_whitespace) {
        return Err(ArgvError::Image { image: spec.image.clone() });
    }
    let mut args = Args::default();
    if let Some(runtime) = &dialect.oci_runtime
        && dialect.podman
    {
        args.pair("--runtime", runtime);
    }
    args.words(&["run", "-i", "--rm", "--init", "--pull=never"]);
    args.pair("--name", &spec.name);
    for (key, value) in &spec.labels {
        args.pair("--label", &format!("{key}={value}"));
    }
    args.pair("--log-driver", "none");
    limits(&mut args, dialect, spec);
    args.words(&["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    if dialect.label_disable {
        args.pair("--security-opt", "label=disable");
    }
    if spec.user.keep_id {
        args.pair("--userns", "keep-id");
    }
    args.pair("--user", &format!("{}:{}", spec.user.uid, spec.user.gid));
    match &spec.network {
        Network::None => args.pair("--network", "none"),
        Network::Default => {}
        Network::Named(name) => args.pair("--network", name),
    }
    if let Some(name) = spec.gateway.as_ref().filter(|_| !dialect.podman) {
        args.pair("--add-host", &format!("{name}:host-gateway"));
    }
    for (key, value) in &spec.env {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return Err(ArgvError::Env { key: key.clone() });
        }
        args.pair("-e", &format!("{key}={value}"));
    }
    for mount in &spec.mounts {
        args.words(&["--mount"]);
        args.0.push(mount_value(dialect, mount)?);
    }
    args.words(&[&spec.image]);
    Ok(args.0)
}

fn limits(args: &mut Args, dialect: &Dialect, spec: &RunSpec) {
    if let Some(memory) = spec.memory.as_ref().filter(|_| !dialect.no_memory) {
        args.pair("--memory", memory);
    }
    if !dialect.no_cpus {
        args.pair("--cpu-shares", SHARES);
        if let Some(cpus) = &spec.cpus {
            args.pair("--cpus", cpus);
        }
    }
    if let Some(pids) = spec.pids.filter(|_| !dialect.no_pids) {
        args.pair("--pids-limit", &pids.to_string());
    }
    if let Some(Ulimits { nofile, nproc }) = dialect.ulimits {
        args.pair("--ulimit", &format!("nofile={nofile}:{nofile}"));
        args.pair("--ulimit", &format!("nproc={nproc}:{nproc}"));
    }
}

fn mount_value(dialect: &Dialect, mount: &Mount) -> Result<OsString, ArgvError> {
    let target = checked(Path::new(&mount.target))?;
    let mut value = OsString::new();
    match &mount.source {
        MountSource::Host(path) => {
            value.push("type=bind,src=");
            value.push(checked(path)?);
            value.push(",dst=");
            value.push(target);
            if !mount.writable {
                value.push(match dialect.submounts {
                    Submounts::Hidden => ",bind-nonrecursive=true",
                    Submounts::Disabled => ",bind-recursive=disabled",
                    Submounts::Shown => "",
                });
            }
        }
        MountSource::Null => {
            value.push("type=bind,src=/dev/null,dst=");
            value.push(target);
        }
        MountSource::Tmpfs => {
            value.push("type=tmpfs,dst=");
            value.push(target);
            value.push(if mount.writable { ",tmpfs-mode=1777" } else { ",tmpfs-size=65536,tmpfs-mode=0555" });
            if dialect.podman {
                // Otherwise what the tmpfs is to hide would be copied into it.
                value.push(",notmpcopyup");
            }
        }
    }
    if !mount.writable {
        value.push(if dialect.podman { ",ro=true" } else { ",readonly" });
    }
    Ok(value)
}

fn checked(path: &Path) -> Result<&Path, ArgvError> {
    let shown = || path.to_string_lossy().into_owned();
    if path.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b':' | b',' | b'"' | b'\n' | b'\r' | 0)) {
        return Err(ArgvError::Path { path: shown() });
    }
    if !path.is_absolute() {
        return Err(ArgvError::Relative { path: shown() });
    }
    Ok(path)
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }
    fn pair(&mut self, flag: &str, value: &str) {
        self.words(&[flag, value]);
    }
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
