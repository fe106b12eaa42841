//! Postings: the numbered, hash-chained changes of a balance. Whoever holds an account's head can tell
//! whether any posting before it was changed, removed, added or moved.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{
    AccountKey, Amount, Balance, Currency, DebitId, Direction, InvalidMoney, MovementId, Reason, RefundedBy,
    RequestKey, RoundCode,
};

/// Names the layout of the bytes below. A later layout gets another name, so old links stay checkable.
const OPENING_LAYOUT: &str = "opening/1";
const DEBIT_LAYOUT: &str = "debit/1";
const REFUND_LAYOUT: &str = "refund/1";
const CREDIT_LAYOUT: &str = "credit/1";
const WITHDRAWAL_LAYOUT: &str = "withdrawal/1";
const HOLD_LAYOUT: &str = "hold/1";
const RELEASE_LAYOUT: &str = "release/1";

/// SHA-256, of a posting or of an account's opening.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// A hash as the ledger wrote it; nothing if it isn't 32 bytes.
    pub fn recorded(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 24 letters and digits that follow from the hash: for ids.
    pub(crate) fn letters(&self) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied().map(char::from);
        self.0.iter().take(24).filter_map(letter).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One change of an account's balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// 1 for an account's first posting, without gaps.
    pub sequence: u64,
    pub before: Balance,
    pub after: Balance,
    /// The hash of the posting before, or of the opening.
    pub previous: Hash,
    pub hash: Hash,
}

/// What a posting vouches for, beside the balances: change any of it and the hash differs.
#[derive(Debug, Clone, Copy)]
pub struct PostingFacts<'a> {
    pub account: &'a AccountKey,
    pub currency: &'a Currency,
    pub amount: Amount,
    pub cause: Cause<'a>,
    /// Unix milliseconds.
    pub at: u64,
}

/// Why a balance changes, and which way.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    /// A payment takes its money: debited.
    Debit { debit: &'a DebitId, round: &'a RoundCode },
    /// A debit is given back: credited.
    Refund { debit: &'a DebitId, by: RefundedBy, request: &'a RequestKey },
    /// Money comes in or leaves that is no payment.
    Movement { id: &'a MovementId, direction: Direction, reason: &'a Reason },
    /// A batch takes what it is to refund: debited.
    Hold { batch: &'a str },
    /// A batch gives back what it has not refunded: credited.
    Release { batch: &'a str },
}

impl PostingFacts<'_> {
    /// The balance after `before`, by these facts.
    ///
    /// # Errors
    /// [`InvalidMoney::TooLarge`] beyond what the ledger holds; [`InvalidMoney::Insufficient`] where more is
    /// taken than there is.
    pub fn applied_to(&self, before: Balance) -> Result<Balance, InvalidMoney> {
        match self.cause {
            Cause::Refund { .. }
            | Cause::Release { .. }
            | Cause::Movement { direction: Direction::Credit, .. } => before.credited(self.amount),
            Cause::Debit { .. }
            | Cause::Hold { .. }
            | Cause::Movement { direction: Direction::Withdrawal, .. } => before.debited(self.amount),
        }
    }

    /// The hash of the posting with these facts at this place of the chain.
    pub fn link(&self, sequence: u64, before: Balance, after: Balance, previous: Hash) -> Hash {
        let mut digest = FieldDigest::new(match self.cause {
            Cause::Debit { .. } => DEBIT_LAYOUT,
            Cause::Refund { .. } => REFUND_LAYOUT,
            Cause::Movement { direction: Direction::Credit, .. } => CREDIT_LAYOUT,
            Cause::Movement { direction: Direction::Withdrawal, .. } => WITHDRAWAL_LAYOUT,
            Cause::Hold { .. } => HOLD_LAYOUT,
            Cause::Release { .. } => RELEASE_LAYOUT,
        });
        digest.field(self.account.as_str());
        digest.field(self.currency.as_str());
        digest.field(&sequence.to_string());
        match self.cause {
            Cause::Debit { debit, round } => {
                digest.field(debit.as_str());
                digest.field(round.as_str());
                digest.field(&self.amount.to_string());
            }
            Cause::Movement { id, direction: _, reason } => {
                digest.field(id.as_str());
                digest.field(&self.amount.to_string());
                digest.field(reason.as_str());
            }
            Cause::Refund { debit, by, request } => {
                digest.field(debit.as_str());
                digest.field(&self.amount.to_string());
                digest.field(by.as_str());
                digest.field(request.as_str());
            }
            Cause::Hold { batch } | Cause::Release { batch } => {
                digest.field(batch);
                digest.field(&self.amount.to_string());
            }
        }
        digest.field(&self.at.to_string());
        digest.field(&before.to_string());
        digest.field(&after.to_string());
        digest.bytes(previous.as_bytes());
        digest.finish()
    }

    /// Whether `posting` is what these facts make of the balance before it.
    pub fn vouch_for(&self, posting: &Posting) -> bool {
        let Posting { sequence, before, after, previous, hash } = *posting;
        self.applied_to(before) == Ok(after) && self.link(sequence, before, after, previous) == hash
    }
}

/// The first link of an account's chain.
pub fn opening_head(account: &AccountKey, currency: &Currency, opening: Balance) -> Hash {
    let mut digest = FieldDigest::new(OPENING_LAYOUT);
    digest.field(account.as_str());
    digest.field(currency.as_str());
    digest.field(&opening.to_string());
    digest.finish()
}

/// SHA-256 over fields, each preceded by its length, so that no two lists of fields have the same bytes.
pub(crate) struct FieldDigest(Sha256);

impl FieldDigest {
    pub(crate) fn new(layout: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.field(layout);
        digest
    }

    pub(crate) fn field(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}
