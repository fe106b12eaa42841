//! Secrets, by their hashes: whom each names, and for a tenant that shares them with others, which it has.

use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};

use super::attribute::SORT_KEY;
use super::change::PutCondition;
use super::deadline::Backoff;
use super::items::{self, Item, Reader};
use super::transact::{Action, Condition, Transacted};
use super::{Creation, Session, SettingsChange, StoreError};
use crate::ledger::{CredentialKey, TenantKey};
use crate::limits;

/// Before the hash of a secret that a tenant has, in the tenant's partition.
pub(super) const KEY_PREFIX: &str = "KEY#";

fn credential_item(credential: &CredentialKey, tenant: &TenantKey) -> Item {
    let mut item = items::credential_key(credential);
    item.extend([items::text("tenant", tenant.as_str())]);
    item
}

/// A secret that names several tenants, by their ids. It counts its changes.
fn shared_item(credential: &CredentialKey, ids: &[String], version: u64) -> Item {
    let mut item = items::credential_key(credential);
    item.extend([items::texts("ids", ids), items::number("version", version)]);
    item
}

/// What a secret names.
#[derive(Debug, Default)]
struct Named {
    ids: Vec<String>,
    /// 0 of one that is not on record.
    version: u64,
}

fn key_of_tenant(tenant: &TenantKey, credential: &CredentialKey) -> Item {
    items::key(tenant.as_str(), &format!("{KEY_PREFIX}{}", credential.hash()))
}

impl Session {
    /// Lets a secret name `tenant`.
    pub async fn create_credential(
        &self,
        credential: &CredentialKey,
        tenant: &TenantKey,
    ) -> Result<Creation<TenantKey>, StoreError> {
        match self.put_new(credential_item(credential, tenant)).await? {
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

    /// Lets a secret name the tenants with these ids, and no others; `tenant_of` is the tenant of an id. What it named
    /// before is only replaced if `replace`. Each tenant has the secret on record with it.
    ///
    /// # Errors
    /// Also if there are more ids than fit into a transaction.
    pub async fn put_shared_credential(
        &self,
        credential: &CredentialKey,
        ids: &[String],
        tenant_of: impl Fn(&str) -> TenantKey,
        replace: bool,
    ) -> Result<SettingsChange, StoreError> {
        let whole = |named: Option<&[String]>| {
            (named.is_none_or(|named| replace || named == ids)).then(|| ids.to_vec())
        };
        self.name_tenants(credential, whole, tenant_of, None).await
    }

    /// Lets a secret name other tenants, by the ids of those that it names when it does; if the tenant of `stays` still has
    /// that other secret, by its hash.
    ///
    /// # Errors
    /// As [`Self::put_shared_credential`], and if it no longer has that.
    pub async fn change_shared_credential(
        &self,
        credential: &CredentialKey,
        change: impl Fn(&[String]) -> Vec<String>,
        tenant_of: impl Fn(&str) -> TenantKey,
        stays: Option<(&TenantKey, &str)>,
    ) -> Result<SettingsChange, StoreError> {
        let changed = |named: Option<&[String]>| Some(change(named.unwrap_or_default()));
        self.name_tenants(credential, changed, tenant_of, stays).await
    }

    /// One transaction, bound to the secret as it is read; decided anew where that has changed meanwhile. By its version,
    /// not by what it names: a change that arrives late must not undo others' that came to the same.
    async fn name_tenants(
        &self,
        credential: &CredentialKey,
        ids: impl Fn(Option<&[String]>) -> Option<Vec<String>>,
        tenant_of: impl Fn(&str) -> TenantKey,
        stays: Option<(&TenantKey, &str)>,
    ) -> Result<SettingsChange, StoreError> {
        let mut backoff = Backoff::default();
        loop {
            let read = self.named(credential).await?;
            let Some(ids) = ids(read.as_ref().map(|named| &*named.ids)) else {
                return Ok(SettingsChange::Kept);
            };
            let (change, as_read) = match &read {
                None => (SettingsChange::Created, PutCondition::absent()),
                Some(named) if named.ids == ids => return Ok(SettingsChange::Unchanged),
                Some(named) => (SettingsChange::Replaced, PutCondition::unchanged(named.version)),
            };
            let named = read.unwrap_or_default();
            let item = shared_item(credential, &ids, named.version + 1);
            let mut actions: Vec<Action> = vec![(self.put_action_if(&item, Some(as_read))?, item)];
            for id in ids.iter().filter(|id| !named.ids.contains(id)) {
                let item = key_of_tenant(&tenant_of(id), credential);
                actions.push((self.put_action_if(&item, None)?, item));
            }
            for id in named.ids.iter().filter(|id| !ids.contains(id)) {
                actions.push(self.delete_action(key_of_tenant(&tenant_of(id), credential))?);
            }
            if let Some((tenant, hash)) = stays {
                actions.push(self.check_action(items::key(tenant.as_str(), &format!("{KEY_PREFIX}{hash}")))?);
            }
            let max = limits::ACTIONS_PER_TRANSACTION_MAX;
            // One that names more could not be given up in one transaction.
            if actions.len() > max || ids.len() >= max {
                return Err(StoreError::Refused(format!(
                    "a key names at most {} apps, and no more than that can change at once",
                    max - 1
                )));
            }
            let cause = match self.transact(actions).await? {
                Transacted::Done => return Ok(change),
                Transacted::Cancelled(conditions) => {
                    let is_gone = matches!(conditions.last(), Some(Condition::Failed(None)));
                    if stays.is_some() && is_gone {
                        let what = "the key that was to stay was ended meanwhile: look, and run it again";
                        return Err(StoreError::Refused(what.to_owned()));
                    }
                    "others were writing to the same items".to_owned()
                }
                Transacted::Unknown(cause) => cause,
            };
            if !backoff.pause_after_race(self).await {
                return Err(StoreError::DeadlinePassed { cause: Some(cause) });
            }
        }
    }

    /// The item is there.
    fn check_action(&self, key: Item) -> Result<Action, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(self.store.table())
            .set_key(Some(key.clone()))
            .condition_expression("attribute_exists(#sort)")
            .expression_attribute_names("#sort", SORT_KEY)
            .build()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok((TransactWriteItem::builder().condition_check(check).build(), key))
    }

    /// The ids of the tenants that a secret names, if it is one that names several.
    pub async fn shared_credential(
        &self,
        credential: &CredentialKey,
    ) -> Result<Option<Vec<String>>, StoreError> {
        Ok(self.named(credential).await?.map(|named| named.ids))
    }

    async fn named(&self, credential: &CredentialKey) -> Result<Option<Named>, StoreError> {
        let item = self.read_item(items::credential_key(credential)).await?;
        let named = |item: Item| {
            let reader = Reader::new(&item);
            Ok(Named { ids: reader.texts("ids")?, version: reader.integer("version")? })
        };
        item.map(named).transpose()
    }

    /// The secrets that a tenant has which may be others' too, by their hashes.
    pub async fn keys_of_tenant(&self, tenant: &TenantKey) -> Result<Vec<String>, StoreError> {
        let found = self.read_beginning(tenant.as_str(), KEY_PREFIX).await?;
        let hash = |item: &Item| {
            let sort = item.get(SORT_KEY).and_then(|value| value.as_s().ok());
            sort.and_then(|sort| sort.strip_prefix(KEY_PREFIX)).map(str::to_owned)
        };
        Ok(found.iter().filter_map(hash).collect())
    }
}
