//! The weather of a run: how often what goes wrong. A seed has its own, so that some runs are calm but for the crowd, some
//! know one trouble alone, and some all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

/// What can go wrong with a call to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    LostRequest,
    LostAnswer,
    /// A single write may be refused for a conflict instead.
    Throttle,
    TransactionConflict,
    InternalError,
    UnprocessedKeys,
    /// The items of a batch read are not of one moment.
    TornRead,
    /// For a while some reads see a transaction's items as they were, and others as they are.
    SeenInParts,
    StaleIndex,
    DeathBefore,
    DeathDuring,
    DeathAfter,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::LostRequest,
        Self::LostAnswer,
        Self::Throttle,
        Self::TransactionConflict,
        Self::InternalError,
        Self::UnprocessedKeys,
        Self::TornRead,
        Self::SeenInParts,
        Self::StaleIndex,
        Self::DeathBefore,
        Self::DeathDuring,
        Self::DeathAfter,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LostRequest => "request lost on the way",
            Self::LostAnswer => "carried out, answer lost",
            Self::Throttle => "throttled, or a write in conflict",
            Self::TransactionConflict => "transaction conflict",
            Self::InternalError => "internal error",
            Self::UnprocessedKeys => "keys left unprocessed",
            Self::TornRead => "items of one read from different moments",
            Self::SeenInParts => "transaction seen in parts",
            Self::StaleIndex => "stale read of the index",
            Self::DeathBefore => "death before a call",
            Self::DeathDuring => "death while a call is on its way",
            Self::DeathAfter => "death after a call",
        }
    }

    /// Whether it can happen to a call: nothing of a single key can be left for later, or come from two moments.
    pub fn befalls(self, operation: &str, asked: &str) -> bool {
        match self {
            Self::TransactionConflict | Self::SeenInParts => operation == "TransactWriteItems",
            Self::UnprocessedKeys | Self::TornRead => {
                operation == "BatchGetItem" && asked.matches(r#""pk":{"#).count() > 1
            }
            Self::StaleIndex => asked.contains(r#""IndexName""#),
            _ => true,
        }
    }

    /// How often it happens in bad weather, in a thousand calls that it can happen to.
    fn worst(self) -> u32 {
        match self {
            Self::StaleIndex | Self::TornRead => 600,
            Self::UnprocessedKeys => 200,
            Self::SeenInParts => 400,
            Self::TransactionConflict | Self::LostAnswer => 80,
            Self::LostRequest | Self::Throttle | Self::InternalError => 50,
            Self::DeathBefore | Self::DeathDuring | Self::DeathAfter => 25,
        }
    }
}

/// What goes wrong elsewhere than with a call to the table, or with a call that fails in no other way.
pub mod elsewhere {
    pub const ANSWER_LOST_AT_GATEWAY: &str = "answer lost at the gateway";
    pub const CALL_LOST_AT_GATEWAY: &str = "call lost at the gateway";
    pub const SLOW_CALL: &str = "call that takes seconds";
    pub const CHANGES_TWICE: &str = "changes brought twice";
    pub const CHANGES_OUT_OF_ORDER: &str = "changes out of order";
    pub const TIME_OUT: &str = "function ended by its time-out";
    pub const WRONG_CLOCK: &str = "process with a clock that is off";
    pub const RECORD_EXPIRES: &str = "record of a request that expires";
    pub const TWICE_AT_ONCE: &str = "the same request twice at once";

    pub(super) const ALL: [&str; 9] = [
        ANSWER_LOST_AT_GATEWAY,
        CALL_LOST_AT_GATEWAY,
        SLOW_CALL,
        CHANGES_TWICE,
        CHANGES_OUT_OF_ORDER,
        TIME_OUT,
        WRONG_CLOCK,
        RECORD_EXPIRES,
        TWICE_AT_ONCE,
    ];
}

/// All that goes wrong by chance, as it is counted.
pub fn faults_by_chance() -> impl Iterator<Item = &'static str> {
    Fault::ALL.into_iter().map(Fault::as_str).chain(elsewhere::ALL)
}

