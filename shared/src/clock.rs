//! Time as it stands in bodies and items: Unix milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// 0 for a time before 1970, which no clock here shows.
pub fn unix_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
