//! Shows on platforms that an agent works. Best effort: the latest state of a chat wins, a platform that hangs delays
//! nobody else.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::domain::ids::ChatJid;
use crate::domain::typing::Typing;

/// How long a platform may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Forwards typing until the shutdown. Local channels are served by the event stream itself.
pub async fn run(mut states: broadcast::Receiver<Typing>, registry: Registry, shutdown: CancellationToken) {
    // Chats with a call under way, and what to say next.
    let mut busy: HashMap<ChatJid, Option<bool>> = HashMap::new();
    let mut calls: JoinSet<ChatJid> = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            state = states.recv() => match state {
                Ok(Typing { jid, on }) => {
                    if let Some(next) = busy.get_mut(&jid) {
                        *next = Some(on);
                    } else if call(&mut calls, &registry, &jid, on) {
                        busy.insert(jid, None);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            Some(ended) = calls.join_next() => match ended {
                Ok(jid) => {
                    if let Some(Some(on)) = busy.remove(&jid) && call(&mut calls, &registry, &jid, on) {
                        busy.insert(jid, None);
                    }
                }
                Err(error) => {
                    tracing::error!("a channel panicked when it showed typing: {error}");
                    // Whose it was is not known any more; every chat may speak again.
                    busy.clear();
                }
            },
        }
    }
}

/// Starts a call where the chat's channel shows typing.
fn call(calls: &mut JoinSet<ChatJid>, registry: &Registry, jid: &ChatJid, on: bool) -> bool {
    let Some(channel) = registry.of(jid) else { return false };
    let caps = channel.capabilities();
    if caps.local || !caps.typing {
        return false;
    }
    let (channel, jid) = (channel.clone(), jid.clone());
    calls.spawn(async move {
        if tokio::time::timeout(ANSWER, channel.typing(&jid, on)).await.is_err() {
            tracing::debug!("{} did not take typing for {jid}", channel.name());
        }
        jid
    });
    true
}
