//! A debit: a payment that took its money from an account, and what became of it.

use super::{Account, Amount, Cause, DebitKey, Posting, PostingFacts, RequestKey, RoundCode};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debit {
    pub key: DebitKey,
    pub round: RoundCode,
    /// What it took.
    pub amount: Amount,
    /// How the ledger took it; none of a debit of the past, whose money was gone before.
    pub taken: Option<Taking>,
    /// Of a debit of the past: when its refund was asked for, and refused, before it was on record. Unix milliseconds.
    pub asked: Option<u64>,
    pub state: DebitState,
}

/// A debit's money leaves its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// Unix milliseconds.
    pub at: u64,
    pub posting: Posting,
}

/// How a debit on record is not the one that somebody says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DebitDifference {
    #[error("took {0}")]
    Amount(Amount),
    #[error("is of round {0}")]
    Round(RoundCode),
    #[error("is one of the past, whose money was gone before")]
    Past,
    #[error("is open")]
    Open,
    #[error("was refunded")]
    Refunded,
}

impl Debit {
    /// How this debit, on record, differs from one of `round` that took `amount`.
    pub fn difference(&self, round: &RoundCode, amount: Amount) -> Option<DebitDifference> {
        if self.amount != amount {
            return Some(DebitDifference::Amount(self.amount));
        }
        (self.round != *round).then(|| DebitDifference::Round(self.round.clone()))
    }

    /// How this debit, on record, differs from one of the past. What became of it since is no difference.
    pub fn difference_from_past(
        &self,
        round: &RoundCode,
        amount: Amount,
        is_settled: bool,
    ) -> Option<DebitDifference> {
        self.difference(round, amount).or(match self.state {
            DebitState::Open if is_settled => Some(DebitDifference::Open),
            DebitState::Refunded(_) if is_settled => Some(DebitDifference::Refunded),
            _ => None,
        })
    }

    /// Whether its refund was asked for, and refused, before it was on record, and is still to be made: asked for under
    /// a new number, it is.
    pub fn is_due(&self) -> bool {
        self.asked.is_some() && self.state == DebitState::Open
    }

    /// Whether the posting's hash vouches for `taking`, in `account`.
    pub fn is_vouched_for(&self, taking: &Taking, account: &Account) -> bool {
        let facts = PostingFacts {
            account: &self.key.account,
            currency: &account.currency,
            amount: self.amount,
            cause: Cause::Debit { debit: &self.key.id, round: &self.round },
            at: taking.at,
        };
        facts.vouch_for(&taking.posting)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebitState {
    /// Taken, and neither played nor refunded: the only state that a refund starts from.
    Open,
    /// The bet was played: no refund any more.
    Settled,
    Refunded(Refund),
}

impl DebitState {
    /// As it stands in the table, and as callers are told.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Refunded(_) => "refunded",
        }
    }
}

/// The one refund of a debit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub amount: Amount,
    pub by: RefundedBy,
    /// The request that moved the money.
    pub request: RequestKey,
    /// Unix milliseconds.
    pub at: u64,
    pub posting: Posting,
}

/// Who asked for a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundedBy {
    /// The game provider, by a call.
    Provider,
    /// The channel on its own, before the provider asked.
    Channel,
}

impl RefundedBy {
    /// As it stands in the table and in the hash chain.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Channel => "channel",
        }
    }

    pub fn recorded(text: &str) -> Option<Self> {
        [Self::Provider, Self::Channel].into_iter().find(|by| by.as_str() == text)
    }
}

impl Refund {
    /// Whether the posting's hash vouches for this refund of `debit`, in `account`.
    pub fn is_vouched_for(&self, debit: &DebitKey, account: &Account) -> bool {
        let facts = PostingFacts {
            account: &debit.account,
            currency: &account.currency,
            amount: self.amount,
            cause: Cause::Refund { debit: &debit.id, by: self.by, request: &self.request },
            at: self.at,
        };
        facts.vouch_for(&self.posting)
    }
}
