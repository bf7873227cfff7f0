//! The image `full`: Claude Code, chosen extras, and an agent's tools, built on this machine from a public base. Its
//! name has a hash of its inputs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::build::{self, BuildStep};
use super::runner::Runner;
use super::{ImageError, Inputs, Status};
use crate::config::extras::Extra;
use crate::config::proxies::Proxies;
use crate::config::settings::Settings;
use crate::container::engine::image_store::Build;
use crate::container::engine::{ContainerEngine, EngineError};

/// The image's Dockerfile.
const DOCKERFILE: &str = include_str!("../../../container/images/full/Dockerfile");
/// The script that starts the browser in a room.
const CHROMIUM: &str = include_str!("../../../container/images/full/chromium");
/// The version of Node in the image.
const NODE_VERSION: &str = "22.23.3";
/// The image's name before the hash of its inputs.
pub const NAME: &str = "parlor-agent:full-";
/// Megabytes without extras: of the download, and of the image.
const SIZE: (u32, u32) = (350, 900);

/// Receives each step before it begins.
pub type Progress<'a> = &'a (dyn Fn(&BuildStep) + Send + Sync);

/// The image. Clones share one build.
#[derive(Debug, Clone)]
pub struct FullImage {
    base: String,
    claude: String,
    /// The chosen extras, with their versions, if they have one.
    extras: Vec<(Extra, String)>,
    /// The proxies for a build.
    proxies: Proxies,
    certificates: PathBuf,
    data: PathBuf,
    /// The file with the image's name; if it exists, the operator wants the image.
    known: PathBuf,
    building: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    image: String,
}

impl FullImage {
    /// Returns the image that these settings describe.
    pub fn new(settings: &Settings) -> Self {
        Self {
            base: settings.image_base.clone(),
            claude: settings.claude_version.clone(),
            extras: settings.image_with.iter().map(|extra| (*extra, version(settings, *extra))).collect(),
            proxies: settings.proxies.clone(),
            certificates: Inputs::system().ca_certificates,
            data: settings.home.data(),
            known: settings.home.full_image(),
            building: Arc::new(Mutex::new(())),
        }
    }

    /// Returns the image's reference; makes the image if the engine does not have it.
    pub async fn ensure(&self, engine: &dyn ContainerEngine, progress: Progress<'_>) -> Result<String, ImageError> {
        let name = self.name().await?;
        if engine.images().exists(&name).await? {
            self.remember(&name);
            return Ok(name);
        }
        let _building = self.building.lock().await;
        super::make_data(&self.data).map_err(|e| ImageError::io("create", &self.data, e))?;
        let lock = self.data.join("image-full.lock");
        // Held until this function ends, by the process that builds first.
        let _lock = super::blocking(move || super::lock(&lock)).await?;
        if !engine.images().exists(&name).await? {
            self.build(engine, &name, progress).await?;
        }
        self.remember(&name);
        tracing::info!(image = %name, engine = engine.name(), "{} is ready", self.title());
        Ok(name)
    }

    /// Returns whether the engine has the image, without making it.
    pub async fn status(&self, engine: &dyn ContainerEngine) -> Result<Status, ImageError> {
        let name = self.name().await?;
        let present = engine.images().exists(&name).await?;
        Ok(Status { image: Some(name), present })
    }

    /// Returns the image's title for people, with its contents.
    pub fn title(&self) -> String {
        let mut title = format!("the image with Claude Code {}", self.claude);
        for (extra, version) in &self.extras {
            let (name, _, _) = facts(*extra);
            title += ", ";
            title += name;
            if *extra != Extra::Chromium {
                title += " ";
                title += version;
            }
        }
        title
    }

    /// Returns the sizes for people, before the image is made.
    pub fn size(&self) -> String {
        let (mut download, mut image) = SIZE;
        for (extra, _) in &self.extras {
            let (_, more, larger) = facts(*extra);
            (download, image) = (download + more, image + larger);
        }
        format!("about {download} MB are downloaded, the image takes {image} MB, and it takes some minutes")
    }

    async fn name(&self) -> Result<String, ImageError> {
        let (this, path) = (self.clone(), self.certificates.clone());
        super::blocking(move || {
            let certificates = fs::read(&path).map_err(|e| ImageError::io("read", &path, e))?;
            Ok(format!("{NAME}{}", this.hash(&certificates)))
        })
        .await
    }

