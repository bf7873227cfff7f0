//! Engines with a command line: docker, podman, and compatible programs.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::process::Child;

use super::argv::{self, Dialect};
use super::cli::{Cli, GroupGuard, Output};
use super::image_store::ImageStore;
use super::spec::RunSpec;
use super::{Attached, Capabilities, Client, ContainerEngine, EngineError, Exit, Refusal};
use super::{docker, podman};

pub(in crate::container) const CALL: Duration = Duration::from_secs(15);
const REMOVE: Duration = Duration::from_secs(30);
/// What a stop may take beyond its grace.
const STOP_EXTRA: Duration = Duration::from_secs(10);

/// The two command lines of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Docker's.
    Docker,
    /// Podman's.
    Podman,
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// For people and for the user rule.
    pub caps: Capabilities,
    /// For the command line.
    pub dialect: Dialect,
}

/// Settings of an engine besides its program.
#[derive(Debug, Clone, Default)]
pub struct CliOptions {
    /// An OCI runtime for podman, in place of the one that a probe chooses.
    pub oci_runtime: Option<String>,
    /// A folder that only the host can write. It keeps the result of a slow probe until the engine or the machine
    /// changes.
    pub cache: Option<PathBuf>,
}

/// An engine with a command line.
pub struct CliEngine {
    pub(in crate::container) cli: Cli,
    flavor: Flavor,
    options: CliOptions,
    facts: RwLock<Facts>,
}

impl fmt::Debug for CliEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CliEngine")
            .field("program", &self.cli.program)
            .field("flavor", &self.flavor)
            .finish_non_exhaustive()
    }
}

impl CliEngine {
    /// An engine by its program: a name, a path, or a path with leading arguments (such as `sudo -u someone podman`).
    /// Nothing is started before the first call; [`probe`](ContainerEngine::probe) must come before the first run.
    pub fn new(flavor: Flavor, program: Vec<OsString>, options: CliOptions) -> Self {
        let (cli, podman) = match flavor {
            Flavor::Docker => (docker::cli(program), false),
            Flavor::Podman => (podman::cli(program), true),
        };
        let caps = Capabilities { version: String::new(), rootless: false, keep_id: false, unsupported: Vec::new() };
        let facts = Facts { caps, dialect: Dialect { podman, ..Dialect::default() } };
        Self { cli, flavor, options, facts: RwLock::new(facts) }
    }

    /// Returns which command line it has.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    fn facts(&self) -> Facts {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls the engine; an error that says that the container is missing counts as success.
    async fn call_on(&self, action: &str, args: &[OsString], limit: Duration) -> Result<(), EngineError> {
        let output = self.cli.call(args, limit).await?;
        if output.ok() || only_absent(&output.stderr) {
            return Ok(());
        }
        Err(self.cli.call_error(action, &output))
    }

    pub(in crate::container) async fn demand(&self, action: &str, args: &[&str]) -> Result<Output, EngineError> {
        let output = self.cli.call(args, CALL).await?;
        if output.ok() { Ok(output) } else { Err(self.cli.call_error(action, &output)) }
    }

    fn argv(&self, spec: &RunSpec) -> Result<Vec<OsString>, EngineError> {
        argv::run(&self.facts().dialect, spec).map_err(|e| self.cli.failed("run", e.to_string()))
    }
}

#[async_trait]
impl ContainerEngine for CliEngine {
    fn name(&self) -> &str {
        self.cli.name
    }

    fn capabilities(&self) -> Capabilities {
        self.facts().caps
    }

    async fn probe(&self) -> Result<Capabilities, EngineError> {
        let facts = match self.flavor {
            Flavor::Docker => docker::probe(&self.cli).await?,
            Flavor::Podman => podman::probe(&self.cli, &self.options).await?,
        };
        let caps = facts.caps.clone();
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = facts;
        Ok(caps)
    }

