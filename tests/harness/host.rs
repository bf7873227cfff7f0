//! A running `parlor up` with its own home.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::engine::{Account, Engine};
use super::events::Events;
use super::http::{Api, messages_path};
use super::{SOON, eventually, image};

/// Returns a folder on a real disk for homes; its path is short, because the socket's path must be.
pub fn scratch() -> PathBuf {
    PathBuf::from("/var/tmp")
}

/// The options for starting a host.
#[derive(Debug, Default)]
pub struct Builder {
    env: Vec<(String, String)>,
    home: Option<PathBuf>,
    binary: Option<PathBuf>,
    tolerated: Vec<String>,
    open_files: Option<u32>,
    dot_env: Option<String>,
    engine: Engine,
    user: Option<Account>,
}

impl Builder {
    /// Sets an environment variable of the host.
    // By value: most values are numbers.
    #[allow(clippy::needless_pass_by_value)]
    pub fn env(mut self, key: &str, value: impl ToString) -> Self {
        self.env.push((key.to_owned(), value.to_string()));
        self
    }

    /// Sets several environment variables.
    pub fn envs(mut self, pairs: Vec<(String, String)>) -> Self {
        self.env.extend(pairs);
        self
    }

    /// Uses this folder as the home instead of a fresh one; it is not removed.
    pub fn home(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }

    /// Limits the host's file descriptors.
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Starts this program in Parlor's place, with the same arguments.
    pub fn binary(mut self, program: &Path) -> Self {
        self.binary = Some(program.to_owned());
        self
    }

    /// Declares log lines with `ERROR` that contain this text as expected.
    pub fn tolerate(mut self, text: &str) -> Self {
        self.tolerated.push(text.to_owned());
        self
    }

    /// Sets the content of `.env`.
    pub fn dot_env(mut self, content: &str) -> Self {
        self.dot_env = Some(content.to_owned());
        self
    }

    /// Uses this engine, also for finding the host's containers.
    pub fn engine(mut self, engine: &Engine) -> Self {
        self.engine = engine.clone();
        self
    }

    /// Runs the host as this user, who then owns the home. Only root can do this.
    pub fn user(mut self, user: &Account) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Starts the host and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Host {
        let mut host = self.prepare();
        host.start();
        host
    }

