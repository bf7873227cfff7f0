//! The choice of the engine: the operator's, else the first one that answers.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cli_engine::{CliEngine, CliOptions, Flavor};
use super::{ContainerEngine, EngineError};

/// Finds an engine that answers, and probes it.
///
/// `runtime` is `CONTAINER_RUNTIME`: `docker`, `podman` or a path to either; None tries docker, then podman. If
/// neither answers, the error names both, each with a remedy. If docker as configured does not answer, the user's own
/// rootless docker is tried next.
pub async fn detect(runtime: Option<&str>, options: &CliOptions) -> Result<Arc<dyn ContainerEngine>, EngineError> {
    match runtime.map(str::trim).filter(|runtime| !runtime.is_empty()) {
        Some("docker") => probed(Flavor::Docker, "docker", options).await,
        Some("podman") => probed(Flavor::Podman, "podman", options).await,
        Some(path) => probed(flavor_of(path).await?, path, options).await,
        None => first(options).await,
    }
}

async fn first(options: &CliOptions) -> Result<Arc<dyn ContainerEngine>, EngineError> {
    let docker = match probed(Flavor::Docker, "docker", options).await {
        Ok(engine) => return Ok(engine),
        Err(error) => error,
    };
    let podman = match probed(Flavor::Podman, "podman", options).await {
        Ok(engine) => return Ok(engine),
        Err(error) => error,
    };
    Err(EngineError::Unreachable {
        engine: "a container engine".to_owned(),
        reason: format!("{docker}; {podman}"),
        hint: "one of the two is enough".to_owned(),
    })
}

async fn probed(flavor: Flavor, program: &str, options: &CliOptions) -> Result<Arc<dyn ContainerEngine>, EngineError> {
    let engine = CliEngine::new(flavor, vec![OsString::from(program)], options.clone());
    match engine.probe().await {
        Ok(_) => Ok(Arc::new(engine)),
        // Some systems install podman as `docker`.
        Err(error) if flavor == Flavor::Docker => match flavor_of(program).await {
            Ok(Flavor::Podman) => {
                let engine = CliEngine::new(Flavor::Podman, vec![OsString::from(program)], options.clone());
                engine.probe().await?;
                Ok(Arc::new(engine))
            }
            _ => own_docker(program, options).await.unwrap_or(Err(error)),
        },
        Err(error) => Err(error),
    }
}

/// Probes the user's own rootless daemon. Returns None if there is none.
async fn own_docker(program: &str, options: &CliOptions) -> Option<Result<Arc<dyn ContainerEngine>, EngineError>> {
    let socket = own_socket(std::env::vars_os(), rustix::process::geteuid().as_raw()).filter(|path| path.exists())?;
    let host = OsString::from_iter([OsStr::new("unix://"), socket.as_os_str()]);
    let words = vec![OsString::from(program), OsString::from("--host"), host];
    let engine = CliEngine::new(Flavor::Docker, words, options.clone());
    Some(engine.probe().await.map(|_| Arc::new(engine) as Arc<dyn ContainerEngine>))
}

/// Returns the socket of a user's rootless docker, unless the environment names another place for docker.
fn own_socket(environment: impl IntoIterator<Item = (OsString, OsString)>, uid: u32) -> Option<PathBuf> {
    let mut folder = PathBuf::from(format!("/run/user/{uid}"));
    for (name, value) in environment.into_iter().filter(|(_, value)| !value.is_empty()) {
        if name == "DOCKER_HOST" || name == "DOCKER_CONTEXT" {
            return None;
        }
        if name == "XDG_RUNTIME_DIR" {
            folder = value.into();
        }
    }
    // Root's runtime folder has no rootless daemon.
    (uid != 0).then(|| folder.join("docker.sock"))
}

/// Asks a program whether it is docker or podman.
async fn flavor_of(program: &str) -> Result<Flavor, EngineError> {
    let cli = super::docker::cli(vec![OsString::from(program)]);
    let output = cli.call(&["--version"], Duration::from_secs(10)).await.map_err(|error| match error {
        EngineError::Missing { program, .. } => EngineError::Missing {
            engine: "the container engine".to_owned(),
            program,
            hint: "set CONTAINER_RUNTIME to docker, podman, or the path of either".to_owned(),
        },
        other => other,
    })?;
    let text = output.stdout.to_lowercase();
    if text.contains("podman") {
        Ok(Flavor::Podman)
    } else if text.contains("docker") {
        Ok(Flavor::Docker)
    } else {
        Err(EngineError::Failed {
            engine: Path::new(program).display().to_string(),
            action: "--version".to_owned(),
            reason: "this is neither docker nor podman: set CONTAINER_RUNTIME to docker, podman, or the path of either"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_socket_is_that_of_rootless_docker() {
        let socket = |environment: &[(&str, &str)], uid| {
            own_socket(environment.iter().map(|&(name, value)| (name.into(), value.into())), uid)
        };
        assert_eq!(socket(&[], 1234), Some("/run/user/1234/docker.sock".into()));
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/r"), ("DOCKER_HOST", "")], 1234), Some("/r/docker.sock".into()));
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/r"), ("DOCKER_HOST", "tcp://d")], 1234), None);
        assert_eq!(socket(&[("DOCKER_CONTEXT", "far")], 1234), None);
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/r")], 0), None);
    }
}
