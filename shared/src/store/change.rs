//! A conditional change of one item, or when one is put, by itself or as an action of a transaction.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, TransactWriteItem, Update};
use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError};
use futures::future::BoxFuture;

use super::attribute::PARTITION_KEY;
use super::error::CallFailure;
use super::items::{self, Item};
use super::meter::CountAttempts;
use super::refund_batch_items as batch_items;
use super::{Session, StoreError};

/// What to change of the item under `key`, and when: always, where there is no condition.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: Item,
    pub(super) expression: &'static str,
    pub(super) condition: Option<&'static str>,
    /// What the expressions call an attribute whose name they can't have, and that name.
    pub(super) name: Option<(&'static str, String)>,
    pub(super) values: Item,
}

impl Change {
    pub(super) fn action(self, table: &str) -> Result<TransactWriteItem, StoreError> {
        let names = self.name.map(|(name, attribute)| [(name.to_owned(), attribute)].into());
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(self.key))
            .update_expression(self.expression)
            .set_condition_expression(self.condition.map(str::to_owned))
            .set_return_values_on_condition_check_failure(self.condition.map(|_| AllOld))
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(Some(self.values))
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// When an item is put, by itself or as an action of a transaction.
#[derive(Debug, Clone)]
pub(super) struct PutCondition {
    pub(super) expression: &'static str,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

impl PutCondition {
    /// There is nothing under the key.
    pub(super) fn absent() -> Self {
        let names = [("#partition".to_owned(), PARTITION_KEY.to_owned())].into();
        Self { expression: "attribute_not_exists(#partition)", names, values: Item::new() }
    }

    /// There is a tombstone under the key.
    pub(super) fn asked() -> Self {
        Self {
            expression: "#state = :asked",
            names: [("#state".to_owned(), "state".to_owned())].into(),
            values: Item::from([items::text(":asked", items::ASKED)]),
        }
    }

    pub(super) fn absent_or_asked() -> Self {
        Self { expression: "attribute_not_exists(#state) OR #state = :asked", ..Self::asked() }
    }

    /// There is nothing under the key, or a refund whose outcome is pending.
    pub(super) fn absent_or_pending() -> Self {
        let Self { mut names, .. } = Self::absent();
        names.insert("#state".to_owned(), "state".to_owned());
        let values = Item::from([items::text(":pending", batch_items::PENDING)]);
        Self { expression: "attribute_not_exists(#partition) OR #state = :pending", names, values }
    }

    /// The item under the key still has the version that was read.
    pub(super) fn unchanged(read: u64) -> Self {
        let values = Item::from([items::number(":read", read)]);
        Self { expression: "version = :read", names: HashMap::new(), values }
    }
}

/// What became of a change by itself.
#[derive(Debug)]
pub(super) enum Changed {
    Done,
    /// The condition did not hold; the item as it is, if there is one. An earlier attempt of the same change may
    /// be what it shows.
    Refused(Option<Item>),
}

impl Session {
    /// Makes a change; tries again until the table has answered.
    pub(super) fn change<'a>(&'a self, change: &'a Change) -> BoxFuture<'a, Result<Changed, StoreError>> {
        Box::pin(self.until_answered(|| async {
            let names = change.name.clone().map(|(name, attribute)| [(name.to_owned(), attribute)].into());
            let call = self
                .store
                .client
                .update_item()
                .table_name(self.store.table())
                .set_key(Some(change.key.clone()))
                .update_expression(change.expression)
                .set_condition_expression(change.condition.map(str::to_owned))
                .set_return_values_on_condition_check_failure(change.condition.map(|_| AllOld))
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(
                    Some(change.values.clone()).filter(|values| !values.is_empty()),
                )
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(CountAttempts(self.meter.clone()));
            match self.in_time(call.send()).await? {
                Ok(answer) => {
                    self.meter.wrote(answer.consumed_capacity());
                    Ok(Changed::Done)
                }
                Err(error) => {
                    let existing = refused(&error).ok_or_else(|| CallFailure::from(error))?;
                    self.meter.wrote_units(items::refused_write_units(existing.as_ref()));
                    Ok(Changed::Refused(existing))
                }
            }
        }))
    }
}

/// Whether the condition did not hold, and the item that is there.
fn refused<R>(error: &SdkError<UpdateItemError, R>) -> Option<Option<Item>> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
            Some(failed.item().filter(|item| !item.is_empty()).cloned())
        }
        _ => None,
    }
}
