//! Until when a request may work, and how long it waits before it tries again.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Session;
use crate::clock;
use crate::limits;

/// The moment after which a request must have its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// For a request that arrived at `arrived` in an invocation that ends at `invocation_ends`: the
    /// earlier of the invocation's end and the gateway's patience, less a reserve to answer in.
    pub fn of_request(arrived: SystemTime, invocation_ends: SystemTime) -> Self {
        let ends = invocation_ends.min(arrived + limits::ANSWER_WITHIN) - limits::ANSWER_RESERVE;
        Self::after(ends.duration_since(clock::now()).unwrap_or_default())
    }

    /// For work that nobody waits for: an invocation's end, less a reserve.
    pub fn of_invocation(ends: SystemTime) -> Self {
        let ends = ends - limits::ANSWER_RESERVE;
        Self::after(ends.duration_since(clock::now()).unwrap_or_default())
    }

    pub(super) fn instant(self) -> Instant {
        self.0
    }

    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(super) fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}

/// Waits between attempts: exponential with full jitter, so that those who collided don't meet again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    waits: u32,
    lost_a_race: bool,
    /// The shortest time that a lost race took: how fast the table is when it isn't queueing.
    fastest: Option<Duration>,
}

impl Backoff {
    /// The longest wait is this power of two of the first: 64 times. Where up to that many contend for
    /// one account, they then come about as often as the table can serve them one after another. Much
    /// oftener, and each success makes stale what all the others know; much seldomer, and it idles.
    const DOUBLINGS_MAX: u32 = 6;
    /// The first wait after a throttle or a fault: a hiccup's length.
    const HICCUP: Duration = Duration::from_millis(25);
    /// Less time than this is not worth another attempt.
    const ATTEMPT: Duration = Duration::from_millis(5);

    /// After losing a race that took `took`: whether to try again at once, with what the refusal showed.
    /// Only the first time: who loses again is in a crowd, and does better to wait and then look anew.
    pub(super) fn may_retry_at_once(&mut self, took: Duration) -> bool {
        self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        !std::mem::replace(&mut self.lost_a_race, true)
    }

    /// Waits after a throttle or a fault; false where too little time is left, or patience is at an end.
    pub(super) async fn pause(&mut self, session: &Session) -> bool {
        self.pause_by(Self::HICCUP, session).await
    }

    /// Waits after losing races, in measures of how fast the table is; false as [`Self::pause`].
    pub(super) async fn pause_after_race(&mut self, session: &Session) -> bool {
        self.pause_by(self.fastest.unwrap_or(Self::HICCUP), session).await
    }

    async fn pause_by(&mut self, first: Duration, session: &Session) -> bool {
        let left = session.deadline.left();
        if left < Self::ATTEMPT || session.patience.has_passed() {
            return false;
        }
        let grown = first * 2u32.pow(self.waits.min(Self::DOUBLINGS_MAX));
        let ceiling = grown.min(left / 2).min(session.patience.left());
        self.waits += 1;
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..=ceiling.as_micros() as u64))).await;
        true
    }
}
