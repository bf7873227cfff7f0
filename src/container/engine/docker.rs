//! Docker: its probe, and hints for people.

use std::ffi::OsString;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::argv::{Dialect, Submounts};
use super::cli::{Cli, Output};
use super::cli_engine::Facts;
use super::host;
use super::{Capabilities, EngineError, Unsupported};

const PROBE: Duration = Duration::from_secs(10);

pub(in crate::container) fn cli(program: Vec<OsString>) -> Cli {
    Cli {
        name: "docker",
        program,
        install_hint: "install it with `apt install docker.io` (Debian, Ubuntu) or see https://docs.docker.com/engine/install/",
        start_hint: "start it with `systemctl start docker`, or `dockerd` where there is no systemd; a rootless one with \
                     `systemctl --user start docker`",
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Client", default)]
    client: Option<Server>,
    #[serde(rename = "Server")]
    server: Option<Server>,
}

#[derive(Deserialize)]
struct Server {
    #[serde(rename = "Version", default)]
    version: String,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "MemoryLimit", default)]
    memory: bool,
    #[serde(rename = "CpuCfsQuota", default)]
    cpus: bool,
    #[serde(rename = "PidsLimit", default)]
    pids: bool,
    #[serde(rename = "CgroupDriver", default)]
    driver: String,
}

/// Asks the daemon two quick questions at once, and a rootless one a third: the kernel's files do not show its
/// limits.
pub(in crate::container) async fn probe(cli: &Cli) -> Result<Facts, EngineError> {
    // Ask only for SecurityOptions: the full `info` runs every plugin of the client, and `version` does not report
    // rootlesskit before 23.
    let security = ["info", "--format", "{{json .SecurityOptions}}"];
    let version = ["version", "--format", "{{json .}}"];
    let (version, security) = tokio::join!(cli.call(&version, PROBE), cli.call(&security, PROBE));
    let parsed: Version = answer(cli, "version", &version?)?;
    let Some(server) = parsed.server else {
        return Err(cli.failed("version", "it names no server: is the program podman's docker shim?".to_owned()));
    };
    let security: Option<Vec<String>> = answer(cli, "info", &security?)?;
    let rootless = is_rootless(&security.unwrap_or_default());
    let unsupported = if rootless {
        let output = cli.call(&["info", "--format", "{{json .}}"], PROBE).await?;
        rootless_gaps(&answer(cli, "info", &output)?)
    } else {
        host::controllers()
            .map(|have| host::unsupported(&have, "the kernel's control group for it is switched off"))
            .unwrap_or_default()
    };
    let caps = Capabilities { version: server.version, rootless, keep_id: false, unsupported };
    let client = parsed.client.map(|client| client.version).unwrap_or_default();
    Ok(Facts { dialect: dialect(&caps, &client), caps })
}

fn answer<T: DeserializeOwned>(cli: &Cli, action: &str, output: &Output) -> Result<T, EngineError> {
    if !output.ok() {
        return Err(cli.call_error(action, output));
    }
    serde_json::from_str(&output.stdout).map_err(|e| cli.failed(action, format!("its answer cannot be read: {e}")))
}

/// Reads the daemon's security options, such as `name=seccomp,profile=default` and `name=rootless`.
fn is_rootless(security: &[String]) -> bool {
    security.iter().flat_map(|option| option.split(',')).any(|part| part == "name=rootless")
}

fn dialect(caps: &Capabilities, client: &str) -> Dialect {
    let submounts = match (caps.rootless, major(client)) {
        (true, _) => Submounts::Shown,
        (false, 0..25) => Submounts::Hidden,
        (false, _) => Submounts::Disabled,
    };
    Dialect {
        no_memory: host::lacks(caps, "memory"),
        no_cpus: host::lacks(caps, "cpus"),
        no_pids: host::lacks(caps, "pids"),
        label_disable: host::selinux_enforcing(),
        submounts,
        ..Dialect::default()
    }
}

/// Returns the first number of a version, or 0 if it is not valid.
fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

fn rootless_gaps(info: &Info) -> Vec<Unsupported> {
    let none = info.driver == "none";
    let why = "rootless docker needs control groups v2 that are delegated to its user";
    [("memory", info.memory), ("cpus", info.cpus), ("pids", info.pids)]
        .into_iter()
        .filter(|(_, works)| none || !works)
        .map(|(what, _)| Unsupported { what, why: why.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submounts_of_read_only_folders_are_not_writable() {
        let caps = |rootless| Capabilities { version: "20".into(), rootless, keep_id: false, unsupported: vec![] };
        assert_eq!(dialect(&caps(false), "20.10.24+dfsg1").submounts, Submounts::Hidden);
        assert_eq!(dialect(&caps(false), "28.2.2").submounts, Submounts::Disabled);
        assert_eq!(dialect(&caps(true), "28.2.2").submounts, Submounts::Shown);
    }

    #[test]
    fn a_rootless_daemon_is_known_by_its_security_options() {
        let options = |all: &[&str]| all.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
        assert!(is_rootless(&options(&["name=seccomp,profile=default", "name=rootless"])));
        assert!(!is_rootless(&options(&["name=apparmor", "name=seccomp,profile=rootless", "name=userns"])));
        assert!(!is_rootless(&[]));
    }

    #[test]
    fn a_rootless_daemon_without_cgroups_enforces_nothing() {
        let info: Info =
            serde_json::from_str(r#"{"MemoryLimit":true,"CpuCfsQuota":true,"PidsLimit":true,"CgroupDriver":"none"}"#)
                .unwrap();
        assert_eq!(rootless_gaps(&info).len(), 3);
        let info: Info =
            serde_json::from_str(r#"{"MemoryLimit":true,"PidsLimit":true,"CgroupDriver":"systemd"}"#).unwrap();
        assert_eq!(rootless_gaps(&info).iter().map(|gap| gap.what).collect::<Vec<_>>(), ["cpus"]);
    }
}
