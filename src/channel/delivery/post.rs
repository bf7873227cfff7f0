//! Delivers the waiting rows of one chat to its channel, one part at a time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{Bucket, Pace};
use super::split;
use crate::channel::{Channel, DeliverError, Part, PartKey, Receipt, Registry, Target};
use crate::domain::clock::SharedClock;
use crate::domain::delivery::{Delivery, DeliveryKind, NewDelivery};
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::store::{Store, StoreError, Tx, TxResult, groups, outbox, receipts};

/// The most rows of a chat at one time, so that chats beyond the limit of concurrency get a turn.
const ROWS: usize = 20;
/// The wait between two tries to store progress.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Everything that a delivery needs.
#[derive(Debug)]
pub(in crate::channel) struct Post {
    store: Store,
    clock: SharedClock,
    registry: Registry,
    pace: Pace,
}

/// The end of a chat's turn.
#[derive(Debug)]
pub(in crate::channel) struct Served {
    /// The rest of its rate limit.
    pub bucket: Bucket,
    /// How long it must wait before its next turn.
    pub rest: Option<Duration>,
}

/// The result of one row.
enum Row {
    /// The row has ended, delivered or failed.
    Ended,
    /// The chat must wait this long.
    Rest(Duration),
    /// The row waits for its stored time, or the host shuts down.
    Later,
}

impl Post {
    pub fn new(store: Store, clock: SharedClock, registry: Registry, pace: Pace) -> Self {
        Self { store, clock, registry, pace }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Delivers the waiting rows of a chat until none is left, one must wait, or other chats should get a turn.
    pub async fn serve(self: Arc<Self>, jid: ChatJid, mut bucket: Bucket, shutdown: CancellationToken) -> Served {
        for _ in 0..ROWS {
            let wanted = jid.clone();
            let row = match self.store.read(move |db| outbox::next(db, &wanted)).await {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("cannot read the outbox: {error}");
                    return Served { bucket, rest: Some(STORE_AGAIN) };
                }
            };
            match self.row(&row, &mut bucket, &shutdown).await {
                Row::Ended => {}
                Row::Rest(time) => return Served { bucket, rest: Some(time) },
                Row::Later => break,
            }
        }
        Served { bucket, rest: None }
    }

    async fn row(&self, row: &Delivery, bucket: &mut Bucket, shutdown: &CancellationToken) -> Row {
        let waits = row.next_try.is_some_and(|due| !self.pace.wait(due, self.now()).is_zero());
        if waits {
            return Row::Later;
        }
        let Some(channel) = self.registry.of(&row.new.jid).cloned() else {
            let reason = format!(
                "no channel takes the chat {}: set up its channel, then `parlor outbox retry {}`",
                row.new.jid, row.new.id
            );
            self.note_failure(row, &reason, None, shutdown).await;
            return Row::Ended;
        };
        if channel.capabilities().local {
            return self.deliver_locally(row, shutdown).await;
        }
        self.deliver(row, channel.as_ref(), bucket, shutdown).await
    }

    /// Delivers a row that was stored before its chat became local.
    async fn deliver_locally(&self, row: &Delivery, shutdown: &CancellationToken) -> Row {
        let (new, now) = (row.new.clone(), self.now());
        let noted = self.note(shutdown, move |tx| {
            outbox::deliver_locally(tx, &new, now)?;
            outbox::delivered(tx, new.id, now)
        });
        if noted.await { Row::Ended } else { Row::Later }
    }

    async fn deliver(
        &self,
        row: &Delivery,
        channel: &dyn Channel,
        bucket: &mut Bucket,
        shutdown: &CancellationToken,
    ) -> Row {
        let id = row.new.id;
        let parts = match self.parts(row, channel).await {
            Ok(parts) => parts,
            Err(reason) => {
                self.note_failure(row, &reason, None, shutdown).await;
                return Row::Ended;
            }
        };
        let (chat, reply_to, sender) = (row.new.jid.clone(), row.new.reply_to.clone(), row.new.sender.clone());
        let target = Target { chat, reply_to, sender };
        for (number, part) in (0..).zip(&parts).skip(row.parts_done as usize) {
            if shutdown.is_cancelled() {
                return Row::Later;
            }
            if let Err(wait) = bucket.take(&self.pace, Instant::now()) {
                return Row::Rest(wait);
            }
            let key = PartKey { delivery: id, part: number };
            let call = tokio::time::timeout(self.pace.answer, channel.deliver(key, &target, part));
            let result = call.await.unwrap_or_else(|_| {
                let reason = format!("{} did not answer within {:?}", channel.name(), self.pace.answer);
                Err(DeliverError::Retryable { reason, after: None })
            });
            let receipt = match result {
                Ok(receipt) => receipt,
                Err(DeliverError::Retryable { reason, after }) => {
                    let next = self.pace.retry(row.tries, after);
                    self.note_failure(row, &reason, next, shutdown).await;
                    return Row::Ended;
                }
                Err(DeliverError::Permanent { reason }) => {
                    self.note_failure(row, &reason, None, shutdown).await;
                    return Row::Ended;
                }
            };
            if !self.note_arrival(row, key, receipt, shutdown).await {
                return Row::Later;
            }
        }
        let now = self.now();
        if !self.note(shutdown, move |tx| outbox::delivered(tx, id, now)).await {
            return Row::Later;
        }
        if row.new.file.is_none() && parts.iter().any(|part| matches!(part, Part::File { .. })) {
            // The text is in its row, too.
            let files = self.store.files();
            let _ = tokio::task::spawn_blocking(move || files.remove(id)).await;
        }
        Row::Ended
    }

