//! Carrying out one decided transaction: every change with the condition that makes it safe.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem, Update};

use super::attribute::PARTITION_KEY;
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::CountAttempts;
use super::{Session, StoreError};
use crate::ledger::{Account, Debit, Refund, RequestKey, RequestRecord, Transaction};

/// What became of a transaction that was sent.
#[derive(Debug)]
pub(super) enum Commit {
    Done,
    /// Nothing was written: the ledger is not as it was read, or another transaction was under way.
    /// Read again, and decide again.
    Moved,
    /// It may have been written or not: read again to know.
    Unknown(String),
}

/// Reasons of a cancelled transaction after which reading and deciding again is right. Each action has a
/// reason; the ones that did not stand in the way say `None`.
const RETRYABLE_REASONS: [&str; 5] = [
    "None",
    "ConditionalCheckFailed",
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
];

impl Session {
    pub(super) async fn commit(&self, transaction: &Transaction) -> Result<Commit, StoreError> {
        let accounts =
            transaction.accounts.iter().map(|(sequence, account)| self.move_account(*sequence, account));
        let debits = transaction.refunds.iter().map(|(debit, refund)| self.refund_debit(debit, refund));
        let record = self.put_record(&transaction.key, &transaction.record, transaction.at);
        let mut actions: Vec<TransactWriteItem> = Vec::new();
        let mut write_units = 0;
        for action in accounts.chain(debits).chain([record]) {
            let (action, item) = action?;
            write_units += items::transaction_write_units(&item);
            actions.push(action);
        }

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
                return Ok(Commit::Done);
            }
            Ok(Err(error)) => error,
            Err(CallFailure::Transient(cause)) => return Ok(Commit::Unknown(cause)),
            Err(CallFailure::Final(error)) => return Err(error),
        };
        if was_cancelled_by_what_passes(&error) {
            self.meter.wrote_units(write_units);
            return Ok(Commit::Moved);
        }
        match CallFailure::from(error) {
            CallFailure::Transient(cause) => Ok(Commit::Unknown(cause)),
            CallFailure::Final(error) => Err(error),
        }
    }

    /// The account as it will be, if it still has the posting number that was read.
    fn move_account(
        &self,
        sequence: u64,
        account: &Account,
    ) -> Result<(TransactWriteItem, Item), StoreError> {
        let update = Update::builder()
            .table_name(self.store.table())
            .set_key(Some(items::account_key(&account.key)))
            .update_expression("SET balance = :balance, #sequence = :sequence, head = :head")
            .condition_expression("#sequence = :read")
            .expression_attribute_names("#sequence", "sequence")
            .set_expression_attribute_values(Some(Item::from([
                items::number(":balance", account.balance),
                items::number(":sequence", account.sequence),
                items::number(":read", sequence),
                items::bytes(":head", account.head.as_bytes()),
            ])))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().update(update).build(), items::account_item(account)))
    }

    /// The debit with its refund, if it is still open: neither refunded nor settled.
    fn refund_debit(&self, debit: &Debit, refund: &Refund) -> Result<(TransactWriteItem, Item), StoreError> {
        let state = items::debit_state_name(&debit.state);
        let update = Update::builder()
            .table_name(self.store.table())
            .set_key(Some(items::debit_key(&debit.key)))
            .update_expression("SET #state = :refunded, refund = :refund")
            .condition_expression("#state = :open")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":open", AttributeValue::S(items::OPEN.to_owned()))
            .expression_attribute_values(":refunded", AttributeValue::S(state.to_owned()))
            .expression_attribute_values(":refund", items::refund_value(refund))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().update(update).build(), items::debit_item(debit)))
    }

    /// The record of the request, if its key has none or one of the same request.
    fn put_record(
        &self,
        request: &RequestKey,
        record: &RequestRecord,
        at: u64,
    ) -> Result<(TransactWriteItem, Item), StoreError> {
        let item = items::record_item(request, record, at);
        let put = Put::builder()
            .table_name(self.store.table())
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#partition) OR fingerprint = :fingerprint")
            .expression_attribute_names("#partition", PARTITION_KEY)
            .set_expression_attribute_values(Some(Item::from([items::bytes(
                ":fingerprint",
                record.fingerprint.as_bytes(),
            )])))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().put(put).build(), item))
    }
}

fn was_cancelled_by_what_passes<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return false;
    };
    let reasons = cancelled.cancellation_reasons();
    !reasons.is_empty()
        && reasons.iter().all(|reason| RETRYABLE_REASONS.contains(&reason.code().unwrap_or("None")))
}
