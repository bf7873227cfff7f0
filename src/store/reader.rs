//! Reader threads, each with its own connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{StoreError, TxError, TxResult, classify, prepare};

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Opens a connection that reads beside the writer.
pub(super) fn connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

#[derive(Debug)]
pub(super) struct Readers {
    jobs: std::sync::mpsc::Sender<Job>,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        count: usize,
        open: fn(&Path) -> rusqlite::Result<Connection>,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = std::sync::mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..count {
            let connection = open(path).map_err(|e| classify(path, &e))?;
            let (queue, name) = (queue.clone(), format!("store-reader-{n}"));
            let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
                loop {
                    // The lock is held only while waiting, so another thread can take the next job.
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        Ok(job) => job(&connection),
                        Err(_) => return,
                    }
                }
            });
            thread.map_err(|e| StoreError::Thread { name, reason: e.to_string() })?;
        }
        Ok(Self { jobs })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> TxResult<T> + Send + 'static,
    ) -> Result<TxResult<T>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(Box::new(move |connection| {
                // A panic of the closure is an error for its caller; the thread goes on.
                let result = catch_unwind(AssertUnwindSafe(|| work(connection)));
                let _ = answer.send(result.unwrap_or_else(|payload| Err(TxError::panicked(&*payload))));
            }))
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}
