//! Containers: engines behind one trait, and one run's life from spec to outcome.

pub mod argv;
pub mod build;
mod cli;
pub mod cli_engine;
pub mod detect;
pub mod docker;
pub mod engine;
pub mod full;
mod host;
pub mod image;
pub mod inputs;
pub mod look;
pub mod masks;
pub mod mounts;
pub mod orphans;
pub mod outcome;
pub mod output;
pub mod podman;
mod rootfs;
pub mod run;
pub mod run_log;
pub mod runner;
pub mod spec;
pub mod timers;
pub mod turn;
pub mod user;