    fn hash(&self, certificates: &[u8]) -> String {
        let mut digest = Sha256::new();
        let extras = self.extras.iter().flat_map(|(extra, version)| [extra.as_str(), version.as_str()]);
        for part in [DOCKERFILE, CHROMIUM, NODE_VERSION, &self.base, &self.claude].into_iter().chain(extras) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(Sha256::digest(Runner::Embedded.id()));
        digest.update(Sha256::digest(certificates));
        let first = digest.finalize().iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        format!("{first:016x}")
    }

    async fn build(&self, engine: &dyn ContainerEngine, name: &str, progress: Progress<'_>) -> Result<(), ImageError> {
        let folder = Context(self.data.join("image-full.build"));
        let (path, certificates) = (folder.0.clone(), self.certificates.clone());
        super::blocking(move || fill(&path, &certificates)).await?;
        let mut args =
            vec![("BASE", &*self.base), ("CLAUDE_CODE_VERSION", &*self.claude), ("NODE_VERSION", NODE_VERSION)];
        args.extend(self.extras.iter().map(|(extra, version)| (argument(*extra), version.as_str())));
        let proxies: Vec<&str> = self.proxies.names().collect();
        let local = self.proxies.are_local();
        let build = Build { folder: &folder.0, image: name, args: &args, inherit: &proxies, host_network: local };
        let heard = |line: &str| {
            tracing::debug!("{line}");
            if let Some(step) = build::step(line) {
                progress(&step);
            }
        };
        engine.images().build(&build, &heard).await?;
        if engine.images().exists(name).await? {
            return Ok(());
        }
        Err(ImageError::Engine(EngineError::Failed {
            engine: engine.name().to_owned(),
            action: "build".to_owned(),
            reason: format!("{name} is not there although the engine built it"),
        }))
    }

    fn remember(&self, name: &str) {
        let known = fs::read(&self.known).ok().and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        if known.is_some_and(|known| known.image == name) {
            return;
        }
        let fresh = self.known.with_extension("json.tmp");
        let write = || -> io::Result<()> {
            super::make_data(&self.data)?;
            fs::write(&fresh, serde_json::to_vec(&Known { image: name.to_owned() })?)?;
            fs::rename(&fresh, &self.known)
        };
        if let Err(error) = write() {
            tracing::warn!(path = %self.known.display(), %error, "cannot keep the image's name");
        }
    }
}

/// Returns an extra's name for people, and the megabytes that it adds to the download and to the image.
fn facts(extra: Extra) -> (&'static str, u32, u32) {
    match extra {
        Extra::Chromium => ("Chromium", 170, 640),
        Extra::Codex => ("Codex", 170, 370),
        Extra::Gemini => ("Gemini CLI", 20, 90),
    }
}

/// Returns the build argument that chooses an extra's version.
fn argument(extra: Extra) -> &'static str {
    match extra {
        Extra::Chromium => "CHROMIUM",
        Extra::Codex => "CODEX_VERSION",
        Extra::Gemini => "GEMINI_VERSION",
    }
}

/// Returns the wanted version of an extra. The browser's version is that of the base's Debian.
fn version(settings: &Settings, extra: Extra) -> String {
    match extra {
        Extra::Chromium => "1".to_owned(),
        Extra::Codex => settings.codex_version.clone(),
        Extra::Gemini => settings.gemini_version.clone(),
    }
}

/// The folder that a build reads; removed when dropped.
struct Context(PathBuf);

impl Drop for Context {
    fn drop(&mut self) {
        // A missing folder is fine; the next build replaces any other.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fill(folder: &Path, certificates: &Path) -> Result<(), ImageError> {
    // A build that died may have left it.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|e| ImageError::io("create", folder, e))?;
    let put = |name: &str, from: &mut dyn Read, mode: u32| {
        let path = folder.join(name);
        let mut write = || {
            io::copy(from, &mut File::create(&path)?)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        write().map_err(|e| ImageError::io("write", &path, e))
    };
    put("Dockerfile", &mut DOCKERFILE.as_bytes(), 0o644)?;
    put("chromium", &mut CHROMIUM.as_bytes(), 0o755)?;
    put("agent-runner", &mut Runner::Embedded.open().1, 0o755)?;
    let mut certificates = File::open(certificates).map_err(|e| ImageError::io("read", certificates, e))?;
    put("ca-certificates.crt", &mut certificates, 0o644)
}
