//! The log that a run leaves.

use std::path::Path;
use std::time::Duration;

use super::{Plan, Redact};
use crate::container::engine::{ContainerEngine, EngineError};
use crate::container::run::capture::Capture;
use crate::container::run::run_log::{self, Record};
use crate::domain::clock::SharedClock;

/// Writes the log of a run that the engine did not start.
pub(super) fn not_started(engine: &dyn ContainerEngine, clock: &SharedClock, plan: Plan, error: &EngineError) {
    let (argv, started, error) = (engine.describe(&plan.spec), clock.now(), error.to_string());
    tokio::task::spawn_blocking(move || {
        let nothing = Capture::default();
        let record = Record {
            run: plan.id,
            spec: &plan.spec,
            argv: &argv,
            prompt: &plan.input.prompt,
            session: plan.input.session_id.as_deref(),
            started,
            duration: Duration::ZERO,
            exit: "not started",
            error: Some(&error),
            outputs: 0,
            stdout: &nothing,
            stderr: &nothing,
            verbose: plan.verbose,
        };
        write(&plan.log_dir, &record, &plan.redact);
    });
}

/// Writes a run's log. A failure is only logged.
pub(super) fn write(dir: &Path, record: &Record<'_>, redact: &Redact) {
    if let Err(error) = run_log::write(dir, record, |text| redact(text)) {
        tracing::warn!("cannot write the log of run {} to {}: {error}", record.run, dir.display());
    }
}
