//! Time as it stands in bodies and items: Unix milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A duration, in milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// 0 for a time before 1970, which no clock here shows.
pub fn unix_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}
