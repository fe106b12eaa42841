//! Breaches: what is not as the ledger writes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fact::Row;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An item can't be read, or is none that the ledger writes.
    DamagedItem,
    /// A payment is not what it was when it came on record.
    ChangedPayment,
    ChangedOpening,
    ChangedPosting,
    MissingPosting,
    DuplicatePosting,
    /// A posting does not follow the one before it: one of the two was moved, or written anew.
    ReorderedPosting,
    PostingWithoutAccount,
    WrongBalance,
    WrongHead,
    /// More is refunded, or refunded and held, than was paid.
    AbovePayment,
    RefundBeforePayment,
    ChangedAmount,
    HoldWithoutBatch,
    BatchWithoutHolds,
    GuardWithoutOwner,
    RefundWithoutGuard,
    RefundWithoutPayment,
    RefundWithoutBatch,
    /// What is recorded of a refund is not what its batch, its application or its number says.
    ContradictingState,
    /// A payment is withdrawn and refunded.
    WithdrawnAndRefunded,
    /// What was done has no idempotency record, though that is still kept.
    MissingRecord,
    /// Something is of a tenant that is not there.
    WithoutTenant,
    WrongCurrency,
    WrongIndex,
    WouldExpire,
    /// A batch that no list finds.
    UnlistedBatch,
    /// A secret that names others than those who have it.
    WrongSecret,
    /// An account that an anchor has is gone, or has fewer postings than it had.
    LostSinceAnchor,
    /// An account's chain is not the one that an anchor has.
    RewrittenSinceAnchor,
}

impl Kind {
    pub const ALL: [Self; 30] = [
        Self::DamagedItem,
        Self::ChangedPayment,
        Self::ChangedOpening,
        Self::ChangedPosting,
        Self::MissingPosting,
        Self::DuplicatePosting,
        Self::ReorderedPosting,
        Self::PostingWithoutAccount,
        Self::WrongBalance,
        Self::WrongHead,
        Self::AbovePayment,
        Self::RefundBeforePayment,
        Self::ChangedAmount,
        Self::HoldWithoutBatch,
        Self::BatchWithoutHolds,
        Self::GuardWithoutOwner,
        Self::RefundWithoutGuard,
        Self::RefundWithoutPayment,
        Self::RefundWithoutBatch,
        Self::ContradictingState,
        Self::WithdrawnAndRefunded,
        Self::MissingRecord,
        Self::WithoutTenant,
        Self::WrongCurrency,
        Self::WrongIndex,
        Self::WouldExpire,
        Self::UnlistedBatch,
        Self::WrongSecret,
        Self::LostSinceAnchor,
        Self::RewrittenSinceAnchor,
    ];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DamagedItem => "damaged item",
            Self::ChangedPayment => "changed payment",
            Self::ChangedOpening => "changed opening balance",
            Self::ChangedPosting => "changed posting",
            Self::MissingPosting => "missing posting",
            Self::DuplicatePosting => "duplicate posting",
            Self::ReorderedPosting => "reordered posting",
            Self::PostingWithoutAccount => "posting without an account",
            Self::WrongBalance => "wrong balance",
            Self::WrongHead => "wrong head",
            Self::AbovePayment => "refund above its payment",
            Self::RefundBeforePayment => "refund before its payment",
            Self::ChangedAmount => "changed amount",
            Self::HoldWithoutBatch => "hold without a batch",
            Self::BatchWithoutHolds => "batch without its holds",
            Self::GuardWithoutOwner => "guard without an owner",
            Self::RefundWithoutGuard => "refund without its guard",
            Self::RefundWithoutPayment => "refund without its payment",
            Self::RefundWithoutBatch => "refund without its batch",
            Self::ContradictingState => "contradicting state",
            Self::WithdrawnAndRefunded => "withdrawn and refunded",
            Self::MissingRecord => "missing request record",
            Self::WithoutTenant => "without a tenant",
            Self::WrongCurrency => "wrong currency",
            Self::WrongIndex => "wrong index",
            Self::WouldExpire => "would expire",
            Self::UnlistedBatch => "unlisted batch",
            Self::WrongSecret => "wrong secret",
            Self::LostSinceAnchor => "lost since the anchor",
            Self::RewrittenSinceAnchor => "rewritten since the anchor",
        }
    }

    /// Which of what always holds it breaks, by its number in docs/ledger.md.
    pub fn invariant(self) -> u8 {
        match self {
            Self::AbovePayment | Self::HoldWithoutBatch | Self::BatchWithoutHolds | Self::ChangedPayment => 1,
            Self::GuardWithoutOwner
            | Self::RefundWithoutGuard
            | Self::RefundWithoutPayment
            | Self::RefundWithoutBatch
            | Self::RefundBeforePayment
            | Self::DuplicatePosting => 2,
            Self::ChangedOpening
            | Self::ChangedPosting
            | Self::MissingPosting
            | Self::ReorderedPosting
            | Self::PostingWithoutAccount
            | Self::WrongBalance
            | Self::WrongHead
            | Self::ChangedAmount
            | Self::WithoutTenant
            | Self::WrongCurrency
            | Self::LostSinceAnchor
            | Self::RewrittenSinceAnchor => 3,
            Self::DamagedItem
            | Self::ContradictingState
            | Self::WrongIndex
            | Self::WouldExpire
            | Self::UnlistedBatch
            | Self::WrongSecret => 4,
            Self::MissingRecord => 5,
            Self::WithdrawnAndRefunded => 6,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something wrong, and the keys of the items that it is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub kind: Kind,
    pub what: String,
    /// Both parts of each.
    pub keys: Vec<(String, String)>,
    /// Others like this one that are not told by themselves.
    pub more: u64,
}

impl Breach {
    pub fn of_keys(kind: Kind, what: impl Into<String>, keys: Vec<(String, String)>) -> Self {
        Self { kind, what: what.into(), keys, more: 0 }
    }

    pub fn new<'a>(kind: Kind, what: impl Into<String>, rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut keys: Vec<(String, String)> = rows.into_iter().map(|row| row.key.clone()).collect();
        keys.dedup();
        Self::of_keys(kind, what, keys)
    }
}
