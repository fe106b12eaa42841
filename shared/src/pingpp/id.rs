//! Ids of batches: they tell when the batch was made, and sort by it.

use std::time::SystemTime;

use time::OffsetDateTime;

use crate::clock::unix_milliseconds;
use crate::ledger::{Created, RefundBatchId};

/// The platform's day begins in China: UTC+8.
const ZONE_SECONDS: u64 = 8 * 60 * 60;

/// A new batch's id and time: `15`, yyMMddHHmmss (UTC+8), and four digits of chance. Another batch may have the same;
/// then it is not put, and another is made.
pub fn new_batch(now: SystemTime) -> Option<Created> {
    let at = unix_milliseconds(now);
    let local = i64::try_from(at / 1_000 + ZONE_SECONDS).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(local).ok()?;
    let id: RefundBatchId = format!(
        "15{:02}{:02}{:02}{:02}{:02}{:02}{:04}",
        time.year().rem_euclid(100),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        fastrand::u32(0..10_000),
    )
    .parse()
    .ok()?;
    Some(Created { id, at })
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
    }
}
