//! Time as it stands in bodies and items: Unix milliseconds. And the one clock that all of it is read from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, by this machine's clock; in a simulation, by the simulated process's.
pub fn now() -> SystemTime {
    #[cfg(feature = "simulation")]
    if let Some(now) = simulated::now() {
        return now;
    }
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    SystemTime::now()
}

/// Now, in Unix milliseconds.
pub fn unix_now() -> u64 {
    unix_milliseconds(now())
}

/// A duration, in milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// 0 for a time before 1970, which no clock here shows.
pub fn unix_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

/// A clock that goes with the runtime's own time, which may be paused and wound on.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use tokio::time::Instant;

    thread_local! {
        static BEGINNING: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
    }

    tokio::task_local! {
        /// How far the clock of the process that a task belongs to is off, in milliseconds.
        pub static CLOCK_OFF: i64;
    }

    /// As long as it lives, this thread's clock is simulated.
    #[derive(Debug)]
    pub struct Started(());

    impl Drop for Started {
        fn drop(&mut self) {
            BEGINNING.set(None);
        }
    }

    /// From now on it is `at` in this thread, which runs a runtime, and time goes on as the runtime's does.
    pub fn start(at: SystemTime) -> Started {
        BEGINNING.set(Some((Instant::now(), at)));
        Started(())
    }

    pub(super) fn now() -> Option<SystemTime> {
        let (began, at) = BEGINNING.get()?;
        let off = CLOCK_OFF.try_with(|off| *off).unwrap_or_default();
        let since = Duration::from_millis(off.unsigned_abs());
        let now = at + began.elapsed();
        Some(if off < 0 { now - since } else { now + since })
    }
}
