//! The receiving side of all channels: each runs in a task of its own. One that ends before the shutdown begins again,
//! after a pause that grows with failures in a row; the others notice nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::ingest::Ingest;
use super::{Channel, ReceiveError, Registry};

/// Pauses after failures in a row; the last one repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// A channel that received for so long was well: its next failure is the first in a row.
const WELL_AFTER: Duration = Duration::from_secs(600);

/// Receives on every channel until the shutdown, and until all have ended.
pub async fn run(registry: Registry, intake: Ingest, shutdown: CancellationToken) {
    run_with(registry, intake, shutdown, &PAUSES).await;
}

async fn run_with(registry: Registry, intake: Ingest, shutdown: CancellationToken, pauses: &'static [Duration]) {
    let mut tasks: JoinSet<()> = JoinSet::new();
    // The channel of each task, and how often it panicked in a row.
    let mut channels: HashMap<Id, (Arc<dyn Channel>, u32)> = HashMap::new();
    let start = |tasks: &mut JoinSet<()>, channel: &Arc<dyn Channel>, failures| {
        let task = keep_receiving(channel.clone(), intake.clone(), shutdown.clone(), failures, pauses);
        tasks.spawn(task).id()
    };
    for channel in registry.all() {
        channels.insert(start(&mut tasks, channel, 0), (channel.clone(), 0));
    }
    while let Some(ended) = tasks.join_next().await {
        let Err(error) = ended else { continue };
        let Some((channel, panics)) = channels.remove(&error.id()) else { continue };
        tracing::error!("channel {} panicked while it received: a defect of Parlor", channel.name());
        if !shutdown.is_cancelled() {
            channels.insert(start(&mut tasks, &channel, panics + 1), (channel, panics + 1));
        }
    }
}

/// Receives on one channel. `failures` in a row came before.
async fn keep_receiving(
    channel: Arc<dyn Channel>,
    intake: Ingest,
    shutdown: CancellationToken,
    mut failures: u32,
    pauses: &[Duration],
) {
    loop {
        if failures > 0 {
            let pause = pauses.get(failures as usize - 1).or(pauses.last()).copied().unwrap_or_default();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let began = Instant::now();
        let ended = channel.run(intake.clone(), shutdown.clone()).await;
        if shutdown.is_cancelled() {
            return;
        }
        if began.elapsed() >= WELL_AFTER {
            failures = 0;
        }
        failures = failures.saturating_add(1);
        let reason = match ended {
            Ok(()) => "it ended by itself".to_owned(),
            Err(ReceiveError(reason)) => reason,
        };
        tracing::warn!("channel {} does not receive: {reason} (failure {failures} in a row)", channel.name());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::channel::intake::attach::Attachments;
    use crate::channel::intake::ingest::Policy;
    use crate::channel::{Capabilities, DeliverError, Part, PartKey, Receipt, Target};
    use crate::config::allowlists::Watched;
    use crate::domain::clock::SystemClock;
    use crate::domain::ids::ChatJid;
    use crate::policy::senders::SenderRules;
    use crate::store::testing::store;

    /// Test double: a platform whose connection ends as scripted, and then holds.
    #[derive(Debug, Default)]
    struct Double {
        script: Mutex<VecDeque<&'static str>>,
        begun: Mutex<u32>,
    }

    #[async_trait]
    impl Channel for Double {
        fn name(&self) -> &'static str {
            "double"
        }
        fn owns(&self, _: &ChatJid) -> bool {
            false
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities { max_length: None, files: false, typing: false, local: false }
        }
        async fn run(&self, _: Ingest, shutdown: CancellationToken) -> Result<(), ReceiveError> {
            *self.begun.lock().unwrap() += 1;
            let next = self.script.lock().unwrap().pop_front();
            match next {
                Some("panics") => panic!("scripted"),
                Some("ends") => return Ok(()),
                Some(reason) => return Err(ReceiveError(reason.into())),
                None => shutdown.cancelled().await,
            }
            Ok(())
        }
        async fn deliver(&self, _: PartKey, _: &Target, _: &Part) -> Result<Receipt, DeliverError> {
            Ok(Receipt::default())
        }
    }

    const SHORT: [Duration; 1] = [Duration::from_millis(1)];

    #[tokio::test]
    async fn a_channel_that_fails_ends_or_panics_receives_again_and_the_shutdown_ends_all() {
        let (dir, store, _wakes) = store();
        let clock = Arc::new(SystemClock);
        let senders = Arc::new(Watched::new(dir.path().join("senders.json"), SenderRules::from_file));
        let files = Attachments::new(&store, clock.clone(), dir.path().join("groups"), None, 1 << 20);
        let intake = Ingest::new(store, clock, Policy::plain("Ann"), senders, files);
        let script = ["the connection broke", "ends", "panics", "panics", "the token is refused"];
        let double = Arc::new(Double { script: Mutex::new(script.into()), ..Double::default() });
        let steady = Arc::new(Double::default());
        let (registry, shutdown) = (Registry::new(vec![double.clone(), steady.clone()]), CancellationToken::new());
        let receiving = tokio::spawn(run_with(registry, intake, shutdown.clone(), &SHORT));
        while *double.begun.lock().unwrap() < 6 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), receiving).await.unwrap().unwrap();
        assert_eq!((*double.begun.lock().unwrap(), *steady.begun.lock().unwrap()), (6, 1));
    }
}
