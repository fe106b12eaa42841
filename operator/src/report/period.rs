//! A period: from one moment to another, by days of UTC or to the second.

use std::fmt;

use anyhow::Result;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::agreement::WrongUsage;

use super::{DAYS_DEFAULT, Options};

/// Where a period begins or ends, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Day(Date),
    At(Timestamp),
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    let is_day = text.len() == "2026-11-22".len();
    let moment = match is_day {
        true => text.parse().ok().map(Moment::Day),
        false => text.parse().ok().map(Moment::At),
    };
    moment.ok_or_else(|| "is neither a day, as 2026-11-22, nor a time, as 2026-11-22T09:30:00Z".to_owned())
}

impl Moment {
    pub(super) fn day(self) -> Date {
        match self {
            Self::Day(day) => day,
            Self::At(at) => day_of(at),
        }
    }

    /// Where a period begins that begins with it.
    pub(super) fn beginning(self) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Day(day) => midnight(day),
            Self::At(at) => Ok(at),
        }
    }

    /// Where a period ends that ends with it; that is no longer in the period.
    pub(super) fn end(self) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Day(day) => midnight(day.tomorrow()?),
            Self::At(at) => Ok(at),
        }
    }
}

impl Options {
    /// # Errors
    /// If what was asked for is no period.
    pub(super) fn period(&self, now: Timestamp) -> Result<Period> {
        let wrong = |error: jiff::Error| WrongUsage(format!("there is no such period: {error}"));
        let to = self.to.unwrap_or(Moment::Day(day_of(now)));
        let before = || to.day().checked_sub(DAYS_DEFAULT.days()).map(Moment::Day);
        let from = self.from.map_or_else(before, Ok).and_then(Moment::beginning).map_err(wrong)?;
        let until = to.end().map_err(wrong)?;
        if from >= until {
            return Err(WrongUsage("there is no such period: --from must be before --to".to_owned()).into());
        }
        Ok(Period { from, until })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub(super) from: Timestamp,
    /// No longer in it.
    pub(super) until: Timestamp,
}

impl Period {
    /// The day (UTC) of a time (Unix milliseconds), if that is in the period.
    pub(super) fn day(&self, at: u64) -> Option<Date> {
        let at = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
        (self.from..self.until).contains(&at).then(|| day_of(at))
    }

    pub(super) fn first_day(&self) -> Date {
        day_of(self.from)
    }

    pub(super) fn last_day(&self) -> Date {
        self.until.checked_sub(SignedDuration::from_nanos(1)).map_or(self.first_day(), day_of)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_midnight = |at: Timestamp| Offset::UTC.to_datetime(at).time() == Time::midnight();
        let shown = |at: Timestamp, day: Date| match is_midnight(at) {
            true => day.to_string(),
            false => at.strftime("%F %T").to_string(),
        };
        let (from, to) = (shown(self.from, self.first_day()), shown(self.until, self.last_day()));
        write!(f, "from {from} to {to} (UTC)")
    }
}

pub(super) fn day_of(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

pub(super) fn midnight(day: Date) -> Result<Timestamp, jiff::Error> {
    Offset::UTC.to_timestamp(day.to_datetime(Time::midnight()))
}

pub(super) fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or_default()
}
