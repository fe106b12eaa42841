//! Ids of batches: they tell when the batch was made, and sort by it.

use std::time::SystemTime;

use time::OffsetDateTime;

use crate::clock::unix_milliseconds;
use crate::ledger::{Created, RefundBatchId};
use crate::store::BatchRange;

/// The platform's day begins in China: UTC+8.
const ZONE_SECONDS: u64 = 8 * 60 * 60;

/// A second before any batch, and one after all that two digits of a year can tell: 2000 and 2099, in China.
const SECONDS_MIN: u64 = 946_684_800 - ZONE_SECONDS;
const SECONDS_MAX: u64 = 4_102_444_799 - ZONE_SECONDS;

/// A new batch's id and time: `15`, yyMMddHHmmss (UTC+8), three digits of milliseconds, so that ids sort by time, and
/// one of chance. Another batch may have the same; then it is not put, and another is made.
pub fn new_batch(now: SystemTime) -> Option<Created> {
    let at = unix_milliseconds(now);
    Some(Created { id: id(at / 1_000, at % 1_000 * 10 + fastrand::u64(0..10))?, at })
}

/// The ids of all batches that were made from one second (Unix) to another, both included.
pub fn batches_made(from: u64, to: u64) -> Option<BatchRange> {
    let second = |second: u64| second.clamp(SECONDS_MIN, SECONDS_MAX);
    match from > SECONDS_MAX || to < SECONDS_MIN || from > to {
        true => None,
        false => Some(BatchRange { least: id(second(from), 0)?, most: id(second(to), 9_999)? }),
    }
}

fn id(second: u64, last_digits: u64) -> Option<RefundBatchId> {
    let local = i64::try_from(second + ZONE_SECONDS).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(local).ok()?;
    let id = format!(
        "15{:02}{:02}{:02}{:02}{:02}{:02}{last_digits:04}",
        time.year().rem_euclid(100),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    );
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_id_tells_its_time_in_china() {
        // 2015-12-31 18:30:05 UTC is the next day, month and year there.
        let created = new_batch(UNIX_EPOCH + Duration::from_secs(1_451_586_605)).unwrap();
        assert!(created.id.as_str().starts_with("15160101023005"), "{}", created.id);
        assert_eq!((created.id.as_str().len(), created.id.month()), (18, "1601"));
        assert_eq!(created.at, 1_451_586_605_000);
        let earlier = new_batch(UNIX_EPOCH + Duration::from_millis(1_451_586_605_041)).unwrap();
        let later = new_batch(UNIX_EPOCH + Duration::from_millis(1_451_586_605_042)).unwrap();
        assert!(earlier.id < later.id);
    }
    #[test]
    fn the_batches_of_a_time_are_those_whose_ids_tell_it() {
        let range = batches_made(1_451_586_605, 1_451_586_606).unwrap();
        assert_eq!((range.least.as_str(), range.most.as_str()), ("151601010230050000", "151601010230069999"));
        let all = batches_made(0, u64::MAX).unwrap();
        assert_eq!((all.least.as_str(), all.most.as_str()), ("150001010000000000", "159912312359599999"));
        assert_eq!(batches_made(2, 1), None);
        assert_eq!(batches_made(0, 5), None, "before all batches");
    }
}
