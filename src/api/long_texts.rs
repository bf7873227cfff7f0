//! Parts of long texts, for event streams. To find a part, the store walks through the text from its beginning. The
//! cache therefore reads windows of many parts, and all streams share them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Store, StoreError, events};

/// Bytes of a part: the memory for one client.
const PART: usize = 128 << 10;
/// Bytes of a window, read in one query: a text of 48 MiB takes six walks.
const WINDOW: usize = 8 << 20;
/// The number of cached windows, for all clients together.
const WINDOWS: usize = 2;

/// The cache of windows.
#[derive(Debug, Default)]
pub(super) struct LongTexts {
    held: Mutex<VecDeque<Window>>,
    /// Held while a window is read: another stream that misses the same window then finds it in the cache.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Window {
    event: i64,
    from: usize,
    text: String,
}

impl LongTexts {
    /// Returns the part of an event's text from a byte on, or None if the text is not kept any more.
    pub(super) async fn part(&self, store: &Store, event: i64, from: usize) -> Result<Option<String>, StoreError> {
        if let Some(part) = self.held(event, from) {
            return Ok(Some(part));
        }
        let _alone = self.reading.lock().await;
        if let Some(part) = self.held(event, from) {
            return Ok(Some(part));
        }
        self.lock().truncate(WINDOWS - 1);
        let Some(text) = store.read(move |db| events::part(db, event, from, WINDOW)).await? else { return Ok(None) };
        let part = beginning(&text).to_owned();
        if part.len() < text.len() {
            self.lock().push_front(Window { event, from, text });
        }
        Ok(Some(part))
    }

    /// Drops an event's windows, because a client left in the middle of its text.
    pub(super) fn forget(&self, event: i64) {
        self.lock().retain(|window| window.event != event);
    }

    fn held(&self, event: i64, from: usize) -> Option<String> {
        let mut windows = self.lock();
        let at = windows.iter().position(|w| w.event == event && w.from <= from && from < w.from + w.text.len())?;
        let window = &windows[at];
        let rest = window.text.get(from - window.from..)?;
        let part = beginning(rest).to_owned();
        if part.len() == rest.len() {
            windows.remove(at);
        }
        Some(part)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Window>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first part of a text, cut between characters.
fn beginning(text: &str) -> &str {
    let mut end = PART.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::domain::clock::from_ms;
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    use crate::domain::ids::DeliveryId;
    use crate::store::outbox;
    use crate::store::testing::store;

    async fn put(store: &Store, n: u64, text: String) -> i64 {
        let new = NewDelivery {
            id: DeliveryId(Ulid::from_parts(n, 1)),
            jid: "web:a".parse().unwrap(),
            text,
            sender: None,
            reply_to: None,
            file: None,
            kind: DeliveryKind::Reply,
            run_id: None,
        };
        let put = move |tx: &mut crate::store::Tx<'_>| outbox::put(tx, &new, outbox::Route::Local, false, from_ms(1));
        store.write(put).await.unwrap();
        *store.events().borrow()
    }

    #[tokio::test]
    async fn parts_of_a_text_of_several_windows_make_it_whole() {
        let (_dir, store, _wakes) = store();
        let text = "añ€😀".repeat(2 * WINDOW / 10 + 12_345);
        let event = put(&store, 1, text.clone()).await;
        let (texts, mut read, mut most) = (LongTexts::default(), String::new(), 0);
        while read.len() < text.len() {
            let part = texts.part(&store, event, read.len()).await.unwrap().unwrap();
            most = most.max(part.len());
            read.push_str(&part);
        }
        assert!(read == text);
        assert!(most <= PART, "{most}");
        assert!(texts.lock().is_empty(), "nothing is held for a text that was read");
        assert_eq!(texts.part(&store, event + 1, 0).await.unwrap(), None);
    }

    #[tokio::test]
    async fn store_is_read_once_per_window_and_few_windows_are_held() {
        let (_dir, store, _wakes) = store();
        let mut events = Vec::new();
        for n in 0..3 {
            events.push(put(&store, n, "x".repeat(WINDOW + 1)).await);
        }
        let texts = LongTexts::default();
        for event in &events {
            texts.part(&store, *event, 0).await.unwrap().unwrap();
        }
        assert_eq!(texts.lock().len(), WINDOWS);
        // The store is empty from here on: the parts below must come from the cache.
        store.write(|tx| Ok(tx.execute("DELETE FROM outbox", [])?)).await.unwrap();
        for part in 1..WINDOW / PART {
            let known = texts.part(&store, events[2], part * PART).await;
            assert_eq!(known.unwrap().map(|part| part.len()), Some(PART), "{part}");
        }
        assert_eq!(texts.part(&store, events[2], WINDOW).await.unwrap(), None, "beyond the window");
        texts.forget(events[1]);
        assert!(texts.lock().is_empty());
    }
}
