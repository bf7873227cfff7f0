//! The host as a service of a real systemd: a user manager that the test starts in its own mount namespace, in which it
//! believes that systemd booted the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::host::Host;
use crate::harness::{SOON, engine, eventually};

/// A user manager of systemd.
struct Systemd {
    child: Child,
    /// Its runtime folder, and the settings folder with the units.
    runtime: PathBuf,
    config: PathBuf,
}

impl Systemd {
    fn start(folder: &std::path::Path) -> Self {
        let (runtime, config) = (folder.join("runtime"), folder.join("config"));
        fs::create_dir_all(&config).unwrap();
        fs::create_dir_all(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        // A mount needs an existing mount point.
        fs::create_dir_all("/run/systemd").unwrap();
        let script =
            "mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && exec /lib/systemd/systemd --user";
        let log = fs::File::create(folder.join("systemd.log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("XDG_CONFIG_HOME", &config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let this = Self { child, runtime, config };
        eventually("systemd runs", SOON, || {
            let state = this.enter(Command::new("systemctl").args(["--user", "is-system-running"]));
            (String::from_utf8_lossy(&state.stdout).trim() == "running").then_some(())
        });
        this
    }

    /// Runs a command in the manager's namespaces.
    fn enter(&self, command: &Command) -> Output {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--mount=/proc/{}/ns/mnt", self.child.id())).arg(command.get_program());
        entered.args(command.get_args());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                entered.env(key, value);
            }
        }
        entered.env("XDG_RUNTIME_DIR", &self.runtime).env("XDG_CONFIG_HOME", &self.config).output().unwrap()
    }

    fn unit(&self) -> PathBuf {
        self.config.join("systemd/user/parlor.service")
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn service_is_installed_restarted_after_a_kill_and_removed() {
    // Starting a manager requires root that may mount.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let settings = format!("PARLOR_PROVIDER=guide\nCONTAINER_RUNTIME={}\n", engine::Engine::default().program);
    let host = Host::builder().dot_env(&settings).prepare();
    let folder = host.root().parent().unwrap().join("systemd");
    fs::create_dir(&folder).unwrap();
    let systemd = Systemd::start(&folder);
    let parlor = |args: &[&str]| systemd.enter(host.command().args(args));

    let installed = parlor(&["service", "install", "--user"]);
    assert!(installed.status.success(), "{}", said(&installed));
    assert!(said(&installed).contains("parlor.service runs"), "{}", said(&installed));
    assert!(said(&installed).contains("CONTAINER_RUNTIME is set in this shell alone"), "{}", said(&installed));
    let answer = parlor(&["chat", "-m", "what can you do"]);
    assert!(answer.status.success() && said(&answer).contains("remind"), "{}", said(&answer));
    let again = parlor(&["service", "install", "--user"]);
    assert!(said(&again).contains("is installed and runs already"), "{}", said(&again));

    // After a kill the service is restarted.
    let pid = || {
        let shown =
            systemd.enter(Command::new("systemctl").args(["--user", "show", "-p", "MainPID", "parlor.service"]));
        said(&shown).trim().trim_start_matches("MainPID=").parse::<i32>().ok().filter(|pid| *pid > 0)
    };
    let first = pid().unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    eventually("it is started again", SOON, || pid().filter(|pid| *pid != first));
    eventually("it answers again", SOON, || {
        host.api.try_call("GET", "/readyz", b"").is_ok_and(|r| r.status == 200).then_some(())
    });

    let removed = parlor(&["service", "uninstall", "--user"]);
    assert!(removed.status.success(), "{}", said(&removed));
    assert!(!systemd.unit().exists());
    assert!(host.api.try_call("GET", "/healthz", b"").is_err());
    host.wait_no_containers();
    let nothing = parlor(&["service", "uninstall", "--user"]);
    assert!(nothing.status.success() && said(&nothing).contains("is not installed"), "{}", said(&nothing));

    // A unit that somebody else wrote is kept.
    fs::write(systemd.unit(), "[Service]\nExecStart=/bin/true\n").unwrap();
    for verb in ["install", "uninstall"] {
        let refused = parlor(&["service", verb, "--user"]);
        assert!(!refused.status.success() && said(&refused).contains("was not made by Parlor"), "{}", said(&refused));
    }
    assert_eq!(fs::read_to_string(systemd.unit()).unwrap(), "[Service]\nExecStart=/bin/true\n");
}

#[test]
fn service_without_systemd_reports_the_remedy() {
    let host = Host::builder().prepare();
    let printed = host.command().args(["service", "install", "--print", "--user"]).output().unwrap();
    assert!(said(&printed).contains(&format!("--home \"{}\" up", host.root().display())), "{}", said(&printed));
    let odd = host.command().args(["service", "install", "--name", "../x"]).output().unwrap();
    assert_eq!(odd.status.code(), Some(2), "{}", said(&odd));
    if !std::path::Path::new("/run/systemd/system").is_dir() {
        let refused = host.command().args(["service", "install", "--user"]).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains("--print"), "{}", said(&refused));
    }
}
