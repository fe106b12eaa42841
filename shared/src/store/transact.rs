//! Carrying out one decided transaction: every change with the condition that makes it safe.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Delete, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use futures::future::BoxFuture;

use super::change::{Change, PutCondition};
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::CountAttempts;
use super::{Session, StoreError};
use crate::ledger::{Account, Debit, DebitState, Refund, RefundRequest, RequestRecord, Transaction};

/// One write of a transaction, and the item that it makes: refused writes are billed by its size.
pub(super) type Action = (TransactWriteItem, Item);

/// What became of a transaction that was sent.
#[derive(Debug)]
pub(super) enum Transacted {
    Done,
    /// Nothing was written; what became of each action's condition, in the actions' order.
    Cancelled(Vec<Condition>),
    /// It may have been written or not: read again to know.
    Unknown(String),
}

/// What became of the condition of one action of a cancelled transaction.
#[derive(Debug)]
pub(super) enum Condition {
    Held,
    /// It failed; the item as it is, if there is one.
    Failed(Option<Item>),
    /// Another transaction, or a throttle, stood in the way, and will pass.
    Passing,
}

/// What became of one transaction that was decided from what was read.
#[derive(Debug)]
pub(super) enum Commit {
    Done,
    /// Nothing was written: the ledger is not as it was read. These items stood in the way, as they are
    /// now: decide again with them, without another read.
    Moved(Vec<Item>),
    /// Nothing was written, and why is not known to the last item: read again, and decide again.
    Refused,
    /// It may have been written or not: read again to know.
    Unknown(String),
}

/// Reasons of a cancelled transaction, one an action. What did not stand in the way says `None`.
const NO_REASON: &str = "None";
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// Reasons that pass by themselves.
const PASSING_REASONS: [&str; 3] =
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];

/// Whether a reason of a cancelled transaction is none, or one that passes by itself.
pub(super) fn passes(code: &str) -> bool {
    code == NO_REASON || PASSING_REASONS.contains(&code)
}

impl Session {
    /// Sends one transaction of `request`.
    ///
    /// # Errors
    /// Only what trying again won't mend.
    pub(super) async fn commit(
        &self,
        request: &RefundRequest,
        transaction: &Transaction,
    ) -> Result<Commit, StoreError> {
        let accounts =
            transaction.accounts.iter().map(|(sequence, account)| self.move_account(*sequence, account));
        let debits = transaction.refunds.iter().map(|(debit, refund)| self.refund_debit(debit, refund));
        let record =
            transaction.record.as_ref().map(|record| self.put_record(request, record, transaction.at));
        let actions = accounts.chain(debits).chain(record).collect::<Result<_, _>>()?;
        self.transact(actions).await.map(Commit::from)
    }

