//! Items of merchants' applications: the application itself, its failed refunds, a batch number's guard, and
//! confirmations.

use aws_sdk_dynamodb::types::AttributeValue;

use super::StoreError;
use super::attribute::{INDEX_PARTITION_KEY, INDEX_SORT_KEY, PARTITION_KEY};
use super::items::{self, Item, Reader, map, number, text};
use crate::ledger::{
    Application, ApplicationKey, ApplicationRefund, ApplicationState, BatchGuard, BatchKey, BatchNo,
    Completion, Confirmation, FailedRefund, RefundId, TenantKey, TradeNo, Withdrawal,
};
use crate::limits;

pub(super) const APPLICATION: &str = "PAYMENT";
pub(super) const GUARD: &str = "GUARD";
pub(super) const CONFIRMATION: &str = "CONFIRMATION";
pub(super) const FAILED_PREFIX: &str = "FAILED#";

pub(super) const REQUESTED: &str = "requested";
pub(super) const PROCESSING: &str = "processing";
pub(super) const DONE: &str = "done";
pub(super) const WITHDRAWN: &str = "withdrawn";

// ---- keys ----

pub(super) fn application_key(application: &ApplicationKey) -> Item {
    items::key(&application.path(), APPLICATION)
}

pub(super) fn failed_key(application: &ApplicationKey, batch_no: &BatchNo) -> Item {
    items::key(&application.path(), &format!("{FAILED_PREFIX}{batch_no}"))
}

pub(super) fn guard_key(batch: &BatchKey) -> Item {
    items::key(&batch.path(), GUARD)
}

/// Where a batch number's first confirmation lies, whatever it says: what fails a refund looks here.
pub(super) fn first_confirmation_key(batch: &BatchKey) -> Item {
    items::key(&batch.path(), CONFIRMATION)
}

/// Where one lies that says something else than the first.
pub(super) fn further_confirmation_key(batch: &BatchKey, said: &Confirmation) -> Item {
    // The amount comes first: it has no `#`, so no trade number can pass for another's amount.
    items::key(&batch.path(), &format!("{CONFIRMATION}#{}#{}", said.amount, said.trade_no))
}

/// The partition of the index that what a trade number confirmed is found in.
pub(super) fn trade_partition(merchant: &TenantKey, trade_no: &TradeNo) -> String {
    format!("{merchant}#trade#{trade_no}")
}

// ---- writing ----

pub(super) fn application_item(application: &Application) -> Item {
    let mut item = application_key(&application.key);
    item.extend([
        number("autoid", application.key.id),
        text("merchant", application.key.merchant.as_str()),
        text("orderNo", application.order_no.as_str()),
        number("paid", application.paid),
        items::bytes(items::SEAL, application.seal().as_bytes()),
        text("state", state_name(&application.state)),
    ]);
    item.extend(application.failures.map(|failures| number("failures", failures)));
    match &application.state {
        ApplicationState::Requested => {}
        ApplicationState::Processing(refund) => {
            item.insert("refund".to_owned(), refund_value(refund));
        }
        ApplicationState::Done { refund, completion } => {
            item.insert("refund".to_owned(), refund_value(refund));
            item.insert("completion".to_owned(), completion_value(completion));
        }
        ApplicationState::Withdrawn(withdrawal) => {
            item.insert("withdrawal".to_owned(), withdrawal_value(withdrawal));
        }
    }
    item
}

fn state_name(state: &ApplicationState) -> &'static str {
    match state {
        ApplicationState::Requested => REQUESTED,
        ApplicationState::Processing(_) => PROCESSING,
        ApplicationState::Done { .. } => DONE,
        ApplicationState::Withdrawn(_) => WITHDRAWN,
    }
}

pub(super) fn refund_value(refund: &ApplicationRefund) -> AttributeValue {
    map([
        text("id", refund.id.as_str()),
        text("batchNo", refund.batch_no.as_str()),
        number("amount", refund.amount),
        text("account", refund.account.as_str()),
        number("at", refund.at),
        text("invocation", &refund.invocation),
    ])
}

fn confirmation_members(confirmation: &Confirmation) -> [(String, AttributeValue); 4] {
    [
        text("tradeNo", confirmation.trade_no.as_str()),
        number("amount", confirmation.amount),
        number("at", confirmation.at),
        text("invocation", &confirmation.invocation),
    ]
}

pub(super) fn completion_value(completion: &Completion) -> AttributeValue {
    map([
        ("confirmation".to_owned(), map(confirmation_members(&completion.confirmation))),
        number("at", completion.at),
        text("invocation", &completion.invocation),
    ])
}

pub(super) fn withdrawal_value(withdrawal: &Withdrawal) -> AttributeValue {
    let reason = withdrawal.reason.as_deref().map(|reason| text("reason", reason));
    let attempt = text("attempt", &withdrawal.attempt);
    map([number("at", withdrawal.at), attempt].into_iter().chain(reason))
}

pub(super) fn guard_item(batch: &BatchKey, guard: &BatchGuard) -> Item {
    let mut item = guard_key(batch);
    item.extend([
        number("autoid", guard.application.id),
        text("merchant", guard.application.merchant.as_str()),
        ("refund".to_owned(), refund_value(&guard.refund)),
    ]);
    item.extend(guard.failed_at.map(|at| number("failedAt", at)));
    item
}