    /// Creates the home, but starts nothing yet.
    pub fn prepare(self) -> Host {
        let dir = match &self.home {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("p-").tempdir_in(scratch()).unwrap()),
        };
        let root = self.home.clone().unwrap_or_else(|| dir.as_ref().unwrap().path().join("h"));
        fs::create_dir_all(&root).unwrap();
        if let Some(content) = &self.dot_env {
            fs::write(root.join(".env"), content).unwrap();
            let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
            fs::set_permissions(root.join(".env"), mode).unwrap();
        }
        let outside = dir.as_ref().map_or_else(|| root.with_extension("out"), |dir| dir.path().join("out"));
        fs::create_dir_all(&outside).unwrap();
        let mut builder = self;
        if let Some(user) = &builder.user {
            // The build folder may not be accessible to other users.
            let binary = outside.join("parlor");
            fs::copy(builder.binary.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_parlor"))), &binary).unwrap();
            builder.binary = Some(binary);
            for path in
                [&root, &outside].into_iter().chain(dir.iter().map(|d| d.path().to_owned()).collect::<Vec<_>>().iter())
            {
                std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        let api = Api::new(root.join("data/parlor.sock"));
        Host { builder, root, outside, _dir: dir, child: None, api, ready_after: Duration::ZERO }
    }
}

#[derive(Debug)]
pub struct Host {
    builder: Builder,
    root: PathBuf,
    /// The folder of the log and the operator's own files, outside of the home.
    outside: PathBuf,
    _dir: Option<tempfile::TempDir>,
    child: Option<Child>,
    /// The host's API.
    pub api: Api,
    /// The time that the last start took until the host was ready.
    pub ready_after: Duration,
}

impl Host {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the installation's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the operator's folder, which has the allowlists.
    pub fn config_dir(&self) -> PathBuf {
        self.outside.join(".config/parlor")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the host does not run").id()
    }

    /// Starts the program and waits until it reports that it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.image();
        let started = Instant::now();
        self.spawn();
        let deadline = started + SOON;
        while !self.is_ready() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                panic!("the host ended at its start ({status}):\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the host is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_micros(200));
        }
        self.ready_after = started.elapsed();
    }

    /// Starts the program without waiting for it.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the host runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let image = self.image();
        let mut command = self.command();
        command
            .arg("up")
            .env("CONTAINER_IMAGE", image)
            .envs(self.builder.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Returns the program with this home and a clean environment, for other commands against the host.
    pub fn command(&self) -> Command {
        let binary = self.builder.binary.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_parlor").into());
        let mut command = match &self.builder.user {
            Some(user) => user.command(binary),
            None => Command::new(binary),
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.outside)
            .env("CONTAINER_RUNTIME", &self.builder.engine.program)
            .env("PARLOR_PROVIDER", "guide")
            .env("TZ", "UTC")
            .args(["--home".as_ref(), self.root.as_os_str()]);
        if let Some(user) = &self.builder.user {
            // A user's engine is found by the user's own home; the operator's folder is still this host's.
            command.env("XDG_CONFIG_HOME", self.outside.join(".config")).envs(user.env());
        } else if let Some(docker_host) = self.builder.engine.docker_host() {
            // The user may also have access to root's docker, which would be preferred.
            command.env("DOCKER_HOST", docker_host);
        }
        command
    }

    /// Returns the scripted agent's image in this host's engine.
    fn image(&self) -> String {
        if self.builder.engine == Engine::default() {
            return image::test_agent().to_owned();
        }
        image::test_agent_in(&self.builder.engine)
    }

    fn is_ready(&self) -> bool {
        self.api.try_call("GET", "/readyz", b"").is_ok_and(|response| response.status == 200)
    }

    /// Returns the whole log of the host.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.outside.join("host.log")
    }

    /// Registers a group that answers every message.
    #[track_caller]
    pub fn register(&self, jid: &str, folder: &str) {
        self.register_with(jid, folder, &json!({}));
    }

    /// Registers a group with container settings.
    #[track_caller]
    pub fn register_with(&self, jid: &str, folder: &str, config: &Value) {
        let group = json!({
            "jid": jid, "name": folder, "folder": folder, "trigger": "@Andy", "requiresTrigger": false,
            "containerConfig": config,
        });
        self.api.post("/v1/groups", &group).expect(201);
    }

    /// Registers a group as the main group.
    #[track_caller]
    pub fn register_main(&self, jid: &str, folder: &str) {
        self.register(jid, folder);
        self.api.patch(&format!("/v1/groups/{folder}"), &json!({ "isMain": true })).expect(200);
    }

    /// Sends a message; returns its sequence number.
    #[track_caller]
    pub fn send(&self, jid: &str, text: &str) -> i64 {
        let message = json!({ "sender": "ann", "senderName": "Ann", "text": text });
        self.api.post(&messages_path(jid), &message).expect(202).json()["seq"].as_i64().unwrap()
    }

    /// Opens the event stream from now on.
    pub fn events(&self) -> Events {
        Events::open(self.api.socket(), None)
    }

    /// Opens the event stream after a cursor.
    pub fn events_since(&self, cursor: &str) -> Events {
        Events::open(self.api.socket(), Some(cursor))
    }

    /// Sends a message and waits until its turn is done; returns the texts that the agent sent meanwhile.
    #[track_caller]
    pub fn ask(&self, jid: &str, text: &str) -> Vec<String> {
        let mut events = self.events();
        let seq = self.send(jid, text);
        events.turn_done(jid, seq, SOON);
        events.texts(jid)
    }

    /// Returns the installation's id, which labels its containers; None before the first start.
    pub fn instance(&self) -> Option<String> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = rusqlite::Connection::open_with_flags(self.root.join("data/parlor.db"), flags).ok()?;
        db.busy_timeout(Duration::from_secs(5)).ok()?;
        db.query_row("SELECT value FROM meta WHERE key IN ('instance', 'instance_id')", [], |row| row.get(0)).ok()
    }

    /// Returns the names of this host's containers, in any state.
    pub fn containers(&self) -> Vec<String> {
        self.instance().map(|id| self.builder.engine.containers(&format!("parlor.instance={id}"))).unwrap_or_default()
    }

    /// Waits until this host has no containers.
    #[track_caller]
    pub fn wait_no_containers(&self) {
        eventually("no container is left", SOON, || self.containers().is_empty().then_some(()));
    }

    /// Kills the host with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the host does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to the host.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid() as i32).unwrap(), signal).unwrap();
    }

    /// Ends the host with SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_ended()
    }

    /// Returns the program's exit status, if it has exited.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut().unwrap().try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Waits for the end of a host that was asked to exit.
    #[track_caller]
    pub fn wait_ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let deadline = Instant::now() + 2 * SOON;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("the host did not end after SIGTERM:\n{}", self.log());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Kills the host with SIGKILL and starts it again.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Returns the unexpected errors in the log.
    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let bad = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked at"));
        bad.filter(|line| !self.builder.tolerated.iter().any(|t| line.contains(t))).map(str::to_owned).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let passed = !std::thread::panicking();
        let ran = self.child.is_some();
        if passed && ran {
            let status = self.terminate();
            assert!(status.success(), "the host ended with {status}:\n{}", self.log());
        } else if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !passed {
            eprintln!("--- log of the host ---\n{}", tail(&self.log(), 200));
        }
        if !passed && ran {
            // A container that an engine's client was just starting appears later.
            std::thread::sleep(Duration::from_secs(2));
        }
        let left = self.instance().map(|id| self.builder.engine.containers_if_any(&format!("parlor.instance={id}")));
        let left = left.unwrap_or_default();
        self.builder.engine.remove(&left);
        if passed {
            assert!(left.is_empty() || !ran, "containers are left: {left:?}\n{}", self.log());
            assert!(self.complaints().is_empty(), "errors in the log:\n{}", self.complaints().join("\n"));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Copies a folder with all its content, as an operator's backup would.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(entry.path())?, &mut File::create(target)?)?;
        }
    }
    Ok(())
}
