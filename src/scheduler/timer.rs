//! One timer on the wall clock: exact through suspend, and notified when the clock is set.

use std::os::fd::OwnedFd;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rang {
    /// The time was reached.
    Due,
    /// The clock was set, or the machine slept.
    ClockSet,
}

/// How often the clock is checked while something is scheduled, if the kernel has no such timer.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct WallTimer {
    fd: Option<AsyncFd<OwnedFd>>,
}

impl WallTimer {
    /// Makes a timer; must be called within the runtime.
    pub(super) fn new() -> Self {
        #[expect(deprecated, reason = "sound for an OwnedFd, which stays the same; what replaces it is unsafe code")]
        let made = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .and_then(AsyncFd::new);
        match made {
            Ok(fd) => Self { fd: Some(fd) },
            Err(error) => {
                tracing::warn!("no timer on the wall clock ({error}): tasks may start up to a second late");
                Self { fd: None }
            }
        }
    }

    /// Waits for a time; forever if there is none. Safe to cancel.
    pub(super) async fn wait(&self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Rang {
        let Some(until) = until else { return std::future::pending().await };
        let Some(fd) = &self.fd else {
            let left = (until - now).to_std().unwrap_or_default();
            tokio::time::sleep(left.min(POLL)).await;
            return Rang::Due;
        };
        match set(fd, until) {
            Ok(()) => {}
            Err(Errno::CANCELED) => return Rang::ClockSet,
            Err(error) => {
                tracing::warn!("the wall clock's timer cannot be set: {error}");
                tokio::time::sleep(POLL).await;
                return Rang::Due;
            }
        }
        loop {
            let Ok(mut ready) = fd.readable().await else {
                tokio::time::sleep(POLL).await;
                return Rang::Due;
            };
            match rustix::io::read(fd, &mut [0_u8; 8]) {
                Ok(_) => return Rang::Due,
                Err(Errno::CANCELED) => return Rang::ClockSet,
                // The timer was set again, which took back an earlier ring.
                Err(_) => ready.clear_ready(),
            }
        }
    }
}

fn set(fd: &AsyncFd<OwnedFd>, until: DateTime<Utc>) -> Result<(), Errno> {
    // Zero would switch the timer off; any time in the past rings at once.
    let value = Timespec { tv_sec: until.timestamp().max(1), tv_nsec: until.timestamp_subsec_nanos().into() };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    timerfd_settime(fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[tokio::test]
    async fn timer_rings_at_the_time_and_not_before() {
        let timer = WallTimer::new();
        assert!(timer.fd.is_some());
        for ms in [40, -5000, 15, 0] {
            let now = SystemClock.now();
            let until = now + chrono::Duration::milliseconds(ms);
            assert_eq!(timer.wait(Some(until), now).await, Rang::Due);
            let late = SystemClock.now() - until;
            assert!(late >= chrono::Duration::zero(), "{late}");
        }
    }

    #[tokio::test]
    async fn cancelled_wait_does_not_ring_the_next_one() {
        let timer = WallTimer::new();
        let now = SystemClock.now();
        let soon = timer.wait(Some(now + chrono::Duration::milliseconds(5)), now);
        let _ = tokio::time::timeout(Duration::from_millis(1), soon).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let until = SystemClock.now() + chrono::Duration::milliseconds(60);
        assert_eq!(timer.wait(Some(until), now).await, Rang::Due);
        assert!(SystemClock.now() >= until);
        let never = timer.wait(None, now);
        assert!(tokio::time::timeout(Duration::from_millis(30), never).await.is_err());
    }
}
