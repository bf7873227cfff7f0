//! The program in Parlor's own image: compressed inside `parlor`, unpacked while an image is made of it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::DeflateDecoder;

/// The agent runner, deflated: static, for this machine, built with `parlor`.
const RUNNER: &[u8] = include_bytes!(env!("PARLOR_RUNNER_BIN"));
/// An id that changes with the runner's bytes.
const RUNNER_ID: &str = env!("PARLOR_RUNNER_ID");
/// The size of the unpacked runner in bytes.
const RUNNER_SIZE: &str = env!("PARLOR_RUNNER_SIZE");

/// The program for the image.
#[derive(Debug, Clone)]
pub enum Runner {
    /// The runner inside `parlor`.
    Embedded,
    /// Another program.
    Bytes(Cow<'static, [u8]>),
}

impl Runner {
    /// Returns the size, and a stream of the bytes: a few megabytes need not be in memory at once.
    pub fn open(&self) -> (u64, Box<dyn Read + '_>) {
        match self {
            // The build script wrote the number.
            Self::Embedded => (RUNNER_SIZE.parse().unwrap_or(0), Box::new(DeflateDecoder::new(RUNNER))),
            Self::Bytes(bytes) => (bytes.len() as u64, Box::new(&**bytes)),
        }
    }

    /// Returns a cheap id that changes with the bytes.
    pub(in crate::container) fn id(&self) -> String {
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
