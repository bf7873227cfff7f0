//! The program's entry: reads the command line, sets up logging and the runtime, and exits with the command's code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread::available_parallelism;

use parlor::app::{self, Host};
use parlor::cli::{self, Cli, Program, Running};
use parlor::config;
use parlor::config::settings::{LogFormat, LogLevel, Settings};
use parlor::host_log::{HostLog, LocalTime};
use parlor::lifecycle::Signals;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// Worker threads of the runtime: a host waits far more than it computes.
const MAX_THREADS: usize = 4;
/// Further threads: the store's, and some for blocking I/O.
const SPARE: usize = 8;

fn main() -> ExitCode {
    let cli = cli::parse();
    let kept = HostLog::default();
    log_to(&cli, &kept);
    // Secrets pass through this process: a crash must not leave them in a core dump.
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!("cannot disable core dumps: {error}");
    }
    raise_open_files();
    cli::leave_to_editor();
    let threads = available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let runtime = can_start(threads + SPARE)
        .and_then(|()| tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build());
    match runtime {
        Ok(runtime) => runtime.block_on(cli::run(cli, &Parlor(kept))),
        Err(error) => {
            cli::tell(&format!(
                "parlor: its threads cannot be started ({error}): allow more threads or processes to this user"
            ));
            ExitCode::FAILURE
        }
    }
}

/// Starts this many threads at once, and ends them, to see whether the system allows them. The runtime would panic or
/// wait forever.
fn can_start(threads: usize) -> std::io::Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        for _ in 0..threads {
            std::thread::Builder::new().spawn_scoped(scope, || drop(gate.lock()))?;
        }
        Ok(())
    })
}

/// Raises the soft limit of open files to the hard limit: login sessions get a low one for the sake of old programs.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // A refusal is harmless: the connection limits follow the actual limit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Sets up logging. On stderr, a host in the foreground logs at the configured level and any other command only
/// problems. A host's log file does not depend on that.
fn log_to(cli: &Cli, kept: &HostLog) {
    // The command itself reports wrong settings.
    let settings = config::examine(&cli.overrides()).settings;
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let here = if cli.is_host() || level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) };
    // The layer would print its own write errors, and panic without stderr.
    let stderr =
        fmt::layer().with_timer(LocalTime(settings.timezone)).with_writer(std::io::stderr).log_internal_errors(false);
    let file = fmt::layer().with_timer(LocalTime(settings.timezone)).with_writer(kept.clone()).with_ansi(false);
    let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = match settings.log_format {
        LogFormat::Text => {
            let stderr = stderr.with_ansi(cli::has_colours(&std::io::stderr()));
            vec![stderr.with_filter(here).boxed(), file.with_filter(level).boxed()]
        }
        LogFormat::Json => {
            let stderr = stderr.json().flatten_event(true).with_ansi(false);
            let file = file.json().flatten_event(true);
            vec![stderr.with_filter(here).boxed(), file.with_filter(level).boxed()]
        }
    };
    tracing_subscriber::registry().with(layers).init();
}

/// The program, with the log that its hosts write.
struct Parlor(HostLog);

impl Program for Parlor {
    type Host = Inside;

    async fn start(&self, settings: Settings) -> anyhow::Result<Inside> {
        app::start(settings, &self.0).await.map(Inside)
    }

    async fn up(&self, settings: Settings) -> anyhow::Result<()> {
        let grace = settings.shutdown_grace;
        let signals = Signals::catch()?;
        let host = app::start(settings, &self.0).await?;
        let signals = tokio::spawn(signals.relay(host.shutdown.clone(), grace));
        let ended = host.wait().await;
        signals.abort();
        ended
    }
}

/// A host that runs inside another command.
struct Inside(Host);

impl Running for Inside {
    fn hard(&self) -> CancellationToken {
        self.0.shutdown.hard.clone()
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}
