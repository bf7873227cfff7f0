//! A run's command line: a pure function of the spec and the engine's abilities.

use std::ffi::OsString;
use std::path::Path;

use thiserror::Error;

use super::spec::{Mount, MountSource, Network, RunSpec};

/// A room's CPU weight when cores are short: half of the default (1024), which the host and the engine have. They
/// carry the texts of every room, so a room that works on every core must not make them wait.
const SHARES: &str = "512";

/// How one engine's command line differs from others on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialect {
    /// True for podman, which copies the folder below into a tmpfs unless told not to.
    pub podman: bool,
    /// True to leave out `--memory`, which the engine cannot enforce here.
    pub no_memory: bool,
    /// True to leave out `--cpus` and `--cpu-shares`.
    pub no_cpus: bool,
    /// True to leave out `--pids-limit`.
    pub no_pids: bool,
    /// True if SELinux is on: containers could not access the mounted folders. Relabelling them (`:z`) would rewrite
    /// the labels of the operator's own files, even of the whole home. So the separation by labels is switched off
    /// for these containers; users, capabilities, namespaces and seccomp stay.
    pub label_disable: bool,
    /// The largest limits of open files and processes, if the engine may not raise its own.
    pub ulimits: Option<Ulimits>,
    /// How file systems mounted below a read-only folder are kept from staying writable.
    pub submounts: Submounts,
    /// An OCI runtime other than the engine's default.
    pub oci_runtime: Option<String>,
}

/// Options for file systems below a mount: `ro` makes only the mounted folder read-only, and not other file systems
/// that the host has mounted below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submounts {
    /// They are left out, in the syntax of podman and of docker's clients before 25.
    #[default]
    Hidden,
    /// They are left out, in the syntax of docker's clients since 25.
    Disabled,
    /// They are included. An engine without root must do so, because the kernel does not let it hide them. They are
    /// as writable as for the engine's own user.
    Shown,
}

/// Hard limits of the host's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimits {
    /// The number of open files.
    pub nofile: u64,
    /// The number of processes of the user.
    pub nproc: u64,
}

/// Why a spec cannot be written as a command line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgvError {
    /// The engines' mount syntax cannot express the path.
    #[error(
        "cannot mount {path:?}: a path with a colon, a comma, a quote or a line break cannot be given to the container \
         engine; rename it, or choose another home"
    )]
    Path {
        /// The path of the mount.
        path: String,
    },
    /// A mount needs absolute paths.
    #[error("cannot mount {path:?}: the path must be absolute")]
    Relative {
        /// The path of the mount.
        path: String,
    },
    /// The engine would read the image's name as an option.
    #[error("{image:?} is not an image name: check CONTAINER_IMAGE and the group's image")]
    Image {
        /// The image's name.
        image: String,
    },
    /// The name of an environment variable is not valid.
    #[error("{key:?} is not a name for an environment variable: check the group's env")]
    Env {
        /// The variable's name.
        key: String,
    },
}

/// Returns the arguments after the engine's program: `run -i --rm …`.
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
                // Otherwise podman copies the hidden folder into the tmpfs.
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
