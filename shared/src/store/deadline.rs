//! Until when a request may work, and how long it waits before it tries again.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::limits;

/// The moment after which a request must have its answer.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// For a request that arrived at `arrived` in an invocation that ends at `invocation_ends`: the
    /// earlier of the invocation's end and the gateway's patience, less a reserve to answer in.
    pub fn of_request(arrived: SystemTime, invocation_ends: SystemTime) -> Self {
        let ends = invocation_ends.min(arrived + limits::ANSWER_WITHIN) - limits::ANSWER_RESERVE;
        Self::after(ends.duration_since(SystemTime::now()).unwrap_or_default())
    }

    pub fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    pub(super) fn instant(self) -> Instant {
        self.0
    }
}

/// Waits between attempts: exponential with full jitter, so that those who collided don't meet again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(800);

    /// Waits; false where the wait would end after the deadline.
    pub(super) async fn pause(&mut self, deadline: Deadline) -> bool {
        let ceiling = Self::LONGEST.min(Self::FIRST * 2u32.saturating_pow(self.attempts.min(16)));
        self.attempts += 1;
        let until = Instant::now() + Duration::from_micros(fastrand::u64(0..=ceiling.as_micros() as u64));
        if until >= deadline.instant() {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }
}
