//! Reader threads, each with a connection of its own.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{StoreError, TxResult, prepare};

type Job = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    jobs: std::sync::mpsc::Sender<Job>,
}

impl Readers {
    pub(super) fn start(path: &Path, count: usize) -> rusqlite::Result<Self> {
        let (jobs, queue) = std::sync::mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..count {
            let connection =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            prepare(&connection)?;
            connection.pragma_update(None, "query_only", true)?;
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("store-reader-{n}")).spawn(move || {
                loop {
                    // The lock is held only while waiting: another thread takes the next job meanwhile.
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        Ok(job) => job(&connection),
                        Err(_) => return,
                    }
                }
            });
            if let Err(error) = thread {
                tracing::error!("cannot start a reader thread of the store: {error}");
            }
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
                let _ = answer.send(work(connection));
            }))
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}
