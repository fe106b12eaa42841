//! Carrying out one decided transaction: every change with the condition that makes it safe.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};

use super::attribute::PARTITION_KEY;
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::CountAttempts;
use super::{Session, StoreError};
use crate::ledger::{Account, Debit, Refund, RefundRequest, RequestRecord, Transaction};

/// What became of a transaction that was sent.
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
        let mut actions: Vec<TransactWriteItem> = Vec::new();
        let mut write_units = 0;
        for action in accounts.chain(debits).chain(record) {
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
        if let Some(cancelled) = cancelled(&error) {
            self.meter.wrote_units(write_units);
            return Ok(cancelled);
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
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
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
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":open", AttributeValue::S(items::OPEN.to_owned()))
            .expression_attribute_values(":refunded", AttributeValue::S(state.to_owned()))
            .expression_attribute_values(":refund", items::refund_value(refund))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().update(update).build(), items::debit_item(debit)))
    }

    /// The record of the request, if it still has the version before, or there still is none.
    fn put_record(
        &self,
        request: &RefundRequest,
        record: &RequestRecord,
        at: u64,
    ) -> Result<(TransactWriteItem, Item), StoreError> {
        let item = items::record_item(request, record, at);
        let put = Put::builder()
            .table_name(self.store.table())
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match record.version - 1 {
            0 => put
                .condition_expression("attribute_not_exists(#partition)")
                .expression_attribute_names("#partition", PARTITION_KEY),
            // A part may write over the record of a request whose number was free again; the request's own
            // record may have expired since it was read, and be another's by now.
            read if request.part.is_some() => put
                .condition_expression("version = :read")
                .set_expression_attribute_values(Some(Item::from([items::number(":read", read)]))),
            read => put
                .condition_expression("version = :read AND fingerprint = :fingerprint")
                .set_expression_attribute_values(Some(Item::from([
                    items::number(":read", read),
                    items::bytes(":fingerprint", record.fingerprint.as_bytes()),
                ]))),
        };
        let put = put.build().map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().put(put).build(), item))
    }
}

/// What a cancelled transaction says of the ledger; nothing for other errors, and for a cancellation
/// that will not pass.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Commit> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return None;
    };
    let mut moved = Vec::new();
    let mut is_known = true;
    for reason in cancelled.cancellation_reasons() {
        match (reason.code().unwrap_or(NO_REASON), reason.item()) {
            (NO_REASON, _) => {}
            (CONDITION_FAILED, Some(item)) if !item.is_empty() => moved.push(item.clone()),
            (CONDITION_FAILED, _) => is_known = false,
            (code, _) if PASSING_REASONS.contains(&code) => is_known = false,
            _ => return None,
        }
    }
    Some(if is_known && !moved.is_empty() { Commit::Moved(moved) } else { Commit::Refused })
}
