//! Facts that are put on record without a request: wallets, past debits and tenants' settings; and what
//! is on record, for people to see. A money fact is never overwritten.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use futures::future::BoxFuture;

use super::attribute::SORT_KEY;
use super::change::PutCondition;
use super::error::CallFailure;
use super::items::{self, Item, Payment, Reader};
use super::meter::CountAttempts;
use super::{Session, StoreError};
use crate::ledger::{
    Account, AccountKey, ChainBreach, Debit, DebitId, DebitKey, DebitState, Movement, Posted, RequestKey,
    RequestRecord, TenantKey, check_chain,
};

/// What became of a fact to put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation<T> {
    Created,
    /// There is one under this key already; it stays as it is.
    Existing(T),
}

/// What became of a tenant's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsChange {
    Created,
    Unchanged,
    Replaced,
    /// There are others, and they stay.
    Kept,
}

/// What became of a charge to put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeChange {
    Created,
    /// It was on record as not paid, and is paid now.
    Paid,
    Unchanged,
    /// There is another one under its id, which stays: how it differs.
    Different(String),
}

/// A debit of the past that was to be put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebitOnRecord {
    /// Whether it was put just now. One that was there stays as it is.
    pub is_new: bool,
    pub debit: Debit,
}

/// An account with all that was posted to it.
#[derive(Debug, Clone)]
pub struct Wallet {
    pub account: Account,
    /// In the order of their ids.
    pub debits: Vec<Debit>,
    /// In the order of their ids.
    pub movements: Vec<Movement>,
    /// Debits that are not there, and whose refund was asked for.
    pub tombstones: Vec<DebitKey>,
}

impl Wallet {
    /// The account's postings, in their order.
    ///
    /// # Errors
    /// The first breach of its chain.
    pub fn check(&self) -> Result<Vec<Posted<'_>>, ChainBreach> {
        check_chain(&self.account, &self.debits, &self.movements)
    }
}

impl Session {
    pub async fn create_account(&self, account: &Account) -> Result<Creation<Account>, StoreError> {
        match self.put_new(items::account_item(account)).await? {
            None => Ok(Creation::Created),
            Some(existing) => Ok(Creation::Existing(Reader::new(&existing).account()?)),
        }
    }

    /// Records a debit of the past, open or settled; it moves no money. One whose refund was asked for before stands in
    /// its tombstone's place from then on, with when that was.
    ///
    /// # Errors
    /// [`StoreError::Refused`] also for one that was taken or refunded: that is done, not recorded.
    pub async fn create_debit(&self, debit: &Debit) -> Result<DebitOnRecord, StoreError> {
        if debit.taken.is_some() || matches!(debit.state, DebitState::Refunded(_)) {
            return Err(StoreError::Refused("money is moved, not recorded".to_owned()));
        }
        loop {
            let Some(existing) = self.put_new(items::debit_item(debit)).await? else {
                return Ok(DebitOnRecord { is_new: true, debit: debit.clone() });
            };
            let since = match Reader::new(&existing).payment()? {
                Payment::Debit(debit) => return Ok(DebitOnRecord { is_new: false, debit: *debit }),
                Payment::Tombstone { since, .. } => since,
            };
            let after_asked = Debit { asked: Some(since), ..debit.clone() };
            if self.put_if_asked(items::debit_item(&after_asked)).await? {
                return Ok(DebitOnRecord { is_new: true, debit: after_asked });
            }
            // An attempt whose answer was lost, or another import, has put one; or the tombstone has vanished.
        }
    }

    /// Records a tenant's settings (JSON). Existing ones are only replaced if `replace`.
    pub async fn put_settings(
        &self,
        tenant: &TenantKey,
        settings: &str,
        replace: bool,
    ) -> Result<SettingsChange, StoreError> {
        loop {
            let Some(existing) = self.put_new(items::settings_item(tenant, settings, 1)).await? else {
                return Ok(SettingsChange::Created);
            };
            let existing = Reader::new(&existing);
            if existing.text("settings")? == settings {
                return Ok(SettingsChange::Unchanged);
            }
            if !replace {
                return Ok(SettingsChange::Kept);
            }
            if self.replace_settings(tenant, existing.integer("version")?, settings).await? {
                return Ok(SettingsChange::Replaced);
            }
            // Others have changed them meanwhile.
        }
    }

    /// Puts other settings in the place of those that were read; whether they were still the same.
    pub async fn change_settings(
        &self,
        tenant: &TenantKey,
        read: &str,
        settings: &str,
    ) -> Result<bool, StoreError> {
        let Some(item) = self.read_item(items::tenant_key(tenant)).await? else { return Ok(false) };
        let now = Reader::new(&item);
        match now.text("settings")? == read {
            true => self.replace_settings(tenant, now.integer("version")?, settings).await,
            false => Ok(false),
        }
    }

    /// Whether settings took the place of those of a version: what arrives late, when others were told that theirs are in
    /// force, comes to nothing.
    async fn replace_settings(
        &self,
        tenant: &TenantKey,
        read: u64,
        settings: &str,
    ) -> Result<bool, StoreError> {
        let is_put = self.replace_if_version(items::settings_item(tenant, settings, read + 1), read).await?;
        // An attempt whose answer was lost may have done it.
        Ok(is_put || self.settings(tenant).await?.as_deref() == Some(settings))
    }

    /// A tenant's settings (JSON), if there is such a tenant.
    pub async fn settings(&self, tenant: &TenantKey) -> Result<Option<String>, StoreError> {
        let item = self.read_item(items::tenant_key(tenant)).await?;
        item.map(|item| Reader::new(&item).text("settings").map(str::to_owned)).transpose()
    }

