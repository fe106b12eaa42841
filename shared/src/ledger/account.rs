//! An account: a balance, and the head of the chain of postings that made it.

use super::{AccountKey, Balance, Currency, Hash, InvalidMoney, Posting, PostingFacts, opening_head};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub key: AccountKey,
    pub currency: Currency,
    /// What the account holds now: `opening` plus all postings.
    pub balance: Balance,
    /// What the account started with.
    pub opening: Balance,
    /// The number of the last posting, 0 before the first.
    pub sequence: u64,
    /// The hash of the last posting, or of the opening.
    pub head: Hash,
}

impl Account {
    /// A new account, with its chain's first link.
    pub fn open(key: AccountKey, currency: Currency, opening: Balance) -> Self {
        let head = opening_head(&key, &currency, opening);
        Self { key, currency, balance: opening, opening, sequence: 0, head }
    }

    /// Makes the next posting.
    ///
    /// # Errors
    /// If the balance would be beyond what the ledger holds, or below what a hold takes; the account is unchanged
    /// then.
    pub fn post(&mut self, facts: &PostingFacts<'_>) -> Result<Posting, InvalidMoney> {
        let (sequence, before, previous) = (self.sequence + 1, self.balance, self.head);
        let after = facts.applied_to(before)?;
        let hash = facts.link(sequence, before, after, previous);
        (self.sequence, self.balance, self.head) = (sequence, after, hash);
        Ok(Posting { sequence, before, after, previous, hash })
    }
}
