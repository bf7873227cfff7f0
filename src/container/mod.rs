//! Containers: engines behind one trait, and one run's life from spec to outcome.

pub mod engine;
pub mod image;
pub mod look;
pub mod mounts;
pub mod run;
