//! Shows on platforms that an agent works. Best effort: the latest state of a chat counts, and a hanging platform
//! delays no other one.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::domain::ids::ChatJid;
use crate::domain::typing::Typing;

/// The time limit of a platform.
const ANSWER: Duration = Duration::from_secs(5);

/// Forwards typing until the shutdown. The event stream itself serves local channels.
pub async fn run(mut states: broadcast::Receiver<Typing>, registry: Registry, shutdown: CancellationToken) {
    // Chats with a call under way, each with the next state.
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
                    // The chat of the panic is unknown, so every chat may get a call again.
                    busy.clear();
                }
            },
        }
    }
}

/// Starts a call if the chat's channel shows typing.
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
