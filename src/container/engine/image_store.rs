//! An engine's images: what runs are made of, and how images come to be.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;

use super::EngineError;

/// The images of a container engine.
#[async_trait]
pub trait ImageStore: Send + Sync + fmt::Debug {
    /// Returns whether an image is there.
    async fn exists(&self, image: &str) -> Result<bool, EngineError>;
    /// Returns every image that has a name.
    async fn list(&self) -> Result<Vec<NamedImage>, EngineError>;
    /// Gives an image a second name. Another image may have had that name.
    async fn tag(&self, image: &str, name: &str) -> Result<(), EngineError>;
    /// Removes an image by its name. Success if it is not there; an error if a container uses it.
    async fn remove(&self, image: &str) -> Result<(), EngineError>;
    /// Makes an image of one layer from a tar file, with an entrypoint and a working directory.
    async fn import(&self, tar: &Path, image: &str, entrypoint: &[&str], workdir: &str) -> Result<(), EngineError>;
    /// Makes an image from a folder with a Dockerfile, and passes on each line that the engine writes meanwhile.
    async fn build(&self, build: &Build<'_>, line: Lines<'_>) -> Result<(), EngineError>;
}

/// An image as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// Its name with its tag, without the registry that stands for this machine.
    pub name: String,
    /// Its size, for people.
    pub size: String,
}

/// Hears the lines of a build.
pub type Lines<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// An image to be built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The folder with the Dockerfile and all that it copies.
    pub folder: &'a Path,
    /// What the image is called.
    pub image: &'a str,
    /// Names and values of the Dockerfile's arguments.
    pub args: &'a [(&'a str, &'a str)],
    /// Names of further arguments, whose values the environment has: proxies, which may hold a login.
    pub inherit: &'a [&'a str],
    /// True if the build uses this machine's own network.
    pub host_network: bool,
}
