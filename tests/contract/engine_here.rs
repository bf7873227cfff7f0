//! The container engines of this machine, prepared for the suite.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use parlor::container::engine::cli_engine::{CliEngine, CliOptions, Flavor};
use parlor::container::engine::spec::{Mount, MountSource, Network, RunSpec, User};
use parlor::container::engine::user::user_for;
use parlor::container::engine::{Attached, Client, ContainerEngine, Exit};
use parlor::container::image::{Image, Inputs, silent};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use ulid::Ulid;

/// The user whose rootless engines are tested if root runs the tests.
const ROOTLESS_USER: &str = "parlor-test";
/// The agent of these tests, in the runner's place: runs the first line of its stdin, which may read the rest.
const SHELL_AGENT: &[u8] = b"#!/bin/sh\nIFS= read -r line\neval \"$line\"\n";

/// An engine, the command of its client, and the host user who owns the files that its containers write.
type Found = (CliEngine, Vec<OsString>, (u32, u32));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Docker,
    DockerRootless,
    Podman,
    PodmanRootless,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerRootless => "docker-rootless",
            Self::Podman => "podman",
            Self::PodmanRootless => "podman-rootless",
        }
    }

    pub fn is_podman(self) -> bool {
        matches!(self, Self::Podman | Self::PodmanRootless)
    }

    /// Returns true if the engine runs without root.
    pub fn is_rootless(self) -> bool {
        matches!(self, Self::DockerRootless | Self::PodmanRootless)
    }

    /// Returns the engine, or why the machine does not have it.
    fn engine(self, cache: &Path) -> Result<Found, String> {
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (flavor, program) = match self {
            Self::Docker | Self::DockerRootless => (Flavor::Docker, "docker"),
            Self::Podman | Self::PodmanRootless => (Flavor::Podman, "podman"),
        };
        on_path(program).ok_or_else(|| format!("{program} is not installed"))?;
        let options = CliOptions { oci_runtime: None, cache: Some(cache.to_owned()) };
        let (mut words, (uid, gid)) = match (self, me.0) {
            (Self::Podman, uid) if uid != 0 => return Err("it needs root".to_owned()),
            (Self::PodmanRootless | Self::DockerRootless, 0) => as_user(ROOTLESS_USER)?,
            _ => (Vec::new(), me),
        };
        words.push(OsString::from(program));
        if self == Self::DockerRootless {
            let socket = format!("{}/docker.sock", runtime_dir(uid));
            if !Path::new(&socket).exists() {
                return Err(format!("there is no {socket}; `make test` as root starts a daemon for {ROOTLESS_USER}"));
            }
            words.extend(["--host".into(), format!("unix://{socket}").into()]);
        }
        Ok((CliEngine::new(flavor, words.clone(), options), words, (uid, gid)))
    }
}

/// Returns the words before a program that another user runs.
fn as_user(name: &str) -> Result<(Vec<OsString>, (u32, u32)), String> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let line = line.ok_or_else(|| format!("there is no user {name}; `make test` as root adds it"))?;
    let fields: Vec<&str> = line.split(':').collect();
    let (uid, gid, home) = (fields[2].parse().expect("a uid"), fields[3].parse().expect("a gid"), fields[5]);
    let mut words = as_ids(uid, gid);
    words.extend(["env", "--chdir=/", "-u", "XDG_CONFIG_HOME"].map(str::to_owned));
    words.push(format!("HOME={home}"));
    let runtime = format!("/run/user/{uid}");
    if Path::new(&runtime).exists() {
        words.push(format!("XDG_RUNTIME_DIR={runtime}"));
    }
    Ok((words.into_iter().map(OsString::from).collect(), (uid, gid)))
}

fn as_ids(uid: u32, gid: u32) -> Vec<String> {
    ["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"].map(str::to_owned).to_vec()
}

/// Returns the folder of a user's sockets: the tester's own may be at an unusual place.
fn runtime_dir(uid: u32) -> String {
    let own = std::env::var("XDG_RUNTIME_DIR").ok().filter(|_| rustix::process::geteuid().as_raw() == uid);
    own.unwrap_or_else(|| format!("/run/user/{uid}"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.exists())
}

/// An engine for one test, with unique labels.
pub struct Bench {
    pub which: Which,
    pub engine: CliEngine,
    /// The command of the engine's own client.
    pub client: Vec<OsString>,
    pub image: String,
    pub user: User,
    /// The value of this test's `parlor.instance` labels.
    pub instance: String,
    /// A folder that belongs to the containers' user.
    pub dir: TempDir,
    /// The host user who owns it.
    pub owner: (u32, u32),
}

/// Runs a case against an engine if the machine has it. An engine named in `PARLOR_TEST_ENGINES` must exist.
pub async fn with<F>(which: Which, case: impl FnOnce(std::sync::Arc<Bench>) -> F)
where
    F: Future<Output = ()>,
{
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("contract-{}", which.name()));
    std::fs::create_dir_all(&data).expect("a folder for the image");
    let found = match which.engine(&data) {
        Ok((engine, client, ids)) => {
            engine.probe().await.map(|caps| (engine, client, ids, caps)).map_err(|e| e.to_string())
        }
        Err(reason) => Err(reason),
    };
    let (engine, client, (uid, gid), caps) = match found {
        Ok(found) => found,
        Err(reason) => {
            let demanded = std::env::var("PARLOR_TEST_ENGINES").unwrap_or_default();
            assert!(!demanded.split(',').any(|name| name == which.name()), "{}: {reason}", which.name());
            eprintln!("{} is not tested on this machine: {reason}", which.name());
            return;
        }
    };
    let user = user_for(uid, gid, None, &caps);
    let inputs = Inputs { runner: SHELL_AGENT.into(), ..Inputs::system() };
    let image = Image::new(inputs, data).ensure(&engine, &silent).await.expect("the image");
    let dir = TempDir::new().expect("a folder to mount");
    let owner = if user.keep_id || uid != 0 { (uid, gid) } else { (user.uid, user.gid) };
    own(dir.path(), owner);
    let instance = format!("contract-{}", Ulid::new()).to_lowercase();
    let bench = std::sync::Arc::new(Bench { which, engine, client, image, user, instance, dir, owner });
    let outcome = AssertUnwindSafe(case(bench.clone())).catch_unwind().await;
    let left = bench.engine.list("parlor.instance", &bench.instance).await.expect("list");
    bench.engine.remove(&left).await.expect("remove");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn own(path: &Path, (uid, gid): (u32, u32)) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("chmod");
    if rustix::process::geteuid().is_root() {
        chown(path, Some(uid), Some(gid)).expect("chown");
    }
}

