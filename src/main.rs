//! The program: reads the command line, sets up logging and the runtime, and exits with the command's code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::thread::available_parallelism;

use parlor::app::{self, Host};
use parlor::cli::{self, Cli, Program, Running};
use parlor::config;
use parlor::config::settings::{LogFormat, LogLevel, Settings};
use parlor::lifecycle::Signals;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

/// Threads of the runtime: a host waits far more than it computes.
const MAX_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = cli::parse();
    log_to_stderr(&cli);
    // Secrets pass through this process: what crashes must not leave them on the disk.
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!("core dumps cannot be switched off: {error}");
    }
    raise_open_files();
    cli::leave_to_editor();
    let threads = available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli::run(cli, &Parlor)),
        Err(error) => {
            cli::tell(&format!("parlor: the threads of the runtime cannot be started: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Login sessions allow few descriptors for the sake of old programs; what may be had is taken.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Refused is as good as not asked: connections keep below what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A host in the foreground logs what happens; any other command only what is wrong.
fn log_to_stderr(cli: &Cli) {
    // Settings that are wrong are reported by the command itself.
    let settings = config::examine(&cli.overrides()).settings;
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let level = if cli.is_host() || level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) };
    // Errors of its own it would print, and panic where stderr is gone.
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(cli::has_colours(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).with_ansi(false).init(),
    }
}

struct Parlor;

impl Program for Parlor {
    type Host = Inside;

    async fn start(&self, settings: Settings) -> anyhow::Result<Inside> {
        app::start(settings).await.map(Inside)
    }

    async fn up(&self, settings: Settings) -> anyhow::Result<()> {
        let grace = settings.shutdown_grace;
        let signals = Signals::catch()?;
        let host = app::start(settings).await?;
        let signals = tokio::spawn(signals.relay(host.shutdown.clone(), grace));
        let ended = host.wait().await;
        signals.abort();
        ended
    }
}

/// A host inside another command.
struct Inside(Host);

impl Running for Inside {
    fn hard(&self) -> CancellationToken {
        self.0.shutdown.hard.clone()
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}
