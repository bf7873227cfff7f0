//! Podman: its probe, the part of it that is kept between starts, and hints for people.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;
use serde::{Deserialize, Serialize};

use super::argv::{Dialect, Submounts};
use super::cli::Cli;
use super::cli_engine::{CliOptions, Facts};
use super::host;
use super::{Capabilities, EngineError, Unsupported};

const PROBE: Duration = Duration::from_secs(15);
const CACHE_FILE: &str = "podman-probe.json";

pub(in crate::container) fn cli(program: Vec<OsString>) -> Cli {
    Cli {
        name: "podman",
        program,
        install_hint: "install it with `apt install podman uidmap slirp4netns catatonit` (Debian, Ubuntu) or `dnf install podman`",
        start_hint: "check `podman info`; with a remote service: `systemctl --user start podman.socket`",
    }
}

/// The needed part of `podman info`, which takes a fifth of a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    version: String,
    rootless: bool,
    cgroup_v1: bool,
    controllers: Vec<String>,
    oci_runtime: String,
    selinux: bool,
    tun: bool,
}

#[derive(Serialize, Deserialize)]
struct Cached {
    key: String,
    found: Found,
}

pub(in crate::container) async fn probe(cli: &Cli, options: &CliOptions) -> Result<Facts, EngineError> {
    let key = cache_key(cli);
    let file = options.cache.as_ref().map(|dir| dir.join(CACHE_FILE));
    if let Some(found) = file.as_deref().and_then(|path| cached(path, &key)) {
        // Still ask one quick question: whether podman works at all.
        let output = cli.call(&["version", "--format", "{{.Client.Version}}"], PROBE).await?;
        if output.ok() && output.stdout == found.version {
            return Ok(facts(found, options));
        }
    }
    let output = cli.call(&["info", "--format", "json"], PROBE).await?;
    if !output.ok() {
        return Err(cli.call_error("info", &output));
    }
    let found = parse(&output.stdout).map_err(|e| cli.failed("info", format!("its answer cannot be read: {e}")))?;
    if let Some(path) = file {
        let cached = Cached { key, found: found.clone() };
        // A missing cache only costs time.
        if let Err(error) = serde_json::to_vec(&cached).map_err(Into::into).and_then(|text| fs::write(&path, text)) {
            tracing::debug!(path = %path.display(), %error, "cannot keep the probe of podman");
        }
    }
    Ok(facts(found, options))
}

fn parse(text: &str) -> Result<Found, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        host: Host,
        version: Version,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Host {
        #[serde(default)]
        cgroup_version: String,
        #[serde(default)]
        cgroup_controllers: Option<Vec<String>>,
        oci_runtime: Runtime,
        security: Security,
    }
    #[derive(Deserialize)]
    struct Runtime {
        #[serde(default)]
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Security {
        #[serde(default)]
        rootless: bool,
        #[serde(default, rename = "selinuxEnabled")]
        selinux: bool,
    }
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "Version")]
        version: String,
    }
    let info: Info = serde_json::from_str(text)?;
    Ok(Found {
        version: info.version.version,
        rootless: info.host.security.rootless,
        cgroup_v1: info.host.cgroup_version == "v1",
        controllers: info.host.cgroup_controllers.unwrap_or_default(),
        oci_runtime: info.host.oci_runtime.name,
        selinux: info.host.security.selinux,
        tun: tun_is_open(),
    })
}

fn facts(found: Found, options: &CliOptions) -> Facts {
    let mut unsupported = match (found.rootless, found.cgroup_v1) {
        (true, true) => host::unsupported(&[], "rootless podman enforces no limits with control groups v1"),
        (true, false) => host::unsupported(
            &found.controllers,
            "its control group is not delegated to this user (systemd: Delegate= of user@.service)",
        ),
        (false, _) => host::unsupported(&found.controllers, "the kernel's control group for it is switched off"),
    };
    if found.rootless && !found.tun {
        let why = "rootless networks need /dev/net/tun, which this user cannot open (`chmod 666 /dev/net/tun` as root)";
        unsupported.push(Unsupported { what: "network", why: why.to_owned() });
    }
    let oci_runtime = options.oci_runtime.clone().or_else(|| fitting_runtime(&found));
    let caps = Capabilities { version: found.version, rootless: found.rootless, keep_id: found.rootless, unsupported };
    let dialect = Dialect {
        podman: true,
        no_memory: host::lacks(&caps, "memory"),
        no_cpus: host::lacks(&caps, "cpus"),
        no_pids: host::lacks(&caps, "pids"),
        label_disable: found.selinux,
        submounts: if found.rootless { Submounts::Shown } else { Submounts::Hidden },
        // Rootless podman itself keeps its user's limits.
        ulimits: if found.rootless { None } else { host::ulimits() },
        oci_runtime,
    };
    Facts { caps, dialect }
}

