//! The engines' command lines, as people use them, and the users who run them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{getegid, geteuid};

/// The unprivileged user whose rootless engines are tested if the tests run as root; `make test` adds it.
const ROOTLESS_USER: &str = "parlor-test";

/// A user of this machine. A program that runs as one has that user's ids from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// A group in addition to the user's own.
    pub extra_group: Option<u32>,
    /// The folder in which this user's engine keeps its images.
    pub home: Option<PathBuf>,
}

impl Account {
    /// Takes any ids; they need no entry in the system's list of users.
    pub fn ids(uid: u32, gid: u32) -> Self {
        Self { uid, gid, extra_group: None, home: None }
    }

    /// Returns the user of rootless engines, or an error if the machine has none.
    pub fn rootless() -> Result<Self, String> {
        let users = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
        let line = users.lines().find(|line| line.split(':').next() == Some(ROOTLESS_USER));
        let line = line.ok_or_else(|| format!("there is no user {ROOTLESS_USER}; `make test` as root adds it"))?;
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        Ok(Self { home: Some(fields[5].into()), ..Self::ids(uid, gid) })
    }

    /// Returns the user that runs the tests.
    pub fn me() -> Self {
        Self::ids(geteuid().as_raw(), getegid().as_raw())
    }

    /// A program that runs as this user, in a folder that every user may enter.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.uid == geteuid().as_raw() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        match self.extra_group {
            Some(group) => command.arg(format!("--groups={group}")),
            None => command.arg("--clear-groups"),
        };
        command.arg("--").arg(program).current_dir("/").envs(self.env());
        command
    }

    /// Returns the environment with which an engine's client finds this user's files.
    pub fn env(&self) -> Vec<(String, String)> {
        let Some(home) = &self.home else { return Vec::new() };
        let runtime = format!("/run/user/{}", self.uid);
        let mut env = vec![("HOME".to_owned(), home.display().to_string())];
        if Path::new(&runtime).exists() {
            env.push(("XDG_RUNTIME_DIR".to_owned(), runtime));
        }
        env
    }
}

/// An engine's client that runs as some user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    pub program: String,
    pub user: Account,
    /// The daemon's socket, if it is not at the usual place.
    pub socket: Option<PathBuf>,
}

impl Default for Engine {
    /// Returns the engine that tests use: `PARLOR_TEST_ENGINE`, else docker.
    fn default() -> Self {
        Self { program: name(), user: Account::me(), socket: None }
    }
}

impl Engine {
    pub fn new(program: &str, user: Account) -> Self {
        Self { program: program.to_owned(), user, socket: None }
    }

    /// Returns a user's rootless docker.
    pub fn rootless_docker(user: Account) -> Self {
        let socket = format!("/run/user/{}/docker.sock", user.uid).into();
        Self { socket: Some(socket), ..Self::new("docker", user) }
    }

    /// Returns `DOCKER_HOST` for this daemon, if it needs one.
    pub fn docker_host(&self) -> Option<String> {
        self.socket.as_ref().map(|socket| format!("unix://{}", socket.display()))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.user.command(&self.program);
        if let Some(host) = self.docker_host() {
            command.args(["--host", &host]);
        }
        command.args(args).env_remove("XDG_CONFIG_HOME");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap_or_else(|e| panic!("{} {args:?}: {e}", self.program))
    }

    /// Runs the client with a file as stdin.
    pub fn run_with(&self, args: &[&str], input: File) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::from(input)).output().unwrap_or_else(|e| panic!("{} {args:?}: {e}", self.program))
    }

    /// Returns the lines that the client prints.
    pub fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {args:?}: {complaint}", self.program);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Returns the names of all containers with a label, in any state.
    pub fn containers(&self, label: &str) -> Vec<String> {
        self.lines(&["ps", "--all", "--filter", &format!("label={label}"), "--format", "{{.Names}}"])
    }

    /// Like [`containers`](Self::containers), but never panics: for use while a test fails.
    pub fn containers_if_any(&self, label: &str) -> Vec<String> {
        let output = self.command(&["ps", "-aq", "--filter", &format!("label={label}")]).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Removes containers by name; missing ones are ignored.
    pub fn remove(&self, names: &[String]) {
        if !names.is_empty() {
            let mut args = vec!["rm", "--force"];
            args.extend(names.iter().map(String::as_str));
            self.run(&args);
        }
    }

    /// Checks that the engine works here; else returns why not.
    pub fn answers(&self) -> Result<(), String> {
        let output = self.command(&["version"]).output().map_err(|e| format!("{}: {e}", self.program))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// Returns the program name of the engine that tests use.
pub fn name() -> String {
    std::env::var("PARLOR_TEST_ENGINE").unwrap_or_else(|_| "docker".to_owned())
}

/// Runs the client of the engine that tests use.
pub fn run(args: &[&str]) -> Output {
    Engine::default().run(args)
}

/// Returns the lines that this client prints.
pub fn lines(args: &[&str]) -> Vec<String> {
    Engine::default().lines(args)
}

/// Returns the engine's version: client and server.
pub fn version() -> String {
    let formats = ["{{.Client.Version}} (client), {{.Server.Version}} (server)", "{{.Client.Version}}"];
    let answers = formats.iter().map(|format| run(&["version", "--format", format]));
    let answer = answers.into_iter().find(|o| o.status.success()).map(|o| o.stdout).unwrap_or_default();
    format!("{} {}", name(), String::from_utf8_lossy(&answer).trim())
}
