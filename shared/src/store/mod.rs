//! The ledger's table in DynamoDB: keys, items, transactions, retries. Nothing else knows DynamoDB.

mod application_items;
mod applications;
mod batch_lists;
mod change;
mod claim;
mod connect;
mod credentials;
mod deadline;
mod entries;
mod error;
mod interventions;
mod items;
mod meter;
mod open_batches;
mod parts;
mod read;
mod records;
mod refund;
mod refund_batch_items;
mod refund_batches;
mod scan;
mod settings;
mod settling;
mod stored;
mod stream;
mod tombstones;
mod transact;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::ledger::Currency;

pub use applications::{ApplicationHistory, Attempt, BatchHistory, Failing, KeptConfirmation, Withdrawing};
pub use batch_lists::BatchRange;
pub use connect::client;
pub use deadline::Deadline;
pub use entries::Recorded;
pub use error::StoreError;
pub use meter::{Refunded, Usage};
pub use open_batches::Found;
pub use records::{ChargeChange, Creation, DebitOnRecord, SettingsChange, Wallet};
pub use refund::{Executed, Refunds};
pub use refund_batches::BatchAccepted;
pub use scan::Page;
pub use settings::SettingsCache;
pub use settling::{Settled, Taken};
pub use stored::{Content, IndexSort, Stored};
pub use stream::{ChangeRecord, Fact};

/// The attributes the table's keys are made of, as the template defines them.
pub mod attribute {
    pub const PARTITION_KEY: &str = "pk";
    pub const SORT_KEY: &str = "sk";
    pub const INDEX: &str = "gsi1";
    pub const INDEX_PARTITION_KEY: &str = "gsi1pk";
    pub const INDEX_SORT_KEY: &str = "gsi1sk";
    pub const EXPIRES: &str = "expires";
}

/// One table. Cheap to clone; made once per process.
#[derive(Debug, Clone)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    table: Arc<str>,
}

impl Store {
    pub fn new(client: aws_sdk_dynamodb::Client, table: &str) -> Self {
        Self { client, table: table.into() }
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    /// The table as one request uses it: until its deadline, with what it used counted.
    pub fn session(&self, deadline: Deadline) -> Session {
        Session { store: self.clone(), deadline, patience: deadline, meter: Arc::default() }
    }
}

/// One request's use of the table.
#[derive(Debug)]
pub struct Session {
    store: Store,
    deadline: Deadline,
    /// No attempt is made again after this.
    patience: Deadline,
    meter: Arc<meter::Meter>,
}

impl Session {
    /// This session, for work that is given up sooner.
    pub fn within(&self, duration: Duration) -> Self {
        let deadline = self.deadline.min(Deadline::after(duration));
        Self { store: self.store.clone(), deadline, patience: self.patience, meter: self.meter.clone() }
    }

    /// This session, for work that is not tried again after this time. What goes well may take longer.
    fn with_patience(&self, duration: Duration) -> Self {
        let (deadline, patience) = (self.deadline, Deadline::after(duration));
        Self { store: self.store.clone(), deadline, patience, meter: self.meter.clone() }
    }

    /// How much time is left until the deadline.
    pub fn time_left(&self) -> Duration {
        self.deadline.left()
    }

    /// What this session has used so far.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// What this session has refunded so far, for metrics.
    pub fn refunded(&self) -> BTreeMap<Currency, Refunded> {
        self.meter.refunded()
    }

    /// Counts a refund that has succeeded. The session does it by itself, but for refunds of applications: they have
    /// their merchant's currency.
    pub fn count_refund(&self, currency: &Currency, amount: Decimal) {
        self.meter.count_refund(currency, amount);
    }
}
