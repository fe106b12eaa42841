//! A charge: a payment that a merchant's customer made, how much of it was refunded, and how much is held for
//! refunds under way.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::{
    Amount, ChannelName, ChargeKey, Currency, InvalidMoney, OrderNo, RefundBatchId, RefundId, TransactionNo,
};
use crate::limits;

/// What the keys begin with of the provider that has charges, and batches of their refunds.
pub const CHARGES_PREFIX: &str = "pingpp";

/// Money in the smallest unit of its currency, cents or fen: more than zero, at most [`limits::AMOUNT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinorUnits(u64);

impl MinorUnits {
    /// # Errors
    /// Says which rule `units` breaks.
    pub fn new(units: u64) -> Result<Self, InvalidMoney> {
        match units {
            0 => Err(InvalidMoney::NotPositive),
            units if units > limits::AMOUNT_MAX.unsigned_abs() => Err(InvalidMoney::TooLarge),
            units => Ok(Self(units)),
        }
    }

    pub fn value(self) -> u64 {
        self.0
    }

    /// As postings have it.
    ///
    /// # Errors
    /// Never: it is positive, whole and within the limit.
    pub fn amount(self) -> Result<Amount, InvalidMoney> {
        Amount::new(Decimal::from(self.0))
    }
}

impl fmt::Display for MinorUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of an app's accounts a refund is paid from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FundingSource {
    Unsettled,
    Recharge,
}

impl FundingSource {
    pub const ALL: [Self; 2] = [Self::Unsettled, Self::Recharge];

    /// As callers and the table name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsettled => "unsettled_funds",
            Self::Recharge => "recharge_funds",
        }
    }
}

/// Not the name of a funding source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be unsettled_funds or recharge_funds")]
pub struct UnknownFundingSource;

impl FromStr for FundingSource {
    type Err = UnknownFundingSource;

    fn from_str(text: &str) -> Result<Self, UnknownFundingSource> {
        Self::ALL.into_iter().find(|source| source.as_str() == text).ok_or(UnknownFundingSource)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub key: ChargeKey,
    pub channel: ChannelName,
    pub currency: Currency,
    pub order_no: OrderNo,
    pub transaction_no: Option<TransactionNo>,
    pub amount: MinorUnits,
    /// In minor units.
    pub refunded: u64,
    /// What of it was refunded before it came on record.
    pub refunded_before: u64,
    /// By the refund they are for.
    pub holds: BTreeMap<RefundId, Hold>,
    pub paid: bool,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds.
    pub time_paid: Option<u64>,
    /// Counts its changes: what was read is as it was while this is the same.
    pub version: u64,
}

/// What of a charge is set aside for a refund under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub amount: MinorUnits,
    pub batch: RefundBatchId,
}

impl Charge {
    /// What is set aside for refunds under way, in minor units.
    pub fn held(&self) -> u64 {
        self.holds.values().map(|hold| hold.amount.value()).sum()
    }

    /// How this one, on record, is not the one that somebody says it is. What became of it since is no difference.
    pub fn difference(&self, said: &Self) -> Option<String> {
        fn or_none(no: Option<&TransactionNo>) -> String {
            no.map_or("none".to_owned(), ToString::to_string)
        }
        if said.refunded > self.refunded {
            return Some(format!("has amountRefunded {}", self.refunded));
        }
        // It may have been paid since. Who names no number says nothing of it.
        let is_paid_since = self.paid && !said.paid;
        let no_said = said.transaction_no.as_ref().or(self.transaction_no.as_ref());
        let facts: [(&str, String, String); 6] = [
            ("amount", said.amount.to_string(), self.amount.to_string()),
            ("channel", said.channel.to_string(), self.channel.to_string()),
            ("currency", said.currency.to_string(), self.currency.to_string()),
            ("orderNo", said.order_no.to_string(), self.order_no.to_string()),
            ("transactionNo", or_none(no_said), or_none(self.transaction_no.as_ref())),
            ("paid", (said.paid || is_paid_since).to_string(), self.paid.to_string()),
        ];
        let different = facts.into_iter().find(|(_, said, there)| said != there);
        different.map(|(name, _, there)| format!("has {name} {there}"))
    }

    /// This one, on record as not paid, as it is once it was paid as is said; nothing if it is not the one that is meant.
    pub fn paid_as(&self, said: &Self) -> Option<Self> {
        if self.paid || !said.paid {
            return None;
        }
        let transaction_no = self.transaction_no.clone().or_else(|| said.transaction_no.clone());
        let (time_paid, version) = (said.time_paid.or(self.time_paid), self.version + 1);
        let paid = Self { paid: true, transaction_no, time_paid, version, ..self.clone() };
        paid.difference(said).is_none().then_some(paid)
    }

    /// What can still be refunded, in minor units: neither refunded nor held.
    pub fn refundable(&self) -> u64 {
        self.amount.value().saturating_sub(self.refunded).saturating_sub(self.held())
    }
}