impl Bench {
    /// Returns a run without mounts, limits or network.
    pub fn spec(&self) -> RunSpec {
        let name = format!("parlor-contract-{}", Ulid::new()).to_lowercase();
        let labels = [("parlor.instance", self.instance.as_str()), ("parlor.kind", "run")];
        let env = [("HOME", "/home/node"), ("TZ", "Europe/Berlin")];
        RunSpec {
            name,
            image: self.image.clone(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            mounts: Vec::new(),
            user: self.user,
            network: Network::None,
            gateway: None,
            memory: None,
            cpus: None,
            pids: None,
        }
    }

    /// Creates a folder on the host that belongs to the containers' user.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).expect("a folder");
        own(&path, self.owner);
        path
    }

    pub async fn start(&self, spec: &RunSpec, script: &str) -> Run {
        let mut attached = self.engine.start(spec).await.expect("start");
        attached.stdin.write_all(format!("{script}\n").as_bytes()).await.expect("the script is taken");
        Run::of(attached)
    }

    /// Runs a script to its end.
    pub async fn run(&self, spec: &RunSpec, script: &str) -> Done {
        self.start(spec, script).await.finish(b"").await
    }

    /// Waits until a container is gone.
    pub async fn gone(&self, name: &str) {
        for _ in 0..100 {
            if !self.engine.exists(name).await.expect("exists") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} is still there");
    }

    /// Runs a shell script in a folder as the host user who owns the mounted folders; returns its output.
    pub fn as_owner(&self, folder: &Path, script: &str) -> String {
        let mut words = Vec::new();
        if rustix::process::geteuid().as_raw() != self.owner.0 {
            words = as_ids(self.owner.0, self.owner.1);
        }
        words.extend(["sh", "-c", script].map(str::to_owned));
        let output = std::process::Command::new(&words[0]).args(&words[1..]).current_dir(folder).output().expect("sh");
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Returns true if the engine reports that it runs without root: a tester's default docker may.
    pub fn rootless(&self) -> bool {
        self.engine.capabilities().rootless
    }

    pub fn lacks(&self, what: &str) -> bool {
        self.engine.capabilities().unsupported.iter().any(|limit| limit.what == what)
    }
}

pub fn bind(source: &Path, target: &str, writable: bool) -> Mount {
    Mount { source: MountSource::Host(source.to_owned()), target: target.to_owned(), writable }
}

/// A live run.
pub struct Run {
    attached: Attached,
}

/// The result of a run.
#[derive(Debug)]
pub struct Done {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Done {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text").trim()
    }
}

impl Run {
    /// Takes a run without giving it a script.
    pub fn of(attached: Attached) -> Self {
        Self { attached }
    }

    /// Reads the next line of stdout, byte by byte, so that nothing after it is consumed.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut reader = BufReader::with_capacity(1, &mut self.attached.stdout);
        tokio::time::timeout(Duration::from_secs(60), reader.read_until(b'\n', &mut line))
            .await
            .expect("a line in time")
            .expect("a line");
        String::from_utf8(line).expect("text").trim().to_owned()
    }

    /// Writes the input, closes it, and reads all output until the end.
    pub async fn finish(self, input: &[u8]) -> Done {
        let Attached { mut stdin, mut stdout, mut stderr, mut client } = self.attached;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let write = async {
            // An agent need not read its input.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let all = async {
            let ((), read_out, read_err) =
                tokio::join!(write, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
            read_out.expect("stdout");
            read_err.expect("stderr");
            client.wait().await.expect("wait")
        };
        let exit = tokio::time::timeout(Duration::from_secs(60), all).await.expect("the run ends");
        let stderr = String::from_utf8_lossy(&err).into_owned();
        Done { exit: client.judge(exit, &stderr), stdout: out, stderr }
    }

    pub fn client(&mut self) -> &mut dyn Client {
        self.attached.client.as_mut()
    }
}
