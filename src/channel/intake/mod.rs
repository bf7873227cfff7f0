//! The way in: policy and store (`ingest`), and the files and pictures that come with messages.

pub mod attach;
pub mod ingest;
mod pictures;
