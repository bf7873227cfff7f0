//! Which engine a host uses: the operator's choice, else the first that answers.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cli_engine::{CliEngine, CliOptions, Flavor};
use super::engine::{ContainerEngine, EngineError};

/// Finds an engine that answers, probed.
///
/// `runtime` is `CONTAINER_RUNTIME`: `docker`, `podman` or a path to either; none tries docker, then podman. With none
/// answering the error names both, each with what to do.
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
        // Some systems install podman under docker's name.
        Err(error) if flavor == Flavor::Docker => match flavor_of(program).await {
            Ok(Flavor::Podman) => {
                let engine = CliEngine::new(Flavor::Podman, vec![OsString::from(program)], options.clone());
                engine.probe().await?;
                Ok(Arc::new(engine))
            }
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Asks a program which of the two it is.
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