    /// Notes that a part has arrived, with the platform's id for it.
    async fn note_arrival(&self, row: &Delivery, key: PartKey, receipt: Receipt, shutdown: &CancellationToken) -> bool {
        let jid = row.new.jid.clone();
        self.note(shutdown, move |tx| {
            outbox::part_done(tx, key.delivery, key.part + 1)?;
            match &receipt.platform_id {
                Some(platform_id) => receipts::put(tx, key.delivery, key.part, &jid, platform_id),
                None => Ok(()),
            }
        })
        .await
    }

    /// Returns the text in messages, and then the file if the channel accepts files, else a text with its place.
    async fn parts(&self, row: &Delivery, channel: &dyn Channel) -> Result<Vec<Part>, String> {
        let (id, caps, files) = (row.new.id, channel.capabilities(), self.store.files());
        let place = |name: &str| files.path(id, name);
        let Some(file) = &row.new.file else {
            let parts = split::parts(&row.new.text, caps, id, place);
            return self.keep_text(row, parts).await;
        };
        let path = files.path(id, &file.name);
        if !caps.files {
            let text = split::with_place(&row.new.text, file, &path, id);
            return Ok(split::parts(&text, caps, id, place));
        }
        let there = tokio::fs::metadata(&path).await;
        there.map_err(|error| format!("the file {:?} is gone: {error}", file.name))?;
        let mut parts = match row.new.text.as_str() {
            "" => Vec::new(),
            caption => self.keep_text(row, split::parts(caption, caps, id, place)).await?,
        };
        parts.push(Part::File { name: file.name.clone(), path });
        Ok(parts)
    }

    /// Writes a text that is sent as a file.
    async fn keep_text(&self, row: &Delivery, parts: Vec<Part>) -> Result<Vec<Part>, String> {
        if let Some(Part::File { name, .. }) = parts.last() {
            let (id, files, name, text) = (row.new.id, self.store.files(), name.clone(), row.new.text.clone());
            let kept = tokio::task::spawn_blocking(move || files.add(id, &name, text.as_bytes())).await;
            let kept = kept.map_err(std::io::Error::other).flatten();
            kept.map_err(|error| {
                format!("the text is too long for messages, and cannot be written as a file: {error}")
            })?;
        }
        Ok(parts)
    }

    /// Notes a failed try. Without a next one the row has failed, and the owner is notified.
    async fn note_failure(&self, row: &Delivery, reason: &str, next: Option<Duration>, shutdown: &CancellationToken) {
        let (jid, id, tries) = (&row.new.jid, row.new.id, row.tries + 1);
        if let Some(wait) = next {
            tracing::warn!("cannot deliver text {id} to {jid}: {reason} (try {tries}, the next one in {wait:?})");
        } else {
            tracing::warn!("text {id} to {jid} has failed after {tries} tries, and is kept: {reason}");
        }
        let now = self.now();
        let due = next.map(|wait| now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1)));
        let notice = NewDelivery {
            id: DeliveryId(self.clock.ulid()),
            jid: jid.clone(),
            text: format!(
                "A text to {jid} could not be delivered: {reason}. It is kept: `parlor outbox retry {id}` tries again."
            ),
            sender: None,
            reply_to: None,
            file: None,
            kind: DeliveryKind::Notice,
            run_id: None,
        };
        let (registry, reason, given_up) = (self.registry.clone(), reason.to_owned(), next.is_none());
        let noted = self.note(shutdown, move |tx| {
            outbox::failed(tx, id, &reason, due, now)?;
            if given_up { tell_owner(tx, &registry, notice.clone(), now) } else { Ok(()) }
        });
        noted.await;
    }

    /// Stores a delivery's progress. Retries until it is stored, otherwise the text would be sent twice. Returns
    /// false only at shutdown.
    async fn note(
        &self,
        shutdown: &CancellationToken,
        work: impl Fn(&mut Tx<'_>) -> TxResult<()> + Send + Sync + 'static,
    ) -> bool {
        let work = Arc::new(work);
        loop {
            let this_try = work.clone();
            match self.store.write(move |tx| this_try(tx)).await {
                Ok(()) => return true,
                Err(StoreError::Closed) => return false,
                Err(error) => tracing::warn!("cannot store the state of a delivery, retrying: {error}"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(STORE_AGAIN) => {}
            }
        }
    }
}

/// Notifies the owner's chat of a failed text. If that chat itself is the target, the failure is only logged, because
/// a notice would fail, too.
fn tell_owner(tx: &mut Tx<'_>, registry: &Registry, notice: NewDelivery, now: DateTime<Utc>) -> TxResult<()> {
    let Some(main) = groups::main(tx)?.filter(|main| main.jid != notice.jid) else { return Ok(()) };
    let route = registry.route(&main.jid);
    outbox::put(tx, &NewDelivery { jid: main.jid, ..notice }, route, false, now).map(drop)
}
