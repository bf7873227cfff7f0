//! Slots for containers. Groups wait in order of arrival; while one waits, the run that has been idle longest is
//! asked to close.
//!
//! The book-keeping is a pure struct behind a short lock; nothing is awaited under it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// Receives the ticket of a run that should make room.
pub type Evict = mpsc::UnboundedSender<Ticket>;
/// Identifies a slot in use.
pub type Ticket = u64;

/// The demand for slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The number of groups that wait for a slot.
    pub waiting: usize,
    /// The number of slots in use.
    pub used: usize,
}

/// The queue for slots. Clones share it.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    limit: usize,
    next: Ticket,
    /// Counts the times that a run became idle.
    idled: u64,
    used: BTreeMap<Ticket, Used>,
    waiting: VecDeque<(Evict, oneshot::Sender<Slot>)>,
}

#[derive(Debug)]
struct Used {
    /// The value of `idled` when the run became idle; None if it is busy.
    idle_since: Option<u64>,
    evict: Evict,
    /// True if the run was asked to make room.
    asked: bool,
}

/// A slot in use. Dropping it passes it on.
#[derive(Debug)]
pub struct Slot {
    ticket: Ticket,
    slots: Slots,
}

impl Slots {
    /// Slots for at most `limit` containers.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Book {
            limit: limit.max(1),
            next: 0,
            idled: 0,
            used: BTreeMap::new(),
            waiting: VecDeque::new(),
        })))
    }

    /// Queues for a slot, which the receiver gets in turn. Dropping the receiver leaves the queue.
    pub fn request(&self, evict: Evict) -> oneshot::Receiver<Slot> {
        let (tx, rx) = oneshot::channel();
        self.with(|book| book.waiting.push_back((evict, tx)));
        self.hand_out();
        rx
    }

    /// Returns the number of waiting groups and of slots in use.
    pub fn load(&self) -> Load {
        self.with(|book| {
            book.waiting.retain(|(_, tx)| !tx.is_closed());
            Load { waiting: book.waiting.len(), used: book.used.len() }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives free slots to the groups that wait, then asks idle runs to make room for the rest.
    fn hand_out(&self) {
        loop {
            let Some((tx, ticket)) = self.with(Book::take_next) else { break };
            // A receiver that was dropped meanwhile drops the slot, which comes back here.
            let _ = tx.send(Slot { ticket, slots: self.clone() });
        }
        self.with(Book::ask_for_room);
    }
}

impl Book {
    fn take_next(&mut self) -> Option<(oneshot::Sender<Slot>, Ticket)> {
        self.waiting.retain(|(_, tx)| !tx.is_closed());
        if self.used.len() >= self.limit {
            return None;
        }
        let (evict, tx) = self.waiting.pop_front()?;
        self.next += 1;
        self.used.insert(self.next, Used { idle_since: None, evict, asked: false });
        Some((tx, self.next))
    }

    fn ask_for_room(&mut self) {
        let asked = self.used.values().filter(|u| u.asked).count();
        for _ in asked..self.waiting.len() {
            let idle = self.used.iter_mut().filter(|(_, u)| !u.asked && u.idle_since.is_some());
            let Some((ticket, used)) = idle.min_by_key(|(_, u)| u.idle_since) else { return };
            used.asked = true;
            // An actor that is gone has dropped its slot.
            let _ = used.evict.send(*ticket);
        }
    }
}

impl Slot {
    /// Returns the id of this slot.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Notes whether the run in the slot is idle. An idle run may be asked to make room.
    pub fn set_idle(&self, idle: bool) {
        self.slots.with(|book| {
            if let Some(used) = book.used.get_mut(&self.ticket) {
                match (idle, used.idle_since) {
                    (true, None) => {
                        book.idled += 1;
                        used.idle_since = Some(book.idled);
                    }
                    (false, _) => {
                        used.idle_since = None;
                        // The run got work before it could close. A waiting group needs another slot, or this one
                        // later.
                        used.asked = false;
                    }
                    _ => {}
                }
            }
            book.ask_for_room();
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.with(|book| book.used.remove(&self.ticket));
        self.slots.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn groups_wait_in_order_and_the_longest_idle_makes_room() {
        let slots = Slots::new(2);
        let (evict, mut evicted) = mpsc::unbounded_channel();
        let a = slots.request(evict.clone()).await.unwrap();
        let b = slots.request(evict.clone()).await.unwrap();
        let c = slots.request(evict.clone());
        let d = slots.request(evict.clone());
        assert!(evicted.try_recv().is_err(), "nobody is idle");
        b.set_idle(true);
        assert_eq!(evicted.recv().await, Some(b.ticket()));
        a.set_idle(true);
        assert_eq!(evicted.recv().await, Some(a.ticket()));
        drop(b);
        let c = c.await.unwrap();
        drop(a);
        let d = d.await.unwrap();
        assert_eq!(slots.load(), Load { waiting: 0, used: 2 });
        drop((c, d));
        assert_eq!(slots.load(), Load { waiting: 0, used: 0 });
    }

    #[tokio::test]
    async fn a_run_that_gets_work_instead_of_closing_is_asked_again() {
        let slots = Slots::new(2);
        let (evict, mut evicted) = mpsc::unbounded_channel();
        let a = slots.request(evict.clone()).await.unwrap();
        let b = slots.request(evict.clone()).await.unwrap();
        a.set_idle(true);
        let c = slots.request(evict.clone());
        assert_eq!(evicted.recv().await, Some(a.ticket()));
        a.set_idle(false);
        b.set_idle(true);
        assert_eq!(evicted.recv().await, Some(b.ticket()), "another one is asked");
        b.set_idle(false);
        a.set_idle(true);
        assert_eq!(evicted.recv().await, Some(a.ticket()), "the same one is asked again");
        drop(a);
        assert!(c.await.is_ok());
        drop(b);
    }

    #[tokio::test]
    async fn slot_queue_skips_groups_that_stopped_waiting() {
        let slots = Slots::new(1);
        let (evict, _evicted) = mpsc::unbounded_channel();
        let a = slots.request(evict.clone()).await.unwrap();
        drop(slots.request(evict.clone()));
        let c = slots.request(evict.clone());
        drop(a);
        assert!(c.await.is_ok());
        assert_eq!(slots.load(), Load { waiting: 0, used: 0 });
    }
}