/// The longest that a call is on its way.
pub const FROZEN_MAX: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub struct Weather {
    /// In a thousand calls.
    rates: [u32; Fault::ALL.len()],
    /// Calls that take seconds, and some longer than anybody waits; in a thousand.
    slow: u32,
    /// Whether all that is slow takes up to [`FROZEN_MAX`].
    stands_still: bool,
    /// Processes that are ended by the platform in the midst of their work, in a thousand calls of functions.
    pub ended: u32,
    /// Calls of functions whose answer, or which themselves, get lost at the gateway; in a thousand.
    pub gateway: u32,
    /// How far clocks of processes are off, in milliseconds at most.
    pub clocks_off: i64,
    /// The longest way of a call to the table that is not slow.
    way: Duration,
    /// Actions of a transaction at most; nothing where it is as many as DynamoDB takes.
    pub actions: Option<usize>,
    /// Callers begin at multiples of it alone, in milliseconds: in some runs they meet all the time.
    pub step: u64,
    /// And so much later at most, in milliseconds.
    pub jitter: u64,
    /// Each call takes as long as any other, so that who begins together is together.
    pub is_even: bool,
    is_calm: AtomicBool,
}

/// What becomes of one call to the table.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    pub fault: Option<Fault>,
    pub is_slow: bool,
    /// Until it arrives, and until its answer does.
    pub ways: [Duration; 2],
}

impl Weather {
    pub fn of(rng: &mut Rng) -> Self {
        // One run in six has nothing but concurrency; the others some of the troubles, each as bad as it comes.
        let is_bad = rng.u32(0..6) != 0;
        let share = rng.u32(1..=4);
        let mut rate = |worst: u32| match is_bad && rng.u32(0..4) < share {
            true => rng.u32(1..=worst),
            false => 0,
        };
        let mut rates = Fault::ALL.map(|fault| rate(fault.worst()));
        let (slow, gateway, ended, off) = (rate(80), rate(150), rate(60), rate(3_000));
        // The table is hardly there: calls get lost until their senders give up.
        if is_bad && rng.u32(0..8) == 0 {
            rates[Fault::LostRequest as usize] = 500;
        }
        // Processes stand still, in the midst of what they do, until others have taken over.
        let stands_still = is_bad && rng.u32(0..8) == 0;
        let slow = if stands_still { 60 } else { slow };
        let way = Duration::from_millis(rng.u64(1..=12));
        let is_even = rng.u32(0..6) == 0;
        let step = if is_even || rng.u32(0..4) == 0 { 1_000 } else { 1 };
        let jitter = if is_even { 0 } else { [0, 10, 40, 150][rng.usize(0..4)] };
        let clocks_off = if is_even { 0 } else { i64::from(off) };
        let actions = rng.bool().then(|| rng.usize(3..=8));
        // Where much takes several transactions, much is also left half-way.
        let ended = if actions.is_some() && rng.u32(0..4) == 0 { 400 } else { ended };
        Self {
            rates,
            slow,
            stands_still,
            ended,
            gateway,
            clocks_off,
            way,
            actions,
            step,
            jitter,
            is_even,
            is_calm: AtomicBool::new(false),
        }
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    pub fn fate(&self, rng: &mut Rng, operation: &str, asked: &str) -> Fate {
        if self.is_calm() {
            return Fate { fault: None, is_slow: false, ways: [Duration::from_millis(1); 2] };
        }
        let mut fault = None;
        for (candidate, rate) in Fault::ALL.into_iter().zip(self.rates) {
            if candidate.befalls(operation, asked) && rng.u32(0..1_000) < rate && fault.is_none() {
                fault = Some(candidate);
            }
        }
        let is_slow = rng.u32(0..1_000) < self.slow;
        let mut ways = [self.way; 2];
        if !self.is_even {
            ways = ways.map(|way| Duration::from_millis(rng.u64(0..=way.as_millis() as u64)));
        }
        if is_slow {
            // Seconds; sometimes longer than its sender waits, so that it arrives when nobody expects it any more; and some
            // come out of a process that was frozen in between.
            let most =
                if self.stands_still || rng.u32(0..8) == 0 { FROZEN_MAX.as_millis() as u64 } else { 12_000 };
            ways[rng.usize(0..2)] = Duration::from_millis(rng.u64(200..most));
        }
        Fate { fault, is_slow, ways }
    }
}
