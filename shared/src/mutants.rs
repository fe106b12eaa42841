//! Wrong decisions that the ledger can be made to take, so that its tests are seen to find them. Builds that are deployed
//! have none of it: [`is_on`] is `false` there.

/// A decision that is taken wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    RefundWithoutAnswerIsDone,
    RefusalsAreNotReadAgain,
    NoTombstones,
    KeyIsNotClaimed,
    EntryWithoutAnswerIsDone,
    LackOfMoneyIsNotReadAgain,
    UnprocessedKeysAreAbsent,
    ReadAtOnceIsApart,
    BeginWithoutAnswerIsDone,
    GuardIsReadOnce,
    BatchRefusalIsNotReadAgain,
    LackOfFundsIsNotReadAgain,
    LateBatchIsNotOutdated,
    WhatIsLeftIsNotReadAgain,
    ConfirmedIsToldAtOnce,
    MonthIsNotNamed,
    HalfABatchIsTold,
    EverybodyHasTakenOn,
    UnknownIsNo,
    NothingIsGivenBack,
    ChannelIsAskedForMore,
    LostEventIsTold,
    PaidIsOverruled,
    PartIsRefundedWhole,
    OpenIsRefused,
    AnotherBodyIsTold,
    FailedIsTold,
    DisabledIsTold,
}

impl Decision {
    pub const ALL: [Self; 28] = [
        Self::RefundWithoutAnswerIsDone,
        Self::RefusalsAreNotReadAgain,
        Self::NoTombstones,
        Self::KeyIsNotClaimed,
        Self::EntryWithoutAnswerIsDone,
        Self::LackOfMoneyIsNotReadAgain,
        Self::UnprocessedKeysAreAbsent,
        Self::ReadAtOnceIsApart,
        Self::BeginWithoutAnswerIsDone,
        Self::GuardIsReadOnce,
        Self::BatchRefusalIsNotReadAgain,
        Self::LackOfFundsIsNotReadAgain,
        Self::LateBatchIsNotOutdated,
        Self::WhatIsLeftIsNotReadAgain,
        Self::ConfirmedIsToldAtOnce,
        Self::MonthIsNotNamed,
        Self::HalfABatchIsTold,
        Self::EverybodyHasTakenOn,
        Self::UnknownIsNo,
        Self::NothingIsGivenBack,
        Self::ChannelIsAskedForMore,
        Self::LostEventIsTold,
        Self::PaidIsOverruled,
        Self::PartIsRefundedWhole,
        Self::OpenIsRefused,
        Self::AnotherBodyIsTold,
        Self::FailedIsTold,
        Self::DisabledIsTold,
    ];

    /// What is wrong with it.
    pub fn about(self) -> &'static str {
        match self {
            Self::RefundWithoutAnswerIsDone => "a refund whose transaction had no answer is told as done",
            Self::RefusalsAreNotReadAgain => "a refusal beside what was executed is told from an old read",
            Self::NoTombstones => "a debit is told not to be there, and may still come",
            Self::KeyIsNotClaimed => "parts of a batch move money before its key is known to be its own",
            Self::EntryWithoutAnswerIsDone => "an entry whose transaction had no answer is told as recorded",
            Self::LackOfMoneyIsNotReadAgain => "lack of money is told from a read that is not of one moment",
            Self::UnprocessedKeysAreAbsent => "items that a read has left for later are taken for absent",
            Self::ReadAtOnceIsApart => "what must be of one moment is read item by item",
            Self::BeginWithoutAnswerIsDone => "a begin whose transaction had no answer is told as done",
            Self::GuardIsReadOnce => "a confirmation is told unknown from a read before it was recorded",
            Self::BatchRefusalIsNotReadAgain => {
                "a batch is refused by what was read before its own first attempt"
            }
            Self::LackOfFundsIsNotReadAgain => {
                "a batch is refused for funds and charges that were read at different moments"
            }
            Self::LateBatchIsNotOutdated => "a batch is refused whose first transaction may still come",
            Self::WhatIsLeftIsNotReadAgain => "a batch is refused for a charge of which more is left by now",
            Self::ConfirmedIsToldAtOnce => {
                "who fails a refund is told that it is confirmed, though it failed before that"
            }
            Self::MonthIsNotNamed => "a batch is put on record, and its month is not",
            Self::HalfABatchIsTold => "a batch is told as created that holds its first charges only",
            Self::EverybodyHasTakenOn => "a batch is settled by all who come, at the same time",
            Self::UnknownIsNo => "a payment channel's answer that is not known is taken for a no",
            Self::NothingIsGivenBack => "a batch ends without giving back what failed",
            Self::ChannelIsAskedForMore => "a payment channel is asked for a cent more than is refunded",
            Self::LostEventIsTold => "an event that the bus has not taken is not put again",
            Self::PaidIsOverruled => "a refund is failed in spite of a confirmation that matches it",
            Self::PartIsRefundedWhole => "a refund of a part gives back the whole",
            Self::OpenIsRefused => "a debit that could be refunded is told not to be there, now and then",
            Self::AnotherBodyIsTold => {
                "under another's key a request is told what is so, where it has nothing to do"
            }
            Self::FailedIsTold => "a begin whose refund has failed is told as done",
            Self::DisabledIsTold => "a channel is told that it is disabled, now and then",
        }
    }
}

#[cfg(feature = "simulation")]
thread_local! {
    static SWITCHED_ON: std::cell::Cell<Option<Decision>> = const { std::cell::Cell::new(None) };
}

/// Whether this decision is to be taken wrongly, in this thread.
#[cfg(feature = "simulation")]
pub fn is_on(decision: Decision) -> bool {
    SWITCHED_ON.get() == Some(decision)
}

#[cfg(not(feature = "simulation"))]
pub const fn is_on(_: Decision) -> bool {
    false
}

/// As long as it lives, a decision is taken wrongly in its thread.
#[cfg(feature = "simulation")]
#[derive(Debug)]
pub struct On(());

#[cfg(feature = "simulation")]
impl Drop for On {
    fn drop(&mut self) {
        SWITCHED_ON.set(None);
    }
}

/// Takes a decision wrongly in this thread, until what is returned is dropped.
#[cfg(feature = "simulation")]
pub fn switch_on(decision: Decision) -> On {
    SWITCHED_ON.set(Some(decision));
    On(())
}
