//! What a request uses of the table, and what it refunds: for logs and metrics. The ledger says what is true.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::types::ConsumedCapacity;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use rust_decimal::Decimal;

use crate::ledger::Currency;

/// Round trips and capacity units of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that went over the wire, those of the SDK's own retries included.
    pub round_trips: u64,
    /// In thousandths of a read unit.
    pub read_milliunits: u64,
    /// In write units. A refused transaction is counted by its items' sizes, as DynamoDB bills it.
    pub write_units: u64,
}

/// Refunds in one currency that were seen to succeed. One whose answer was lost on the way is not among them, nor what
/// an operator does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refunded {
    pub refunds: u64,
    pub amount: Decimal,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    round_trips: AtomicU64,
    read_milliunits: AtomicU64,
    write_units: AtomicU64,
    refunded: Mutex<BTreeMap<Currency, Refunded>>,
}

impl Meter {
    pub(super) fn refunded(&self) -> BTreeMap<Currency, Refunded> {
        self.refunded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count_refund(&self, currency: &Currency, amount: Decimal) {
        let mut refunded = self.refunded.lock().unwrap_or_else(PoisonError::into_inner);
        let of_currency = refunded.entry(currency.clone()).or_default();
        of_currency.refunds += 1;
        of_currency.amount = of_currency.amount.saturating_add(amount);
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            read_milliunits: self.read_milliunits.load(Ordering::Relaxed),
            write_units: self.write_units.load(Ordering::Relaxed),
        }
    }

    pub(super) fn read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.read_milliunits.fetch_add(milliunits(consumed), Ordering::Relaxed);
    }

    pub(super) fn wrote<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.wrote_units(milliunits(consumed) / 1_000);
    }

    pub(super) fn wrote_units(&self, units: u64) {
        self.write_units.fetch_add(units, Ordering::Relaxed);
    }
}

pub(super) fn milliunits<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> u64 {
    let units = |capacity: &ConsumedCapacity| capacity.capacity_units().unwrap_or_default();
    consumed.into_iter().map(|capacity| (units(capacity) * 1_000.0).round() as u64).sum()
}

/// Counts each attempt of a call on its way out.
#[derive(Debug)]
pub(super) struct CountAttempts(pub(super) std::sync::Arc<Meter>);

#[dyn_dispatch_hint]
impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.round_trips.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