/// `key` is one of the two that a confirmation may have.
pub(super) fn confirmation_item(key: Item, batch: &BatchKey, said: &Confirmation) -> Item {
    let mut item = key;
    item.extend(confirmation_members(said));
    item.extend([
        // Found by its trade number alone, under its merchant.
        text(INDEX_PARTITION_KEY, &trade_partition(&batch.merchant, &said.trade_no)),
        text(INDEX_SORT_KEY, batch.no.as_str()),
    ]);
    item
}

/// How many confirmations there are beside the first, as that one has it.
pub(super) fn further(confirmations: u64) -> (String, AttributeValue) {
    number("further", confirmations)
}

/// What stands in an application's place that was asked for, and that is not there: after so many failures it is
/// recorded then. It may vanish once nobody asks for it any more.
pub(super) fn tombstone_item(application: &ApplicationKey, at: u64) -> Item {
    let mut item = application_key(application);
    item.extend([
        text("state", items::ASKED),
        number("askedAt", at),
        items::expires(at, limits::TOMBSTONE_KEPT),
    ]);
    item
}

pub(super) fn failed_item(application: &ApplicationKey, failed: &FailedRefund) -> Item {
    let mut item = failed_key(application, &failed.refund.batch_no);
    item.extend([("refund".to_owned(), refund_value(&failed.refund)), number("at", failed.at)]);
    item.extend(failed.reason.as_deref().map(|reason| text("reason", reason)));
    item
}

// ---- reading ----

/// What one item of an application's or a batch number's partition is.
pub(super) enum Found {
    Application(Application),
    /// Of an application that is not there.
    Tombstone,
    Failed(FailedRefund),
    Guard(BatchGuard),
    Confirmation(Confirmation),
}

impl Found {
    pub(super) fn read(item: &Item) -> Result<Self, StoreError> {
        let reader = Reader::new(item);
        Ok(match reader.text(super::attribute::SORT_KEY)? {
            APPLICATION => match reader.application_or_tombstone()? {
                Ok(application) => Self::Application(application),
                Err(_) => Self::Tombstone,
            },
            GUARD => Self::Guard(reader.guard()?),
            sort if sort.starts_with(FAILED_PREFIX) => Self::Failed(reader.failed()?),
            _ => Self::Confirmation(reader.confirmation()?),
        })
    }
}

impl Reader<'_> {
    /// The application's key, where it is said by the item. It must be the item's own.
    fn application_key(&self) -> Result<ApplicationKey, StoreError> {
        let id = self.get("autoid", |value| value.as_n().ok()?.parse().ok())?;
        let merchant = TenantKey::recorded(self.text("merchant")?);
        Ok(ApplicationKey { merchant, id })
    }

    /// The application, or since when its tombstone has stood.
    pub(super) fn application_or_tombstone(&self) -> Result<Result<Application, u64>, StoreError> {
        Ok(match self.text("state")? {
            items::ASKED => Err(self.integer("askedAt")?),
            _ => Ok(self.application()?),
        })
    }

    pub(super) fn application(&self) -> Result<Application, StoreError> {
        let key = self.application_key()?;
        if self.text(PARTITION_KEY)? != key.path() {
            return Err(self.damaged("it is not the application it says"));
        }
        let refund = || self.inside(self.map("refund")?).application_refund();
        let state = match self.text("state")? {
            REQUESTED => ApplicationState::Requested,
            PROCESSING => ApplicationState::Processing(refund()?),
            DONE => {
                let completion = self.inside(self.map("completion")?).completion()?;
                ApplicationState::Done { refund: refund()?, completion }
            }
            WITHDRAWN => {
                let withdrawal = self.inside(self.map("withdrawal")?);
                let (at, reason) = (withdrawal.integer("at")?, withdrawal.optional_text("reason")?);
                let attempt = withdrawal.text("attempt")?.to_owned();
                ApplicationState::Withdrawn(Withdrawal { at, reason, attempt })
            }
            other => return Err(self.damaged(format!("state is {other:?}"))),
        };
        let (order_no, paid) = (self.parsed("orderNo")?, self.amount("paid")?);
        let failures = self.has("failures").then(|| self.integer("failures")).transpose()?;
        Ok(Application { key, order_no, paid, state, failures })
    }

    pub(super) fn failed(&self) -> Result<FailedRefund, StoreError> {
        Ok(FailedRefund {
            refund: self.inside(self.map("refund")?).application_refund()?,
            at: self.integer("at")?,
            reason: self.optional_text("reason")?,
        })
    }

    fn application_refund(&self) -> Result<ApplicationRefund, StoreError> {
        Ok(ApplicationRefund {
            id: RefundId::recorded(self.text("id")?),
            batch_no: self.parsed("batchNo")?,
            amount: self.amount("amount")?,
            account: self.parsed("account")?,
            at: self.integer("at")?,
            invocation: self.text("invocation")?.to_owned(),
        })
    }

    pub(super) fn guard(&self) -> Result<BatchGuard, StoreError> {
        let refund = self.inside(self.map("refund")?).application_refund()?;
        let failed_at = self.has("failedAt").then(|| self.integer("failedAt")).transpose()?;
        Ok(BatchGuard { application: self.application_key()?, refund, failed_at })
    }

    pub(super) fn confirmation(&self) -> Result<Confirmation, StoreError> {
        Ok(Confirmation {
            trade_no: self.parsed("tradeNo")?,
            amount: self.amount("amount")?,
            at: self.integer("at")?,
            invocation: self.text("invocation")?.to_owned(),
        })
    }

    fn completion(&self) -> Result<Completion, StoreError> {
        Ok(Completion {
            confirmation: self.inside(self.map("confirmation")?).confirmation()?,
            at: self.integer("at")?,
            invocation: self.text("invocation")?.to_owned(),
        })
    }
}
