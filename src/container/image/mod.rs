//! Parlor's own image `lite`: made on this machine from the runner inside `parlor` and a few files of the system,
//! without a registry. Its name is a hash of its content, so it is made once and never confused with another.

pub mod broken_off;
pub mod build;
pub mod full;
pub(in crate::container) mod rootfs;
pub mod runner;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Mutex;

use self::runner::Runner;
use crate::container::engine::{ContainerEngine, EngineError};

/// Increased when the layout of the tree changes.
const LAYOUT: u32 = 2;
/// Gives each build of this process a number.
static BUILDS: AtomicU64 = AtomicU64::new(0);
/// The image's name before the hash of its content.
pub const NAME: &str = "parlor-agent:lite-";

/// Why an image could not be made.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file of the system that the image needs is missing or unfit.
    #[error("the agent image needs {what}, but {path}: {reason}; {hint}", path = path.display())]
    Input {
        /// The kind of file.
        what: &'static str,
        /// Its expected path.
        path: PathBuf,
        /// The fault.
        reason: String,
        /// The remedy.
        hint: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ImageError {
    pub(in crate::container) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Makes an installation's data folder if it is missing, closed to other users, because making an image may be the
/// first thing to need it.
pub fn make_data(data: &Path) -> io::Result<()> {
    if let Some(root) = data.parent() {
        fs::create_dir_all(root)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)
}

/// The inputs of the image.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The agent runner.
    pub runner: Runner,
    /// A static busybox.
    pub busybox: PathBuf,
    /// The tree of time zones.
    pub zoneinfo: PathBuf,
    /// The bundle of certificate authorities.
    pub ca_certificates: PathBuf,
}

impl Inputs {
    pub(in crate::container) const BUSYBOX_HINT: &'static str =
        "install it with `apt install busybox-static` (Debian, Ubuntu) or `dnf install busybox` (Fedora)";
    const ZONES_HINT: &'static str = "install it with `apt install tzdata` or `dnf install tzdata`";
    const CERTIFICATES_HINT: &'static str =
        "install them with `apt install ca-certificates` or `dnf install ca-certificates`";

    /// Returns this machine's files, at their usual places.
    pub fn system() -> Self {
        let first = |paths: &[&str]| {
            let found = paths.iter().find(|path| Path::new(path).exists());
            PathBuf::from(found.or(paths.first()).copied().unwrap_or_default())
        };
        Self {
            runner: Runner::Embedded,
            busybox: first(&["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/sbin/busybox"]),
            zoneinfo: first(&["/usr/share/zoneinfo", "/usr/lib/zoneinfo"]),
            ca_certificates: first(&[
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
                "/etc/ssl/cert.pem",
            ]),
        }
    }

    /// Checks that every input exists and fits; reads only a few headers.
    pub fn check(&self) -> Result<(), ImageError> {
        let missing = |what, path: &Path, reason: String, hint| {
            Err(ImageError::Input { what, path: path.to_owned(), reason, hint })
        };
        match head(&self.busybox) {
            Err(error) => return missing("busybox", &self.busybox, error.to_string(), Self::BUSYBOX_HINT),
            Ok(bytes) if rootfs::is_static(&bytes) != Some(true) => {
                let reason = "it is not a static program, and the image has no libraries".to_owned();
                return missing("busybox", &self.busybox, reason, Self::BUSYBOX_HINT);
            }
            Ok(_) => {}
        }
        if let Err(error) = fs::metadata(self.zoneinfo.join("Etc/UTC")) {
            return missing("the time zones", &self.zoneinfo, error.to_string(), Self::ZONES_HINT);
        }
        if let Err(error) = File::open(&self.ca_certificates) {
            let path = &self.ca_certificates;
            return missing("certificates", path, error.to_string(), Self::CERTIFICATES_HINT);
        }
        Ok(())
    }

    /// Returns a cheap check of the inputs, by size and time of change, and not by content. New zones of a package
    /// change their folder.
    fn fingerprint(&self) -> String {
        let mut text = format!("{LAYOUT};{}", self.runner.id());
        let mut zones: Vec<PathBuf> = fs::read_dir(&self.zoneinfo)
            .map(|entries| {
                entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
            })
            .unwrap_or_default();
        zones.sort();
        let own = [&self.busybox, &self.ca_certificates, &self.zoneinfo];
        for path in own.into_iter().chain(&zones) {
            let state = fs::metadata(path)
                .map(|meta| (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
                .unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(text, ";{}={state:?}", path.display());
        }
        text
    }
}

/// A step of making the image, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The number of the step, from 1.
    pub number: usize,
    /// The number of steps.
    pub of: usize,
    /// The text of the step.
    pub label: &'static str,
}

/// Receives each step before it begins.
pub type Progress<'a> = &'a (dyn Fn(Step) + Send + Sync);

/// A progress display that shows nothing.
pub fn silent(_: Step) {}

/// The state of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The image's reference; None if it was never made from these inputs.
    pub image: Option<String>,
    /// True if the engine has it.
    pub present: bool,
}

/// Parlor's own image. Clones share one build.
#[derive(Debug, Clone)]
pub struct Image {
    inputs: Arc<Inputs>,
    data: PathBuf,
    building: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    fingerprint: String,
    image: String,
}

const STEPS: [&str; 4] =
    ["Checking what the image is made of", "Packing the files", "Giving the image to the engine", "Checking the image"];

impl Image {
    /// The image of these inputs. `data` is the installation's data folder, which keeps the image's name and, during
    /// a build, its tar file.
    pub fn new(inputs: Inputs, data: PathBuf) -> Self {
        Self { inputs: Arc::new(inputs), data, building: Arc::new(Mutex::new(())) }
    }

    /// Returns the image's reference; makes the image if the engine does not have it. Callers at the same time, in
    /// this process or another one of the installation, share one build.
    pub async fn ensure(&self, engine: &dyn ContainerEngine, progress: Progress<'_>) -> Result<String, ImageError> {
        if let Some(image) = self.known()
            && engine.images().exists(&image).await?
        {
            return Ok(image);
        }
        let _building = self.building.lock().await;
        make_data(&self.data).map_err(|e| ImageError::io("create", &self.data, e))?;
        let data = self.data.clone();
        // Held until this function ends, by the process that builds first.
        let _lock = blocking(move || lock(&data.join("image.lock"))).await?;
        if let Some(image) = self.known()
            && engine.images().exists(&image).await?
        {
            return Ok(image);
        }
        let image = self.build(engine, progress).await?;
        tracing::info!(%image, engine = engine.name(), "the agent image is ready");
        Ok(image)
    }

    /// Returns whether the engine has the image, without making it.
    pub async fn status(&self, engine: &dyn ContainerEngine) -> Result<Status, ImageError> {
        // With a new home, another installation may have made the image already.
        let image = match self.known() {
            Some(image) => Some(image),
            None => self.would_be().await,
        };
        let present = match &image {
            Some(image) => engine.images().exists(image).await?,
            None => false,
        };
        Ok(Status { image, present })
    }

    /// Returns the name of the image of these inputs; None if one is missing.
    async fn would_be(&self) -> Option<String> {
        let inputs = Arc::clone(&self.inputs);
        let hash = blocking(move || {
            inputs.check()?;
            rootfs::write_tar(&inputs, io::sink())
        });
        Some(format!("{NAME}{}", &hash.await.ok()?[..16]))
    }

    async fn build(&self, engine: &dyn ContainerEngine, progress: Progress<'_>) -> Result<String, ImageError> {
        let step = |index: usize| progress(Step { number: index + 1, of: STEPS.len(), label: STEPS[index] });
        step(0);
        // Before the files are read, so that a change during the read counts as a change.
        let fingerprint = self.inputs.fingerprint();
        self.inputs.check()?;
        step(1);
        clear(&self.data);
        // A name of its own, and removed when dropped: a broken-off build leaves no file, and does not disturb the
        // next one.
        let number = BUILDS.fetch_add(1, Ordering::Relaxed);
        let tar = TempFile(self.data.join(format!("image-{}-{number}.tar", std::process::id())));
        let inputs = Arc::clone(&self.inputs);
        let (hash, tar) = blocking(move || {
            let file = File::create(&tar.0).map_err(|e| ImageError::io("create", &tar.0, e))?;
            Ok((rootfs::write_tar(&inputs, BufWriter::new(file))?, tar))
        })
        .await?;
        let image = format!("{NAME}{}", &hash[..16]);
        step(2);
        if !engine.images().exists(&image).await? {
            engine.images().import(&tar.0, &image, &[rootfs::ENTRYPOINT], rootfs::WORKDIR).await?;
        }
        step(3);
        if !engine.images().exists(&image).await? {
            return Err(ImageError::Engine(EngineError::Failed {
                engine: engine.name().to_owned(),
                action: "import".to_owned(),
                reason: format!("{image} is not there although the engine took it"),
            }));
        }
        self.remember(&Known { fingerprint, image: image.clone() });
        Ok(image)
    }

    fn known(&self) -> Option<String> {
        let known: Known = serde_json::from_slice(&fs::read(self.known_file()).ok()?).ok()?;
        (known.fingerprint == self.inputs.fingerprint()).then_some(known.image)
    }

    fn remember(&self, known: &Known) {
        let path = self.known_file();
        let fresh = path.with_extension("json.tmp");
        let write = || -> io::Result<()> {
            fs::write(&fresh, serde_json::to_vec(known)?)?;
            fs::rename(&fresh, &path)
        };
        // Without the file, the next start packs again and gets the same name.
        if let Err(error) = write() {
            tracing::warn!(path = %path.display(), %error, "cannot keep the agent image's name");
        }
    }

    fn known_file(&self) -> PathBuf {
        self.data.join("image-lite.json")
    }
}

/// Removes files of builds that died. The caller holds the lock, so nobody builds now.
fn clear(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("image-") && name.ends_with(".tar") {
            // A file that stays takes space, but does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that is removed when dropped.
struct TempFile(PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        // A missing file is fine; the next build overwrites any other.
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns the first bytes of a program, with its ELF headers.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64 << 10).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(in crate::container) fn lock(path: &Path) -> Result<File, ImageError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| ImageError::io("open the lock", path, e))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(|e| ImageError::io("take the lock", path, io::Error::from(e)))?;
    Ok(file)
}

pub(in crate::container) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ImageError::io("prepare the image in", Path::new("a thread"), io::Error::other(error))),
    }
}
