//! A movement: money that comes into an account or leaves it, and is no payment: nothing of it can be refunded.

use super::{Account, AccountKey, Amount, Cause, MovementId, Posting, PostingFacts, Reason};

/// One movement of one account; its id is used once, whichever way the money goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MovementKey {
    pub account: AccountKey,
    pub id: MovementId,
}

/// Which way the money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A payout, a deposit, a correction: the balance grows.
    Credit,
    /// The balance must hold it.
    Withdrawal,
}

impl Direction {
    /// As entries and the table name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Withdrawal => "withdrawal",
        }
    }

    pub fn recorded(text: &str) -> Option<Self> {
        [Self::Credit, Self::Withdrawal].into_iter().find(|direction| direction.as_str() == text)
    }
}

/// A movement on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub key: MovementKey,
    pub direction: Direction,
    pub amount: Amount,
    pub reason: Reason,
    /// Unix milliseconds.
    pub at: u64,
    pub posting: Posting,
}

impl Movement {
    /// Whether the posting's hash vouches for this movement of `account`.
    pub fn is_vouched_for(&self, account: &Account) -> bool {
        let facts = PostingFacts {
            account: &self.key.account,
            currency: &account.currency,
            amount: self.amount,
            cause: Cause::Movement { id: &self.key.id, direction: self.direction, reason: &self.reason },
            at: self.at,
        };
        facts.vouch_for(&self.posting)
    }
}