    async fn start(&self, spec: &RunSpec) -> Result<Attached, EngineError> {
        let mut command = self.cli.command(&self.argv(spec)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| self.cli.spawn_error("run", &e))?;
        let group = GroupGuard::new(&child);
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Attached {
                stdin: Box::new(stdin),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                client: Box::new(CliClient { child, group, cli: self.cli.clone(), flavor: self.flavor }),
            }),
            _ => Err(self.cli.failed("run", "its streams are not there".to_owned())),
        }
    }

    fn describe(&self, spec: &RunSpec) -> Vec<String> {
        let shown = |word: &OsString| word.to_string_lossy().into_owned();
        let args = argv::run(&self.facts().dialect, spec).unwrap_or_default();
        self.cli.program.iter().chain(&args).map(shown).collect()
    }

    async fn ran_out_of_memory(&self, name: &str, since: DateTime<Utc>) -> bool {
        if self.flavor != Flavor::Docker {
            return false;
        }
        let (container, since) = (format!("container={name}"), since.timestamp().to_string());
        // With an end in the past, the engine answers at once and does not follow.
        let until = (Utc::now().timestamp() + 1).to_string();
        let args = ["events", "--since", &since, "--until", &until, "--filter", "event=oom", "--filter", &container];
        self.cli.call(&args, CALL).await.is_ok_and(|output| output.ok() && !output.stdout.is_empty())
    }

    async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        // Engines count whole seconds; zero would kill without asking.
        let seconds = grace.as_millis().div_ceil(1000).max(1).to_string();
        let args = ["stop", "-t", &seconds, name].map(OsString::from);
        self.call_on("stop", &args, grace + STOP_EXTRA).await
    }

    async fn kill(&self, name: &str) -> Result<(), EngineError> {
        // `kill` leaves the container to `--rm`, which needs a client or a healthy daemon; `rm -f` ends it and proves it.
        ContainerEngine::remove(self, &[name.to_owned()]).await
    }

    async fn exists(&self, name: &str) -> Result<bool, EngineError> {
        match self.flavor {
            // `ps` answers from a snapshot; `inspect` waits for a stuck container.
            Flavor::Docker => {
                let filter = format!("name=^/{name}$");
                let args = ["ps", "-a", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
                Ok(names(&self.demand("ps", &args).await?.stdout).iter().any(|found| found == name))
            }
            Flavor::Podman => {
                let output = self.cli.call(&["container", "exists", name], CALL).await?;
                match output.code {
                    Some(0) => Ok(true),
                    Some(1) => Ok(false),
                    _ => Err(self.cli.call_error("container exists", &output)),
                }
            }
        }
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError> {
        let filter = format!("label={label}={value}");
        let args = ["ps", "-a", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
        Ok(names(&self.demand("ps", &args).await?.stdout))
    }

    async fn remove(&self, names: &[String]) -> Result<(), EngineError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut args: Vec<OsString> = match self.flavor {
            Flavor::Docker => vec!["rm".into(), "-f".into()],
            // Without `-t 0`, podman asks each container first and waits for ten seconds; podman before 4 has no such
            // option.
            Flavor::Podman if podman::is_before_4(&self.capabilities().version) => {
                let kill: Vec<OsString> = ["kill".into()].into_iter().chain(names.iter().map(OsString::from)).collect();
                // If `kill` fails for a container, `rm` ends it or reports it.
                let _ = self.cli.call(&kill, REMOVE).await?;
                ["rm", "-f", "--ignore"].map(OsString::from).to_vec()
            }
            Flavor::Podman => ["rm", "-f", "--ignore", "-t", "0"].map(OsString::from).to_vec(),
        };
        args.extend(names.iter().map(OsString::from));
        self.call_on("rm", &args, REMOVE).await
    }

    fn images(&self) -> &dyn ImageStore {
        self
    }
}

/// Parses names from `ps`, one per line; docker adds the names of links after a comma.
fn names(stdout: &str) -> Vec<String> {
    stdout
        .lines()
        .filter_map(|line| line.split(',').find(|name| !name.contains('/')))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Exit codes of `run` that may be the engine's own, as docker and podman document them: 125 it failed itself, 126 the
/// program cannot be executed, 127 there is no such program. A program may end with the same codes.
const ENGINES_OWN: std::ops::RangeInclusive<i32> = FAILED..=127;
const FAILED: i32 = 125;
/// Words of a complaint about the program that was to start, and not about the room around it.
const NO_PROGRAM: [&str; 3] = ["exec: \"", "executable file", "exec format error"];

/// Whether the engine itself says that it could not start a container's program: what the program says is not meant.
fn complains(flavor: Flavor, stderr: &str) -> bool {
    stderr.lines().any(|line| match flavor {
        Flavor::Docker => line.starts_with("docker: "),
        Flavor::Podman => {
            let runtime = ["OCI runtime", "crun", "runc", "executable file"];
            line.starts_with("Error: ") && runtime.iter().any(|word| line.contains(word))
        }
    })
}

/// Returns true if every complaint says that a container is missing, or already being removed.
fn only_absent(stderr: &str) -> bool {
    let phrases = ["no such container", "no container with", "is already in progress", "is not running"];
    let mut lines = stderr.lines().map(str::to_lowercase).filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| phrases.iter().any(|phrase| line.contains(phrase)))
}

/// The client process of one run.
struct CliClient {
    child: Child,
    group: GroupGuard,
    cli: Cli,
    flavor: Flavor,
}

#[async_trait]
impl Client for CliClient {
    async fn wait(&mut self) -> std::io::Result<Exit> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().await?;
        self.group.disarm();
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        })
    }

    fn judge(&self, exit: Exit, stderr: &str) -> Exit {
        let Exit::Code(code) = exit else { return exit };
        let own = code == FAILED || ENGINES_OWN.contains(&code) && complains(self.flavor, stderr);
        if !own {
            return exit;
        }
        let output = Output { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() };
        let error = self.cli.call_error("run", &output);
        let said = error.to_string();
        let no_program = code != FAILED && NO_PROGRAM.iter().any(|words| said.contains(words));
        Exit::EngineRefused(Refusal { code: Some(code), no_program, error })
    }

    fn abandon(&mut self) {
        self.group.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_containers_are_told_from_other_complaints() {
        assert!(only_absent("Error response from daemon: No such container: a\nError: No such container: b"));
        assert!(only_absent("Error: no container with name or ID \"a\" found: no such container"));
        assert!(only_absent("Error response from daemon: removal of container a is already in progress"));
        assert!(!only_absent("Error response from daemon: No such container: a\nError: device busy"));
        assert!(!only_absent(""));
    }

    #[test]
    fn engine_refusals_differ_from_program_failures() {
        let docker = "docker: Error response from daemon: OCI runtime create failed: exec: \"/x\": no such file.";
        let podman =
            "Error: crun: executable file `/x` not found in $PATH: No such file or directory: OCI runtime error";
        assert!(complains(Flavor::Docker, docker) && complains(Flavor::Podman, &format!("warning\n{podman}")));
        for said in ["bash: line 1: prompt: command not found", "Error: cannot find module", "", "no docker: here"] {
            assert!(!complains(Flavor::Docker, said) && !complains(Flavor::Podman, said), "{said}");
        }
    }

    #[test]
    fn names_are_split_from_links() {
        assert_eq!(names("a\nother/alias,b\n\n"), ["a", "b"]);
    }
}