/// Returns true if a version is older than 4; an unknown version counts as new.
pub(in crate::container) fn is_before_4(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 4)
}

/// Returns true if this user may create a network device.
fn tun_is_open() -> bool {
    let path = "/dev/net/tun";
    let everyone = fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o006 == 0o006);
    let me =
        !rustix::process::geteuid().is_root() && rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok();
    everyone || me
}

/// Returns a runtime that works on machines with both kinds of control groups: crun refuses them, and runc accepts
/// them.
fn fitting_runtime(found: &Found) -> Option<String> {
    let hybrid = found.cgroup_v1 && Path::new("/sys/fs/cgroup/unified").exists();
    let runc = ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc"];
    let there = runc.into_iter().find(|path| Path::new(path).exists());
    (hybrid && found.oci_runtime == "crun").then_some(there).flatten().map(str::to_owned)
}

fn cached(path: &Path, key: &str) -> Option<Found> {
    let cached: Cached = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (cached.key == key).then_some(cached.found)
}

/// Returns a key that changes with the machine's boot, the configuration, and the limits that systemd lets the user
/// set. A new podman is noticed by its version.
fn cache_key(cli: &Cli) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let uid = rustix::process::geteuid().as_raw();
    let delegated = read(&format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"));
    let mut key =
        format!("{uid};{};{};{}", cli.shown(), read("/proc/sys/kernel/random/boot_id").trim(), delegated.trim());
    for path in ["/etc/containers/containers.conf", "/usr/share/containers/containers.conf", "/dev/net/tun"] {
        let state =
            fs::metadata(path).map_or((0, 0, 0, 0), |meta| (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.mode()));
        // Writing to a string cannot fail.
        let _ = write!(key, ";{path}={state:?}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"{"host":{"cgroupVersion":"VERSION","cgroupControllers":["cpu","memory","pids"],
        "ociRuntime":{"name":"crun"},"security":{"rootless":ROOTLESS,"selinuxEnabled":false}},
        "version":{"Version":"4.3.1"}}"#;

    fn found(version: &str, rootless: bool) -> Found {
        let text = INFO.replace("VERSION", version).replace("ROOTLESS", &rootless.to_string());
        Found { tun: true, ..parse(&text).unwrap() }
    }

    #[test]
    fn limits_are_left_out_where_they_cannot_be_enforced() {
        let old = facts(found("v1", true), &CliOptions::default());
        assert_eq!(old.caps.unsupported.iter().map(|gap| gap.what).collect::<Vec<_>>(), ["memory", "cpus", "pids"]);
        assert!(old.caps.keep_id && old.dialect.no_memory && old.dialect.no_cpus && old.dialect.no_pids);
        let new = facts(found("v2", true), &CliOptions::default());
        assert!(new.caps.unsupported.is_empty() && new.caps.keep_id && !new.dialect.no_memory);
        let mut part = found("v2", true);
        part.controllers = vec!["memory".into(), "pids".into()];
        let part = facts(part, &CliOptions::default());
        assert_eq!(part.caps.unsupported.iter().map(|gap| gap.what).collect::<Vec<_>>(), ["cpus"]);
        let closed = facts(Found { tun: false, ..found("v2", true) }, &CliOptions::default());
        assert_eq!(closed.caps.unsupported.iter().map(|gap| gap.what).collect::<Vec<_>>(), ["network"]);
        let root = facts(found("v1", false), &CliOptions::default());
        assert!(root.caps.unsupported.is_empty() && !root.caps.keep_id && !root.dialect.no_memory);
    }

    #[test]
    fn old_versions_are_known() {
        assert!(is_before_4("3.4.4") && !is_before_4("4.3.1") && !is_before_4("10.0.0") && !is_before_4(""));
    }

    #[test]
    fn operators_oci_runtime_wins() {
        let options = CliOptions { oci_runtime: Some("kata".into()), cache: None };
        assert_eq!(facts(found("v1", false), &options).dialect.oci_runtime.as_deref(), Some("kata"));
        let v2 = facts(found("v2", false), &CliOptions::default());
        assert_eq!(v2.dialect.oci_runtime, None);
    }

    #[test]
    fn a_cached_probe_counts_only_for_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CACHE_FILE);
        let kept = Cached { key: "a".into(), found: found("v1", true) };
        fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
        assert_eq!(cached(&path, "a"), Some(found("v1", true)));
        assert_eq!(cached(&path, "b"), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(cached(&path, "a"), None);
    }
}
