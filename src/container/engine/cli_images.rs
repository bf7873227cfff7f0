//! The images of an engine with a command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;

use super::EngineError;
use super::cli_engine::{CALL, CliEngine};
use super::image_store::{Build, ImageStore, Lines, NamedImage};
use crate::container::image::rootfs::LOCALE;

const IMPORT: Duration = Duration::from_secs(180);
/// Downloads of hundreds of megabytes, over a slow line.
const BUILD: Duration = Duration::from_secs(2 * 3600);

#[async_trait]
impl ImageStore for CliEngine {
    async fn exists(&self, image: &str) -> Result<bool, EngineError> {
        let args = ["image", "inspect", "--format", "{{.Id}}", image];
        let output = self.cli.call(&args, CALL).await?;
        let text = output.stderr.to_lowercase();
        let absent = ["no such image", "image not known", "failed to find image"];
        match output.code {
            Some(0) => Ok(true),
            _ if absent.iter().any(|phrase| text.contains(phrase)) => Ok(false),
            _ => Err(self.cli.call_error("image inspect", &output)),
        }
    }

    async fn list(&self) -> Result<Vec<NamedImage>, EngineError> {
        let args = ["images", "--format", "{{.Repository}}:{{.Tag}}\t{{.Size}}"];
        Ok(self.demand("images", &args).await?.stdout.lines().filter_map(named).collect())
    }

    async fn tag(&self, image: &str, name: &str) -> Result<(), EngineError> {
        self.demand("tag", &["tag", image, name]).await.map(drop)
    }

    async fn remove(&self, image: &str) -> Result<(), EngineError> {
        if !self.exists(image).await? {
            return Ok(());
        }
        self.demand("image rm", &["image", "rm", image]).await.map(drop)
    }

    async fn import(&self, tar: &Path, image: &str, entrypoint: &[&str], workdir: &str) -> Result<(), EngineError> {
        let file = std::fs::File::open(tar)
            .map_err(|e| self.cli.failed("import", format!("{} cannot be read: {e}", tar.display())))?;
        let entrypoint = format!("ENTRYPOINT {}", serde_json::json!(entrypoint));
        let workdir = format!("WORKDIR {workdir}");
        let locale = format!("ENV {LOCALE}");
        // Through stdin, so that an engine of another user needs no access to the file.
        let args = ["import", "--change", &entrypoint, "--change", &workdir, "--change", &locale, "-", image];
        let output = self.cli.call_with(&args, Stdio::from(file), IMPORT).await?;
        if output.ok() { Ok(()) } else { Err(self.cli.call_error("import", &output)) }
    }

    async fn build(&self, build: &Build<'_>, line: Lines<'_>) -> Result<(), EngineError> {
        let mut args: Vec<OsString> = ["build", "--force-rm", "-t", build.image].map(OsString::from).to_vec();
        for (name, value) in build.args {
            args.extend(["--build-arg".into(), format!("{name}={value}").into()]);
        }
        for name in build.inherit {
            // Without a value: the client takes it from its environment, where no other user can read it.
            args.extend(["--build-arg".into(), name.into()]);
        }
        if build.host_network {
            args.push("--network=host".into());
        }
        args.push(build.folder.into());
        let output = self.cli.call_with_lines(&args, BUILD, line).await?;
        if output.ok() {
            Ok(())
        } else {
            Err(self.cli.failed("build", crate::container::image::build::reason(&output.stdout)))
        }
    }
}

/// A line of `images`; None for what has no name.
fn named(line: &str) -> Option<NamedImage> {
    let (name, size) = line.split_once('\t')?;
    let name = name.strip_prefix("localhost/").unwrap_or(name);
    (!name.contains("<none>")).then(|| NamedImage { name: name.to_owned(), size: size.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_alike_by_all_engines() {
        let image = |name: &str| Some(NamedImage { name: name.into(), size: "9MB".into() });
        assert_eq!(named("parlor-agent:lite-1\t9MB"), image("parlor-agent:lite-1"));
        assert_eq!(named("localhost/parlor-agent:lite-1\t9MB "), image("parlor-agent:lite-1"));
        assert_eq!(named("<none>:<none>\t9MB"), None);
        assert_eq!(named("a:<none>\t9MB"), None);
        assert_eq!(named("warning"), None);
    }
}