    /// Sends one transaction.
    ///
    /// # Errors
    /// Only what trying again won't mend.
    pub(super) fn transact(&self, actions: Vec<Action>) -> BoxFuture<'_, Result<Transacted, StoreError>> {
        Box::pin(self.transact_once(actions))
    }

    async fn transact_once(&self, actions: Vec<Action>) -> Result<Transacted, StoreError> {
        let (actions, items): (Vec<TransactWriteItem>, Vec<Item>) = actions.into_iter().unzip();
        // The SDK adds a client request token, so its own retries of this one call write once.
        let call = self
            .store
            .client
            .transact_write_items()
            .set_transact_items(Some(actions))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(CountAttempts(self.meter.clone()));
        let error = match self.in_time(call.send()).await {
            Ok(Ok(answer)) => {
                self.meter.wrote(answer.consumed_capacity());
                return Ok(Transacted::Done);
            }
            Ok(Err(error)) => error,
            Err(CallFailure::Transient(cause)) => return Ok(Transacted::Unknown(cause)),
            Err(CallFailure::Final(error)) => return Err(error),
        };
        if let Some(conditions) = conditions(&error) {
            self.meter.wrote_units(items.iter().map(items::transaction_write_units).sum());
            return Ok(Transacted::Cancelled(conditions));
        }
        match CallFailure::from(error) {
            CallFailure::Transient(cause) => Ok(Transacted::Unknown(cause)),
            CallFailure::Final(error) => Err(error),
        }
    }

    /// A put that makes a new item.
    pub(super) fn put_action(&self, item: &Item) -> Result<TransactWriteItem, StoreError> {
        self.put_action_if(item, Some(PutCondition::absent()))
    }

    pub(super) fn put_action_if(
        &self,
        item: &Item,
        condition: Option<PutCondition>,
    ) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(self.store.table()).set_item(Some(item.clone()));
        let put = match condition {
            None => put,
            Some(PutCondition { expression, names, values }) => put
                .condition_expression(expression)
                .set_expression_attribute_names(Some(names).filter(|names| !names.is_empty()))
                .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld),
        };
        let put = put.build().map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// No item under a key any more.
    pub(super) fn delete_action(&self, key: Item) -> Result<Action, StoreError> {
        let delete = Delete::builder()
            .table_name(self.store.table())
            .set_key(Some(key.clone()))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().delete(delete).build(), key))
    }

    /// The account as it will be, if it still has the posting number that was read.
    pub(super) fn move_account(&self, sequence: u64, account: &Account) -> Result<Action, StoreError> {
        let change = Change {
            key: items::account_key(&account.key),
            expression: "SET balance = :balance, #sequence = :sequence, head = :head",
            condition: Some("#sequence = :read"),
            name: Some(("#sequence", "sequence".to_owned())),
            values: Item::from([
                items::number(":balance", account.balance),
                items::number(":sequence", account.sequence),
                items::number(":read", sequence),
                items::bytes(":head", account.head.as_bytes()),
            ]),
        };
        Ok((change.action(self.store.table())?, items::account_item(account)))
    }

    /// The debit with its refund, if it is still open: neither refunded nor settled.
    fn refund_debit(&self, debit: &Debit, refund: &Refund) -> Result<Action, StoreError> {
        let change = Change {
            key: items::debit_key(&debit.key),
            expression: "SET #state = :refunded, refund = :refund",
            condition: Some("#state = :open"),
            name: Some(("#state", "state".to_owned())),
            values: Item::from([
                items::text(":open", DebitState::Open.as_str()),
                items::text(":refunded", debit.state.as_str()),
                (":refund".to_owned(), items::refund_value(refund)),
            ]),
        };
        Ok((change.action(self.store.table())?, items::debit_item(debit)))
    }

    /// The record of the request, if it still has the version before, or there still is none.
    fn put_record(
        &self,
        request: &RefundRequest,
        record: &RequestRecord,
        at: u64,
    ) -> Result<Action, StoreError> {
        let item = items::record_item(request, record, at);
        let condition = match record.version - 1 {
            0 => PutCondition::absent(),
            // A part may write over the record of a request whose number was free again; the request's own
            // record may have expired since it was read, and be another's by now.
            read if request.part.is_some() => PutCondition::unchanged(read),
            read => {
                let mut condition = PutCondition::unchanged(read);
                condition.expression = "version = :read AND fingerprint = :fingerprint";
                condition.values.extend([items::bytes(":fingerprint", record.fingerprint.as_bytes())]);
                condition
            }
        };
        Ok((self.put_action_if(&item, Some(condition))?, item))
    }
}

impl From<Transacted> for Commit {
    fn from(transacted: Transacted) -> Self {
        match transacted {
            Transacted::Done => Self::Done,
            Transacted::Unknown(cause) => Self::Unknown(cause),
            Transacted::Cancelled(conditions) => Self::of_cancelled(conditions),
        }
    }
}

impl Commit {
    fn of_cancelled(conditions: Vec<Condition>) -> Self {
        let mut moved = Vec::new();
        for condition in conditions {
            match condition {
                Condition::Held => {}
                Condition::Failed(Some(item)) => moved.push(item),
                Condition::Failed(None) | Condition::Passing => return Self::Refused,
            }
        }
        if moved.is_empty() { Self::Refused } else { Self::Moved(moved) }
    }
}

/// What a cancelled transaction says of its conditions; nothing for other errors, and for a cancellation
/// that will not pass.
fn conditions<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Vec<Condition>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return None;
    };
    let condition = |reason: &CancellationReason| match reason.code().unwrap_or(NO_REASON) {
        NO_REASON => Some(Condition::Held),
        CONDITION_FAILED => Some(Condition::Failed(reason.item().filter(|item| !item.is_empty()).cloned())),
        code => passes(code).then_some(Condition::Passing),
    };
    cancelled.cancellation_reasons().iter().map(condition).collect()
}
