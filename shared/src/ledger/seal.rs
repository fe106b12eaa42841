//! Seals: a hash over the facts of a payment, or of a batch of refunds, that never change, put on record with it. A debit that the ledger took has
//! none: its posting vouches for it.

use super::posting::FieldDigest;
use super::{Application, Charge, Debit, Hash, RefundBatch};

/// Name the layouts of the bytes below, so that old seals stay checkable.
const DEBIT_LAYOUT: &str = "pastDebit/1";
const CHARGE_LAYOUT: &str = "charge/1";
const BATCH_LAYOUT: &str = "batch/1";
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
    /// Whose it is, which way and for which order it was made, its amount, what of it was refunded before it came on
    /// record, and how it was paid: once it is, that stays.
    pub fn seal(&self) -> Hash {
        let mut digest = FieldDigest::new(CHARGE_LAYOUT);
        digest.field(&self.key.path());
        digest.field(self.channel.as_str());
        digest.field(self.currency.as_str());
        digest.field(self.order_no.as_str());
        digest.field(&self.amount.to_string());
        digest.field(&self.refunded_before.to_string());
        digest.field(&self.created.to_string());
        digest.field(if self.paid { "paid" } else { "not paid" });
        digest.field(self.transaction_no.as_ref().map_or("", |no| no.as_str()));
        digest.field(&self.time_paid.map(|at| at.to_string()).unwrap_or_default());
        digest.finish()
    }
}

impl RefundBatch {
    /// What was accepted, under which number.
    pub fn seal(&self) -> Hash {
        let mut digest = FieldDigest::new(BATCH_LAYOUT);
        digest.field(&self.key.path());
        digest.field(self.key.id.as_str());
        digest.field(self.batch_no.as_str());
        digest.bytes(self.fingerprint.as_bytes());
        digest.field(&self.at.to_string());
        for item in &self.items {
            digest.field(item.charge.as_str());
            digest.field(item.refund.as_str());
            digest.field(&item.amount.to_string());
            digest.field(item.source().as_str());
            digest.field(item.channel.as_str());
            digest.field(item.order_no.as_str());
            digest.field(item.transaction_no.as_ref().map_or("", |no| no.as_str()));
        }
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