    /// The accounts that have a debit of this id. From the index, which is a moment behind.
    pub async fn accounts_of_debit(
        &self,
        tenant: &TenantKey,
        debit: &DebitId,
    ) -> Result<Vec<AccountKey>, StoreError> {
        let partition = items::debit_partition(tenant, debit);
        let found = self.query_index(&partition, "~", usize::MAX).await?;
        Ok(found.iter().map(|item| AccountKey::recorded(items::partition(item))).collect())
    }

    /// What is on record of a request, and when it was last written (Unix milliseconds).
    pub async fn request_record(
        &self,
        request: &RequestKey,
    ) -> Result<Option<(RequestRecord, u64)>, StoreError> {
        let item = self.read_item(items::key(request.as_str(), items::REQUEST)).await?;
        let read = |item: Item| {
            let reader = Reader::new(&item);
            Ok((reader.record()?, reader.integer("at")?))
        };
        item.map(read).transpose()
    }

    /// A debit, if there is such a debit.
    pub async fn debit(&self, debit: &DebitKey) -> Result<Option<Debit>, StoreError> {
        let Some(item) = self.read_item(items::debit_key(debit)).await? else { return Ok(None) };
        Ok(match Reader::new(&item).payment()? {
            Payment::Debit(debit) => Some(*debit),
            Payment::Tombstone { .. } => None,
        })
    }

    /// An account with all that was posted to it, if there is such an account. Not a snapshot: it is read in pages.
    pub async fn wallet(&self, account: &AccountKey) -> Result<Option<Wallet>, StoreError> {
        let mut found = None;
        let (mut debits, mut movements, mut tombstones) = (Vec::new(), Vec::new(), Vec::new());
        for item in self.read_partition(account.as_str()).await? {
            let reader = Reader::new(&item);
            match reader.text(SORT_KEY)? {
                items::ACCOUNT => found = Some(reader.account()?),
                sort if sort.starts_with(items::PAYMENT_PREFIX) => match reader.payment()? {
                    Payment::Debit(debit) => debits.push(*debit),
                    Payment::Tombstone { debit, .. } => tombstones.push(debit),
                },
                sort if sort.starts_with(items::MOVEMENT_PREFIX) => movements.push(reader.movement()?),
                _ => {}
            }
        }
        Ok(found.map(|account| Wallet { account, debits, movements, tombstones }))
    }

    /// Puts `item` unless there is one under its key: then that one is returned, untouched.
    pub(super) async fn put_new(&self, item: Item) -> Result<Option<Item>, StoreError> {
        self.put_or_find(item, PutCondition::absent()).await
    }

    /// Puts a tombstone, unless there is the debit: then that one is returned, untouched.
    pub(super) async fn put_unless_debit(&self, tombstone: Item) -> Result<Option<Item>, StoreError> {
        self.put_or_find(tombstone, PutCondition::absent_or_asked()).await
    }

    async fn put_or_find(&self, item: Item, condition: PutCondition) -> Result<Option<Item>, StoreError> {
        loop {
            match self.put(item.clone(), Some(condition.clone())).await? {
                Put::Done => return Ok(None),
                Put::Refused(Some(existing)) => return Ok(Some(existing)),
                // It has vanished.
                Put::Refused(None) => {}
            }
        }
    }

    /// Puts `item` in the place of its tombstone; whether that was there.
    pub(super) async fn put_if_asked(&self, item: Item) -> Result<bool, StoreError> {
        Ok(matches!(self.put(item, Some(PutCondition::asked())).await?, Put::Done))
    }

    /// Puts `item` in the place of the one under its key, if that still has the version that was read.
    pub(super) async fn replace_if_version(&self, item: Item, read: u64) -> Result<bool, StoreError> {
        Ok(matches!(self.put(item, Some(PutCondition::unchanged(read))).await?, Put::Done))
    }

    fn put(&self, item: Item, condition: Option<PutCondition>) -> BoxFuture<'_, Result<Put, StoreError>> {
        Box::pin(self.put_until_answered(item, condition))
    }

    async fn put_until_answered(
        &self,
        item: Item,
        condition: Option<PutCondition>,
    ) -> Result<Put, StoreError> {
        self.until_answered(|| async {
            let put = self.store.client.put_item().table_name(self.store.table());
            let put = match condition.clone() {
                None => put,
                Some(PutCondition { expression, names, values }) => put
                    .condition_expression(expression)
                    .set_expression_attribute_names(Some(names).filter(|names| !names.is_empty()))
                    .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty())),
            };
            let call = put
                .set_item(Some(item.clone()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(CountAttempts(self.meter.clone()));
            match self.in_time(call.send()).await? {
                Ok(answer) => {
                    self.meter.wrote(answer.consumed_capacity());
                    Ok(Put::Done)
                }
                Err(error) => {
                    let existing = existing_item(&error).ok_or_else(|| CallFailure::from(error))?;
                    self.meter.wrote_units(items::refused_write_units(existing.as_ref()));
                    Ok(Put::Refused(existing))
                }
            }
        })
        .await
    }
}

/// What became of an item to put.
enum Put {
    Done,
    /// The one under its key stays; none, where there must be one to be replaced.
    Refused(Option<Item>),
}

/// What a condition was not met by.
fn existing_item<R>(error: &SdkError<PutItemError, R>) -> Option<Option<Item>> {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => Some(failed.item().cloned()),
        _ => None,
    }
}
