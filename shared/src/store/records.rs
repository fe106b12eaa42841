//! Facts that are put on record without a request: wallets, past debits and tenants' settings; and what
//! is on record, for people to see. A money fact is never overwritten.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};

use super::attribute::{PARTITION_KEY, SORT_KEY};
use super::error::CallFailure;
use super::items::{self, Item, Reader};
use super::meter::CountAttempts;
use super::{Session, StoreError};
use crate::ledger::{Account, AccountKey, CredentialKey, Debit, DebitKey, DebitState, TenantKey};

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

/// An account with its debits.
#[derive(Debug, Clone)]
pub struct Wallet {
    pub account: Account,
    /// In the order of their ids.
    pub debits: Vec<Debit>,
}

impl Session {
    pub async fn create_account(&self, account: &Account) -> Result<Creation<Account>, StoreError> {
        match self.put_new(items::account_item(account)).await? {
            None => Ok(Creation::Created),
            Some(existing) => Ok(Creation::Existing(Reader::new(&existing).account()?)),
        }
    }

    /// Records a debit of the past, open or settled; it moves no money.
    ///
    /// # Errors
    /// [`StoreError::Refused`] also for a refunded one: a refund is made, not recorded.
    pub async fn create_debit(&self, debit: &Debit) -> Result<Creation<Debit>, StoreError> {
        if let DebitState::Refunded(_) = debit.state {
            return Err(StoreError::Refused("a refund is made, not recorded".to_owned()));
        }
        match self.put_new(items::debit_item(debit)).await? {
            None => Ok(Creation::Created),
            Some(existing) => Ok(Creation::Existing(Reader::new(&existing).debit()?)),
        }
    }

    /// Records a tenant's settings (JSON). Existing ones are only replaced if `replace`.
    pub async fn put_settings(
        &self,
        tenant: &TenantKey,
        settings: &str,
        replace: bool,
    ) -> Result<SettingsChange, StoreError> {
        let item = items::settings_item(tenant, settings);
        let Some(existing) = self.put_new(item.clone()).await? else {
            return Ok(SettingsChange::Created);
        };
        if Reader::new(&existing).text("settings")? == settings {
            return Ok(SettingsChange::Unchanged);
        }
        if !replace {
            return Ok(SettingsChange::Kept);
        }
        self.put(item, None).await?;
        Ok(SettingsChange::Replaced)
    }

    /// A tenant's settings (JSON), if there is such a tenant.
    pub async fn settings(&self, tenant: &TenantKey) -> Result<Option<String>, StoreError> {
        let item = self.read_item(items::tenant_key(tenant)).await?;
        item.map(|item| Reader::new(&item).text("settings").map(str::to_owned)).transpose()
    }

    /// Lets a secret name `tenant`.
    pub async fn create_credential(
        &self,
        credential: &CredentialKey,
        tenant: &TenantKey,
    ) -> Result<Creation<TenantKey>, StoreError> {
        match self.put_new(items::credential_item(credential, tenant)).await? {
            None => Ok(Creation::Created),
            Some(existing) => {
                Ok(Creation::Existing(TenantKey::recorded(Reader::new(&existing).text("tenant")?)))
            }
        }
    }

    /// The tenant that a secret names, if it names one. Whether it may still, the tenant's settings say.
    pub async fn credential(&self, credential: &CredentialKey) -> Result<Option<TenantKey>, StoreError> {
        let item = self.read_item(items::credential_key(credential)).await?;
        item.map(|item| Reader::new(&item).text("tenant").map(TenantKey::recorded)).transpose()
    }

    /// Lets a secret name the tenants with these ids, and no others. What it named before is only replaced if
    /// `replace`.
    pub async fn put_shared_credential(
        &self,
        credential: &CredentialKey,
        ids: &[String],
        replace: bool,
    ) -> Result<SettingsChange, StoreError> {
        let item = items::shared_credential_item(credential, ids);
        let Some(existing) = self.put_new(item.clone()).await? else {
            return Ok(SettingsChange::Created);
        };
        if Reader::new(&existing).texts("ids")? == ids {
            return Ok(SettingsChange::Unchanged);
        }
        if !replace {
            return Ok(SettingsChange::Kept);
        }
        self.put(item, None).await?;
        Ok(SettingsChange::Replaced)
    }

    /// The ids of the tenants that a secret names, if it is one that names several.
    pub async fn shared_credential(
        &self,
        credential: &CredentialKey,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let item = self.read_item(items::credential_key(credential)).await?;
        item.map(|item| Reader::new(&item).texts("ids")).transpose()
    }

    /// A debit, if there is such a debit.
    pub async fn debit(&self, debit: &DebitKey) -> Result<Option<Debit>, StoreError> {
        let item = self.read_item(items::debit_key(debit)).await?;
        item.map(|item| Reader::new(&item).debit()).transpose()
    }

    /// An account with all its debits, if there is such an account. Not a snapshot: it is read in pages.
    pub async fn wallet(&self, account: &AccountKey) -> Result<Option<Wallet>, StoreError> {
        let mut found = None;
        let mut debits = Vec::new();
        for item in self.read_partition(account.as_str()).await? {
            let reader = Reader::new(&item);
            match reader.text(SORT_KEY)? {
                items::ACCOUNT => found = Some(reader.account()?),
                sort if sort.starts_with(items::PAYMENT_PREFIX) => debits.push(reader.debit()?),
                _ => {}
            }
        }
        Ok(found.map(|account| Wallet { account, debits }))
    }

    /// Puts `item` unless there is one under its key: then that one is returned, untouched.
    pub(super) async fn put_new(&self, item: Item) -> Result<Option<Item>, StoreError> {
        let absent = format!("attribute_not_exists({PARTITION_KEY})");
        self.put(item, Some(absent)).await
    }

    async fn put(&self, item: Item, condition: Option<String>) -> Result<Option<Item>, StoreError> {
        self.until_answered(|| async {
            let call = self
                .store
                .client
                .put_item()
                .table_name(self.store.table())
                .set_item(Some(item.clone()))
                .set_condition_expression(condition.clone())
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(CountAttempts(self.meter.clone()));
            match self.in_time(call.send()).await? {
                Ok(answer) => {
                    self.meter.wrote(answer.consumed_capacity());
                    Ok(None)
                }
                Err(error) => {
                    let existing = existing_item(&error).ok_or_else(|| CallFailure::from(error))?;
                    self.meter.wrote_units(items::refused_write_units(Some(&existing)));
                    Ok(Some(existing))
                }
            }
        })
        .await
    }
}

fn existing_item<R>(error: &SdkError<PutItemError, R>) -> Option<Item> {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => failed.item().cloned(),
        _ => None,
    }
}
