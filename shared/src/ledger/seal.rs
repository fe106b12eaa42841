//! Seals: a hash over the facts of a payment that never change, put on record with it. A debit that the ledger took has
//! none: its posting vouches for it.

use super::posting::FieldDigest;
use super::{Application, Charge, Debit, Hash};

/// Name the layouts of the bytes below, so that old seals stay checkable.
const DEBIT_LAYOUT: &str = "pastDebit/1";
const CHARGE_LAYOUT: &str = "charge/1";
const APPLICATION_LAYOUT: &str = "application/1";

impl Debit {
    /// Of one of the past: whose it is, its round, and what it took.
    pub fn seal(&self) -> Option<Hash> {
        if self.taken.is_some() {
            return None;
        }
        let mut digest = FieldDigest::new(DEBIT_LAYOUT);
        digest.field(self.key.account.as_str());
        digest.field(self.key.id.as_str());
        digest.field(self.round.as_str());
        digest.field(&self.amount.to_string());
        Some(digest.finish())
    }
}

impl Charge {
    /// Whose it is, which way and for which order it was made, its amount, and what of it was refunded before it came on
    /// record.
    pub fn seal(&self) -> Hash {
        let mut digest = FieldDigest::new(CHARGE_LAYOUT);
        digest.field(&self.key.path());
        digest.field(self.channel.as_str());
        digest.field(self.currency.as_str());
        digest.field(self.order_no.as_str());
        digest.field(&self.amount.to_string());
        digest.field(&self.refunded_before.to_string());
        digest.field(&self.created.to_string());
        digest.finish()
    }
}

impl Application {
    /// Whose it is, its order, and what was paid.
    pub fn seal(&self) -> Hash {
        let mut digest = FieldDigest::new(APPLICATION_LAYOUT);
        digest.field(&self.key.path());
        digest.field(self.order_no.as_str());
        digest.field(&self.paid.to_string());
        digest.finish()
    }
}
