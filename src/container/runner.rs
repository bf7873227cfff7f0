//! The program in Parlor's own image: compressed inside `parlor`, unpacked while an image is made of it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::DeflateDecoder;

/// The agent runner, deflated: static, for this machine, built with `parlor`.
const RUNNER: &[u8] = include_bytes!(env!("PARLOR_RUNNER_BIN"));
/// Changes with the runner's bytes.
const RUNNER_ID: &str = env!("PARLOR_RUNNER_ID");
/// The runner's bytes once it is unpacked.
const RUNNER_SIZE: &str = env!("PARLOR_RUNNER_SIZE");

/// The program in the image.
#[derive(Debug, Clone)]
pub enum Runner {
    /// The one that `parlor` carries inside.
    Embedded,
    /// Another one.
    Bytes(Cow<'static, [u8]>),
}

impl Runner {
    /// Its size, and its bytes as a stream: a few megabytes need not be in memory at once.
    pub fn open(&self) -> (u64, Box<dyn Read + '_>) {
        match self {
            // The build script wrote the number.
            Self::Embedded => (RUNNER_SIZE.parse().unwrap_or(0), Box::new(DeflateDecoder::new(RUNNER))),
            Self::Bytes(bytes) => (bytes.len() as u64, Box::new(&**bytes)),
        }
    }

    /// Changes with its bytes, and costs little.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Embedded => RUNNER_ID.to_owned(),
            Self::Bytes(bytes) => {
                use sha2::{Digest, Sha256};
                format!("{:?}", Sha256::digest(bytes))
            }
        }
    }
}

impl From<Vec<u8>> for Runner {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&'static [u8]> for Runner {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}
